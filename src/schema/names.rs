//! Which names are allowed, and the names of constants made from them.

/// Whether a field or a message can have this name. A keyword can: see [`generate`](super::generate()).
pub(super) fn is_allowed(name: &str) -> bool {
    let letter = |c: char| c == '_' || c.is_ascii_alphabetic();
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
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
