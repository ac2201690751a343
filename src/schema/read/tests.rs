//! The parser: every error with its place, and what valid files say.

use std::fmt::Write as _;

use super::super::{Bound, Constraints, Diagnostics, Dialect, Layout, Schema, Severity, Type};

fn bad(text: &str) -> Diagnostics {
    Schema::parse("contracts.yaml", text).expect_err(text)
}

/// `line:column message` of each.
fn told(diagnostics: &Diagnostics) -> String {
    let mut told = String::new();
    for one in diagnostics.iter() {
        let kind = if one.severity() == Severity::Error { "" } else { "warning: " };
        let place = one.line().map(|line| format!("{line}:{} ", one.column().unwrap())).unwrap_or_default();
        let help = one.help().map(|help| format!(" ({help})")).unwrap_or_default();
        writeln!(told, "{place}{kind}{}{help}", one.message()).unwrap();
    }
    told
}

/// A message with one field: its type is in line 5, its validation in line 6.
fn field(ty: &str, validation: &str) -> String {
    format!(
        "messages:\n  M:\n    tlv_type: 1\n    domain: D\n    fields: {{f: {{type: {ty},\n      validation: [{validation}]}}}}"
    )
}

/// Files and their diagnostics; `⏎` ends a line.
const WRONG: &[(&str, &str)] = &[
    // Shapes.
    ("", "1:1 an empty file⏎"),
    ("[]", "1:1 a contract file must be a mapping, not a list⏎"),
    ("schema: {}", "1:1 the file: `messages` is missing⏎"),
    ("messages:", "1:9 `messages` must be a mapping or a list, not nothing⏎"),
    ("messages: {}", "1:11 a file without messages⏎"),
    ("messages: []", "1:11 a file without messages⏎"),
    ("messages: 7", "1:11 `messages` must be a mapping or a list, not `7`⏎"),
    ("messages: {M: [1]}", "1:15 the message M must be a mapping, not a list⏎"),
    (
        "messages: {M: {}}",
        "1:12 M: `tlv_type` is missing⏎1:12 M: `fields` is missing⏎1:12 warning: M: `domain` is missing⏎",
    ),
    (
        "messages: {M: {tlv_type: 1, domain: D, fields: [1]}}",
        "1:48 M: `fields` must be a mapping, not a list⏎",
    ),
    (
        "messages: {M: {tlv_type: 1, domain: D, feilds: {}}}",
        "1:12 M: `fields` is missing⏎1:40 warning: the key `feilds` is ignored (did you mean `fields`?)⏎",
    ),
    (
        "messages: {M: {tlv_type: 1, domain: [D], description: {}, fields: {}}}",
        "1:37 M: `domain` must be a text, not a list⏎1:55 M: `description` must be a text, not a mapping⏎",
    ),
    (
        "messages: {M: {tlv_type: 1, domain: D, fields: {f: u8}}}",
        "1:52 the field M.f must be a mapping, not `u8`⏎",
    ),
    (
        "messages: {M: {tlv_type: 1, domain: D, fields: {f: {typ: u8}}}}",
        "1:49 M.f: `type` is missing⏎1:53 warning: the key `typ` is ignored (did you mean `type`?)⏎",
    ),
    (
        "messages: {M: {tlv_type: 1, domain: D, fields: {f: {type: [u8; 20]}}}}",
        "1:59 M.f: `type` must be a text, not a list (put the array in quotes: YAML reads it as a list)⏎",
    ),
    (
        "messages: {M: {tlv_type: 1, domain: D, fields: {f: {type: u8, optional: yes}}}}",
        "1:73 M.f: `optional` must be `true` or `false`, not `yes`⏎",
    ),
    (
        "messages: [1, {}, {name: M}, {name: [], fields: []}, {name: N, fields: [{type: u8}, {name: f}]}]",
        "1:12 a message must be a mapping, not `1`⏎1:15 a message: `name` is missing⏎1:26 M: `fields` is missing⏎1:37 the name of a message must be a text, not a list⏎1:73 a field of N: `name` is missing⏎1:92 N.f: `type` is missing⏎",
    ),
    // The sections beside the messages.
    (
        "schema: {id: -1, version: 1.5, min_compatible: '1'}⏎messages: {M: {tlv_type: 1, domain: D, fields: {}}}",
        "1:14 `schema: id` must be a whole number from 0 to 18446744073709551615, not `-1`⏎1:27 `schema: version` must be a whole number from 0 to 4294967295, not `1.5`⏎1:48 `schema: min_compatible` must be a whole number from 0 to 4294967295, not text in quotes (without quotes)⏎",
    ),
    (
        "schema: {version: 1, min_compatible: 2}⏎messages: {M: {tlv_type: 1, domain: D, fields: {}}}",
        "1:38 `min_compatible` 2 is above the version, 1⏎",
    ),
    (
        "tag_ranges: {core: 9, app: 9-1, experimental: 1-70000}⏎messages: {M: {tlv_type: 1, domain: D, fields: {}}}",
        "1:20 `tag_ranges: core` is not a range of ids: `9` (such as `1000-49999`)⏎1:28 `tag_ranges: app` is not a range of ids: `9-1` (such as `1000-49999`)⏎1:47 `tag_ranges: experimental` is not a range of ids: `1-70000` (such as `1000-49999`)⏎",
    ),
    // Ids.
    (
        "messages: {M: {tlv_type: 65536, domain: D, fields: {}}, N: {tlv_type: -1, domain: D, fields: {}}, O: {tlv_type: '1', domain: D, fields: {}}}",
        "1:26 the type id of `M` must be a whole number from 0 to 65535, not `65536`⏎1:71 the type id of `N` must be a whole number from 0 to 65535, not `-1`⏎1:113 the type id of `O` must be a whole number from 0 to 65535, not text in quotes (without quotes)⏎",
    ),
    (
        "messages:⏎  M: {tlv_type: 1, domain: D, fields: {}}⏎  N: {tlv_type: 0x1, domain: D, fields: {}}",
        "3:17 N: type id 1 is taken⏎",
    ),
    (
        "tag_ranges: {core: 1-999, app: 1000-49999}⏎messages: {M: {tlv_type: 999, domain: D, fields: {}}, N: {tlv_type: 0, domain: D, fields: {}}}",
        "2:26 M: type id 999 is in the range `core`⏎2:69 N: type id 0 is outside the range `app`⏎",
    ),
    ("messages: [{name: M, id: 1001, fields: []}, {name: N, fields: []}]", "1:52 N: type id 1001 is taken⏎"),
    (
        "tag_ranges: {app: 65535-65535}⏎messages: [{name: M, fields: []}, {name: N, fields: []}]",
        "2:42 N: no type id is left for it⏎",
    ),
    ("messages: [{name: M, id: 1, type_id: 2, fields: []}]", "1:29 M: a second type id⏎"),
    // Names.
    (
        "messages: {struct-: {tlv_type: 1, domain: D, fields: {r#type: {type: u8}, 2x: {type: u8}, é: {type: u8}, \"\": {type: u8}}}}",
        "1:12 `struct-` is not an identifier (use ASCII letters, digits and underscores, and no digit first)⏎1:55 `r#type` is not an identifier (use ASCII letters, digits and underscores, and no digit first)⏎1:75 `2x` is not an identifier (use ASCII letters, digits and underscores, and no digit first)⏎1:91 `é` is not an identifier (use ASCII letters, digits and underscores, and no digit first)⏎1:106 `` is not an identifier (use ASCII letters, digits and underscores, and no digit first)⏎",
    ),
    (
        "messages: {TextMessage: {tlv_type: 1, domain: D, fields: {}}, Text_Message: {tlv_type: 2, domain: D, fields: {}}}",
        "1:63 two messages `Text_Message`⏎",
    ),
    (
        "messages: {M: {tlv_type: 1, domain: D, fields: {}}, M: {tlv_type: 2, domain: D, fields: {f: {type: u8}}}}",
        "1:53 `M` is given twice⏎",
    ),
    (
        "messages: [{name: M, fields: [{name: f, type: u8}, {name: f, type: u8}]}, {name: M, fields: []}]",
        "1:59 M.f is given twice⏎1:82 two messages `M`⏎",
    ),
    // Sizes.
    (
        "messages: {M: {tlv_type: 1, domain: D, fields: {f: {type: '[u8; 16777216]'}, g: {type: u8}}}}",
        "1:78 M.g ends beyond 16777216 bytes⏎",
    ),
    (
        "messages: {M: {tlv_type: 1, domain: D, fields: {f: {type: '[[[[u8; 16777216]; 16777216]; 16777216]; 2]'}}}}",
        "1:49 M.f ends beyond 16777216 bytes⏎",
    ),
    ("messages: {M: {tlv_type: 1, domain: ' ', fields: {}}}", "1:37 M: `domain` is empty⏎"),
    ("messages:\r  M: {tlv_type: 1}", "1:10 a carriage return alone (end lines with LF, or with CR and LF)⏎"),
    // YAML that contracts do not allow.
    ("messages: {M: &m {tlv_type: 1}}", "1:18 anchors are not allowed in a contract file⏎"),
    ("messages: {M: *m}", "1:15 not YAML: while parsing node, found unknown anchor⏎"),
    ("messages: !!map {}", "1:17 YAML tags are not allowed in a contract file⏎"),
    ("%YAML 1.2⏎---⏎messages: {}", "1:1 not YAML: YAML directives are disallowed⏎"),
    ("messages: {}⏎---⏎messages: {}", "2:1 a second document is not allowed in a contract file⏎"),
    ("? [a]⏎: 1", "1:3 a key must be a name⏎"),
    ("{[a]: 1}", "1:2 a key must be a name⏎"),
    ("messages: {M: [}", "1:15 not YAML: mismatched bracket '[' closed by '}'⏎"),
    ("messages:⏎\tM: 1", "2:2 not YAML: tabs disallowed within this context (block indentation)⏎"),
    ("messages: \"", "1:11 not YAML: unclosed quote⏎"),
];

/// Types and validations of a field, and their diagnostics: the type begins at 5:24, the first constraint at 6:20.
const WRONG_FIELDS: &[(&str, &str, &str)] = &[
    ("u46", "", "5:24 M.f: unknown type `u46` (did you mean `u64`?)⏎"),
    ("'u46'", "", "5:25 M.f: unknown type `u46` (did you mean `u64`?)⏎"),
    ("string", "", "5:24 M.f: unknown type `string` (did you mean `String`?)⏎"),
    ("usize", "", "5:24 M.f: unknown type `usize` (its width depends on the machine; use `u64`)⏎"),
    ("Strnig", "", "5:24 M.f: unknown type `Strnig` (did you mean `String`?)⏎"),
    ("int32", "", "5:24 M.f: unknown type `int32` (did you mean `i32`?)⏎"),
    ("complex", "", "5:24 M.f: unknown type `complex`⏎"),
    ("M", "", "5:24 M.f: unknown type `M` (a message cannot contain itself)⏎"),
    ("''", "", "5:24 M.f: `type` is empty⏎"),
    ("'u8 u8'", "", "5:28 M.f: expected nothing more in the type, found `u`⏎"),
    ("'[u8; 0]'", "", "5:30 M.f: `0` is not a number from 1 to 16777216⏎"),
    ("'[u8]'", "", "5:28 M.f: expected `;` in the type, found `]`⏎"),
    ("'[u8; N]'", "", "5:30 M.f: `N` is not a number from 1 to 16777216⏎"),
    ("'[u8; 20'", "", "5:32 M.f: expected `]` in the type, found its end⏎"),
    ("'[String; 2]'", "", "5:26 M.f: an element must have a fixed size; text and lists have none⏎"),
    ("'Vec<Vec<u8>>'", "", "5:29 M.f: an element must have a fixed size; text and lists have none⏎"),
    ("'Vec<u8'", "", "5:31 M.f: expected `>` in the type, found its end⏎"),
    ("Vec", "", "5:27 M.f: expected `<` in the type, found its end⏎"),
    ("'FixedVec<u8, 65536>'", "", "5:38 M.f: `65536` is not a number from 1 to 65535⏎"),
    ("'FixedVec<u9, 4>'", "", "5:34 M.f: unknown type `u9` (did you mean `u8`?)⏎"),
    ("FixedStr<0>", "", "5:33 M.f: `0` is not a number from 1 to 65535⏎"),
    ("'[[[[[[[[[u8; 1]; 1]; 1]; 1]; 1]; 1]; 1]; 1]; 1]'", "", "5:34 M.f: a type nested more than 8 deep⏎"),
    ("Vec<u32>", "", "5:14 M.f: a list without a bound (`validation: [max_length: N]`)⏎"),
    ("String", "max_length: -1", "6:32 M.f: `max_length` must be a whole number from 1 to 65535, not `-1`⏎"),
    ("String", "max_length: 0", "6:32 M.f: `max_length` must be a whole number from 1 to 65535, not `0`⏎"),
    (
        "String",
        "max_length: 65536",
        "6:32 M.f: `max_length` must be a whole number from 1 to 65535, not `65536`⏎",
    ),
    (
        "String",
        "max_length: '8'",
        "6:32 M.f: `max_length` must be a whole number from 1 to 65535, not text in quotes (without quotes)⏎",
    ),
    (
        "String",
        "max_length: 8.5",
        "6:32 M.f: `max_length` must be a whole number from 1 to 65535, not `8.5`⏎",
    ),
    (
        "String",
        "max_length: many",
        "6:32 M.f: `max_length` must be a whole number from 1 to 65535, not `many`⏎",
    ),
    ("String", "max_length: ", "6:30 M.f: `max_length` must be a whole number from 1 to 65535, not nothing⏎"),
    (
        "String",
        "max_length: [8]",
        "6:32 M.f: `max_length` must be a whole number from 1 to 65535, not a list⏎",
    ),
    ("FixedStr<8>", "max_length: 9", "6:32 M.f: `max_length` must be a whole number from 1 to 8, not `9`⏎"),
    ("u8", "max_length: 8", "6:20 M.f: `max_length` applies to text and lists only⏎"),
    ("'[u8; 4]'", "not_empty: true", "6:20 M.f: `not_empty` applies to text and lists only⏎"),
    (
        "String",
        "not_zero: true",
        "6:20 M.f: `not_zero` applies to numbers and arrays only (did you mean `not_empty`?)⏎",
    ),
    ("bool", "not_zero: true", "6:20 M.f: `not_zero` applies to numbers and arrays only⏎"),
    ("String", "not_empty: 1", "6:31 M.f: `not_empty` must be `true` or `false`, not `1`⏎"),
    ("String", "min: 1", "6:20 M.f: `min` applies to numbers only⏎"),
    ("String", "min_length: 5, max_length: 4", "6:32 M.f: `min_length` 5 is above the 4 that fit⏎"),
    ("String", "min_length: 33", "6:32 M.f: `min_length` 33 is above the 32 that fit⏎"),
    ("String", "max_length: 4, max_length: 5", "6:35 M.f: `max_length` is given twice⏎"),
    ("u8", "min: 2, max: 1", "6:25 M.f: `min` 2 is above `max` 1⏎"),
    ("u8", "max: 256", "6:25 M.f: `max` must be a whole number from 0 to 255, not `256`⏎"),
    ("u8", "min: 0.0", "6:25 M.f: `min` must be a whole number from 0 to 255, not `0.0`⏎"),
    ("i8", "min: -129", "6:25 M.f: `min` must be a whole number from -128 to 127, not `-129`⏎"),
    ("f64", "min: .inf", "6:25 M.f: `min` must be a finite number, not `.inf`⏎"),
    ("f64", "max: nan", "6:25 M.f: `max` must be a finite number, not `nan`⏎"),
    ("f64", "max: 'x'", "6:25 M.f: `max` must be a finite number, not text in quotes (without quotes)⏎"),
    ("f64", "min: 1.5, max: 1e0", "6:25 M.f: `min` 1.5 is above `max` 1.0⏎"),
    ("f64", "min: 1e300, max: 1", "6:25 M.f: `min` 1e300 is above `max` 1.0⏎"),
    ("f32", "max: 1e300", "6:25 M.f: `max` must be a number in the range of f32, not `1e300`⏎"),
    ("u8", "not_zero: true, max: 0", "5:14 M.f: `not_zero`, `min` and `max` exclude every value⏎"),
    ("i8", "not_zero: true, min: 0, max: 0", "5:14 M.f: `not_zero`, `min` and `max` exclude every value⏎"),
    ("u8", "7", "6:20 M.f: a validation must be a mapping, not `7`⏎"),
];

#[test]
fn every_wrong_file_is_told_what_and_where() {
    for (text, expected) in WRONG {
        assert_eq!(told(&bad(&text.replace('⏎', "\n"))), expected.replace('⏎', "\n"), "{text}");
    }
}

#[test]
fn every_wrong_field_is_told_what_and_where() {
    for (ty, validation, expected) in WRONG_FIELDS {
        assert_eq!(told(&bad(&field(ty, validation))), expected.replace('⏎', "\n"), "{ty} {validation}");
    }
}

/// As rustc shows it, with both places of a duplicate.
#[test]
fn an_error_shows_its_line_with_the_place_marked() {
    let text = "\
# Messages of a game
messages:
  Login:
    tlv_type: 1000
    domain: Game
    fields:
      player_id: {type: u46}
  Logout:
    tlv_type: 1000
    domain: Game
    fields:
      2nd: {type: u8}
      reason:
        type: String
        validation: [max_lenght: 8]
";
    let expected = "\
error: Login.player_id: unknown type `u46`
 --> contracts.yaml:7:25
  |
7 |       player_id: {type: u46}
  |                         ^^^
  |
  = help: did you mean `u64`?

error: Logout: type id 1000 is taken
 --> contracts.yaml:9:15
  |
9 |     tlv_type: 1000
  |               ^^^^
  |
 ::: contracts.yaml:4:15
  |
4 |     tlv_type: 1000
  |               ---- by this message

error: `2nd` is not an identifier
  --> contracts.yaml:12:7
   |
12 |       2nd: {type: u8}
   |       ^^^
   |
   = help: use ASCII letters, digits and underscores, and no digit first

warning: Logout.reason: `max_lenght` is not checked
  --> contracts.yaml:15:22
   |
15 |         validation: [max_lenght: 8]
   |                      ^^^^^^^^^^
   |
   = help: did you mean `max_length`?";
    assert_eq!(bad(text).to_string(), expected);
    assert_eq!(format!("{:?}", bad(text)), expected, "what a main shows that returns it");
    let colored = bad(text).to_string_colored();
    assert!(colored.contains("\u{1b}[") && colored.contains("player_id"), "{colored}");
}

/// The file cannot send control characters to a terminal.
#[test]
fn control_characters_are_shown_and_not_sent() {
    let text = r#"messages: {M: {tlv_type: 1, domain: D, fields: {"\e[31m": {type: "\e[31m\n"}}}}"#;
    let shown = bad(text).to_string();
    assert!(shown.contains("`\\u{1b}[31m`") && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn a_file_that_is_no_text_or_beyond_a_limit_is_refused_before_it_is_parsed() {
    let large = "#".repeat(super::MAX_FILE + 1);
    assert_eq!(told(&bad(&large)), "a file of 1048577 bytes: contracts have at most 1048576\n");
    assert_eq!(
        bad(&large).to_string(),
        "error: a file of 1048577 bytes: contracts have at most 1048576\n--> contracts.yaml"
    );
    let wide = format!("messages:\n  M: {}", "a".repeat(super::MAX_LINE));
    assert_eq!(told(&bad(&wide)), "2:1 a line of 16389 bytes: contracts have at most 16384\n");
    let text = [b"messages:\n  M: ", &[0xFF_u8][..]].concat();
    let binary = Schema::parse("contracts.yaml", text).unwrap_err();
    assert_eq!(told(&binary), "2:6 the text from here on is not UTF-8\n");
}

#[test]
fn the_first_errors_are_shown_and_the_others_counted() {
    let mut text = "messages:\n".to_owned();
    for index in 0..80 {
        writeln!(text, "  M{index}: {{tlv_type: {index}, domain: D, fields: {{f: {{type: u7}}}}}}").unwrap();
    }
    let all = bad(&text);
    assert_eq!((all.iter().len(), all.left_out()), (50, 30));
    assert!(all.to_string().ends_with("\n\n... and at least 30 more"));
}

#[test]
fn both_dialects_of_a_file_say_the_same() {
    let map = include_str!("../../../tests/contracts/examples.yaml");
    let list = include_str!("../../../tests/contracts/examples-list.yaml");
    let (map, list) = (Schema::parse("map", map).unwrap(), Schema::parse("list", list).unwrap());
    assert_eq!((map.dialect(), list.dialect()), (Dialect::Map, Dialect::List));
    assert_eq!(map.messages(), list.messages());
    assert!(map.warnings().is_empty() && list.warnings().is_empty());
    assert_eq!((map.id(), map.version(), map.min_compatible()), (Some(0x4D59_4345), Some(1), Some(1)));
    assert_eq!((list.id(), list.version(), list.min_compatible()), (None, None, None));
}

#[test]
fn a_dialect_may_be_demanded() {
    let map = include_str!("../../../tests/contracts/game.yaml");
    assert!(Schema::parse_as(Dialect::Map, "game.yaml", map).is_ok());
    let error = Schema::parse_as(Dialect::List, "game.yaml", map).unwrap_err();
    assert_eq!(told(&error), "11:3 `messages` must be a list in the list dialect, not a mapping\n");
}

#[test]
fn messages_of_a_list_are_numbered_by_their_place() {
    let ids = |text: &str| -> Vec<u16> {
        Schema::parse("list", text).unwrap().messages().iter().map(|message| message.type_id).collect()
    };
    assert_eq!(ids(include_str!("../../../tests/contracts/ledger-list.yaml")), [1000, 1001, 1002]);
    let some = "messages: [{name: M, fields: []}, {name: N, id: 2500, fields: []}, {name: O, fields: []}]";
    assert_eq!(ids(some), [1000, 2500, 1002]);
    assert_eq!(ids(&format!("tag_ranges: {{app: 2000-3000}}\n{some}")), [2000, 2500, 2002]);
}

#[test]
fn a_message_has_what_its_file_says() {
    let text = include_str!("../../../tests/contracts/defi.yaml");
    let schema = Schema::parse("defi.yaml", text).unwrap();
    assert!(schema.warnings().is_empty(), "{}", schema.warnings());
    let digest: String = schema.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "f8f73a58fd69906f61c7e8658bd7a4c8a9608939073beb4c9c33701c99106a31");
    let names: Vec<_> =
        schema.messages().iter().map(|message| (message.name.as_str(), message.type_id)).collect();
    assert_eq!(names, [("InstrumentMeta", 1018), ("PoolStateUpdate", 1011), ("ArbitrageSignal", 1020)]);
    let [meta, state, signal] = schema.messages() else { panic!("three messages") };
    assert_eq!((meta.domain.as_str(), meta.topic.as_str()), ("MarketData", "marketdata"));
    assert_eq!(meta.description, "Token metadata (symbol, decimals, chain)");
    assert_eq!(meta.constant_name(), "INSTRUMENT_META");
    let [address, symbol, decimals, chain] = &meta.fields[..] else { panic!("four fields") };
    assert_eq!(address.ty, Type::Array(Box::new(Type::U8), 20));
    assert_eq!(address.constraints, Constraints { not_zero: true, ..Constraints::default() });
    assert_eq!((symbol.name.as_str(), &symbol.ty), ("symbol", &Type::FixedStr { slots: 32 }));
    assert_eq!(symbol.description, "Token symbol (e.g., WETH, USDC)");
    assert_eq!(
        symbol.constraints,
        Constraints {
            max_length: Some(32),
            not_empty: true,
            other: vec![("no_0x_prefix".to_owned(), "true".to_owned())],
            ..Constraints::default()
        }
    );
    assert_eq!(
        (decimals.constraints.min, decimals.constraints.max),
        (Some(Bound::Integer(1)), Some(Bound::Integer(30)))
    );
    assert_eq!(chain.constraints.other, [("known_chain".to_owned(), "true".to_owned())]);
    assert_eq!(state.fields.iter().filter(|field| field.optional).count(), 5);
    let path = &signal.fields[1];
    assert_eq!(path.ty.to_string(), "FixedVec<[u8; 20], 4>");
    assert_eq!((path.constraints.min_length, path.constraints.max_length), (Some(2), Some(4)));
    assert_eq!(signal.fields[2].constraints.min, Some(Bound::Float(0.0)));
}

#[test]
fn a_description_may_be_empty_or_of_many_lines() {
    let described = |description: &str| {
        let text = format!(
            "messages:\n  M:\n    tlv_type: 1\n    domain: D\n    fields: {{}}\n    description:{description}\n"
        );
        Schema::parse("contracts.yaml", text).unwrap().messages()[0].description.clone()
    };
    assert_eq!(["", " ''", " ~"].map(described), ["", "", ""]);
    assert_eq!(described(" |\n      a\n      b"), "a\nb\n");
    assert_eq!(described(" 7"), "7");
}

#[test]
fn lists_and_text_without_a_bound_have_one() {
    let bound = |ty: &str| {
        let schema = Schema::parse("contracts.yaml", field(ty, "")).unwrap();
        schema.messages()[0].fields[0].ty.to_string()
    };
    assert_eq!(bound("String"), "FixedStr<32>");
    assert_eq!(bound("Vec<u8>"), "FixedVec<u8, 16>");
    assert_eq!(bound("'Vec<[u8; 7]>'"), "FixedVec<[u8; 7], 4>");
    assert_eq!(bound("Vec<U256>"), "FixedVec<U256, 4>");
}

#[test]
fn a_doubtful_file_is_read_with_warnings() {
    let text = "\
tag_ranges: {core: 1-999, app: 1000-49999, experimental: 50000-65535}
messages:
  M:
    tlv_type: 50000
    description: no domain
    fields: {f: {type: String, optonal: true, validation: [max_lenght: 8, known_chain: true]}}
";
    let schema = Schema::parse("contracts.yaml", text).unwrap();
    assert_eq!(
        told(schema.warnings()),
        "3:3 warning: M: `domain` is missing\n\
         4:15 warning: M: type id 50000 is in the range `experimental`\n\
         6:32 warning: the key `optonal` is ignored (did you mean `optional`?)\n\
         6:60 warning: M.f: `max_lenght` is not checked (did you mean `max_length`?)\n"
    );
    let message = &schema.messages()[0];
    assert_eq!((message.domain.as_str(), message.topic.as_str()), ("Default", "default"));
}

#[test]
fn a_constraint_under_another_common_name_is_told() {
    for (key, meant) in [
        ("max_len", "max_length"),
        ("maxItems", "max_length"),
        ("minimum", "min"),
        ("MAX", "max"),
        ("not-empty", "not_empty"),
        ("nonzero", "not_zero"),
    ] {
        let schema = Schema::parse("contracts.yaml", field("u8", &format!("{key}: 1"))).unwrap();
        let told = told(schema.warnings());
        assert_eq!(told, format!("6:20 warning: M.f: `{key}` is not checked (did you mean `{meant}`?)\n"));
    }
    let schema = Schema::parse("contracts.yaml", field("u8", "known_chain: true")).unwrap();
    assert!(schema.warnings().is_empty());
}

#[test]
fn lines_may_end_with_a_carriage_return_and_a_line_feed() {
    let text = include_str!("../../../tests/contracts/examples.yaml");
    let schema = Schema::parse("crlf", text.replace('\n', "\r\n")).unwrap();
    assert_eq!(schema.messages(), Schema::parse("lf", text).unwrap().messages());
}

#[test]
fn a_file_of_the_largest_size_is_read_whole() {
    let mut text = "messages:\n".to_owned();
    let mut messages = 0;
    while text.len() + 4000 < super::MAX_FILE {
        writeln!(text, "  M{messages}:\n    tlv_type: {messages}\n    domain: D\n    fields:").unwrap();
        for field in 0..100 {
            writeln!(text, "      f{field}: {{type: u8}}").unwrap();
        }
        messages += 1;
    }
    assert_eq!(Schema::parse("large.yaml", &text).unwrap().messages().len(), messages);
}

#[test]
fn what_is_not_looked_for_any_more_is_told() {
    let fields: String =
        (0..60).map(|n| format!("      f{n}: {{type: u8, validation: [max_len: 9]}}\n")).collect();
    let text = format!("messages:\n  M:\n    tlv_type: 1\n    domain: D\n    fields:\n{fields}");
    let schema = Schema::parse("contracts.yaml", text).unwrap();
    assert_eq!((schema.warnings().iter().len(), schema.warnings().left_out()), (50, 1));
}

/// As large as contracts get: everything is read, in its order.
#[test]
fn a_file_of_500_messages_is_read_whole() {
    const TYPES: [&str; 8] = ["u64", "'[u8; 20]'", "String", "U256", "Vec<u8>", "bool", "f64", "i32"];
    let mut text = "messages:\n".to_owned();
    for index in 0..500 {
        let id = 1000 + index;
        writeln!(text, "  Message{index}:\n    tlv_type: {id}\n    domain: D\n    fields:").unwrap();
        for (number, ty) in TYPES.iter().enumerate() {
            writeln!(text, "      field{number}:\n        type: {ty}\n        description: \"Field\"")
                .unwrap();
        }
    }
    let schema = Schema::parse("large.yaml", &text).unwrap();
    assert_eq!(schema.messages().len(), 500);
    for (index, message) in schema.messages().iter().enumerate() {
        assert_eq!(message.name, format!("Message{index}"));
        assert_eq!(usize::from(message.type_id), 1000 + index);
        assert_eq!((message.fields.len(), message.layout(Layout::Packed).size), (8, 137));
    }
}
