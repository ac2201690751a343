//! The names in generated code: those of the contract file as identifiers, and those that it does not give.

use std::collections::BTreeSet;

use super::super::model::{MessageDef, Schema};

/// The only module of this crate that generated code uses.
const RUNTIME: &str = "__codegen";

/// Rust's keywords up to edition 2024 that can be raw identifiers, reserved ones included.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait",
    "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// What cannot be an identifier, not even a raw one.
const NO_IDENTIFIERS: &[&str] = &["Self", "_", "crate", "self", "super"];

/// Identifiers for the contract's names, in their order: the names themselves, raw if they are keywords. What cannot be an
/// identifier has underscores added until no other name is equal.
pub(super) fn identifiers(names: &[&str]) -> Vec<String> {
    let mut taken: BTreeSet<String> = names.iter().map(ToString::to_string).collect();
    let identifier = |name: &&str| match *name {
        _ if KEYWORDS.contains(name) => format!("r#{name}"),
        _ if NO_IDENTIFIERS.contains(name) => free(&mut taken, name.to_string()),
        name => name.to_owned(),
    };
    names.iter().map(identifier).collect()
}

/// The name with underscores added until it is not taken. Then it is.
fn free(taken: &mut BTreeSet<String>, mut name: String) -> String {
    while !taken.insert(name.clone()) {
        name.push('_');
    }
    name
}

/// The names in the code that must not collide with each other.
pub(super) struct Names<'s> {
    /// As the contract file spells them.
    contract: BTreeSet<&'s str>,
    /// The struct of each message.
    pub(super) messages: Vec<String>,
    /// The view of each message.
    pub(super) views: Vec<String>,
    /// What the code calls the module [`RUNTIME`].
    pub(super) runtime: String,
}

impl<'s> Names<'s> {
    pub(super) fn of(schema: &'s Schema) -> Self {
        let contract: Vec<_> = schema.messages().iter().map(|message| message.name.as_str()).collect();
        let messages = identifiers(&contract);
        let mut taken = contract.iter().map(ToString::to_string).chain(messages.iter().cloned()).collect();
        let runtime = free(&mut taken, RUNTIME.to_owned());
        let view =
            |message: &MessageDef| free(&mut taken, format!("{}View", message.name.trim_end_matches('_')));
        let views = schema.messages().iter().map(view).collect();
        Self { contract: BTreeSet::from_iter(contract), messages, views, runtime }
    }

    /// The `use` of the module [`RUNTIME`].
    pub(super) fn import(&self, crate_path: &str) -> String {
        let alias = if self.runtime == RUNTIME { String::new() } else { format!(" as {}", self.runtime) };
        format!("use {crate_path}::{RUNTIME}{alias};")
    }

    /// Whether a message has the name of a primitive type, which serde's derived code does not expect.
    pub(super) fn hide_primitives(&self) -> bool {
        const PRIMITIVES: &[&str] = &[
            "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str", "u8", "u16",
            "u32", "u64", "u128", "usize",
        ];
        PRIMITIVES.iter().any(|name| self.contract.contains(name))
    }

    /// A primitive type, by its path if a message has its name.
    pub(super) fn primitive(&self, name: &str) -> String {
        if self.contract.contains(name) { format!("::core::primitive::{name}") } else { name.to_owned() }
    }
}
