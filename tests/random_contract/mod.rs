//! Random contract files: any combination of names, types, bounds and constraints, determined by a seed.

use std::fmt::Write as _;

use proptest::prelude::RngExt;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// A stream of random numbers.
struct Numbers(TestRng);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end)
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

const INTEGERS: &[&str] = &["u8", "u16", "u32", "u64", "u128", "i8", "i16", "i32", "i64", "i128"];

/// Up to 38 letters; some are names that the generated code, its macros or the language use themselves.
fn name(numbers: &mut Numbers, used: &mut Vec<String>) -> String {
    loop {
        let mut name = if numbers.one_in(3) {
            numbers
                .of(&[
                    "Some",
                    "None",
                    "Vec",
                    "String",
                    "Self_",
                    "Clone",
                    "Debug",
                    "u8",
                    "bool",
                    "str",
                    "_x",
                    "x__y",
                    "frame",
                    "__codegen",
                    "millpond",
                    "Message",
                    "view",
                    "payload",
                    "cursor",
                    "out",
                    "value",
                    "put",
                    "Err",
                    "usize",
                    "Fields",
                    "MessageError",
                    "self_",
                    "Default",
                    "PartialEq",
                    "std",
                    "alloc",
                    "TYPE_ID",
                    "a",
                    "union",
                    "type",
                    "Self",
                    "self",
                    "super",
                    "crate",
                    "true",
                    "fn",
                    "gen",
                    "async",
                    "yield",
                ])
                .to_owned()
        } else {
            let letters = 1 + numbers.below(38);
            (0..letters).map(|_| numbers.of(&["a", "b", "C", "d", "E", "_", "0", "x", "y", "zz"])).collect()
        };
        name.truncate(38);
        if !name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic()) || !name.contains(|c| c != '_') {
            continue;
        }
        // Constants and fields must differ, whatever the case.
        let plain = name.to_lowercase().replace('_', "");
        if !plain.is_empty() && !used.contains(&plain) {
            used.push(plain);
            return name;
        }
    }
}

fn fixed(numbers: &mut Numbers, depth: u64) -> String {
    match numbers.below(8 + depth) {
        0..=3 => numbers.of(INTEGERS).to_owned(),
        4 => numbers.of(&["f32", "f64"]).to_owned(),
        5 => "bool".to_owned(),
        6 => numbers.of(&["Address", "U256"]).to_owned(),
        _ if depth < 3 => format!("[{}; {}]", fixed(numbers, depth + 1), 1 + numbers.below(40)),
        _ => "u8".to_owned(),
    }
}

/// A type with constraints that it can have.
fn field(numbers: &mut Numbers) -> (String, Vec<String>) {
    let mut constraints = Vec::new();
    if numbers.one_in(3) {
        let most = if numbers.one_in(20) { 65_535 } else { 300 };
        let slots = 1 + numbers.below(most);
        for (chances, constraint) in [
            (3, "not_empty: true".to_owned()),
            (3, format!("min_length: {}", numbers.below(slots) / 2)),
            (3, format!("max_length: {}", slots - slots / 3)),
        ] {
            if numbers.one_in(chances) {
                constraints.push(constraint);
            }
        }
        let ty = if numbers.one_in(2) {
            format!("FixedStr<{slots}>")
        } else {
            format!("FixedVec<{}, {}>", fixed(numbers, 2), slots.min(1 + numbers.below(100)))
        };
        if ty.starts_with("FixedVec") {
            constraints.retain(|constraint| constraint.starts_with("not"));
        }
        return (ty, constraints);
    }
    let ty = fixed(numbers, 0);
    if numbers.one_in(4) && ty != "bool" {
        constraints.push("not_zero: true".to_owned());
    }
    if INTEGERS.contains(&ty.as_str()) || ty == "U256" {
        if numbers.one_in(3) {
            constraints.push(format!("min: {}", numbers.below(60)));
        }
        if numbers.one_in(3) {
            constraints.push(format!("max: {}", 60 + numbers.below(60)));
        }
    } else if ty.starts_with('f') && numbers.one_in(2) {
        constraints.push(format!("min: {}", numbers.of(&["-1e300", "0.1", "3.14", "-7", "1e-40", "0"])));
        if ty == "f32" {
            constraints.retain(|constraint| !constraint.contains("e300"));
        }
    }
    (ty, constraints)
}

pub(crate) fn of(seed: u64) -> String {
    let seed = [seed.to_le_bytes(), [7; 8]].concat();
    let mut numbers = Numbers(TestRng::from_seed(RngAlgorithm::XorShift, &seed));
    let mut text = "messages:\n".to_owned();
    let mut messages = Vec::new();
    for id in 0..=numbers.below(40) {
        writeln!(text, "  {}:\n    tlv_type: {id}", name(&mut numbers, &mut messages)).unwrap();
        let words = numbers.of(&["D", "\"a \\\"b\\\" \\\\ {} {:?}\"", "_Emphasis_ `code`", "Ünïcödé"]);
        writeln!(text, "    domain: {words}\n    description: {words}\n    fields:").unwrap();
        let mut fields = Vec::new();
        if numbers.one_in(10) {
            // On the heap.
            let [name, last] = [0, 1].map(|_| name(&mut numbers, &mut fields));
            let ty = numbers.of(&["u8", "u64", "[u8; 3]", "bool"]);
            writeln!(text, "      {name}: {{type: \"[{ty}; 70000]\", optional: {}}}", numbers.one_in(2))
                .unwrap();
            writeln!(text, "      {last}: {{type: u8}}").unwrap();
        }
        for _ in 0..=numbers.below(8) {
            let (name, (ty, constraints)) = (name(&mut numbers, &mut fields), field(&mut numbers));
            let (constraints, optional) = (constraints.join(", "), numbers.one_in(4));
            writeln!(
                text,
                "      {name}: {{type: \"{ty}\", optional: {optional}, description: {words}, validation: [{constraints}]}}"
            )
            .unwrap();
        }
    }
    text
}
