//! The names in generated code that the contract file does not give.

use std::collections::BTreeSet;

use super::super::model::Schema;

/// The only module of this crate that generated code uses.
const RUNTIME: &str = "__codegen";

/// The names in the code that must not collide with a message's.
pub(super) struct Names<'s> {
    messages: BTreeSet<&'s str>,
    /// The view of each message.
    pub(super) views: Vec<String>,
    /// What the code calls the module [`RUNTIME`].
    pub(super) runtime: String,
}

impl<'s> Names<'s> {
    pub(super) fn of(schema: &'s Schema) -> Self {
        let messages: BTreeSet<&str> =
            schema.messages().iter().map(|message| message.name.as_str()).collect();
        let mut taken = BTreeSet::new();
        let mut free = |mut name: String| {
            while messages.contains(name.as_str()) || taken.contains(&name) {
                name.push('_');
            }
            taken.insert(name.clone());
            name
        };
        let runtime = free(RUNTIME.to_owned());
        let views = schema
            .messages()
            .iter()
            .map(|message| free(format!("{}View", message.name.trim_end_matches('_'))))
            .collect();
        Self { messages, views, runtime }
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
        PRIMITIVES.iter().any(|name| self.messages.contains(name))
    }

    /// A primitive type, by its path if a message has its name.
    pub(super) fn primitive(&self, name: &str) -> String {
        if self.messages.contains(name) { format!("::core::primitive::{name}") } else { name.to_owned() }
    }
}
