// Generated from corners.yaml, layout packed. Do not edit: changes are lost.
//
//     MILLPOND_BLESS=1 cargo test --features schema --lib schema::generate

use ::millpond::__codegen as __codegen_;

/// SHA-256 of the contract file's text, which both peers of a handshake must have in common.
pub const SCHEMA_DIGEST: [u8; 32] = [
    0xb1, 0xa4, 0x08, 0x32, 0xc2, 0x3e, 0x47, 0x7a, 0xa5, 0xf6, 0x01, 0x22, 0x0d, 0x23, 0x10, 0xee,
    0x8b, 0x76, 0x46, 0xf5, 0x90, 0xb7, 0x28, 0x86, 0x96, 0x3f, 0xb8, 0x06, 0x8d, 0x95, 0x40, 0xb8,
];

/// The pool of these messages; sizes are in bytes.
///
/// ```text
///      class  capacity    idle bytes  unused  messages
///        128       512         65536   72.9%  Numbers 89
///                                               Option 97
///                                               OptionView 1
///                                               Message 41
///                                               Result 40
///                                               frame 4
///                                               __codegen 28
///                                               Ok 8
///                                               From 20
///                                               core 20
///                                               snake_case 20
///                                               Self_ 48
///        256       256         65536   34.4%  Constraints 168
///        512       128         65536   32.4%  Lists 346
///      32774         2         65548    8.2%  AMessageWhoseNameIsAsLongAsAnyIs 30080
///     131078         1        131078   42.6%  Large 78348
///                                               GPS 72000
///                             393234  in all
/// ```
#[must_use]
pub fn create_buffer_pool_config() -> __codegen_::BufferPoolConfig {
    let classes = [(128, 512), (256, 256), (512, 128), (32774, 2), (131078, 1)];
    match __codegen_::BufferPoolConfig::from_map(classes) {
        Ok(config) => config,
        Err(error) => unreachable!("{error}"),
    }
}

/// Bytes of the payload of `Numbers`.
pub const NUMBERS_MAX_SIZE: usize = 89;

/// Bytes of the buffer that a `Numbers` takes.
pub const NUMBERS_BUFFER_CLASS: usize = 128;

/// All widths; unaligned on purpose: naïve, 数, é, 👩🔬
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
pub struct Numbers {
    /// `u8` at byte 0.
    pub a: u8,
    /// `u16` at byte 1.
    pub b: u16,
    /// `i8` at byte 3.
    pub c: i8,
    /// `u32` at byte 4.
    pub d: u32,
    /// `bool` at byte 8.
    pub e: bool,
    /// `u64` at byte 9.
    pub f: u64,
    /// `u8` at byte 17.
    pub g: u8,
    /// `u128` at byte 18.
    pub h: u128,
    /// `i16` at byte 34.
    pub i: i16,
    /// `i32` at byte 36.
    pub j: i32,
    /// `i64` at byte 40.
    pub k: i64,
    /// `i128` at byte 48.
    pub l: i128,
    /// `f32` at byte 64.
    pub m: f32,
    /// `f64` at byte 68.
    pub n: f64,
    /// `[u16; 3]` at byte 76.
    pub o: [u16; 3],
    /// `[[bool; 2]; 3]` at byte 82.
    pub p: [[bool; 2]; 3],
    /// `u8` at byte 88.
    pub q: u8,
}

/// `Numbers` borrows nothing from its payload.
pub type NumbersView<'a> = Numbers;

impl __codegen_::Message for Numbers {
    const TYPE_ID: u16 = 1;
    const TOPIC: &'static str = "ecken \"quoted\" \\ börse";
    const MAX_SIZE: usize = NUMBERS_MAX_SIZE;
    type View<'a> = Self;

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put(out, &self.a);
        __codegen_::put(out, &self.b);
        __codegen_::put(out, &self.c);
        __codegen_::put(out, &self.d);
        __codegen_::put(out, &self.e);
        __codegen_::put(out, &self.f);
        __codegen_::put(out, &self.g);
        __codegen_::put(out, &self.h);
        __codegen_::put(out, &self.i);
        __codegen_::put(out, &self.j);
        __codegen_::put(out, &self.k);
        __codegen_::put(out, &self.l);
        __codegen_::put(out, &self.m);
        __codegen_::put(out, &self.n);
        __codegen_::put(out, &self.o);
        __codegen_::put(out, &self.p);
        __codegen_::put(out, &self.q);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(Self {
            a: cursor.value("a")?,
            b: cursor.value("b")?,
            c: cursor.value("c")?,
            d: cursor.value("d")?,
            e: cursor.value("e")?,
            f: cursor.value("f")?,
            g: cursor.value("g")?,
            h: cursor.value("h")?,
            i: cursor.value("i")?,
            j: cursor.value("j")?,
            k: cursor.value("k")?,
            l: cursor.value("l")?,
            m: cursor.value("m")?,
            n: cursor.value("n")?,
            o: cursor.value("o")?,
            p: cursor.value("p")?,
            q: cursor.value("q")?,
        })
    }
}

/// Bytes of the payload of `Lists`.
pub const LISTS_MAX_SIZE: usize = 346;

/// Bytes of the buffer that a `Lists` takes.
pub const LISTS_BUFFER_CLASS: usize = 512;

/// A message of type 2.
#[derive(Debug, Clone, PartialEq)]
// No serde: an array of more than 32 elements.
pub struct Lists {
    /// `FixedVec<u8, 16>` at byte 0.
    pub bytes: __codegen_::ArrayVec<u8, 16>,
    /// `FixedVec<U256, 3>` at byte 24.
    pub keys: __codegen_::ArrayVec<[u8; 32], 3>,
    /// `FixedVec<[[u8; 2]; 3], 2>` at byte 128.
    pub grids: __codegen_::ArrayVec<[[u8; 2]; 3], 2>,
    /// `FixedVec<bool, 5>` at byte 148.
    pub flags: __codegen_::ArrayVec<bool, 5>,
    /// `FixedVec<u128, 2>` at byte 161.
    pub wide: __codegen_::ArrayVec<u128, 2>,
    /// `FixedVec<[f32; 3], 4>` at byte 201.
    pub points: __codegen_::ArrayVec<[f32; 3], 4>,
    /// `[[[u8; 2]; 3]; 4]` at byte 257.
    pub grid: [[[u8; 2]; 3]; 4],
    /// `[u8; 64]` at byte 281.
    pub signature: [u8; 64],
    /// `u8` at byte 345.
    pub last: u8,
}

/// `Lists`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ListsView<'a> {
    /// `FixedVec<u8, 16>`.
    pub bytes: &'a [u8],
    /// `FixedVec<U256, 3>`.
    pub keys: &'a [[u8; 32]],
    /// `FixedVec<[[u8; 2]; 3], 2>`.
    pub grids: &'a [[[u8; 2]; 3]],
    /// `FixedVec<bool, 5>`.
    pub flags: __codegen_::List<'a, bool>,
    /// `FixedVec<u128, 2>`.
    pub wide: __codegen_::List<'a, u128>,
    /// `FixedVec<[f32; 3], 4>`.
    pub points: __codegen_::List<'a, [f32; 3]>,
    /// `[[[u8; 2]; 3]; 4]`.
    pub grid: &'a [[[u8; 2]; 3]; 4],
    /// `[u8; 64]`.
    pub signature: &'a [u8; 64],
    /// `u8`.
    pub last: u8,
}

impl __codegen_::Message for Lists {
    const TYPE_ID: u16 = 2;
    const TOPIC: &'static str = "corners";
    const MAX_SIZE: usize = LISTS_MAX_SIZE;
    type View<'a> = ListsView<'a>;

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put_list::<_, 16>(out, &self.bytes);
        __codegen_::put_list::<_, 3>(out, &self.keys);
        __codegen_::put_list::<_, 2>(out, &self.grids);
        __codegen_::put_list::<_, 5>(out, &self.flags);
        __codegen_::put_list::<_, 2>(out, &self.wide);
        __codegen_::put_list::<_, 4>(out, &self.points);
        __codegen_::put(out, &self.grid);
        __codegen_::put(out, &self.signature);
        __codegen_::put(out, &self.last);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(ListsView {
            bytes: cursor.bytes_list::<_, 16>("bytes")?,
            keys: cursor.bytes_list::<_, 3>("keys")?,
            grids: cursor.bytes_list::<_, 2>("grids")?,
            flags: cursor.list::<_, 5>("flags")?,
            wide: cursor.list::<_, 2>("wide")?,
            points: cursor.list::<_, 4>("points")?,
            grid: cursor.bytes("grid")?,
            signature: cursor.bytes("signature")?,
            last: cursor.value("last")?,
        })
    }
}

impl ::core::convert::From<ListsView<'_>> for Lists {
    fn from(view: ListsView<'_>) -> Self {
        Self {
            bytes: __codegen_::list(view.bytes.iter().copied()),
            keys: __codegen_::list(view.keys.iter().copied()),
            grids: __codegen_::list(view.grids.iter().copied()),
            flags: __codegen_::list(view.flags),
            wide: __codegen_::list(view.wide),
            points: __codegen_::list(view.points),
            grid: *view.grid,
            signature: *view.signature,
            last: view.last,
        }
    }
}

/// Bytes of the payload of `Constraints`.
pub const CONSTRAINTS_MAX_SIZE: usize = 168;

/// Bytes of the buffer that a `Constraints` takes.
pub const CONSTRAINTS_BUFFER_CLASS: usize = 256;

/// A message of type 3.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
pub struct Constraints {
    /// `FixedStr<5>` at byte 0; `not_empty`, `min_length: 2`, `max_length: 5`.
    pub text: __codegen_::ArrayString<5>,
    /// `FixedStr<9>` at byte 13; `max_length: 3`.
    pub short: __codegen_::ArrayString<9>,
    /// `FixedVec<u16, 4>` at byte 30; `min_length: 1`, `max_length: 3`.
    pub list: __codegen_::ArrayVec<u16, 4>,
    /// `i16` at byte 46; `not_zero`, `min: -3`, `max: 7`.
    pub level: i16,
    /// `f32` at byte 48; `min: 0.1`, `max: 0.9`.
    pub ratio: f32,
    /// `U256` at byte 52; `min: 5`, `max: 1000`.
    pub amount: [u8; 32],
    /// `Address` at byte 84; `not_zero`.
    pub owner: [u8; 20],
    /// `[f64; 2]` at byte 104; `not_zero`.
    pub point: [f64; 2],
    /// `FixedStr<4>` at byte 120, optional; `not_empty`, `min_length: 2`.
    pub maybe_text: __codegen_::ArrayString<4>,
    /// `u32` at byte 132, optional; `min: 10`, `max: 20`.
    pub maybe_level: u32,
    /// `U256` at byte 136, optional; `not_zero`, `min: 10`.
    pub maybe_amount: [u8; 32],
}

/// `Constraints`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConstraintsView<'a> {
    /// `FixedStr<5>`.
    pub text: &'a str,
    /// `FixedStr<9>`.
    pub short: &'a str,
    /// `FixedVec<u16, 4>`.
    pub list: __codegen_::List<'a, u16>,
    /// `i16`.
    pub level: i16,
    /// `f32`.
    pub ratio: f32,
    /// `U256`.
    pub amount: &'a [u8; 32],
    /// `Address`.
    pub owner: &'a [u8; 20],
    /// `[f64; 2]`.
    pub point: [f64; 2],
    /// `FixedStr<4>`.
    pub maybe_text: &'a str,
    /// `u32`.
    pub maybe_level: u32,
    /// `U256`.
    pub maybe_amount: &'a [u8; 32],
}

#[allow(clippy::approx_constant, reason = "the contract's number")]
impl __codegen_::Message for Constraints {
    const TYPE_ID: u16 = 3;
    const TOPIC: &'static str = "corners";
    const MAX_SIZE: usize = CONSTRAINTS_MAX_SIZE;
    type View<'a> = ConstraintsView<'a>;

    fn validate(&self) -> __codegen_::Result<()> {
        __codegen_::not_empty("text", self.text.len())?;
        __codegen_::min_length("text", self.text.len(), 2)?;
        __codegen_::max_length("short", self.short.len(), 3)?;
        __codegen_::max_length("list", self.list.len(), 3)?;
        __codegen_::min_length("list", self.list.len(), 1)?;
        __codegen_::not_zero("level", &self.level)?;
        __codegen_::min("level", self.level, -3)?;
        __codegen_::max("level", self.level, 7)?;
        __codegen_::min("ratio", self.ratio, 0.1)?;
        __codegen_::max("ratio", self.ratio, 0.9)?;
        __codegen_::min("amount", __codegen_::saturating_u128(&self.amount), 5)?;
        __codegen_::max("amount", __codegen_::saturating_u128(&self.amount), 1000)?;
        __codegen_::not_zero("owner", &self.owner)?;
        __codegen_::not_zero("point", &self.point)?;
        if !self.maybe_text.is_empty() {
            __codegen_::min_length("maybe_text", self.maybe_text.len(), 2)?;
        }
        if !__codegen_::is_zero(&self.maybe_level) {
            __codegen_::min("maybe_level", self.maybe_level, 10)?;
            __codegen_::max("maybe_level", self.maybe_level, 20)?;
        }
        if !__codegen_::is_zero(&self.maybe_amount) {
            __codegen_::min(
                "maybe_amount",
                __codegen_::saturating_u128(&self.maybe_amount),
                10,
            )?;
        }
        Ok(())
    }

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put_text::<5>(out, &self.text);
        __codegen_::put_text::<9>(out, &self.short);
        __codegen_::put_list::<_, 4>(out, &self.list);
        __codegen_::put(out, &self.level);
        __codegen_::put(out, &self.ratio);
        __codegen_::put(out, &self.amount);
        __codegen_::put(out, &self.owner);
        __codegen_::put(out, &self.point);
        __codegen_::put_text::<4>(out, &self.maybe_text);
        __codegen_::put(out, &self.maybe_level);
        __codegen_::put(out, &self.maybe_amount);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        let view = ConstraintsView {
            text: cursor.text::<5>("text")?,
            short: cursor.text::<9>("short")?,
            list: cursor.list::<_, 4>("list")?,
            level: cursor.value("level")?,
            ratio: cursor.value("ratio")?,
            amount: cursor.bytes("amount")?,
            owner: cursor.bytes("owner")?,
            point: cursor.value("point")?,
            maybe_text: cursor.text::<4>("maybe_text")?,
            maybe_level: cursor.value("maybe_level")?,
            maybe_amount: cursor.bytes("maybe_amount")?,
        };
        __codegen_::not_empty("text", view.text.len())?;
        __codegen_::min_length("text", view.text.len(), 2)?;
        __codegen_::max_length("short", view.short.len(), 3)?;
        __codegen_::max_length("list", view.list.len(), 3)?;
        __codegen_::min_length("list", view.list.len(), 1)?;
        __codegen_::not_zero("level", &view.level)?;
        __codegen_::min("level", view.level, -3)?;
        __codegen_::max("level", view.level, 7)?;
        __codegen_::min("ratio", view.ratio, 0.1)?;
        __codegen_::max("ratio", view.ratio, 0.9)?;
        __codegen_::min("amount", __codegen_::saturating_u128(view.amount), 5)?;
        __codegen_::max("amount", __codegen_::saturating_u128(view.amount), 1000)?;
        __codegen_::not_zero("owner", view.owner)?;
        __codegen_::not_zero("point", &view.point)?;
        if !view.maybe_text.is_empty() {
            __codegen_::min_length("maybe_text", view.maybe_text.len(), 2)?;
        }
        if !__codegen_::is_zero(&view.maybe_level) {
            __codegen_::min("maybe_level", view.maybe_level, 10)?;
            __codegen_::max("maybe_level", view.maybe_level, 20)?;
        }
        if !__codegen_::is_zero(view.maybe_amount) {
            __codegen_::min(
                "maybe_amount",
                __codegen_::saturating_u128(view.maybe_amount),
                10,
            )?;
        }
        Ok(view)
    }
}

impl ::core::convert::From<ConstraintsView<'_>> for Constraints {
    fn from(view: ConstraintsView<'_>) -> Self {
        Self {
            text: __codegen_::text(view.text),
            short: __codegen_::text(view.short),
            list: __codegen_::list(view.list),
            level: view.level,
            ratio: view.ratio,
            amount: *view.amount,
            owner: *view.owner,
            point: view.point,
            maybe_text: __codegen_::text(view.maybe_text),
            maybe_level: view.maybe_level,
            maybe_amount: *view.maybe_amount,
        }
    }
}

/// Bytes of the payload of `Option`.
pub const OPTION_MAX_SIZE: usize = 97;

/// Bytes of the buffer that a `Option` takes.
pub const OPTION_BUFFER_CLASS: usize = 128;

/// Ends /// nothing \*/ " here: \<b\>bold \[link\](x) \`tick \`\`\` \~\~\~ \# http\://example.com/
/// \*x\* C:\\path \&amp; � turned + no list 1. \#\[x\] fn main() {}
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
#[allow(non_snake_case, reason = "the contract's name")]
pub struct Option {
    /// \`\`\`
    ///
    /// `u32` at byte 0.
    pub cursor: u32,
    /// indented code
    ///
    /// `FixedStr<32>` at byte 4.
    pub out: __codegen_::ArrayString<32>,
    /// \- a - b
    ///
    /// `FixedVec<u8, 16>` at byte 44.
    pub view: __codegen_::ArrayVec<u8, 16>,
    /// � �
    ///
    /// `[u8; 3]` at byte 68.
    pub payload: [u8; 3],
    /// `bool` at byte 71.
    pub fields: bool,
    /// `u64` at byte 72.
    pub clone: u64,
    /// `FixedVec<u32, 2>` at byte 80.
    pub into: __codegen_::ArrayVec<u32, 2>,
    /// `u8` at byte 96.
    pub SCHEMA_DIGEST: u8,
}

/// `Option`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(non_snake_case, reason = "the contract's name")]
pub struct OptionView_<'a> {
    /// \`\`\`
    pub cursor: u32,
    /// indented code
    pub out: &'a str,
    /// \- a - b
    pub view: &'a [u8],
    /// � �
    pub payload: &'a [u8; 3],
    /// `bool`.
    pub fields: bool,
    /// `u64`.
    pub clone: u64,
    /// `FixedVec<u32, 2>`.
    pub into: __codegen_::List<'a, u32>,
    /// `u8`.
    pub SCHEMA_DIGEST: u8,
}

impl __codegen_::Message for Option {
    const TYPE_ID: u16 = 4;
    const TOPIC: &'static str = "corners";
    const MAX_SIZE: usize = OPTION_MAX_SIZE;
    type View<'a> = OptionView_<'a>;

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put(out, &self.cursor);
        __codegen_::put_text::<32>(out, &self.out);
        __codegen_::put_list::<_, 16>(out, &self.view);
        __codegen_::put(out, &self.payload);
        __codegen_::put(out, &self.fields);
        __codegen_::put(out, &self.clone);
        __codegen_::put_list::<_, 2>(out, &self.into);
        __codegen_::put(out, &self.SCHEMA_DIGEST);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(OptionView_ {
            cursor: cursor.value("cursor")?,
            out: cursor.text::<32>("out")?,
            view: cursor.bytes_list::<_, 16>("view")?,
            payload: cursor.bytes("payload")?,
            fields: cursor.value("fields")?,
            clone: cursor.value("clone")?,
            into: cursor.list::<_, 2>("into")?,
            SCHEMA_DIGEST: cursor.value("SCHEMA_DIGEST")?,
        })
    }
}

impl ::core::convert::From<OptionView_<'_>> for Option {
    fn from(view: OptionView_<'_>) -> Self {
        Self {
            cursor: view.cursor,
            out: __codegen_::text(view.out),
            view: __codegen_::list(view.view.iter().copied()),
            payload: *view.payload,
            fields: view.fields,
            clone: view.clone,
            into: __codegen_::list(view.into),
            SCHEMA_DIGEST: view.SCHEMA_DIGEST,
        }
    }
}

/// Bytes of the payload of `OptionView`.
pub const OPTION_VIEW_MAX_SIZE: usize = 1;

/// Bytes of the buffer that a `OptionView` takes.
pub const OPTION_VIEW_BUFFER_CLASS: usize = 128;

/// A message of type 5.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
pub struct OptionView {
    /// `u8` at byte 0.
    pub view: u8,
}

/// `OptionView` borrows nothing from its payload.
pub type OptionViewView<'a> = OptionView;

impl __codegen_::Message for OptionView {
    const TYPE_ID: u16 = 5;
    const TOPIC: &'static str = "corners";
    const MAX_SIZE: usize = OPTION_VIEW_MAX_SIZE;
    type View<'a> = Self;

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put(out, &self.view);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(Self {
            view: cursor.value("view")?,
        })
    }
}

/// Bytes of the payload of `Message`.
pub const MESSAGE_MAX_SIZE: usize = 41;

/// Bytes of the buffer that a `Message` takes.
pub const MESSAGE_BUFFER_CLASS: usize = 128;

/// A message of type 6.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
#[allow(non_snake_case, reason = "the contract's name")]
pub struct Message {
    /// `u8` at byte 0.
    pub TYPE_ID: u8,
    /// `FixedStr<32>` at byte 1.
    pub encode: __codegen_::ArrayString<32>,
}

/// `Message`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(non_snake_case, reason = "the contract's name")]
pub struct MessageView<'a> {
    /// `u8`.
    pub TYPE_ID: u8,
    /// `FixedStr<32>`.
    pub encode: &'a str,
}

impl __codegen_::Message for Message {
    const TYPE_ID: u16 = 6;
    const TOPIC: &'static str = "corners";
    const MAX_SIZE: usize = MESSAGE_MAX_SIZE;
    type View<'a> = MessageView<'a>;

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put(out, &self.TYPE_ID);
        __codegen_::put_text::<32>(out, &self.encode);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(MessageView {
            TYPE_ID: cursor.value("TYPE_ID")?,
            encode: cursor.text::<32>("encode")?,
        })
    }
}

impl ::core::convert::From<MessageView<'_>> for Message {
    fn from(view: MessageView<'_>) -> Self {
        Self {
            TYPE_ID: view.TYPE_ID,
            encode: __codegen_::text(view.encode),
        }
    }
}

/// Bytes of the payload of `Result`.
pub const RESULT_MAX_SIZE: usize = 40;

/// Bytes of the buffer that a `Result` takes.
pub const RESULT_BUFFER_CLASS: usize = 128;

/// A message of type 7.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
pub struct Result {
    /// `FixedStr<32>` at byte 0.
    pub len: __codegen_::ArrayString<32>,
}

/// `Result`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResultView<'a> {
    /// `FixedStr<32>`.
    pub len: &'a str,
}

impl __codegen_::Message for Result {
    const TYPE_ID: u16 = 7;
    const TOPIC: &'static str = "corners";
    const MAX_SIZE: usize = RESULT_MAX_SIZE;
    type View<'a> = ResultView<'a>;

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put_text::<32>(out, &self.len);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(ResultView {
            len: cursor.text::<32>("len")?,
        })
    }
}

impl ::core::convert::From<ResultView<'_>> for Result {
    fn from(view: ResultView<'_>) -> Self {
        Self {
            len: __codegen_::text(view.len),
        }
    }
}

/// Bytes of the payload of `frame`.
pub const FRAME_MAX_SIZE: usize = 4;

/// Bytes of the buffer that a `frame` takes.
pub const FRAME_BUFFER_CLASS: usize = 128;

/// A message of type 11.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
#[allow(non_camel_case_types, reason = "the contract's name")]
pub struct frame {
    /// `u32` at byte 0.
    pub fields: u32,
}

/// `frame` borrows nothing from its payload.
#[allow(non_camel_case_types, reason = "the contract's name")]
pub type frameView<'a> = frame;

impl __codegen_::Message for frame {
    const TYPE_ID: u16 = 11;
    const TOPIC: &'static str = "corners";
    const MAX_SIZE: usize = FRAME_MAX_SIZE;
    type View<'a> = Self;

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put(out, &self.fields);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(Self {
            fields: cursor.value("fields")?,
        })
    }
}

/// Bytes of the payload of `__codegen`.
pub const __CODEGEN_MAX_SIZE: usize = 28;

/// Bytes of the buffer that a `__codegen` takes.
pub const __CODEGEN_BUFFER_CLASS: usize = 128;

/// A message of type 12.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
#[allow(non_camel_case_types, reason = "the contract's name")]
pub struct __codegen {
    /// `u32` at byte 0.
    pub frame: u32,
    /// `FixedVec<u8, 16>` at byte 4.
    pub list: __codegen_::ArrayVec<u8, 16>,
}

/// `__codegen`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(non_camel_case_types, reason = "the contract's name")]
pub struct __codegenView<'a> {
    /// `u32`.
    pub frame: u32,
    /// `FixedVec<u8, 16>`.
    pub list: &'a [u8],
}

impl __codegen_::Message for __codegen {
    const TYPE_ID: u16 = 12;
    const TOPIC: &'static str = "corners";
    const MAX_SIZE: usize = __CODEGEN_MAX_SIZE;
    type View<'a> = __codegenView<'a>;

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put(out, &self.frame);
        __codegen_::put_list::<_, 16>(out, &self.list);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(__codegenView {
            frame: cursor.value("frame")?,
            list: cursor.bytes_list::<_, 16>("list")?,
        })
    }
}

impl ::core::convert::From<__codegenView<'_>> for __codegen {
    fn from(view: __codegenView<'_>) -> Self {
        Self {
            frame: view.frame,
            list: __codegen_::list(view.list.iter().copied()),
        }
    }
}

/// Bytes of the payload of `Ok`.
pub const OK_MAX_SIZE: usize = 8;

/// Bytes of the buffer that a `Ok` takes.
pub const OK_BUFFER_CLASS: usize = 128;

/// A message of type 13.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
#[allow(non_snake_case, reason = "the contract's name")]
pub struct Ok {
    /// `f64` at byte 0.
    pub Some: f64,
}

/// `Ok` borrows nothing from its payload.
pub type OkView<'a> = Ok;

impl __codegen_::Message for Ok {
    const TYPE_ID: u16 = 13;
    const TOPIC: &'static str = "corners";
    const MAX_SIZE: usize = OK_MAX_SIZE;
    type View<'a> = Self;

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put(out, &self.Some);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(Self {
            Some: cursor.value("Some")?,
        })
    }
}

/// Bytes of the payload of `From`.
pub const FROM_MAX_SIZE: usize = 20;

/// Bytes of the buffer that a `From` takes.
pub const FROM_BUFFER_CLASS: usize = 128;

/// A message of type 14.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
pub struct From {
    /// `Address` at byte 0.
    pub from: [u8; 20],
}

/// `From`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FromView<'a> {
    /// `Address`.
    pub from: &'a [u8; 20],
}

impl __codegen_::Message for From {
    const TYPE_ID: u16 = 14;
    const TOPIC: &'static str = "corners";
    const MAX_SIZE: usize = FROM_MAX_SIZE;
    type View<'a> = FromView<'a>;

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put(out, &self.from);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(FromView {
            from: cursor.bytes("from")?,
        })
    }
}

impl ::core::convert::From<FromView<'_>> for From {
    fn from(view: FromView<'_>) -> Self {
        Self { from: *view.from }
    }
}

/// Bytes of the payload of `core`.
pub const CORE_MAX_SIZE: usize = 20;

/// Bytes of the buffer that a `core` takes.
pub const CORE_BUFFER_CLASS: usize = 128;

/// A message of type 15.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
#[allow(non_camel_case_types, reason = "the contract's name")]
pub struct core {
    /// `Address` at byte 0.
    pub std: [u8; 20],
}

/// `core`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(non_camel_case_types, reason = "the contract's name")]
pub struct coreView<'a> {
    /// `Address`.
    pub std: &'a [u8; 20],
}

impl __codegen_::Message for core {
    const TYPE_ID: u16 = 15;
    const TOPIC: &'static str = "corners";
    const MAX_SIZE: usize = CORE_MAX_SIZE;
    type View<'a> = coreView<'a>;

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put(out, &self.std);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(coreView {
            std: cursor.bytes("std")?,
        })
    }
}

impl ::core::convert::From<coreView<'_>> for core {
    fn from(view: coreView<'_>) -> Self {
        Self { std: *view.std }
    }
}

/// Bytes of the payload of `snake_case`.
pub const SNAKE_CASE_MAX_SIZE: usize = 20;

/// Bytes of the buffer that a `snake_case` takes.
pub const SNAKE_CASE_BUFFER_CLASS: usize = 128;

/// A message of type 16.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
#[allow(non_camel_case_types, reason = "the contract's name")]
#[allow(non_snake_case, reason = "the contract's name")]
pub struct snake_case {
    /// `Address` at byte 0.
    pub camelCase: [u8; 20],
}

/// `snake_case`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(non_camel_case_types, reason = "the contract's name")]
#[allow(non_snake_case, reason = "the contract's name")]
pub struct snake_caseView<'a> {
    /// `Address`.
    pub camelCase: &'a [u8; 20],
}

impl __codegen_::Message for snake_case {
    const TYPE_ID: u16 = 16;
    const TOPIC: &'static str = "corners";
    const MAX_SIZE: usize = SNAKE_CASE_MAX_SIZE;
    type View<'a> = snake_caseView<'a>;

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put(out, &self.camelCase);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(snake_caseView {
            camelCase: cursor.bytes("camelCase")?,
        })
    }
}

impl ::core::convert::From<snake_caseView<'_>> for snake_case {
    fn from(view: snake_caseView<'_>) -> Self {
        Self {
            camelCase: *view.camelCase,
        }
    }
}

/// Bytes of the payload of `Large`.
pub const LARGE_MAX_SIZE: usize = 78348;

/// Bytes of the buffer that a `Large` takes.
pub const LARGE_BUFFER_CLASS: usize = 131078;

/// More than a page of a stack
///
/// Text, lists and long arrays are on the heap. What does not fit the payload is not encoded.
#[derive(Debug, Clone, PartialEq)]
// No serde: an array of more than 32 elements.
pub struct Large {
    /// `Address` at byte 0.
    pub id: [u8; 20],
    /// `FixedStr<65535>` at byte 20; `not_empty`.
    pub text: __codegen_::HeapString,
    /// `FixedVec<[u8; 32], 100>` at byte 65563; `max_length: 90`.
    pub keys: __codegen_::HeapVec<[u8; 32]>,
    /// `FixedVec<u64, 20>` at byte 68771.
    pub values: __codegen_::HeapVec<u64>,
    /// `[[u8; 128]; 64]` at byte 68939; `not_zero`.
    pub image: __codegen_::HeapVec<[u8; 128]>,
    /// `[f64; 100]` at byte 77131; `not_zero`.
    pub samples: __codegen_::HeapVec<f64>,
    /// `FixedVec<bool, 3>` at byte 77931, optional; `min_length: 2`.
    pub flags: __codegen_::HeapVec<bool>,
    /// `[u16; 3]` at byte 77942.
    pub short: [u16; 3],
    /// `[u32; 100]` at byte 77948, optional.
    pub spare: __codegen_::HeapVec<u32>,
}

/// `Large`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LargeView<'a> {
    /// `Address`.
    pub id: &'a [u8; 20],
    /// `FixedStr<65535>`.
    pub text: &'a str,
    /// `FixedVec<[u8; 32], 100>`.
    pub keys: &'a [[u8; 32]],
    /// `FixedVec<u64, 20>`.
    pub values: __codegen_::List<'a, u64>,
    /// `[[u8; 128]; 64]`.
    pub image: &'a [[u8; 128]; 64],
    /// `[f64; 100]`.
    pub samples: __codegen_::List<'a, f64>,
    /// `FixedVec<bool, 3>`.
    pub flags: __codegen_::List<'a, bool>,
    /// `[u16; 3]`.
    pub short: [u16; 3],
    /// `[u32; 100]`.
    pub spare: __codegen_::List<'a, u32>,
}

impl __codegen_::Message for Large {
    const TYPE_ID: u16 = 17;
    const TOPIC: &'static str = "corners";
    const MAX_SIZE: usize = LARGE_MAX_SIZE;
    type View<'a> = LargeView<'a>;

    fn validate(&self) -> __codegen_::Result<()> {
        __codegen_::max_length("text", self.text.len(), 65535)?;
        __codegen_::not_empty("text", self.text.len())?;
        __codegen_::max_length("keys", self.keys.len(), 90)?;
        __codegen_::max_length("values", self.values.len(), 20)?;
        __codegen_::min_length("image", self.image.len(), 64)?;
        __codegen_::max_length("image", self.image.len(), 64)?;
        __codegen_::any_not_zero("image", &self.image[..])?;
        __codegen_::min_length("samples", self.samples.len(), 100)?;
        __codegen_::max_length("samples", self.samples.len(), 100)?;
        __codegen_::any_not_zero("samples", &self.samples[..])?;
        __codegen_::max_length("flags", self.flags.len(), 3)?;
        if !self.flags.is_empty() {
            __codegen_::min_length("flags", self.flags.len(), 2)?;
        }
        __codegen_::max_length("spare", self.spare.len(), 100)?;
        if !self.spare.is_empty() {
            __codegen_::min_length("spare", self.spare.len(), 100)?;
        }
        Ok(())
    }

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put(out, &self.id);
        __codegen_::put_text::<65535>(out, &self.text);
        __codegen_::put_list::<_, 100>(out, &self.keys);
        __codegen_::put_list::<_, 20>(out, &self.values);
        __codegen_::put_array::<_, 64>(out, &self.image);
        __codegen_::put_array::<_, 100>(out, &self.samples);
        __codegen_::put_list::<_, 3>(out, &self.flags);
        __codegen_::put(out, &self.short);
        __codegen_::put_array::<_, 100>(out, &self.spare);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        let view = LargeView {
            id: cursor.bytes("id")?,
            text: cursor.text::<65535>("text")?,
            keys: cursor.bytes_list::<_, 100>("keys")?,
            values: cursor.list::<_, 20>("values")?,
            image: cursor.bytes("image")?,
            samples: cursor.array::<_, 100>("samples")?,
            flags: cursor.list::<_, 3>("flags")?,
            short: cursor.value("short")?,
            spare: cursor.array::<_, 100>("spare")?,
        };
        __codegen_::not_empty("text", view.text.len())?;
        __codegen_::max_length("keys", view.keys.len(), 90)?;
        __codegen_::any_not_zero("image", &view.image[..])?;
        __codegen_::any_not_zero("samples", &view.samples)?;
        if !view.flags.is_empty() {
            __codegen_::min_length("flags", view.flags.len(), 2)?;
        }
        Ok(view)
    }
}

impl ::core::convert::From<LargeView<'_>> for Large {
    fn from(view: LargeView<'_>) -> Self {
        Self {
            id: *view.id,
            text: __codegen_::HeapString::from(view.text),
            keys: view.keys.to_vec(),
            values: view.values.iter().collect(),
            image: view.image.to_vec(),
            samples: view.samples.iter().collect(),
            flags: view.flags.iter().collect(),
            short: view.short,
            spare: view.spare.iter().collect(),
        }
    }
}

/// Bytes of the payload of `AMessageWhoseNameIsAsLongAsAnyIs`.
pub const A_MESSAGE_WHOSE_NAME_IS_AS_LONG_AS_ANY_IS_MAX_SIZE: usize = 30080;

/// Bytes of the buffer that a `AMessageWhoseNameIsAsLongAsAnyIs` takes.
pub const A_MESSAGE_WHOSE_NAME_IS_AS_LONG_AS_ANY_IS_BUFFER_CLASS: usize = 32774;

/// A message of type 18.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
pub struct AMessageWhoseNameIsAsLongAsAnyIs {
    /// `FixedStr<17>` at byte 0; `min_length: 3`, `max_length: 17`.
    pub a_field_whose_name_is_as_long_as_any: __codegen_::ArrayString<17>,
    /// `u8` at byte 25.
    pub another_field_whose_name_is_as_long: u8,
    /// `FixedVec<u64, 3>` at byte 26.
    pub one_more_whose_name_is_as_long: __codegen_::ArrayVec<u64, 3>,
    /// `FixedVec<u16, 3>` at byte 58.
    pub a_list_of_medium_name: __codegen_::ArrayVec<u16, 3>,
    /// `FixedStr<30000>` at byte 72.
    pub a_text_of_medium_name: __codegen_::ArrayString<30000>,
}

/// `AMessageWhoseNameIsAsLongAsAnyIs`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AMessageWhoseNameIsAsLongAsAnyIsView<'a> {
    /// `FixedStr<17>`.
    pub a_field_whose_name_is_as_long_as_any: &'a str,
    /// `u8`.
    pub another_field_whose_name_is_as_long: u8,
    /// `FixedVec<u64, 3>`.
    pub one_more_whose_name_is_as_long: __codegen_::List<'a, u64>,
    /// `FixedVec<u16, 3>`.
    pub a_list_of_medium_name: __codegen_::List<'a, u16>,
    /// `FixedStr<30000>`.
    pub a_text_of_medium_name: &'a str,
}

impl __codegen_::Message for AMessageWhoseNameIsAsLongAsAnyIs {
    const TYPE_ID: u16 = 18;
    const TOPIC: &'static str = "a domain with a name that is so long that the constant for it needs a line of its own, and much more";
    const MAX_SIZE: usize = A_MESSAGE_WHOSE_NAME_IS_AS_LONG_AS_ANY_IS_MAX_SIZE;
    type View<'a> = AMessageWhoseNameIsAsLongAsAnyIsView<'a>;

    fn validate(&self) -> __codegen_::Result<()> {
        __codegen_::min_length(
            "a_field_whose_name_is_as_long_as_any",
            self.a_field_whose_name_is_as_long_as_any.len(),
            3,
        )?;
        Ok(())
    }

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put_text::<17>(out, &self.a_field_whose_name_is_as_long_as_any);
        __codegen_::put(out, &self.another_field_whose_name_is_as_long);
        __codegen_::put_list::<_, 3>(out, &self.one_more_whose_name_is_as_long);
        __codegen_::put_list::<_, 3>(out, &self.a_list_of_medium_name);
        __codegen_::put_text::<30000>(out, &self.a_text_of_medium_name);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        let view = AMessageWhoseNameIsAsLongAsAnyIsView {
            a_field_whose_name_is_as_long_as_any: cursor
                .text::<17>("a_field_whose_name_is_as_long_as_any")?,
            another_field_whose_name_is_as_long: cursor
                .value("another_field_whose_name_is_as_long")?,
            one_more_whose_name_is_as_long: cursor
                .list::<_, 3>("one_more_whose_name_is_as_long")?,
            a_list_of_medium_name: cursor.list::<_, 3>("a_list_of_medium_name")?,
            a_text_of_medium_name: cursor.text::<30000>("a_text_of_medium_name")?,
        };
        __codegen_::min_length(
            "a_field_whose_name_is_as_long_as_any",
            view.a_field_whose_name_is_as_long_as_any.len(),
            3,
        )?;
        Ok(view)
    }
}

impl ::core::convert::From<AMessageWhoseNameIsAsLongAsAnyIsView<'_>>
    for AMessageWhoseNameIsAsLongAsAnyIs
{
    fn from(view: AMessageWhoseNameIsAsLongAsAnyIsView<'_>) -> Self {
        Self {
            a_field_whose_name_is_as_long_as_any: __codegen_::text(
                view.a_field_whose_name_is_as_long_as_any,
            ),
            another_field_whose_name_is_as_long: view.another_field_whose_name_is_as_long,
            one_more_whose_name_is_as_long: __codegen_::list(view.one_more_whose_name_is_as_long),
            a_list_of_medium_name: __codegen_::list(view.a_list_of_medium_name),
            a_text_of_medium_name: __codegen_::text(view.a_text_of_medium_name),
        }
    }
}

/// Bytes of the payload of `GPS`.
pub const GPS_MAX_SIZE: usize = 72000;

/// Bytes of the buffer that a `GPS` takes.
pub const GPS_BUFFER_CLASS: usize = 131078;

/// Text, lists and long arrays are on the heap. What does not fit the payload is not encoded.
#[derive(Debug, Clone, PartialEq)]
// No serde: an array of more than 32 elements.
#[allow(clippy::upper_case_acronyms, reason = "the contract's name")]
pub struct GPS {
    /// `[[u64; 3000]; 3]` at byte 0; `not_zero`.
    pub grid: __codegen_::HeapVec<[u64; 3000]>,
}

/// `GPS`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(clippy::upper_case_acronyms, reason = "the contract's name")]
pub struct GPSView<'a> {
    /// `[[u64; 3000]; 3]`.
    pub grid: __codegen_::List<'a, [u64; 3000]>,
}

impl __codegen_::Message for GPS {
    const TYPE_ID: u16 = 20;
    const TOPIC: &'static str = "corners";
    const MAX_SIZE: usize = GPS_MAX_SIZE;
    type View<'a> = GPSView<'a>;

    fn validate(&self) -> __codegen_::Result<()> {
        __codegen_::min_length("grid", self.grid.len(), 3)?;
        __codegen_::max_length("grid", self.grid.len(), 3)?;
        __codegen_::any_not_zero("grid", &self.grid[..])?;
        Ok(())
    }

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put_array::<_, 3>(out, &self.grid);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        let view = GPSView {
            grid: cursor.array::<_, 3>("grid")?,
        };
        __codegen_::any_not_zero("grid", &view.grid)?;
        Ok(view)
    }
}

impl ::core::convert::From<GPSView<'_>> for GPS {
    fn from(view: GPSView<'_>) -> Self {
        Self {
            grid: view.grid.iter().collect(),
        }
    }
}

/// Bytes of the payload of `Self_`.
pub const SELF__MAX_SIZE: usize = 48;

/// Bytes of the buffer that a `Self_` takes.
pub const SELF__BUFFER_CLASS: usize = 128;

/// A message of type 19.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
pub struct Self_ {
    /// `f64` at byte 0; `min: 3.14`.
    pub ratio: f64,
    /// `FixedStr<32>` at byte 8.
    pub name: __codegen_::ArrayString<32>,
}

/// `Self_`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SelfView<'a> {
    /// `f64`.
    pub ratio: f64,
    /// `FixedStr<32>`.
    pub name: &'a str,
}

#[allow(clippy::approx_constant, reason = "the contract's number")]
impl __codegen_::Message for Self_ {
    const TYPE_ID: u16 = 19;
    const TOPIC: &'static str = "corners";
    const MAX_SIZE: usize = SELF__MAX_SIZE;
    type View<'a> = SelfView<'a>;

    fn validate(&self) -> __codegen_::Result<()> {
        __codegen_::min("ratio", self.ratio, 3.14)?;
        Ok(())
    }

    fn encode(&self, out: &mut impl __codegen_::BufMut) {
        __codegen_::put(out, &self.ratio);
        __codegen_::put_text::<32>(out, &self.name);
    }

    fn view(payload: &[u8]) -> __codegen_::Result<Self::View<'_>> {
        let mut cursor = __codegen_::Fields::of(payload, Self::MAX_SIZE)?;
        let view = SelfView {
            ratio: cursor.value("ratio")?,
            name: cursor.text::<32>("name")?,
        };
        __codegen_::min("ratio", view.ratio, 3.14)?;
        Ok(view)
    }
}

impl ::core::convert::From<SelfView<'_>> for Self_ {
    fn from(view: SelfView<'_>) -> Self {
        Self {
            ratio: view.ratio,
            name: __codegen_::text(view.name),
        }
    }
}
