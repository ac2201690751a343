//! Generated code is formatted, fresh, and quotes descriptions safely. What it does is tested in `tests/generate.rs`.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Options, generate};
use crate::schema::{Layout, Plan, Schema};

#[path = "../../../tests/random_contract/mod.rs"]
mod random_contract;

/// The code formatted by rustfmt with its default settings. Needs rustfmt: `rustup component add rustfmt`.
fn formatted(code: &str) -> String {
    // An empty file for its settings, so that no other file is found.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rustfmt.toml"), "").unwrap();
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(folder.path())
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("rustfmt runs");
    rustfmt.stdin.take().unwrap().write_all(code.as_bytes()).unwrap();
    let output = rustfmt.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Fields of all types, and names of all lengths. If `large`, the messages are of many sizes and have them on the heap.
fn of_all_lengths(lengths: std::ops::RangeInclusive<usize>, large: bool) -> Schema {
    let types = [
        "u8",
        "u64",
        "[f64; 2]",
        "Address",
        "[[u8; 3]; 4]",
        "FixedStr<7>",
        "FixedStr<300>",
        "Vec<u8>",
        "FixedVec<[u8; 32], 10>",
        "FixedVec<u32, 4>",
        "FixedVec<[[u64; 3]; 4], 100>",
    ];
    let mut text = "messages:\n".to_owned();
    for (id, length) in lengths.enumerate() {
        for (place, ty) in types.iter().enumerate() {
            let name = format!("{:m<length$}", "M");
            let tail = format!("{place:x}");
            let constraints = match ty.split(['<', ';']).next().unwrap() {
                "FixedStr" => "not_empty: true, min_length: 2, max_length: 5",
                "FixedVec" => "min_length: 1, max_length: 3",
                "u8" | "u64" => "min: 1, max: 200, not_zero: true",
                "Address" => "not_zero: true",
                _ => "",
            };
            if place == 0 {
                writeln!(text, "  {name}:\n    tlv_type: {id}\n    domain: D\n    fields:").unwrap();
                if large {
                    writeln!(text, "      p: {{type: \"[u8; {}]\"}}", 70_000 << (id % 7)).unwrap();
                }
            }
            let field = format!("{:f<width$}{tail}", "f", width = length.saturating_sub(1).max(1));
            let optional = place % 2 == 1 && length % 2 == 1;
            writeln!(
                text,
                "      {field}: {{type: \"{ty}\", optional: {optional}, validation: [{constraints}]}}"
            )
            .unwrap();
        }
    }
    Schema::parse("lengths.yaml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn is_formatted_as_rustfmt_would() {
    let corners = include_str!("../../../tests/contracts/corners.yaml");
    let corners = Schema::parse("corners.yaml", corners).unwrap_or_else(|errors| panic!("{errors}"));
    let random = (0..20).map(|seed| {
        let text = random_contract::of(seed);
        Schema::parse("random.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"))
    });
    let chosen = [of_all_lengths(1..=38, false), of_all_lengths(1..=38, true), corners];
    for schema in chosen.into_iter().chain(random) {
        for layout in [Layout::ReprC, Layout::Packed] {
            let traffic = Plan::of_traffic(&schema, layout, 1 << 34, |_| 1).unwrap();
            let plan = (layout == Layout::Packed).then_some(traffic);
            let options = Options::default().layout(layout).strict_padding(layout == Layout::ReprC);
            let code = generate(&schema, &options.plan(plan).serde(true));
            let formatted = formatted(&code);
            for (ours, theirs) in code.lines().zip(formatted.lines()) {
                assert_eq!(ours, theirs);
            }
            assert_eq!(code, formatted);
        }
    }
}

/// Generated code that is not checked in, because it differs from another file in its head only.
const TWINS: &[(&str, &str)] = &[
    ("examples_list", "examples"),
    ("examples_list_packed", "examples_packed"),
    ("keywords_packed", "keywords"),
    ("primitives_packed", "primitives"),
];

/// The code after the head, which names the file, the layout and the digest.
fn body(code: &str) -> &str {
    code.split_once("\n];\n").map_or("", |(_, body)| body)
}

/// Here, and not beside the tests of what the code does, so that it can regenerate code that does not compile.
#[test]
fn what_is_checked_in_is_what_is_generated() {
    const BLESS: &str = "MILLPOND_BLESS=1 cargo test --features schema --lib schema::generate";
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut generated = Vec::new();
    for entry in fs::read_dir(tests.join("contracts")).unwrap() {
        let path = entry.unwrap().path();
        let (file, stem) = (path.file_name().unwrap().to_str().unwrap(), path.file_stem().unwrap());
        let schema =
            Schema::parse(file, fs::read(&path).unwrap()).unwrap_or_else(|errors| panic!("{errors}"));
        for (layout, suffix) in [(Layout::ReprC, ""), (Layout::Packed, "_packed")] {
            let contract = stem.to_str().unwrap().replace('-', "_");
            let serde = ["corners", "defi", "keywords", "primitives"].contains(&&*contract);
            let strict = contract == "corners" && layout == Layout::ReprC;
            let options = Options::default().layout(layout).strict_padding(strict).serde(serde);
            let options = options.command(Some(BLESS.to_owned()));
            generated.push((contract + suffix, generate(&schema, &options)));
        }
    }
    let path = |module: &str| tests.join(format!("generated/{module}.rs"));
    let twin = |module: &str| TWINS.iter().find(|(name, _)| *name == module).map(|(_, twin)| *twin);
    if std::env::var_os("MILLPOND_BLESS").is_some() {
        for (module, code) in generated.iter().filter(|(module, _)| twin(module).is_none()) {
            fs::write(path(module), code).unwrap();
        }
    }
    for (module, code) in &generated {
        let there = |module: &str| fs::read_to_string(path(module)).unwrap_or_default();
        let is_fresh = match twin(module) {
            None => there(module) == *code,
            Some(twin) => body(&there(twin)) == body(code),
        };
        assert!(is_fresh, "{module} is stale; run {BLESS}");
    }
    assert_eq!(generated.len(), 2 * 8);
}

#[test]
fn a_description_stays_a_comment_and_means_itself() {
    let shown = |words: &str| {
        let mut code = super::text::Code::default();
        code.doc(0, words);
        code.text
    };
    assert_eq!(shown("a\nb\r\n    c\u{7}\u{202e}d"), "/// a b c\u{fffd}\u{fffd}d\n");
    assert_eq!(shown("``` ~~~ <b> [x](y) #[z]"), "/// \\`\\`\\` \\~\\~\\~ \\<b\\> \\[x\\](y) \\#\\[z\\]\n");
    assert_eq!(shown("- a: b http://c"), "/// \\- a: b http\\://c\n");
    assert_eq!(shown("1. a"), "/// 1\\. a\n");
    assert_eq!(shown("_a_ b_c __d"), "/// \\_a\\_ b_c \\_\\_d\n");
    assert_eq!(shown(" \n "), "");
    let long = shown(&"word ".repeat(50));
    assert!(long.lines().count() == 3 && long.lines().all(|line| line.len() <= 100), "{long}");
}
