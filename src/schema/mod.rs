//! Contract files: their messages, the layout of each message in a payload, a pool that fits them, and their Rust
//! code. Free of I/O. Start with the [`guide`].
//!
//! ```text
//!  contracts.yaml ─ read ─▶ Schema ─ plan ─▶ Plan ─▶ BufferPoolConfig
//!                    │        │               │
//!                    │        └─── generate ◀─┘ ─▶ Rust code
//!                    └─▶ Diagnostics
//! ```
//!
//! | file or folder | what it holds; each imports only those above it |
//! |---|---|
//! | `names`, `diagnostics` | which names are allowed; errors and warnings with their lines |
//! | `field` | a field, its type and its constraints |
//! | `layout` | sizes, offsets, padding |
//! | `model` | the checked messages |
//! | `read/` | the parser of both dialects: a bounded YAML tree, then every check |
//! | `plan` | size classes and capacities |
//! | `generate/` | Rust code |
//!
//! A new type begins in `field` (its name and size). It also needs `read/types`, `layout`, `generate/` and, to be read
//! and written, `frame/fields/wire`.
//!
//! The two dialects have the same content in two shapes, and each understands the types of both.
//!
//! | | map dialect | list dialect |
//! |---|---|---|
//! | messages, fields | keys of a mapping, in order | items of a list, with `name` |
//! | type id | `tlv_type`, required | `type_id`, `tlv_type` or `id`; by default numbered by position, from the first id of the range `app`, or from 1000 |
//! | domain | by default the topic is `default`, with a warning | by default the topic is `default` |
//! | fields | required; `{}` is a message of 0 bytes | required; `[]` is a message of 0 bytes |
//! | default layout | `repr(C)` | `repr(C)` |
//!
//! `String` and `Vec<T>` are bounded by `validation: [max_length: N]`. By default a `String` has 32 bytes, a `Vec<u8>` 16,
//! and a `Vec<[u8; N]>` 4 elements; any other list must have a bound. Unknown keys are ignored and unknown constraints
//! are kept, with a warning if they look misspelt. Anchors, aliases, YAML tags, directives and further documents are
//! errors.
//!
//! Invariants:
//! - no input panics, or takes more than a few tenths of a second and tens of megabytes: see [`Schema::parse`];
//! - every error has its place, and all errors are reported at once, at most 50;
//! - every type has a known size: an unknown type is an error and never 0 bytes.
//!
//! Deliberately absent: reading files (the caller has the text), and encoding values (the generated code does).

#[doc = include_str!("guide.md")]
pub mod guide {}

mod diagnostics;
mod field;
mod generate;
mod layout;
mod model;
mod names;
mod plan;
mod read;

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use field::{Bound, Constraints, FieldDef, Type};
pub use generate::{Options, generate};
pub use layout::{FieldLayout, Layout, MessageLayout};
pub use model::{Dialect, MessageDef, Schema};
pub use plan::{Plan, PlanError, PlannedClass, PlannedMessage};
