//! Hostile YAML: every bomb is refused at once.

use super::super::Schema;
use super::MAX_NODES;

/// The message and the line of the one error.
fn refused(text: &str) -> (String, usize) {
    let errors = Schema::parse("hostile.yaml", text).unwrap_err();
    let mut errors = errors.iter();
    let (Some(error), None) = (errors.next(), errors.next()) else { panic!("one error") };
    (error.message().to_owned(), error.line().unwrap_or(0))
}

#[test]
fn a_bomb_of_aliases_ends_at_the_first_anchor() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    assert_eq!(refused(&bomb), ("anchors are not allowed in a contract file".to_owned(), 1));
}

#[test]
fn nesting_ends_at_its_limit() {
    for (opening, message) in [
        ("[", "not YAML: recursion limit exceeded"),
        ("{a: ", "not YAML: recursion limit exceeded"),
        ("- ", "not YAML: recursion limit exceeded"),
        ("? ", "a key must be a name"),
    ] {
        assert_eq!(refused(&opening.repeat(1000)), (message.to_owned(), 1), "{opening}");
    }
    let mut steps = String::new();
    for indent in 0..100 {
        steps += &format!("{}a:\n", " ".repeat(indent));
    }
    assert_eq!(refused(&steps).1, 25);
}

#[test]
fn values_end_at_their_limit() {
    let message = format!("more than {MAX_NODES} values");
    assert_eq!(refused(&"- a\n".repeat(MAX_NODES)), (message.clone(), MAX_NODES));
    assert_eq!(refused(&format!("a: [\n{}", ":,\n".repeat(MAX_NODES))).0, message);
}

/// All sequences of three pieces, so that each piece stands in every odd place.
#[test]
fn no_piece_of_yaml_panics() {
    let pieces = [
        "a",
        ":",
        " ",
        "\n",
        "- ",
        "? ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"",
        "'",
        "|",
        ">",
        "#",
        "&a",
        "*a",
        "!",
        "%",
        "---",
        "...",
        "\t",
        "\r",
        "\u{feff}",
        "é",
        "\0",
        "messages: ",
        "<<",
        "~",
        "0x",
    ];
    let mut parsed = 0;
    for a in pieces {
        for b in pieces {
            for c in pieces {
                if let Err(errors) = Schema::parse("pieces.yaml", format!("{a}{b}{c}")) {
                    assert!(!errors.is_empty() && errors.to_string().contains("pieces.yaml"));
                    parsed += 1;
                }
            }
        }
    }
    assert_eq!(parsed, pieces.len().pow(3), "none of these is a contract");
}
