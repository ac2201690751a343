//! How code is generated.

use super::super::layout::Layout;
use super::super::plan::Plan;

/// How [`generate`](super::generate) writes code.
///
/// # Examples
///
/// ```
/// use millpond::schema::{Layout, Options};
///
/// let options = Options::default().layout(Layout::Packed).serde(true);
/// assert_eq!(options.crate_path, "::millpond");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// Where payloads have padding. Default: `repr(C)`.
    pub layout: Layout,
    /// Whether `view` returns an error if a byte that carries no value is not zero: padding, the 6 bytes after a count, or an
    /// unused slot. Then each message has one payload only, and no peer can hide or leak anything in it. Peers that do
    /// not clear their padding are refused. Default: false, such bytes are ignored. They are always written as zeros.
    pub strict_padding: bool,
    /// The pool, planned for the same messages and layout. Default: [`Plan::of_schema`].
    pub plan: Option<Plan>,
    /// Whether owned messages derive serde's traits when the crate that contains the code has its feature `serde`. That
    /// crate then depends on `serde`, and on this crate with its feature `serde`. Default: false.
    ///
    /// Messages with arrays of more than 32 elements are left out, because serde does not support such arrays. So are
    /// all messages if one of them has the name of a primitive type.
    pub serde: bool,
    /// The path of this crate. Default: `::millpond`.
    pub crate_path: String,
    /// The command that regenerates the file, for its head. Default: none.
    pub command: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            layout: Layout::default(),
            strict_padding: false,
            plan: None,
            serde: false,
            crate_path: "::millpond".to_owned(),
            command: None,
        }
    }
}

impl Options {
    /// Sets [`layout`](field@Self::layout).
    #[must_use]
    pub fn layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// Sets [`strict_padding`](field@Self::strict_padding).
    #[must_use]
    pub fn strict_padding(self, strict_padding: bool) -> Self {
        Self { strict_padding, ..self }
    }

    /// Sets [`plan`](field@Self::plan).
    #[must_use]
    pub fn plan(self, plan: Option<Plan>) -> Self {
        Self { plan, ..self }
    }

    /// Sets [`serde`](field@Self::serde).
    #[must_use]
    pub fn serde(self, serde: bool) -> Self {
        Self { serde, ..self }
    }

    /// Sets [`crate_path`](field@Self::crate_path).
    #[must_use]
    pub fn crate_path(self, crate_path: impl Into<String>) -> Self {
        Self { crate_path: crate_path.into(), ..self }
    }

    /// Sets [`command`](field@Self::command).
    #[must_use]
    pub fn command(self, command: Option<String>) -> Self {
        Self { command, ..self }
    }
}
