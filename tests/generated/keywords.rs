// Generated from keywords.yaml, layout repr(C). Do not edit: changes are lost.
//
//     MILLPOND_BLESS=1 cargo test --features schema --lib schema::generate

use ::millpond::__codegen;

/// SHA-256 of the contract file's text, which both peers of a handshake must have in common.
pub const SCHEMA_DIGEST: [u8; 32] = [
    0x8e, 0x18, 0x1f, 0x3e, 0xa1, 0xac, 0xd5, 0xc9, 0x5c, 0x24, 0x55, 0x07, 0x10, 0x1b, 0x20, 0xb4,
    0x69, 0xf8, 0x92, 0x27, 0xcd, 0x91, 0xd0, 0x7b, 0x2e, 0xc8, 0xdd, 0xa2, 0xb2, 0x15, 0xc8, 0x25,
];

/// The pool of these messages; sizes are in bytes.
///
/// ```text
///      class  capacity    idle bytes  unused  messages
///        128       512         65536   79.9%  Keywords 104
///                                               type 3
///                                               Self 2
///                                               Self_ 1
///                                               _ 14
///                                               crate 0
///                                               enum 56
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

/// Bytes of the payload of `Keywords`.
pub const KEYWORDS_MAX_SIZE: usize = 104;

/// Bytes of the buffer that a `Keywords` takes.
pub const KEYWORDS_BUFFER_CLASS: usize = 128;

/// A message of type 1.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
#[allow(non_snake_case, reason = "the contract's name")]
pub struct Keywords {
    /// `FixedStr<32>` at byte 0; `not_empty`.
    pub r#type: __codegen::ArrayString<32>,
    /// `[u8; 5]` at byte 40, optional; `not_zero`.
    #[cfg_attr(feature = "serde", serde(rename = "self"))]
    pub self__: [u8; 5],
    /// `u8` at byte 45.
    pub r#abstract: u8,
    /// `u8` at byte 46.
    pub r#as: u8,
    /// `u8` at byte 47.
    pub r#async: u8,
    /// `u8` at byte 48.
    pub r#await: u8,
    /// `u8` at byte 49.
    pub r#become: u8,
    /// `u8` at byte 50.
    pub r#box: u8,
    /// `u8` at byte 51.
    pub r#break: u8,
    /// `u8` at byte 52.
    pub r#const: u8,
    /// `u8` at byte 53.
    pub r#continue: u8,
    /// `u8` at byte 54.
    pub r#do: u8,
    /// `u8` at byte 55.
    pub r#dyn: u8,
    /// `u8` at byte 56.
    pub r#else: u8,
    /// `u8` at byte 57.
    pub r#enum: u8,
    /// `u8` at byte 58.
    pub r#extern: u8,
    /// `u8` at byte 59.
    pub r#false: u8,
    /// `u8` at byte 60.
    pub r#final: u8,
    /// `u8` at byte 61.
    pub r#fn: u8,
    /// `u8` at byte 62.
    pub r#for: u8,
    /// `u8` at byte 63.
    pub r#gen: u8,
    /// `u8` at byte 64.
    pub r#if: u8,
    /// `u8` at byte 65.
    pub r#impl: u8,
    /// `u8` at byte 66.
    pub r#in: u8,
    /// `u8` at byte 67.
    pub r#let: u8,
    /// `u8` at byte 68.
    pub r#loop: u8,
    /// `u8` at byte 69.
    pub r#macro: u8,
    /// `u8` at byte 70; `max: 250`.
    pub r#match: u8,
    /// `u8` at byte 71.
    pub r#mod: u8,
    /// `u8` at byte 72.
    pub r#move: u8,
    /// `u8` at byte 73.
    pub r#mut: u8,
    /// `u8` at byte 74.
    pub r#override: u8,
    /// `u8` at byte 75.
    pub r#priv: u8,
    /// `u8` at byte 76.
    pub r#pub: u8,
    /// `u8` at byte 77.
    pub r#ref: u8,
    /// `u8` at byte 78.
    pub r#return: u8,
    /// `u8` at byte 79.
    pub r#static: u8,
    /// `u8` at byte 80.
    pub r#struct: u8,
    /// `u8` at byte 81.
    pub r#trait: u8,
    /// `u8` at byte 82.
    pub r#true: u8,
    /// `u8` at byte 83.
    pub r#try: u8,
    /// `u8` at byte 84.
    pub r#typeof: u8,
    /// `u8` at byte 85.
    pub r#unsafe: u8,
    /// `u8` at byte 86.
    pub r#unsized: u8,
    /// `u8` at byte 87.
    pub r#use: u8,
    /// `u8` at byte 88.
    pub r#virtual: u8,
    /// `u8` at byte 89.
    pub r#where: u8,
    /// `u8` at byte 90.
    pub r#while: u8,
    /// `u8` at byte 91.
    pub r#yield: u8,
    /// `u8` at byte 92.
    pub auto: u8,
    /// `u8` at byte 93.
    pub default: u8,
    /// `u8` at byte 94.
    pub macro_rules: u8,
    /// `u8` at byte 95.
    pub raw: u8,
    /// `u8` at byte 96.
    pub safe: u8,
    /// `u8` at byte 97.
    pub union: u8,
    /// `u8` at byte 98; `max: 250`.
    #[cfg_attr(feature = "serde", serde(rename = "Self"))]
    pub Self_: u8,
    /// `u8` at byte 99; `max: 250`.
    #[cfg_attr(feature = "serde", serde(rename = "_"))]
    pub ___: u8,
    /// `u8` at byte 100.
    #[cfg_attr(feature = "serde", serde(rename = "crate"))]
    pub crate_: u8,
    /// `u8` at byte 101.
    #[cfg_attr(feature = "serde", serde(rename = "super"))]
    pub super_: u8,
    /// `u8` at byte 102.
    pub self_: u8,
    /// `u8` at byte 103.
    pub __: u8,
}

/// `Keywords`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(non_snake_case, reason = "the contract's name")]
pub struct KeywordsView<'a> {
    /// `FixedStr<32>`.
    pub r#type: &'a str,
    /// `[u8; 5]`.
    pub self__: &'a [u8; 5],
    /// `u8`.
    pub r#abstract: u8,
    /// `u8`.
    pub r#as: u8,
    /// `u8`.
    pub r#async: u8,
    /// `u8`.
    pub r#await: u8,
    /// `u8`.
    pub r#become: u8,
    /// `u8`.
    pub r#box: u8,
    /// `u8`.
    pub r#break: u8,
    /// `u8`.
    pub r#const: u8,
    /// `u8`.
    pub r#continue: u8,
    /// `u8`.
    pub r#do: u8,
    /// `u8`.
    pub r#dyn: u8,
    /// `u8`.
    pub r#else: u8,
    /// `u8`.
    pub r#enum: u8,
    /// `u8`.
    pub r#extern: u8,
    /// `u8`.
    pub r#false: u8,
    /// `u8`.
    pub r#final: u8,
    /// `u8`.
    pub r#fn: u8,
    /// `u8`.
    pub r#for: u8,
    /// `u8`.
    pub r#gen: u8,
    /// `u8`.
    pub r#if: u8,
    /// `u8`.
    pub r#impl: u8,
    /// `u8`.
    pub r#in: u8,
    /// `u8`.
    pub r#let: u8,
    /// `u8`.
    pub r#loop: u8,
    /// `u8`.
    pub r#macro: u8,
    /// `u8`.
    pub r#match: u8,
    /// `u8`.
    pub r#mod: u8,
    /// `u8`.
    pub r#move: u8,
    /// `u8`.
    pub r#mut: u8,
    /// `u8`.
    pub r#override: u8,
    /// `u8`.
    pub r#priv: u8,
    /// `u8`.
    pub r#pub: u8,
    /// `u8`.
    pub r#ref: u8,
    /// `u8`.
    pub r#return: u8,
    /// `u8`.
    pub r#static: u8,
    /// `u8`.
    pub r#struct: u8,
    /// `u8`.
    pub r#trait: u8,
    /// `u8`.
    pub r#true: u8,
    /// `u8`.
    pub r#try: u8,
    /// `u8`.
    pub r#typeof: u8,
    /// `u8`.
    pub r#unsafe: u8,
    /// `u8`.
    pub r#unsized: u8,
    /// `u8`.
    pub r#use: u8,
    /// `u8`.
    pub r#virtual: u8,
    /// `u8`.
    pub r#where: u8,
    /// `u8`.
    pub r#while: u8,
    /// `u8`.
    pub r#yield: u8,
    /// `u8`.
    pub auto: u8,
    /// `u8`.
    pub default: u8,
    /// `u8`.
    pub macro_rules: u8,
    /// `u8`.
    pub raw: u8,
    /// `u8`.
    pub safe: u8,
    /// `u8`.
    pub union: u8,
    /// `u8`.
    pub Self_: u8,
    /// `u8`.
    pub ___: u8,
    /// `u8`.
    pub crate_: u8,
    /// `u8`.
    pub super_: u8,
    /// `u8`.
    pub self_: u8,
    /// `u8`.
    pub __: u8,
}

impl __codegen::Message for Keywords {
    const TYPE_ID: u16 = 1;
    const TOPIC: &'static str = "keywords";
    const MAX_SIZE: usize = KEYWORDS_MAX_SIZE;
    type View<'a> = KeywordsView<'a>;

    fn validate(&self) -> __codegen::Result<()> {
        __codegen::not_empty("type", self.r#type.len())?;
        __codegen::max("match", self.r#match, 250)?;
        __codegen::max("Self", self.Self_, 250)?;
        __codegen::max("_", self.___, 250)?;
        Ok(())
    }

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put_text::<32>(out, &self.r#type);
        __codegen::put(out, &self.self__);
        __codegen::put(out, &self.r#abstract);
        __codegen::put(out, &self.r#as);
        __codegen::put(out, &self.r#async);
        __codegen::put(out, &self.r#await);
        __codegen::put(out, &self.r#become);
        __codegen::put(out, &self.r#box);
        __codegen::put(out, &self.r#break);
        __codegen::put(out, &self.r#const);
        __codegen::put(out, &self.r#continue);
        __codegen::put(out, &self.r#do);
        __codegen::put(out, &self.r#dyn);
        __codegen::put(out, &self.r#else);
        __codegen::put(out, &self.r#enum);
        __codegen::put(out, &self.r#extern);
        __codegen::put(out, &self.r#false);
        __codegen::put(out, &self.r#final);
        __codegen::put(out, &self.r#fn);
        __codegen::put(out, &self.r#for);
        __codegen::put(out, &self.r#gen);
        __codegen::put(out, &self.r#if);
        __codegen::put(out, &self.r#impl);
        __codegen::put(out, &self.r#in);
        __codegen::put(out, &self.r#let);
        __codegen::put(out, &self.r#loop);
        __codegen::put(out, &self.r#macro);
        __codegen::put(out, &self.r#match);
        __codegen::put(out, &self.r#mod);
        __codegen::put(out, &self.r#move);
        __codegen::put(out, &self.r#mut);
        __codegen::put(out, &self.r#override);
        __codegen::put(out, &self.r#priv);
        __codegen::put(out, &self.r#pub);
        __codegen::put(out, &self.r#ref);
        __codegen::put(out, &self.r#return);
        __codegen::put(out, &self.r#static);
        __codegen::put(out, &self.r#struct);
        __codegen::put(out, &self.r#trait);
        __codegen::put(out, &self.r#true);
        __codegen::put(out, &self.r#try);
        __codegen::put(out, &self.r#typeof);
        __codegen::put(out, &self.r#unsafe);
        __codegen::put(out, &self.r#unsized);
        __codegen::put(out, &self.r#use);
        __codegen::put(out, &self.r#virtual);
        __codegen::put(out, &self.r#where);
        __codegen::put(out, &self.r#while);
        __codegen::put(out, &self.r#yield);
        __codegen::put(out, &self.auto);
        __codegen::put(out, &self.default);
        __codegen::put(out, &self.macro_rules);
        __codegen::put(out, &self.raw);
        __codegen::put(out, &self.safe);
        __codegen::put(out, &self.union);
        __codegen::put(out, &self.Self_);
        __codegen::put(out, &self.___);
        __codegen::put(out, &self.crate_);
        __codegen::put(out, &self.super_);
        __codegen::put(out, &self.self_);
        __codegen::put(out, &self.__);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        let view = KeywordsView {
            r#type: cursor.text::<32>("type")?,
            self__: cursor.bytes("self")?,
            r#abstract: cursor.value("abstract")?,
            r#as: cursor.value("as")?,
            r#async: cursor.value("async")?,
            r#await: cursor.value("await")?,
            r#become: cursor.value("become")?,
            r#box: cursor.value("box")?,
            r#break: cursor.value("break")?,
            r#const: cursor.value("const")?,
            r#continue: cursor.value("continue")?,
            r#do: cursor.value("do")?,
            r#dyn: cursor.value("dyn")?,
            r#else: cursor.value("else")?,
            r#enum: cursor.value("enum")?,
            r#extern: cursor.value("extern")?,
            r#false: cursor.value("false")?,
            r#final: cursor.value("final")?,
            r#fn: cursor.value("fn")?,
            r#for: cursor.value("for")?,
            r#gen: cursor.value("gen")?,
            r#if: cursor.value("if")?,
            r#impl: cursor.value("impl")?,
            r#in: cursor.value("in")?,
            r#let: cursor.value("let")?,
            r#loop: cursor.value("loop")?,
            r#macro: cursor.value("macro")?,
            r#match: cursor.value("match")?,
            r#mod: cursor.value("mod")?,
            r#move: cursor.value("move")?,
            r#mut: cursor.value("mut")?,
            r#override: cursor.value("override")?,
            r#priv: cursor.value("priv")?,
            r#pub: cursor.value("pub")?,
            r#ref: cursor.value("ref")?,
            r#return: cursor.value("return")?,
            r#static: cursor.value("static")?,
            r#struct: cursor.value("struct")?,
            r#trait: cursor.value("trait")?,
            r#true: cursor.value("true")?,
            r#try: cursor.value("try")?,
            r#typeof: cursor.value("typeof")?,
            r#unsafe: cursor.value("unsafe")?,
            r#unsized: cursor.value("unsized")?,
            r#use: cursor.value("use")?,
            r#virtual: cursor.value("virtual")?,
            r#where: cursor.value("where")?,
            r#while: cursor.value("while")?,
            r#yield: cursor.value("yield")?,
            auto: cursor.value("auto")?,
            default: cursor.value("default")?,
            macro_rules: cursor.value("macro_rules")?,
            raw: cursor.value("raw")?,
            safe: cursor.value("safe")?,
            union: cursor.value("union")?,
            Self_: cursor.value("Self")?,
            ___: cursor.value("_")?,
            crate_: cursor.value("crate")?,
            super_: cursor.value("super")?,
            self_: cursor.value("self_")?,
            __: cursor.value("__")?,
        };
        __codegen::not_empty("type", view.r#type.len())?;
        __codegen::max("match", view.r#match, 250)?;
        __codegen::max("Self", view.Self_, 250)?;
        __codegen::max("_", view.___, 250)?;
        Ok(view)
    }
}

impl ::core::convert::From<KeywordsView<'_>> for Keywords {
    fn from(view: KeywordsView<'_>) -> Self {
        Self {
            r#type: __codegen::text(view.r#type),
            self__: *view.self__,
            r#abstract: view.r#abstract,
            r#as: view.r#as,
            r#async: view.r#async,
            r#await: view.r#await,
            r#become: view.r#become,
            r#box: view.r#box,
            r#break: view.r#break,
            r#const: view.r#const,
            r#continue: view.r#continue,
            r#do: view.r#do,
            r#dyn: view.r#dyn,
            r#else: view.r#else,
            r#enum: view.r#enum,
            r#extern: view.r#extern,
            r#false: view.r#false,
            r#final: view.r#final,
            r#fn: view.r#fn,
            r#for: view.r#for,
            r#gen: view.r#gen,
            r#if: view.r#if,
            r#impl: view.r#impl,
            r#in: view.r#in,
            r#let: view.r#let,
            r#loop: view.r#loop,
            r#macro: view.r#macro,
            r#match: view.r#match,
            r#mod: view.r#mod,
            r#move: view.r#move,
            r#mut: view.r#mut,
            r#override: view.r#override,
            r#priv: view.r#priv,
            r#pub: view.r#pub,
            r#ref: view.r#ref,
            r#return: view.r#return,
            r#static: view.r#static,
            r#struct: view.r#struct,
            r#trait: view.r#trait,
            r#true: view.r#true,
            r#try: view.r#try,
            r#typeof: view.r#typeof,
            r#unsafe: view.r#unsafe,
            r#unsized: view.r#unsized,
            r#use: view.r#use,
            r#virtual: view.r#virtual,
            r#where: view.r#where,
            r#while: view.r#while,
            r#yield: view.r#yield,
            auto: view.auto,
            default: view.default,
            macro_rules: view.macro_rules,
            raw: view.raw,
            safe: view.safe,
            union: view.union,
            Self_: view.Self_,
            ___: view.___,
            crate_: view.crate_,
            super_: view.super_,
            self_: view.self_,
            __: view.__,
        }
    }
}

/// Bytes of the payload of `r#type`.
pub const TYPE_MAX_SIZE: usize = 3;

/// Bytes of the buffer that a `r#type` takes.
pub const TYPE_BUFFER_CLASS: usize = 128;

/// A message of type 2.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
#[allow(non_camel_case_types, reason = "the contract's name")]
pub struct r#type {
    /// `u8` at byte 0.
    #[cfg_attr(feature = "serde", serde(rename = "self"))]
    pub self___: u8,
    /// `u8` at byte 1.
    pub self_: u8,
    /// `u8` at byte 2.
    pub self__: u8,
}

/// `r#type` borrows nothing from its payload.
#[allow(non_camel_case_types, reason = "the contract's name")]
pub type typeView<'a> = r#type;

impl __codegen::Message for r#type {
    const TYPE_ID: u16 = 2;
    const TOPIC: &'static str = "keywords";
    const MAX_SIZE: usize = TYPE_MAX_SIZE;
    type View<'a> = Self;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.self___);
        __codegen::put(out, &self.self_);
        __codegen::put(out, &self.self__);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(Self {
            self___: cursor.value("self")?,
            self_: cursor.value("self_")?,
            self__: cursor.value("self__")?,
        })
    }
}

/// Bytes of the payload of `Self__`.
pub const SELF_MAX_SIZE: usize = 2;

/// Bytes of the buffer that a `Self__` takes.
pub const SELF_BUFFER_CLASS: usize = 128;

/// A message of type 3.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename = "Self"))]
pub struct Self__ {
    /// `[u8; 2]` at byte 0.
    pub r#match: [u8; 2],
}

/// `Self__`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SelfView<'a> {
    /// `[u8; 2]`.
    pub r#match: &'a [u8; 2],
}

impl __codegen::Message for Self__ {
    const TYPE_ID: u16 = 3;
    const TOPIC: &'static str = "keywords";
    const MAX_SIZE: usize = SELF_MAX_SIZE;
    type View<'a> = SelfView<'a>;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.r#match);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(SelfView {
            r#match: cursor.bytes("match")?,
        })
    }
}

impl ::core::convert::From<SelfView<'_>> for Self__ {
    fn from(view: SelfView<'_>) -> Self {
        Self {
            r#match: *view.r#match,
        }
    }
}

/// Bytes of the payload of `Self_`.
pub const SELF__MAX_SIZE: usize = 1;

/// Bytes of the buffer that a `Self_` takes.
pub const SELF__BUFFER_CLASS: usize = 128;

/// A message of type 4.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
#[allow(non_snake_case, reason = "the contract's name")]
pub struct Self_ {
    /// `u8` at byte 0.
    #[cfg_attr(feature = "serde", serde(rename = "Self"))]
    pub Self_: u8,
}

/// `Self_` borrows nothing from its payload.
pub type SelfView_<'a> = Self_;

impl __codegen::Message for Self_ {
    const TYPE_ID: u16 = 4;
    const TOPIC: &'static str = "keywords";
    const MAX_SIZE: usize = SELF__MAX_SIZE;
    type View<'a> = Self;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.Self_);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(Self {
            Self_: cursor.value("Self")?,
        })
    }
}

/// Bytes of the payload of `__`.
pub const __MAX_SIZE: usize = 14;

/// Bytes of the buffer that a `__` takes.
pub const __BUFFER_CLASS: usize = 128;

/// A message of type 5.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename = "_"))]
pub struct __ {
    /// `FixedVec<u16, 3>` at byte 0.
    pub r#fn: __codegen::ArrayVec<u16, 3>,
}

/// `__`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View<'a> {
    /// `FixedVec<u16, 3>`.
    pub r#fn: __codegen::List<'a, u16>,
}

impl __codegen::Message for __ {
    const TYPE_ID: u16 = 5;
    const TOPIC: &'static str = "keywords";
    const MAX_SIZE: usize = __MAX_SIZE;
    type View<'a> = View<'a>;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put_list::<_, 3>(out, &self.r#fn);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(View {
            r#fn: cursor.list::<_, 3>("fn")?,
        })
    }
}

impl ::core::convert::From<View<'_>> for __ {
    fn from(view: View<'_>) -> Self {
        Self {
            r#fn: __codegen::list(view.r#fn),
        }
    }
}

/// Bytes of the payload of `crate_`.
pub const CRATE_MAX_SIZE: usize = 0;

/// Bytes of the buffer that a `crate_` takes.
pub const CRATE_BUFFER_CLASS: usize = 128;

/// A message of type 6.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename = "crate"))]
#[allow(non_camel_case_types, reason = "the contract's name")]
pub struct crate_ {}

/// `crate_` borrows nothing from its payload.
#[allow(non_camel_case_types, reason = "the contract's name")]
pub type crateView<'a> = crate_;

impl __codegen::Message for crate_ {
    const TYPE_ID: u16 = 6;
    const TOPIC: &'static str = "keywords";
    const MAX_SIZE: usize = CRATE_MAX_SIZE;
    type View<'a> = Self;

    fn encode(&self, _: &mut impl __codegen::BufMut) {}

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        __codegen::MessageError::check_len(payload, Self::MAX_SIZE)?;
        Ok(Self {})
    }
}

/// Bytes of the payload of `r#enum`.
pub const ENUM_MAX_SIZE: usize = 56;

/// Bytes of the buffer that a `r#enum` takes.
pub const ENUM_BUFFER_CLASS: usize = 128;

/// A message of type 7.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
#[allow(non_camel_case_types, reason = "the contract's name")]
pub struct r#enum {
    /// `FixedStr<32>` at byte 0.
    pub r#let: __codegen::ArrayString<32>,
    /// `FixedVec<u8, 8>` at byte 40.
    pub r#in: __codegen::ArrayVec<u8, 8>,
}

/// `r#enum`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(non_camel_case_types, reason = "the contract's name")]
pub struct enumView<'a> {
    /// `FixedStr<32>`.
    pub r#let: &'a str,
    /// `FixedVec<u8, 8>`.
    pub r#in: &'a [u8],
}

impl __codegen::Message for r#enum {
    const TYPE_ID: u16 = 7;
    const TOPIC: &'static str = "keywords";
    const MAX_SIZE: usize = ENUM_MAX_SIZE;
    type View<'a> = enumView<'a>;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put_text::<32>(out, &self.r#let);
        __codegen::put_list::<_, 8>(out, &self.r#in);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(enumView {
            r#let: cursor.text::<32>("let")?,
            r#in: cursor.bytes_list::<_, 8>("in")?,
        })
    }
}

impl ::core::convert::From<enumView<'_>> for r#enum {
    fn from(view: enumView<'_>) -> Self {
        Self {
            r#let: __codegen::text(view.r#let),
            r#in: __codegen::list(view.r#in.iter().copied()),
        }
    }
}
