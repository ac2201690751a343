//! One message: its constants, its owned struct, its view, and the conversions between them and a payload.

use super::super::field::{Bound, Constraints, FieldDef, Type};
use super::super::layout::MessageLayout;
use super::super::model::MessageDef;
use super::form::{self, Form, MAX_IN_PLACE};
use super::names::{Names, identifiers};
use super::options::Options;
use super::text::Code;

pub(super) struct Writer<'s> {
    message: &'s MessageDef,
    layout: &'s MessageLayout,
    class: usize,
    /// The owned struct.
    name: &'s str,
    view: &'s str,
    names: &'s Names<'s>,
    options: &'s Options,
    fields: Vec<Field<'s>>,
    on_heap: bool,
    /// Whether the view is a type of its own.
    borrows: bool,
}

struct Field<'s> {
    /// In Rust.
    name: String,
    form: Form,
    def: &'s FieldDef,
}

impl<'s> Writer<'s> {
    pub(super) fn new(
        message: &'s MessageDef,
        class: usize,
        name: &'s str,
        view: &'s str,
        names: &'s Names<'s>,
        options: &'s Options,
    ) -> Self {
        let layout = message.layout(options.layout);
        let on_heap = layout.size > MAX_IN_PLACE;
        let names_of: Vec<_> = message.fields.iter().map(|field| field.name.as_str()).collect();
        let fields = identifiers(&names_of).into_iter().zip(&message.fields);
        let fields: Vec<_> =
            fields.map(|(name, def)| Field { name, form: Form::of(def, on_heap), def }).collect();
        let borrows = fields.iter().any(|field| field.form != Form::Value);
        Self { message, layout, class, name, view, names, options, fields, on_heap, borrows }
    }

    pub(super) fn write(&self, code: &mut Code) {
        self.constants(code);
        self.owned(code);
        self.view(code);
        self.message(code);
        if self.borrows {
            self.conversion(code);
        }
    }

    fn constants(&self, code: &mut Code) {
        let (name, constant) = (self.name, self.message.constant_name());
        let usize = self.names.primitive("usize");
        code.line(0, "");
        code.line(0, &format!("/// Bytes of the payload of `{name}`."));
        let size = format!("{};", self.layout.size);
        code.broken(0, &format!("pub const {constant}_MAX_SIZE: {usize} ="), &size);
        code.line(0, "");
        code.line(0, &format!("/// Bytes of the buffer that a `{name}` takes."));
        code.broken(0, &format!("pub const {constant}_BUFFER_CLASS: {usize} ="), &format!("{};", self.class));
    }

    fn owned(&self, code: &mut Code) {
        let MessageDef { description, .. } = self.message;
        let name = self.name;
        code.line(0, "");
        code.doc(0, description);
        if self.on_heap {
            if !description.trim().is_empty() {
                code.line(0, "///");
            }
            code.line(0, "/// Text, lists and long arrays are on the heap. What does not fit the payload is not encoded.");
        }
        if description.trim().is_empty() && !self.on_heap {
            code.line(0, &format!("/// A message of type {}.", self.message.type_id));
        }
        let copy = if self.borrows { "" } else { "Copy, " };
        code.line(0, &format!("#[derive(Debug, Clone, {copy}PartialEq)]"));
        let mut serde = self.options.serde;
        if serde && self.message.fields.iter().any(|field| form::has_long_array(&field.ty)) {
            code.line(0, "// No serde: an array of more than 32 elements.");
            serde = false;
        } else if serde && self.names.hide_primitives() {
            code.line(0, "// No serde: a message has the name of a primitive type.");
            serde = false;
        }
        let rename = |code: &mut Code, indent: usize, name: &str, contract: &str| {
            // serde knows raw identifiers.
            if serde && name.trim_start_matches("r#") != contract {
                code.line(
                    indent,
                    &format!("#[cfg_attr(feature = \"serde\", serde(rename = \"{contract}\"))]"),
                );
            }
        };
        if serde {
            let derive = "derive(::serde::Serialize, ::serde::Deserialize)";
            code.line(0, &format!("#[cfg_attr(feature = \"serde\", {derive})]"));
        }
        rename(code, 0, name, &self.message.name);
        self.allow(code, true);
        if self.message.fields.is_empty() {
            return code.line(0, &format!("pub struct {name} {{}}"));
        }
        code.line(0, &format!("pub struct {name} {{"));
        for (Field { name, form, def: field }, place) in self.fields.iter().zip(&self.layout.fields) {
            code.doc(4, &field.description);
            if !field.description.trim().is_empty() {
                code.line(4, "///");
            }
            let optional = if field.optional { ", optional" } else { "" };
            let constraints = constraints(&field.constraints);
            code.line(4, &format!("/// `{}` at byte {}{optional}{constraints}.", field.ty, place.offset));
            rename(code, 4, name, &field.name);
            let ty = form::owned(&field.ty, *form, self.on_heap, self.names);
            code.broken(4, &format!("pub {name}:"), &format!("{ty},"));
        }
        code.line(0, "}");
    }

    fn view(&self, code: &mut Code) {
        let (name, view) = (self.name, self.view);
        code.line(0, "");
        if !self.borrows {
            code.line(0, &format!("/// `{name}` borrows nothing from its payload."));
            self.allow(code, false);
            code.broken(0, &format!("pub type {view}<'a> ="), &format!("{name};"));
            return;
        }
        code.line(0, &format!("/// `{name}`, read from its payload."));
        code.line(0, "#[derive(Debug, Clone, Copy, PartialEq)]");
        self.allow(code, true);
        code.line(0, &format!("pub struct {view}<'a> {{"));
        for Field { name, form, def: field } in &self.fields {
            match field.description.trim() {
                "" => code.line(4, &format!("/// `{}`.", field.ty)),
                description => code.doc(4, description),
            }
            let ty = form::viewed(&field.ty, *form, self.names);
            code.broken(4, &format!("pub {name}:"), &format!("{ty},"));
        }
        code.line(0, "}");
    }

    /// Allows the contract's names in any case.
    fn allow(&self, code: &mut Code, with_fields: bool) {
        let name = self.message.name.trim_matches('_');
        let is_snake = |name: &str| !name.contains("__") && !name.contains(|c: char| c.is_ascii_uppercase());
        let mut lints = Vec::new();
        if name.starts_with(|c: char| c.is_ascii_lowercase()) || name.contains('_') {
            lints.push("non_camel_case_types");
        }
        if with_fields && self.message.fields.iter().any(|field| !is_snake(field.name.trim_matches('_'))) {
            lints.push("non_snake_case");
        }
        if name.len() > 2 && name.chars().all(|c| c.is_ascii_uppercase()) {
            lints.push("clippy::upper_case_acronyms");
        }
        for lint in lints {
            code.line(0, &format!("#[allow({lint}, reason = \"the contract's name\")]"));
        }
    }

    fn message(&self, code: &mut Code) {
        let Self { message, names: Names { runtime, .. }, .. } = self;
        code.line(0, "");
        let bounds = message.fields.iter().flat_map(|field| [field.constraints.min, field.constraints.max]);
        if bounds.flatten().any(|bound| matches!(bound, Bound::Float(value) if value.fract() != 0.0)) {
            code.line(0, "#[allow(clippy::approx_constant, reason = \"the contract's number\")]");
        }
        code.implement(&format!("{runtime}::Message"), self.name);
        let [u16, usize, str, u8] = ["u16", "usize", "str", "u8"].map(|name| self.names.primitive(name));
        code.line(4, &format!("const TYPE_ID: {u16} = {};", message.type_id));
        code.broken(4, &format!("const TOPIC: &'static {str} ="), &format!("{:?};", message.topic));
        code.broken(
            4,
            &format!("const MAX_SIZE: {usize} ="),
            &format!("{}_MAX_SIZE;", message.constant_name()),
        );
        let lifetime = if self.borrows { "<'a>" } else { "" };
        let view = if self.borrows { self.view } else { "Self" };
        code.broken(4, "type View<'a> =", &format!("{view}{lifetime};"));

        let mut checks = Code::default();
        self.checks(&mut checks, "self", self.on_heap);
        if !checks.text.is_empty() {
            code.line(0, "");
            code.line(4, &format!("fn validate(&self) -> {runtime}::Result<()> {{"));
            code.text.push_str(&checks.text);
            code.line(8, "Ok(())");
            code.line(4, "}");
        }

        code.line(0, "");
        if message.fields.is_empty() {
            code.line(4, &format!("fn encode(&self, _: &mut impl {runtime}::BufMut) {{}}"));
        } else {
            code.line(4, &format!("fn encode(&self, out: &mut impl {runtime}::BufMut) {{"));
            self.puts(code);
            code.line(4, "}");
        }

        code.line(0, "");
        code.line(4, &format!("fn view(payload: &[{u8}]) -> {runtime}::Result<Self::View<'_>> {{"));
        if message.fields.is_empty() {
            code.line(8, &format!("{runtime}::MessageError::check_len(payload, Self::MAX_SIZE)?;"));
            code.line(8, "Ok(Self {})");
        } else {
            self.takes(code, view);
        }
        code.line(4, "}");
        code.line(0, "}");
    }

    fn puts(&self, code: &mut Code) {
        let runtime = &self.names.runtime;
        for (Field { name, form, def: field }, place) in self.fields.iter().zip(&self.layout.fields) {
            if place.padding > 0 {
                code.line(8, &format!("out.put_bytes(0, {});", place.padding));
            }
            let put = match (&field.ty, form) {
                (Type::FixedStr { slots }, _) => format!("put_text::<{slots}>"),
                (Type::FixedVec { slots, .. }, _) => format!("put_list::<_, {slots}>"),
                (Type::Array(_, count), Form::HeapByteArray | Form::HeapArray) => {
                    format!("put_array::<_, {count}>")
                }
                _ => "put".to_owned(),
            };
            code.call(8, &format!("{runtime}::{put}"), &["out", &format!("&self.{name}")], ";");
        }
        if self.layout.tail_padding > 0 {
            code.line(8, &format!("out.put_bytes(0, {});", self.layout.tail_padding));
        }
    }

    fn takes(&self, code: &mut Code, view: &str) {
        let runtime = &self.names.runtime;
        let mut checks = Code::default();
        self.checks(&mut checks, "view", false);
        let is_last = checks.text.is_empty() && self.layout.tail_padding == 0;
        let of = if self.options.strict_padding { "strict" } else { "of" };
        code.line(8, &format!("let mut cursor = {runtime}::Fields::{of}(payload, Self::MAX_SIZE)?;"));
        code.line(8, &if is_last { format!("Ok({view} {{") } else { format!("let view = {view} {{") });
        for (Field { name, form, def: field }, place) in self.fields.iter().zip(&self.layout.fields) {
            let take = match (&field.ty, form) {
                (Type::FixedStr { slots }, _) => format!("text::<{slots}>"),
                (Type::FixedVec { slots, .. }, Form::BytesList) => format!("bytes_list::<_, {slots}>"),
                (Type::FixedVec { slots, .. }, _) => format!("list::<_, {slots}>"),
                (Type::Array(_, count), Form::HeapArray) => format!("array::<_, {count}>"),
                (_, Form::Value) => "value".to_owned(),
                _ => "bytes".to_owned(),
            };
            let take = format!(".{take}(\"{}\")?", field.name);
            if place.padding > 0 {
                let padding = format!(".padding({})?", place.padding);
                code.chain(12, name, "cursor", &[&padding, &take]);
            } else {
                code.chain(12, name, "cursor", &[&take]);
            }
        }
        if is_last {
            return code.line(8, "})");
        }
        code.line(8, "};");
        if self.layout.tail_padding > 0 {
            code.line(8, &format!("cursor.padding({})?;", self.layout.tail_padding));
        }
        code.text.push_str(&checks.text);
        code.line(8, "Ok(view)");
    }

    /// The checks of all constraints; `value` is `self` or `view`.
    fn checks(&self, code: &mut Code, value: &str, on_heap: bool) {
        for Field { name, form, def: field } in &self.fields {
            let place = format!("{value}.{name}");
            let mut checks = self.checks_of(field, *form, value, &place, on_heap);
            let mut indent = 8;
            // The bounds of the type hold even for an unset field.
            if field.optional && checks.iter().any(|check| !check.is_bound) {
                let is_set = match form {
                    Form::Value => format!("!{}::is_zero(&{place})", self.names.runtime),
                    Form::ByteArray => {
                        format!("!{}::is_zero({}{place})", self.names.runtime, reference(value))
                    }
                    _ => format!("!{place}.is_empty()"),
                };
                let (bounds, others): (Vec<_>, Vec<_>) = checks.into_iter().partition(|check| check.is_bound);
                bounds.iter().for_each(|check| check.write(code, indent, self.names));
                code.line(8, &format!("if {is_set} {{"));
                checks = others;
                indent = 12;
            }
            checks.iter().for_each(|check| check.write(code, indent, self.names));
            if indent == 12 {
                code.line(8, "}");
            }
        }
    }

    fn checks_of(&self, field: &FieldDef, form: Form, value: &str, place: &str, on_heap: bool) -> Vec<Check> {
        let Constraints { not_empty, not_zero, min_length, max_length, min, max, .. } = &field.constraints;
        let len = format!("{place}.len()");
        let mut checks = Vec::new();
        let mut check = |constraint: &'static str, value: &str, bound: String, is_bound: bool| {
            let (field, value) = (field.name.clone(), value.to_owned());
            checks.push(Check { constraint, field, value, bound, is_bound });
        };
        match &field.ty {
            Type::FixedStr { slots } | Type::FixedVec { slots, .. } => {
                let most = max_length.unwrap_or(*slots);
                if on_heap || most < *slots {
                    check("max_length", &len, most.to_string(), on_heap);
                }
            }
            Type::Array(_, count) if on_heap && matches!(form, Form::HeapByteArray | Form::HeapArray) => {
                // An unset array is empty.
                check("min_length", &len, count.to_string(), !field.optional);
                check("max_length", &len, count.to_string(), true);
            }
            _ => {}
        }
        if *not_empty && !field.optional {
            check("not_empty", &len, String::new(), false);
        }
        if let Some(least) = min_length {
            check("min_length", &len, least.to_string(), false);
        }
        if *not_zero && !field.optional {
            let (constraint, values) = match form {
                Form::Value => ("not_zero", format!("&{place}")),
                Form::ByteArray => ("not_zero", format!("{}{place}", reference(value))),
                Form::HeapArray if value == "view" => ("any_not_zero", format!("&{place}")),
                _ => ("any_not_zero", format!("&{place}[..]")),
            };
            check(constraint, &values, String::new(), false);
        }
        let number = match field.ty {
            Type::U256 => {
                format!("{}::saturating_u128({}{place})", self.names.runtime, reference(value))
            }
            _ => place.to_owned(),
        };
        for (constraint, bound) in [("min", min), ("max", max)] {
            if let Some(bound) = bound {
                check(constraint, &number, literal(*bound, &field.ty), false);
            }
        }
        checks
    }

    fn conversion(&self, code: &mut Code) {
        let Self { view, names: Names { runtime, .. }, .. } = self;
        let assigned: Vec<_> = self
            .fields
            .iter()
            .map(|Field { name, form, .. }| {
                let place = format!("view.{name}");
                let value = match (form, self.on_heap) {
                    (Form::Value, _) => place,
                    (Form::ByteArray, _) => format!("*{place}"),
                    (Form::Text, false) => format!("{runtime}::text({place})"),
                    (Form::Text, true) => format!("{runtime}::HeapString::from({place})"),
                    (Form::BytesList, false) => format!("{runtime}::list({place}.iter().copied())"),
                    (Form::List, false) => format!("{runtime}::list({place})"),
                    (Form::BytesList | Form::HeapByteArray, _) => format!("{place}.to_vec()"),
                    (Form::List | Form::HeapArray, _) => format!("{place}.iter().collect()"),
                };
                format!("{name}: {value}")
            })
            .collect();
        code.line(0, "");
        code.implement(&format!("::core::convert::From<{view}<'_>>"), self.name);
        let from = format!("fn from(view: {view}<'_>) -> Self {{");
        if from.len() + 4 <= 100 {
            code.line(4, &from);
        } else {
            code.call(4, "fn from", &[&format!("view: {view}<'_>")], " -> Self {");
        }
        code.literal(8, "Self", &assigned);
        code.line(4, "}");
        code.line(0, "}");
    }
}

/// One constraint of one field.
struct Check {
    /// The name of the function that checks it.
    constraint: &'static str,
    field: String,
    value: String,
    /// Empty if the constraint has none.
    bound: String,
    /// Whether it is the bound of the type, which a value on the heap can exceed.
    is_bound: bool,
}

impl Check {
    fn write(&self, code: &mut Code, indent: usize, names: &Names<'_>) {
        let field = format!("\"{}\"", self.field);
        let mut arguments = vec![field.as_str(), self.value.as_str()];
        if !self.bound.is_empty() {
            arguments.push(&self.bound);
        }
        code.call(indent, &format!("{}::{}", names.runtime, self.constraint), &arguments, "?;");
    }
}

/// Arrays of bytes are borrowed in the view already.
fn reference(value: &str) -> &'static str {
    if value == "view" { "" } else { "&" }
}

/// A bound as a literal of the field's type.
fn literal(bound: Bound, ty: &Type) -> String {
    match (bound, ty) {
        (Bound::Float(value), Type::F32) => format!("{:?}", value as f32),
        (Bound::Float(value), _) => format!("{value:?}"),
        (Bound::Integer(value), _) => value.to_string(),
    }
}

/// The constraints of a field as the file spells them.
fn constraints(constraints: &Constraints) -> String {
    let Constraints { not_empty, not_zero, min_length, max_length, min, max, .. } = constraints;
    let mut spelled = Vec::new();
    for (name, holds) in [("not_empty", *not_empty), ("not_zero", *not_zero)] {
        if holds {
            spelled.push(format!("`{name}`"));
        }
    }
    for (name, length) in [("min_length", min_length), ("max_length", max_length)] {
        spelled.extend(length.map(|length| format!("`{name}: {length}`")));
    }
    for (name, bound) in [("min", min), ("max", max)] {
        spelled.extend(bound.map(|bound| format!("`{name}: {bound}`")));
    }
    if spelled.is_empty() { String::new() } else { format!("; {}", spelled.join(", ")) }
}
