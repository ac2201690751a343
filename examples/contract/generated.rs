// Generated from examples/contract/contracts.yaml, layout repr(C). Do not edit: changes are lost.
//
//     millpond codegen examples/contract/contracts.yaml -o examples/contract/generated.rs

use ::millpond::__codegen;

/// SHA-256 of the contract file's text, which both peers of a handshake must have in common.
pub const SCHEMA_DIGEST: [u8; 32] = [
    0x4e, 0x80, 0x48, 0xf1, 0x12, 0xfe, 0x83, 0x41, 0x44, 0xe4, 0x3f, 0xda, 0x51, 0x6b, 0xee, 0xc8,
    0x52, 0xcd, 0xca, 0x7d, 0x99, 0x78, 0x20, 0x9d, 0xb9, 0x6d, 0x69, 0x0f, 0x9f, 0xd3, 0x6e, 0x10,
];

/// The pool of these messages; sizes are in bytes.
///
/// ```text
///      class  capacity    idle bytes  unused  messages
///        128       512         65536   56.2%  Reading 56
///       1024        64         65536   20.3%  History 816
///                             131072  in all
/// ```
#[must_use]
pub fn create_buffer_pool_config() -> __codegen::BufferPoolConfig {
    let classes = [(128, 512), (1024, 64)];
    match __codegen::BufferPoolConfig::from_map(classes) {
        Ok(config) => config,
        Err(error) => unreachable!("{error}"),
    }
}

/// Bytes of the payload of `Reading`.
pub const READING_MAX_SIZE: usize = 56;

/// Bytes of the buffer that a `Reading` takes.
pub const READING_BUFFER_CLASS: usize = 128;

/// What a sensor measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Its serial number.
    ///
    /// `u64` at byte 0.
    pub sensor: u64,
    /// `f64` at byte 8.
    pub celsius: f64,
    /// `FixedStr<32>` at byte 16; `not_empty`, `max_length: 32`.
    pub room: __codegen::ArrayString<32>,
}

/// `Reading`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadingView<'a> {
    /// Its serial number.
    pub sensor: u64,
    /// `f64`.
    pub celsius: f64,
    /// `FixedStr<32>`.
    pub room: &'a str,
}

impl __codegen::Message for Reading {
    const TYPE_ID: u16 = 1000;
    const TOPIC: &'static str = "sensors";
    const MAX_SIZE: usize = READING_MAX_SIZE;
    type View<'a> = ReadingView<'a>;

    fn validate(&self) -> __codegen::Result<()> {
        __codegen::not_empty("room", self.room.len())?;
        Ok(())
    }

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.sensor);
        __codegen::put(out, &self.celsius);
        __codegen::put_text::<32>(out, &self.room);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        let view = ReadingView {
            sensor: cursor.value("sensor")?,
            celsius: cursor.value("celsius")?,
            room: cursor.text::<32>("room")?,
        };
        __codegen::not_empty("room", view.room.len())?;
        Ok(view)
    }
}

impl ::core::convert::From<ReadingView<'_>> for Reading {
    fn from(view: ReadingView<'_>) -> Self {
        Self {
            sensor: view.sensor,
            celsius: view.celsius,
            room: __codegen::text(view.room),
        }
    }
}

/// Bytes of the payload of `History`.
pub const HISTORY_MAX_SIZE: usize = 816;

/// Bytes of the buffer that a `History` takes.
pub const HISTORY_BUFFER_CLASS: usize = 1024;

/// Many readings of one sensor, the oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Its serial number.
    ///
    /// `u64` at byte 0.
    pub sensor: u64,
    /// `FixedVec<f64, 100>` at byte 8; `max_length: 100`.
    pub celsius: __codegen::ArrayVec<f64, 100>,
}

/// `History`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HistoryView<'a> {
    /// Its serial number.
    pub sensor: u64,
    /// `FixedVec<f64, 100>`.
    pub celsius: __codegen::List<'a, f64>,
}

impl __codegen::Message for History {
    const TYPE_ID: u16 = 1001;
    const TOPIC: &'static str = "sensors";
    const MAX_SIZE: usize = HISTORY_MAX_SIZE;
    type View<'a> = HistoryView<'a>;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.sensor);
        __codegen::put_list::<_, 100>(out, &self.celsius);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(HistoryView {
            sensor: cursor.value("sensor")?,
            celsius: cursor.list::<_, 100>("celsius")?,
        })
    }
}

impl ::core::convert::From<HistoryView<'_>> for History {
    fn from(view: HistoryView<'_>) -> Self {
        Self {
            sensor: view.sensor,
            celsius: __codegen::list(view.celsius),
        }
    }
}
