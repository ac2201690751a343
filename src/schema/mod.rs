//! Contract files: which messages there are, how they lie in a payload, the pool that fits them, and
//! their Rust code. Free of I/O. To begin with: [`guide`].
//!
//! ```text
//!                                                                      ┌───── generate ─▶ Rust
//!  contracts.yaml ─ yaml ─▶ tree with places ─ read (map | list) ─▶ Schema ─ layout ─▶ sizes, offsets
//!                     │                          │                     ├───── plan ──▶ BufferPoolConfig
//!                     └────────── report ────────┴─▶ Diagnostics
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `yaml` | a tree that knows its places, bounded |
//! | `report`, `diagnostics` | what is wrong: collected, then shown with its lines |
//! | `read`, `types`, `names` | both dialects, and every check |
//! | `model`, `layout` | what is left: messages, valid because they exist |
//! | `plan` | classes and capacities |
//! | `generate` | Rust code |
//!
//! The two dialects are two shapes of one content; types of both are understood in both.
//!
//! | | map dialect | list dialect |
//! |---|---|---|
//! | messages, fields | keys of a mapping, in order | items of a list, with `name` |
//! | type id | `tlv_type`, required | `type_id`, `tlv_type` or `id`; else the place in the list, from the first of the range `app`, or 1000 |
//! | domain | without it a warning, and the topic `default` | without it the topic `default` |
//! | fields | must be there; `{}` is a message of 0 bytes | must be there; `[]` is a message of 0 bytes |
//! | layout unless chosen | `repr(C)` | `repr(C)` |
//!
//! `String` and `Vec<T>` are bounded by `validation: [max_length: N]`; without it `String` has 32 bytes, `Vec<u8>` 16,
//! and `Vec<[u8; N]>` 4 elements; a list of anything else must be bounded. Keys and validations that mean nothing
//! here are carried or ignored, with a warning if they look like a misspelt one. Anchors, aliases, YAML tags,
//! directives and further documents are errors.
//!
//! Invariants:
//! - no input panics, or takes more than some tenths of a second and tens of megabytes: see [`Schema::parse`];
//! - every error has its place, and as many as can be told are told at once;
//! - no type counts as 0 bytes because it is not known.
//!
//! Absent on purpose: reading files (the caller has the text), and encoding values (that is the generated
//! code's).

#[doc = include_str!("guide.md")]
pub mod guide {}

mod diagnostics;
mod generate;
mod layout;
mod model;
mod names;
mod plan;
mod read;
mod report;
mod types;
mod yaml;

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use generate::{Options, generate};
pub use layout::{FieldLayout, Layout, LayoutError, MAX_MESSAGE_SIZE, MessageLayout, SLOTS_OFFSET};
pub use model::{Bound, Dialect, FieldDef, MessageDef, Schema, Type, Validation};
pub use plan::{Plan, PlanError, PlannedClass, PlannedMessage};
