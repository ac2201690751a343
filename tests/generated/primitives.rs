// Generated from primitives.yaml, layout repr(C). Do not edit: changes are lost.
//
//     MILLPOND_BLESS=1 cargo test --features schema --lib schema::generate

use ::millpond::__codegen;

/// SHA-256 of the contract file's text, which both peers of a handshake must have in common.
pub const SCHEMA_DIGEST: [::core::primitive::u8; 32] = [
    0x21, 0xcc, 0x6b, 0xfe, 0x8c, 0x64, 0xaa, 0xad, 0xdb, 0xb0, 0x60, 0xed, 0xa5, 0xf8, 0x4d, 0x75,
    0xaa, 0x0d, 0x36, 0xcd, 0x95, 0xd7, 0xf5, 0xea, 0x5a, 0x5d, 0xb6, 0x59, 0x15, 0x56, 0x5e, 0xe1,
];

/// The pool of these messages; sizes are in bytes.
///
/// ```text
///      class  capacity    idle bytes  unused  messages
///        128       512         65536   88.8%  u8 3
///                                               str 40
///                                               usize 0
///                              65536  in all
/// ```
#[must_use]
pub fn create_buffer_pool_config() -> __codegen::BufferPoolConfig {
    let classes = [(128, 512)];
    match __codegen::BufferPoolConfig::from_map(classes) {
        Ok(config) => config,
        Err(error) => unreachable!("{error}"),
    }
}

/// Bytes of the payload of `u8`.
pub const U8_MAX_SIZE: ::core::primitive::usize = 3;

/// Bytes of the buffer that a `u8` takes.
pub const U8_BUFFER_CLASS: ::core::primitive::usize = 128;

/// A message of type 8.
#[derive(Debug, Clone, PartialEq)]
// No serde: a message has the name of a primitive type.
#[allow(non_camel_case_types, reason = "the contract's name")]
pub struct u8 {
    /// `u8` at byte 0.
    pub u8: ::core::primitive::u8,
    /// `[u8; 2]` at byte 1.
    pub str: [::core::primitive::u8; 2],
}

/// `u8`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(non_camel_case_types, reason = "the contract's name")]
pub struct u8View<'a> {
    /// `u8`.
    pub u8: ::core::primitive::u8,
    /// `[u8; 2]`.
    pub str: &'a [::core::primitive::u8; 2],
}

impl __codegen::Message for u8 {
    const TYPE_ID: u16 = 8;
    const TOPIC: &'static ::core::primitive::str = "corners";
    const MAX_SIZE: ::core::primitive::usize = U8_MAX_SIZE;
    type View<'a> = u8View<'a>;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.u8);
        __codegen::put(out, &self.str);
    }

    fn view(payload: &[::core::primitive::u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(u8View {
            u8: cursor.value("u8")?,
            str: cursor.bytes("str")?,
        })
    }
}

impl ::core::convert::From<u8View<'_>> for u8 {
    fn from(view: u8View<'_>) -> Self {
        Self {
            u8: view.u8,
            str: *view.str,
        }
    }
}

/// Bytes of the payload of `str`.
pub const STR_MAX_SIZE: ::core::primitive::usize = 40;

/// Bytes of the buffer that a `str` takes.
pub const STR_BUFFER_CLASS: ::core::primitive::usize = 128;

/// A message of type 9.
#[derive(Debug, Clone, PartialEq)]
// No serde: a message has the name of a primitive type.
#[allow(non_camel_case_types, reason = "the contract's name")]
pub struct str {
    /// `FixedStr<32>` at byte 0.
    pub text: __codegen::ArrayString<32>,
}

/// `str`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(non_camel_case_types, reason = "the contract's name")]
pub struct strView<'a> {
    /// `FixedStr<32>`.
    pub text: &'a ::core::primitive::str,
}

impl __codegen::Message for str {
    const TYPE_ID: u16 = 9;
    const TOPIC: &'static ::core::primitive::str = "corners";
    const MAX_SIZE: ::core::primitive::usize = STR_MAX_SIZE;
    type View<'a> = strView<'a>;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put_text::<32>(out, &self.text);
    }

    fn view(payload: &[::core::primitive::u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(strView {
            text: cursor.text::<32>("text")?,
        })
    }
}

impl ::core::convert::From<strView<'_>> for str {
    fn from(view: strView<'_>) -> Self {
        Self {
            text: __codegen::text(view.text),
        }
    }
}

/// Bytes of the payload of `usize`.
pub const USIZE_MAX_SIZE: ::core::primitive::usize = 0;

/// Bytes of the buffer that a `usize` takes.
pub const USIZE_BUFFER_CLASS: ::core::primitive::usize = 128;

/// A message of type 10.
#[derive(Debug, Clone, Copy, PartialEq)]
// No serde: a message has the name of a primitive type.
#[allow(non_camel_case_types, reason = "the contract's name")]
pub struct usize {}

/// `usize` borrows nothing from its payload.
#[allow(non_camel_case_types, reason = "the contract's name")]
pub type usizeView<'a> = usize;

impl __codegen::Message for usize {
    const TYPE_ID: u16 = 10;
    const TOPIC: &'static ::core::primitive::str = "corners";
    const MAX_SIZE: ::core::primitive::usize = USIZE_MAX_SIZE;
    type View<'a> = Self;

    fn encode(&self, _: &mut impl __codegen::BufMut) {}

    fn view(payload: &[::core::primitive::u8]) -> __codegen::Result<Self::View<'_>> {
        __codegen::MessageError::check_len(payload, Self::MAX_SIZE)?;
        Ok(Self {})
    }
}
