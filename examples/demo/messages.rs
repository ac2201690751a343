// Generated from examples/demo/contracts.yaml, layout repr(C). Do not edit: changes are lost.
//
//     millpond codegen examples/demo/contracts.yaml -o examples/demo/messages.rs --traffic 'Tick=3,Trade=2,Order=1,Book=1,Snapshot=1' --memory-limit 16777216

use ::millpond::__codegen;

/// SHA-256 of the contract file's text, which both peers of a handshake must have in common.
pub const SCHEMA_DIGEST: [u8; 32] = [
    0xea, 0xee, 0xe1, 0x1a, 0xf5, 0x42, 0x67, 0xc8, 0x9b, 0x33, 0x09, 0x9f, 0x4b, 0x19, 0x50, 0xcf,
    0xf0, 0xc7, 0x95, 0x8b, 0xb6, 0xa4, 0xc3, 0x8e, 0x10, 0x63, 0xa6, 0x0f, 0x92, 0x48, 0x67, 0xa8,
];

/// The pool of these messages; sizes are in bytes.
///
/// ```text
///      class  capacity    idle bytes  unused  messages
///        128      2345        300160   50.0%  Tick 64 x 3
///        256      1496        382976    0.0%  Trade 256 x 2
///       1024       748        765952    0.0%  Order 1024
///       4102       748       3068296    0.1%  Book 4096
///      16390       748      12259720    0.0%  Snapshot 16384
///                           16777104  in all
/// ```
#[must_use]
pub fn create_buffer_pool_config() -> __codegen::BufferPoolConfig {
    let classes = [
        (128, 2345),
        (256, 1496),
        (1024, 748),
        (4102, 748),
        (16390, 748),
    ];
    let builder = __codegen::BufferPoolConfig::builder();
    let builder = builder.classes(classes).memory_limit(16777216);
    match builder.build() {
        Ok(config) => config,
        Err(error) => unreachable!("{error}"),
    }
}

/// Bytes of the payload of `Tick`.
pub const TICK_MAX_SIZE: usize = 64;

/// Bytes of the buffer that a `Tick` takes.
pub const TICK_BUFFER_CLASS: usize = 128;

/// 64 bytes, three of eight.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Which of them, from 0.
    ///
    /// `u64` at byte 0.
    pub publisher: u64,
    /// Counted by the publisher, over all types.
    ///
    /// `u64` at byte 8.
    pub number: u64,
    /// Nanoseconds since the start.
    ///
    /// `u64` at byte 16.
    pub sent_ns: u64,
    /// A part of the pattern that follows from the number.
    ///
    /// `[u8; 40]` at byte 24.
    pub filling: [u8; 40],
}

/// `Tick`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TickView<'a> {
    /// Which of them, from 0.
    pub publisher: u64,
    /// Counted by the publisher, over all types.
    pub number: u64,
    /// Nanoseconds since the start.
    pub sent_ns: u64,
    /// A part of the pattern that follows from the number.
    pub filling: &'a [u8; 40],
}

impl __codegen::Message for Tick {
    const TYPE_ID: u16 = 1000;
    const TOPIC: &'static str = "demo";
    const MAX_SIZE: usize = TICK_MAX_SIZE;
    type View<'a> = TickView<'a>;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.publisher);
        __codegen::put(out, &self.number);
        __codegen::put(out, &self.sent_ns);
        __codegen::put(out, &self.filling);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(TickView {
            publisher: cursor.value("publisher")?,
            number: cursor.value("number")?,
            sent_ns: cursor.value("sent_ns")?,
            filling: cursor.bytes("filling")?,
        })
    }
}

impl ::core::convert::From<TickView<'_>> for Tick {
    fn from(view: TickView<'_>) -> Self {
        Self {
            publisher: view.publisher,
            number: view.number,
            sent_ns: view.sent_ns,
            filling: *view.filling,
        }
    }
}

/// Bytes of the payload of `Trade`.
pub const TRADE_MAX_SIZE: usize = 256;

/// Bytes of the buffer that a `Trade` takes.
pub const TRADE_BUFFER_CLASS: usize = 256;

/// 256 bytes, two of eight.
#[derive(Debug, Clone, PartialEq)]
pub struct Trade {
    /// `u64` at byte 0.
    pub publisher: u64,
    /// `u64` at byte 8.
    pub number: u64,
    /// `u64` at byte 16.
    pub sent_ns: u64,
    /// `[u8; 232]` at byte 24.
    pub filling: [u8; 232],
}

/// `Trade`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TradeView<'a> {
    /// `u64`.
    pub publisher: u64,
    /// `u64`.
    pub number: u64,
    /// `u64`.
    pub sent_ns: u64,
    /// `[u8; 232]`.
    pub filling: &'a [u8; 232],
}

impl __codegen::Message for Trade {
    const TYPE_ID: u16 = 1001;
    const TOPIC: &'static str = "demo";
    const MAX_SIZE: usize = TRADE_MAX_SIZE;
    type View<'a> = TradeView<'a>;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.publisher);
        __codegen::put(out, &self.number);
        __codegen::put(out, &self.sent_ns);
        __codegen::put(out, &self.filling);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(TradeView {
            publisher: cursor.value("publisher")?,
            number: cursor.value("number")?,
            sent_ns: cursor.value("sent_ns")?,
            filling: cursor.bytes("filling")?,
        })
    }
}

impl ::core::convert::From<TradeView<'_>> for Trade {
    fn from(view: TradeView<'_>) -> Self {
        Self {
            publisher: view.publisher,
            number: view.number,
            sent_ns: view.sent_ns,
            filling: *view.filling,
        }
    }
}

/// Bytes of the payload of `Order`.
pub const ORDER_MAX_SIZE: usize = 1024;

/// Bytes of the buffer that a `Order` takes.
pub const ORDER_BUFFER_CLASS: usize = 1024;

/// 1 KiB, one of eight.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// `u64` at byte 0.
    pub publisher: u64,
    /// `u64` at byte 8.
    pub number: u64,
    /// `u64` at byte 16.
    pub sent_ns: u64,
    /// `[u8; 1000]` at byte 24.
    pub filling: [u8; 1000],
}

/// `Order`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrderView<'a> {
    /// `u64`.
    pub publisher: u64,
    /// `u64`.
    pub number: u64,
    /// `u64`.
    pub sent_ns: u64,
    /// `[u8; 1000]`.
    pub filling: &'a [u8; 1000],
}

impl __codegen::Message for Order {
    const TYPE_ID: u16 = 1002;
    const TOPIC: &'static str = "demo";
    const MAX_SIZE: usize = ORDER_MAX_SIZE;
    type View<'a> = OrderView<'a>;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.publisher);
        __codegen::put(out, &self.number);
        __codegen::put(out, &self.sent_ns);
        __codegen::put(out, &self.filling);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(OrderView {
            publisher: cursor.value("publisher")?,
            number: cursor.value("number")?,
            sent_ns: cursor.value("sent_ns")?,
            filling: cursor.bytes("filling")?,
        })
    }
}

impl ::core::convert::From<OrderView<'_>> for Order {
    fn from(view: OrderView<'_>) -> Self {
        Self {
            publisher: view.publisher,
            number: view.number,
            sent_ns: view.sent_ns,
            filling: *view.filling,
        }
    }
}

/// Bytes of the payload of `Book`.
pub const BOOK_MAX_SIZE: usize = 4096;

/// Bytes of the buffer that a `Book` takes.
pub const BOOK_BUFFER_CLASS: usize = 4102;

/// 4 KiB, one of eight.
#[derive(Debug, Clone, PartialEq)]
pub struct Book {
    /// `u64` at byte 0.
    pub publisher: u64,
    /// `u64` at byte 8.
    pub number: u64,
    /// `u64` at byte 16.
    pub sent_ns: u64,
    /// `[u8; 4072]` at byte 24.
    pub filling: [u8; 4072],
}

/// `Book`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BookView<'a> {
    /// `u64`.
    pub publisher: u64,
    /// `u64`.
    pub number: u64,
    /// `u64`.
    pub sent_ns: u64,
    /// `[u8; 4072]`.
    pub filling: &'a [u8; 4072],
}

impl __codegen::Message for Book {
    const TYPE_ID: u16 = 1003;
    const TOPIC: &'static str = "demo";
    const MAX_SIZE: usize = BOOK_MAX_SIZE;
    type View<'a> = BookView<'a>;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.publisher);
        __codegen::put(out, &self.number);
        __codegen::put(out, &self.sent_ns);
        __codegen::put(out, &self.filling);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(BookView {
            publisher: cursor.value("publisher")?,
            number: cursor.value("number")?,
            sent_ns: cursor.value("sent_ns")?,
            filling: cursor.bytes("filling")?,
        })
    }
}

impl ::core::convert::From<BookView<'_>> for Book {
    fn from(view: BookView<'_>) -> Self {
        Self {
            publisher: view.publisher,
            number: view.number,
            sent_ns: view.sent_ns,
            filling: *view.filling,
        }
    }
}

/// Bytes of the payload of `Snapshot`.
pub const SNAPSHOT_MAX_SIZE: usize = 16384;

/// Bytes of the buffer that a `Snapshot` takes.
pub const SNAPSHOT_BUFFER_CLASS: usize = 16390;

/// 16 KiB, one of eight.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// `u64` at byte 0.
    pub publisher: u64,
    /// `u64` at byte 8.
    pub number: u64,
    /// `u64` at byte 16.
    pub sent_ns: u64,
    /// `[u8; 16360]` at byte 24.
    pub filling: [u8; 16360],
}

/// `Snapshot`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SnapshotView<'a> {
    /// `u64`.
    pub publisher: u64,
    /// `u64`.
    pub number: u64,
    /// `u64`.
    pub sent_ns: u64,
    /// `[u8; 16360]`.
    pub filling: &'a [u8; 16360],
}

impl __codegen::Message for Snapshot {
    const TYPE_ID: u16 = 1004;
    const TOPIC: &'static str = "demo";
    const MAX_SIZE: usize = SNAPSHOT_MAX_SIZE;
    type View<'a> = SnapshotView<'a>;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.publisher);
        __codegen::put(out, &self.number);
        __codegen::put(out, &self.sent_ns);
        __codegen::put(out, &self.filling);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(SnapshotView {
            publisher: cursor.value("publisher")?,
            number: cursor.value("number")?,
            sent_ns: cursor.value("sent_ns")?,
            filling: cursor.bytes("filling")?,
        })
    }
}

impl ::core::convert::From<SnapshotView<'_>> for Snapshot {
    fn from(view: SnapshotView<'_>) -> Self {
        Self {
            publisher: view.publisher,
            number: view.number,
            sent_ns: view.sent_ns,
            filling: *view.filling,
        }
    }
}
