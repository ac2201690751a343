// Generated from examples.yaml, layout packed. Do not edit: changes are lost.
//
//     MILLPOND_BLESS=1 cargo test --features schema --lib schema::generate

use ::millpond::__codegen;

/// SHA-256 of the contract file's text, which both peers of a handshake must have in common.
pub const SCHEMA_DIGEST: [u8; 32] = [
    0x24, 0x7f, 0x6c, 0xcf, 0x85, 0x13, 0x67, 0x05, 0x72, 0x7c, 0xab, 0xc7, 0xba, 0x30, 0xd4, 0x32,
    0x9a, 0x2a, 0x19, 0x4f, 0xc4, 0x31, 0xe4, 0x5f, 0x15, 0x7d, 0xc1, 0xcc, 0xc4, 0x73, 0xd1, 0xea,
];

/// The pool of these messages; sizes are in bytes.
///
/// ```text
///      class  capacity    idle bytes  unused  messages
///        128       512         65536   87.5%  CounterUpdate 16
///        256       256         65536   14.1%  BatchOperation 220
///        512       128         65536   39.1%  TextMessage 312
///                             196608  in all
/// ```
#[must_use]
pub fn create_buffer_pool_config() -> __codegen::BufferPoolConfig {
    let classes = [(128, 512), (256, 256), (512, 128)];
    match __codegen::BufferPoolConfig::from_map(classes) {
        Ok(config) => config,
        Err(error) => unreachable!("{error}"),
    }
}

/// Bytes of the payload of `TextMessage`.
pub const TEXT_MESSAGE_MAX_SIZE: usize = 312;

/// Bytes of the buffer that a `TextMessage` takes.
pub const TEXT_MESSAGE_BUFFER_CLASS: usize = 512;

/// Simple text message
#[derive(Debug, Clone, PartialEq)]
pub struct TextMessage {
    /// Message sender identifier
    ///
    /// `FixedStr<32>` at byte 0; `not_empty`, `max_length: 32`.
    pub sender: __codegen::ArrayString<32>,
    /// Message content
    ///
    /// `FixedStr<256>` at byte 40; `not_empty`, `max_length: 256`.
    pub content: __codegen::ArrayString<256>,
    /// Unix timestamp (seconds)
    ///
    /// `u64` at byte 304.
    pub timestamp: u64,
}

/// `TextMessage`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextMessageView<'a> {
    /// Message sender identifier
    pub sender: &'a str,
    /// Message content
    pub content: &'a str,
    /// Unix timestamp (seconds)
    pub timestamp: u64,
}

impl __codegen::Message for TextMessage {
    const TYPE_ID: u16 = 1001;
    const TOPIC: &'static str = "examples";
    const MAX_SIZE: usize = TEXT_MESSAGE_MAX_SIZE;
    type View<'a> = TextMessageView<'a>;

    fn validate(&self) -> __codegen::Result<()> {
        __codegen::not_empty("sender", self.sender.len())?;
        __codegen::not_empty("content", self.content.len())?;
        Ok(())
    }

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put_text::<32>(out, &self.sender);
        __codegen::put_text::<256>(out, &self.content);
        __codegen::put(out, &self.timestamp);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        let view = TextMessageView {
            sender: cursor.text::<32>("sender")?,
            content: cursor.text::<256>("content")?,
            timestamp: cursor.value("timestamp")?,
        };
        __codegen::not_empty("sender", view.sender.len())?;
        __codegen::not_empty("content", view.content.len())?;
        Ok(view)
    }
}

impl ::core::convert::From<TextMessageView<'_>> for TextMessage {
    fn from(view: TextMessageView<'_>) -> Self {
        Self {
            sender: __codegen::text(view.sender),
            content: __codegen::text(view.content),
            timestamp: view.timestamp,
        }
    }
}

/// Bytes of the payload of `CounterUpdate`.
pub const COUNTER_UPDATE_MAX_SIZE: usize = 16;

/// Bytes of the buffer that a `CounterUpdate` takes.
pub const COUNTER_UPDATE_BUFFER_CLASS: usize = 128;

/// Counter increment/decrement
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CounterUpdate {
    /// Counter identifier
    ///
    /// `u64` at byte 0.
    pub counter_id: u64,
    /// Current counter value
    ///
    /// `i32` at byte 8.
    pub value: i32,
    /// Change since last update
    ///
    /// `i32` at byte 12.
    pub delta: i32,
}

/// `CounterUpdate` borrows nothing from its payload.
pub type CounterUpdateView<'a> = CounterUpdate;

impl __codegen::Message for CounterUpdate {
    const TYPE_ID: u16 = 1002;
    const TOPIC: &'static str = "examples";
    const MAX_SIZE: usize = COUNTER_UPDATE_MAX_SIZE;
    type View<'a> = Self;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.counter_id);
        __codegen::put(out, &self.value);
        __codegen::put(out, &self.delta);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(Self {
            counter_id: cursor.value("counter_id")?,
            value: cursor.value("value")?,
            delta: cursor.value("delta")?,
        })
    }
}

/// Bytes of the payload of `BatchOperation`.
pub const BATCH_OPERATION_MAX_SIZE: usize = 220;

/// Bytes of the buffer that a `BatchOperation` takes.
pub const BATCH_OPERATION_BUFFER_CLASS: usize = 256;

/// Batch of operations
#[derive(Debug, Clone, PartialEq)]
pub struct BatchOperation {
    /// Unique operation ID
    ///
    /// `u64` at byte 0.
    pub operation_id: u64,
    /// List of item identifiers
    ///
    /// `FixedVec<[u8; 20], 10>` at byte 8; `min_length: 1`, `max_length: 10`.
    pub items: __codegen::ArrayVec<[u8; 20], 10>,
    /// Total number of items
    ///
    /// `u32` at byte 216.
    pub total_count: u32,
}

/// `BatchOperation`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchOperationView<'a> {
    /// Unique operation ID
    pub operation_id: u64,
    /// List of item identifiers
    pub items: &'a [[u8; 20]],
    /// Total number of items
    pub total_count: u32,
}

impl __codegen::Message for BatchOperation {
    const TYPE_ID: u16 = 1003;
    const TOPIC: &'static str = "examples";
    const MAX_SIZE: usize = BATCH_OPERATION_MAX_SIZE;
    type View<'a> = BatchOperationView<'a>;

    fn validate(&self) -> __codegen::Result<()> {
        __codegen::min_length("items", self.items.len(), 1)?;
        Ok(())
    }

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.operation_id);
        __codegen::put_list::<_, 10>(out, &self.items);
        __codegen::put(out, &self.total_count);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        let view = BatchOperationView {
            operation_id: cursor.value("operation_id")?,
            items: cursor.bytes_list::<_, 10>("items")?,
            total_count: cursor.value("total_count")?,
        };
        __codegen::min_length("items", view.items.len(), 1)?;
        Ok(view)
    }
}

impl ::core::convert::From<BatchOperationView<'_>> for BatchOperation {
    fn from(view: BatchOperationView<'_>) -> Self {
        Self {
            operation_id: view.operation_id,
            items: __codegen::list(view.items.iter().copied()),
            total_count: view.total_count,
        }
    }
}
