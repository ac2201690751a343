//! From messages to Rust code.
//!
//! The code calls [`__codegen`](crate::__codegen) for each field, so that it is little more than the fields in their
//! order. It uses no name of the prelude, so that a message may be called `Option`, and it is formatted as rustfmt would.

mod form;
mod message;
mod names;
mod options;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;
use std::collections::BTreeMap;

use self::names::Names;
pub use self::options::Options;
use self::text::{Code, array, comment};
use super::model::Schema;
use super::plan::Plan;

/// A Rust module for the messages of a contract file. The same schema and options always give the same code.
///
/// The module has
///
/// - `SCHEMA_DIGEST`, as the [handshake](crate::frame::tlv::handshake) sends it;
/// - `create_buffer_pool_config()`, the planned pool;
/// - for each message `<NAME>_MAX_SIZE`, the size of its payload, and `<NAME>_BUFFER_CLASS`, the size of its buffers, both in
///   bytes;
/// - for each message an owned struct, which implements [`Message`](crate::frame::Message), and a view `<Name>View`, which
///   borrows text and bytes from a payload and converts `into` the owned struct. A message of numbers only is its own
///   view.
///
/// The crate that contains the module depends on this crate with the feature `messages`. Field types are Rust's own, and
/// those of [`frame::fields`](crate::frame::fields).
///
/// An owned struct is as large as its payload. If that is more than 64 KiB, its text, lists and long arrays are on the
/// heap, because a stack may be small. There they can be longer than the payload has room for:
/// [`validate`](crate::frame::Message::validate) then returns an error, and `encode` leaves out what does not fit. A single
/// element of more than 64 KiB still uses the stack.
///
/// A name that is a keyword becomes a raw identifier, such as `r#type`. `self`, `Self`, `super`, `crate` and `_` cannot be
/// raw: they become `self_` and so on, with more underscores if that is a name, too. Errors, topics and serde have the
/// contract's names.
///
/// `view` and `validate` check constraints; `encode` does not. An optional field that is zero or empty counts as unset
/// and is valid. An optional array on the heap that is empty is received as zeros.
///
/// # Examples
///
/// In a `build.rs`, with this crate and its feature `schema` among the build dependencies:
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use millpond::schema::{Options, Schema, generate};
///
/// println!("cargo::rerun-if-changed=contracts.yaml");
/// let schema = Schema::parse("contracts.yaml", std::fs::read("contracts.yaml")?)?;
/// for warning in schema.warnings().iter() {
///     println!("cargo::warning={}", warning.message());
/// }
/// let code = generate(&schema, &Options::default());
/// std::fs::write(format!("{}/messages.rs", std::env::var("OUT_DIR")?), code)?;
/// # Ok(())
/// # }
/// ```
///
/// and in the crate, which then has `messages::create_buffer_pool_config()`:
///
/// ```text
/// mod messages {
///     include!(concat!(env!("OUT_DIR"), "/messages.rs"));
/// }
/// ```
#[must_use]
pub fn generate(schema: &Schema, options: &Options) -> String {
    let by_messages = || match Plan::of_schema(schema, options.layout) {
        Ok(plan) => Cow::Owned(plan),
        Err(error) => unreachable!("every schema has a plan: {error}"),
    };
    let plan = options.plan.as_ref().map_or_else(by_messages, Cow::Borrowed);
    let names = Names::of(schema);
    let mut code = Code::default();
    head(&mut code, schema, options, &names);
    pool(&mut code, &plan, &names);
    let planned = plan.classes().iter();
    let planned = planned.flat_map(|class| class.messages.iter().map(|message| (&*message.name, class.size)));
    let classes: BTreeMap<&str, usize> = planned.collect();
    let names_of = names.messages.iter().zip(&names.views);
    for (message, (name, view)) in schema.messages().iter().zip(names_of) {
        let size = message.layout(options.layout).size;
        // Without a class the heap serves the size that is asked for.
        let class = classes.get(&*message.name).copied().filter(|&class| class >= size).unwrap_or(size);
        message::Writer::new(message, class, name, view, &names, options).write(&mut code);
    }
    code.text
}

fn head(code: &mut Code, schema: &Schema, options: &Options, names: &Names<'_>) {
    let layout = options.layout;
    let file = comment(schema.warnings().file());
    code.line(0, &format!("// Generated from {file}, layout {layout}. Do not edit: changes are lost."));
    if let Some(command) = &options.command {
        code.line(0, "//");
        code.line(0, &format!("//     {}", comment(command)));
    }
    code.line(0, "");
    code.line(0, &names.import(&options.crate_path));
    code.line(0, "");
    code.line(
        0,
        "/// SHA-256 of the contract file's text, which both peers of a handshake must have in common.",
    );
    let u8 = names.primitive("u8");
    let bytes: Vec<_> = schema.digest().iter().map(|byte| format!("{byte:#04x}")).collect();
    array(code, 0, &format!("pub const SCHEMA_DIGEST: [{u8}; 32] = "), &bytes);
}

fn pool(code: &mut Code, plan: &Plan, Names { runtime, .. }: &Names<'_>) {
    code.line(0, "");
    code.line(0, "/// The pool of these messages; sizes are in bytes.");
    code.line(0, "///");
    code.line(0, "/// ```text");
    plan.to_string().lines().for_each(|line| code.line(0, format!("/// {line}").trim_end()));
    code.line(0, "/// ```");
    code.line(0, "#[must_use]");
    code.line(0, &format!("pub fn create_buffer_pool_config() -> {runtime}::BufferPoolConfig {{"));
    let classes = plan.classes().iter().map(|class| format!("({}, {})", class.size, class.capacity));
    let classes: Vec<_> = classes.collect();
    array(code, 4, "let classes = ", &classes);
    match plan.config().memory_limit() {
        usize::MAX => code.line(4, &format!("match {runtime}::BufferPoolConfig::from_map(classes) {{")),
        limit => {
            code.line(4, &format!("let builder = {runtime}::BufferPoolConfig::builder();"));
            code.line(4, &format!("let builder = builder.classes(classes).memory_limit({limit});"));
            code.line(4, "match builder.build() {");
        }
    }
    code.line(8, "Ok(config) => config,");
    code.line(8, "Err(error) => unreachable!(\"{error}\"),");
    code.line(4, "}");
    code.line(0, "}");
}
