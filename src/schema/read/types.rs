//! The spelling of types, the same in both dialects.

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::super::field::Type;
use super::report::{nearest, shown};

/// The deepest nesting of arrays: `[[u8; N]; M]` is 2 deep.
const MAX_DEPTH: usize = 8;

/// The most elements of an array. Its bytes are limited by the size of a message, 16 MiB.
const MAX_ELEMENTS: usize = 1 << 24;

/// Every name that can begin a type. If two are equally close to a misspelt name, the first one is suggested.
pub(super) const NAMES: &[&str] = &[
    "u64", "u32", "u16", "u8", "u128", "i64", "i32", "i16", "i8", "i128", "f64", "f32", "bool", "String",
    "Vec", "U256", "Address", "uint64", "uint32", "uint16", "uint8", "uint128", "uint256", "FixedStr",
    "FixedVec",
];

/// A type as it is spelled; the bound of some comes from `max_length`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spelled {
    /// A complete type.
    Whole(Type),
    /// `String`.
    Text,
    /// `Vec<T>`.
    List(Type),
}

/// An error in the text of a type, and its place in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TypeError<'a> {
    pub(super) message: String,
    pub(super) range: Range<usize>,
    /// The word that is not a type.
    pub(super) unknown: Option<&'a str>,
}

/// Reads all of `text`.
pub(super) fn read(text: &str) -> Result<Spelled, TypeError<'_>> {
    let mut cursor = Cursor { text, at: 0 };
    let spelled = cursor.spelled(0)?;
    match cursor.peek() {
        None => Ok(spelled),
        Some(_) => Err(cursor.wrong("nothing more")),
    }
}

/// A suggestion for a word that is not a type.
pub(super) fn suggestion(word: &str) -> Option<String> {
    let meant = match word {
        "usize" => return Some("its width depends on the machine; use `u64`".to_owned()),
        "isize" => return Some("its width depends on the machine; use `i64`".to_owned()),
        "int8" => "i8",
        "int16" => "i16",
        "int32" | "int" => "i32",
        "int64" | "long" => "i64",
        "int128" => "i128",
        "uint" => "u32",
        "float" | "float32" => "f32",
        "double" | "float64" => "f64",
        "boolean" => "bool",
        "byte" => "u8",
        "bytes" => "Vec<u8>",
        "str" | "text" => "String",
        _ => nearest(word, NAMES.iter().copied())?,
    };
    Some(format!("did you mean `{meant}`?"))
}

impl Spelled {
    /// The slots of `String` or `Vec<T>` without `max_length`; `None` if `max_length` is required.
    pub(super) fn default_slots(&self) -> Option<u16> {
        match self {
            Self::Text => Some(32),
            Self::List(Type::U8) => Some(16),
            Self::List(Type::Address | Type::U256) => Some(4),
            Self::List(Type::Array(element, _)) if **element == Type::U8 => Some(4),
            _ => None,
        }
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next character after spaces.
    fn peek(&mut self) -> Option<char> {
        self.at = self.text.len() - self.rest().trim_start().len();
        self.rest().chars().next()
    }

    fn expect(&mut self, wanted: char) -> Result<(), TypeError<'a>> {
        if self.peek() != Some(wanted) {
            return Err(self.wrong(&format!("`{wanted}`")));
        }
        self.at += wanted.len_utf8();
        Ok(())
    }

    fn wrong(&mut self, expected: &str) -> TypeError<'a> {
        let found = self.peek().map_or_else(|| "its end".to_owned(), |c| shown(c.encode_utf8(&mut [0; 4])));
        let end = self.at + self.rest().chars().next().map_or(0, char::len_utf8);
        self.error(self.at..end, format!("expected {expected} in the type, found {found}"))
    }

    fn error(&self, range: Range<usize>, message: String) -> TypeError<'a> {
        TypeError { message, range, unknown: None }
    }

    fn word(&mut self) -> (&'a str, Range<usize>) {
        self.peek();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let range = self.at..self.at + end;
        self.at = range.end;
        (rest.get(..end).unwrap_or_default(), range)
    }

    /// A count of at least 1 and at most `max`.
    fn count(&mut self, max: usize) -> Result<usize, TypeError<'a>> {
        let (word, range) = self.word();
        if word.is_empty() {
            return Err(self.wrong("a number"));
        }
        match word.parse() {
            Ok(count @ 1..) if count <= max => Ok(count),
            _ => Err(self.error(range, format!("{} is not a number from 1 to {max}", shown(word)))),
        }
    }

    fn slots(&mut self) -> Result<u16, TypeError<'a>> {
        let count = self.count(usize::from(u16::MAX))?;
        Ok(u16::try_from(count).unwrap_or(u16::MAX))
    }

    /// The element type of an array or a list.
    fn element(&mut self, depth: usize) -> Result<Type, TypeError<'a>> {
        self.peek();
        let start = self.at;
        match self.spelled(depth + 1)? {
            Spelled::Whole(ty) if ty.is_fixed() => Ok(ty),
            _ => {
                let message = "an element must have a fixed size; text and lists have none".to_owned();
                Err(self.error(start..self.at, message))
            }
        }
    }

    fn spelled(&mut self, depth: usize) -> Result<Spelled, TypeError<'a>> {
        if depth > MAX_DEPTH {
            return Err(self.error(self.at..self.at, format!("a type nested more than {MAX_DEPTH} deep")));
        }
        if self.peek() == Some('[') {
            self.expect('[')?;
            let element = self.element(depth)?;
            self.expect(';')?;
            let count = self.count(MAX_ELEMENTS)?;
            self.expect(']')?;
            return Ok(Spelled::Whole(Type::Array(Box::new(element), count)));
        }
        let (word, range) = self.word();
        Ok(Spelled::Whole(match word {
            "u8" | "uint8" => Type::U8,
            "u16" | "uint16" => Type::U16,
            "u32" | "uint32" => Type::U32,
            "u64" | "uint64" => Type::U64,
            "u128" | "uint128" => Type::U128,
            "i8" => Type::I8,
            "i16" => Type::I16,
            "i32" => Type::I32,
            "i64" => Type::I64,
            "i128" => Type::I128,
            "f32" => Type::F32,
            "f64" => Type::F64,
            "bool" => Type::Bool,
            "Address" => Type::Address,
            "U256" | "uint256" => Type::U256,
            "String" => return Ok(Spelled::Text),
            "Vec" => {
                self.expect('<')?;
                let element = self.element(depth)?;
                self.expect('>')?;
                return Ok(Spelled::List(element));
            }
            "FixedStr" => {
                self.expect('<')?;
                let slots = self.slots()?;
                self.expect('>')?;
                Type::FixedStr { slots }
            }
            "FixedVec" => {
                self.expect('<')?;
                let element = Box::new(self.element(depth)?);
                self.expect(',')?;
                let slots = self.slots()?;
                self.expect('>')?;
                Type::FixedVec { element, slots }
            }
            "" => return Err(self.wrong("a name")),
            _ => {
                let message = format!("unknown type {}", shown(word));
                return Err(TypeError { message, range, unknown: Some(word) });
            }
        }))
    }
}
