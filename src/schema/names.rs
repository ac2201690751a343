//! Which names are allowed, and the names of constants made from them.

/// Rust's strict and reserved keywords up to edition 2024: no field or message can have such a name.
const KEYWORDS: &[&str] = &[
    "Self", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do",
    "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual",
    "where", "while", "yield",
];

/// Why it cannot be a name in Rust, and a name that could be.
pub(super) fn refuse(name: &str) -> Option<(&'static str, String)> {
    if KEYWORDS.contains(&name) {
        return Some(("is a Rust keyword", format!("another name, such as `{name}_`")));
    }
    let letter = |c: char| c == '_' || c.is_ascii_alphabetic();
    let is_name = name.starts_with(letter)
        && name.chars().all(|c| letter(c) || c.is_ascii_digit())
        && name.chars().any(|c| c != '_');
    let what = "use ASCII letters, digits and underscores, and no digit first";
    (!is_name).then(|| ("is not an identifier", what.to_owned()))
}

/// `TextMessage` → `TEXT_MESSAGE`: a word begins at an upper-case letter that follows another kind of character, or that
/// precedes a lower-case letter.
pub(super) fn constant(name: &str) -> String {
    let mut constant = String::new();
    let mut before = '_';
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        let ends_acronym = before.is_uppercase() && rest.peek().is_some_and(|next| next.is_lowercase());
        if c.is_uppercase() && before != '_' && (!before.is_uppercase() || ends_acronym) {
            constant.push('_');
        }
        constant.push(c.to_ascii_uppercase());
        before = c;
    }
    constant
}

#[cfg(test)]
mod tests {
    #[test]
    fn constants_are_named_after_words() {
        for (name, constant) in [
            ("TextMessage", "TEXT_MESSAGE"),
            ("HTTPServer", "HTTP_SERVER"),
            ("U256Value", "U256_VALUE"),
            ("V2", "V2"),
            ("snake_case", "SNAKE_CASE"),
            ("Mixed_Case", "MIXED_CASE"),
        ] {
            assert_eq!(super::constant(name), constant);
        }
    }
}
