//! From messages to Rust.
//!
//! What is written stands on [`frame::fields`](crate::frame::fields), so that it is little more than the fields in
//! their order. It names nothing but by its path, so that a message may be called `Option`; and it is formatted as
//! rustfmt would.

mod form;
mod message;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use self::text::{Code, array, comment};
use super::layout::Layout;
use super::model::Schema;
use super::plan::Plan;

/// How [`generate`] writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Where padding is; the default is `repr(C)`.
    pub layout: Layout,
    /// The pool, planned for the same messages and layout; the default is [`Plan::of_schema`].
    pub plan: Option<Plan>,
    /// Derives serde's traits for the owned forms where the crate that the code becomes part of has a feature `serde`;
    /// it depends on `serde` then, and on this crate with its feature `serde`. Not of messages with arrays of more than 32
    /// elements, which serde has no form for, nor where a message is called like a type of the language. The default is
    /// not to.
    pub serde: bool,
    /// The path of this crate; the default is `::millpond`.
    pub crate_path: String,
    /// What the head of the file names as the way to write it anew; none by default.
    pub command: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            layout: Layout::default(),
            plan: None,
            serde: false,
            crate_path: "::millpond".to_owned(),
            command: None,
        }
    }
}

/// A Rust module for the messages of a contract file: the same for the same file and options.
///
/// It has
///
/// - `SCHEMA_DIGEST`, as the [handshake](crate::frame::tlv::handshake) sends it;
/// - `create_buffer_pool_config()`, the pool that was planned;
/// - for each message `<NAME>_MAX_SIZE`, the bytes of its payload, and `<NAME>_BUFFER_CLASS`, the bytes of the buffers
///   that it takes;
/// - for each message its owned form, a struct that implements [`Message`](crate::frame::Message), and its view
///   `<Name>View`, which borrows from a payload whatever is bytes, and turns `into` the owned form. A message of numbers
///   alone is its own view.
///
/// The crate that it becomes part of depends on this one with the feature `messages`.
///
/// An owned form lies in one piece, as large as its payload; that of a message of more than 64 KiB has text, lists and
/// long arrays on the heap, as a stack may be small. They may hold more than fits:
/// [`validate`](crate::frame::Message::validate) says so, and what does not fit is not encoded. A single element of more
/// than 64 KiB passes the stack all the same.
///
/// What a message must hold beside its types is checked by `view` and `validate`, and not by `encode`. A field that is
/// optional and not set, zero or empty, is valid; an array on the heap that was not set is received as zeros.
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
/// and in the crate, where `messages::create_buffer_pool_config()` is then:
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
    pool(&mut code, &plan, options);
    let planned = plan.classes().iter();
    let planned = planned.flat_map(|class| class.messages.iter().map(|message| (&*message.name, class.size)));
    let classes: BTreeMap<&str, usize> = planned.collect();
    for (message, view) in schema.messages().iter().zip(&names.views) {
        let size = message.layout(options.layout).size;
        // What no class is for, the heap gives as it is asked for.
        let class = classes.get(&*message.name).copied().filter(|&class| class >= size).unwrap_or(size);
        message::Writer::new(message, class, view, &names, options).write(&mut code);
    }
    code.text
}

/// What the code calls what the file does not name.
struct Names<'s> {
    messages: BTreeSet<&'s str>,
    /// A message's view each.
    views: Vec<String>,
    /// The modules `frame` and `fields` of this crate.
    frame: String,
    fields: String,
}

impl<'s> Names<'s> {
    fn of(schema: &'s Schema) -> Self {
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
        let (frame, fields) = (free("frame".to_owned()), free("fields".to_owned()));
        let views = schema
            .messages()
            .iter()
            .map(|message| free(format!("{}View", message.name.trim_end_matches('_'))))
            .collect();
        Self { messages, views, frame, fields }
    }

    /// Whether a message is called like a type of the language, which serde's derived code does not expect.
    fn hide_primitives(&self) -> bool {
        const PRIMITIVES: &[&str] = &[
            "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str", "u8", "u16",
            "u32", "u64", "u128", "usize",
        ];
        PRIMITIVES.iter().any(|name| self.messages.contains(name))
    }

    /// A type of the language, which a message may have the name of.
    fn primitive(&self, name: &str) -> String {
        if self.messages.contains(name) { format!("::core::primitive::{name}") } else { name.to_owned() }
    }
}

fn head(code: &mut Code, schema: &Schema, options: &Options, names: &Names<'_>) {
    let layout = match options.layout {
        Layout::Packed => "packed",
        Layout::ReprC => "repr(C)",
    };
    let file = comment(schema.warnings().file());
    code.line(0, &format!("// Generated from {file}, layout {layout}. Do not edit: changes are lost."));
    if let Some(command) = &options.command {
        code.line(0, "//");
        code.line(0, &format!("//     {}", comment(command)));
    }
    code.line(0, "");
    let alias = |module: &str, name: &str| match name == module {
        true => module.to_owned(),
        false => format!("{module} as {name}"),
    };
    let path = &options.crate_path;
    if names.frame == "frame" {
        let fields = alias("fields", &names.fields);
        code.line(0, &format!("use {path}::frame::{{self, {fields}}};"));
    } else {
        code.line(0, &format!("use {path}::{};", alias("frame", &names.frame)));
        code.line(0, &format!("use {path}::frame::{};", alias("fields", &names.fields)));
    }
    code.line(0, "");
    code.line(
        0,
        "/// SHA-256 of the contract file's text: what the two ends of a handshake must have in common.",
    );
    let u8 = names.primitive("u8");
    let bytes: Vec<_> = schema.digest().iter().map(|byte| format!("{byte:#04x}")).collect();
    array(code, 0, &format!("pub const SCHEMA_DIGEST: [{u8}; 32] = "), &bytes);
}

fn pool(code: &mut Code, plan: &Plan, options: &Options) {
    let path = &options.crate_path;
    code.line(0, "");
    code.line(0, "/// The pool of these messages; sizes are in bytes.");
    code.line(0, "///");
    code.line(0, "/// ```text");
    plan.to_string().lines().for_each(|line| code.line(0, format!("/// {line}").trim_end()));
    code.line(0, "/// ```");
    code.line(0, "#[must_use]");
    code.line(0, &format!("pub fn create_buffer_pool_config() -> {path}::BufferPoolConfig {{"));
    let classes = plan.classes().iter().map(|class| format!("({}, {})", class.size, class.capacity));
    let classes: Vec<_> = classes.collect();
    array(code, 4, "let classes = ", &classes);
    match plan.config().memory_limit() {
        usize::MAX => code.line(4, &format!("match {path}::BufferPoolConfig::from_map(classes) {{")),
        limit => {
            code.line(4, &format!("let builder = {path}::BufferPoolConfig::builder();"));
            code.line(4, &format!("let builder = builder.classes(classes).memory_limit({limit});"));
            code.line(4, "match builder.build() {");
        }
    }
    code.line(8, "Ok(config) => config,");
    code.line(8, "Err(error) => unreachable!(\"{error}\"),");
    code.line(4, "}");
    code.line(0, "}");
}
