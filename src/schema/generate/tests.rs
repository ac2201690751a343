use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Options, generate};
use crate::schema::{Layout, Plan, Schema};

#[path = "../../../tests/random_contract/mod.rs"]
mod random_contract;

/// As rustfmt has it with its default settings, which has to be there: `rustup component add rustfmt`.
fn formatted(code: &str) -> String {
    // Its defaults, whatever settings lie around.
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

/// Fields of all types, and names of all lengths; `large`: in messages that have them on the heap, of many sizes.
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
            let rules = match ty.split(['<', ';']).next().unwrap() {
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
            writeln!(text, "      {field}: {{type: \"{ty}\", optional: {optional}, validation: [{rules}]}}")
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
            let code = generate(&schema, &Options { layout, plan, serde: true, ..Options::default() });
            let formatted = formatted(&code);
            for (ours, theirs) in code.lines().zip(formatted.lines()) {
                assert_eq!(ours, theirs);
            }
            assert_eq!(code, formatted);
        }
    }
}

/// Here, and not beside the tests of what the code does, so that it can be refreshed when it does not compile.
#[test]
fn what_is_checked_in_is_what_is_generated() {
    const BLESS: &str = "MILLPOND_BLESS=1 cargo test --features schema --lib schema::generate";
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut contracts = 0;
    for entry in fs::read_dir(tests.join("contracts")).unwrap() {
        let path = entry.unwrap().path();
        let (file, stem) = (path.file_name().unwrap().to_str().unwrap(), path.file_stem().unwrap());
        let schema =
            Schema::parse(file, fs::read(&path).unwrap()).unwrap_or_else(|errors| panic!("{errors}"));
        for (layout, suffix) in [(Layout::ReprC, ""), (Layout::Packed, "_packed")] {
            let module = stem.to_str().unwrap().replace('-', "_");
            let path = tests.join(format!("generated/{module}{suffix}.rs"));
            let serde = ["corners", "defi", "primitives"].contains(&module.as_str());
            let options = Options { layout, serde, command: Some(BLESS.to_owned()), ..Options::default() };
            let code = generate(&schema, &options);
            if std::env::var_os("MILLPOND_BLESS").is_some() {
                fs::write(&path, &code).unwrap();
            }
            let is_fresh = fs::read_to_string(&path).is_ok_and(|there| there == code);
            assert!(is_fresh, "{} is stale; run {BLESS}", path.display());
        }
        contracts += 1;
    }
    assert_eq!(contracts, 7);
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
