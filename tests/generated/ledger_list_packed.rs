// Generated from ledger-list.yaml, layout packed. Do not edit: changes are lost.
//
//     MILLPOND_BLESS=1 cargo test --features schema --lib schema::generate

use ::millpond::__codegen;

/// SHA-256 of the contract file's text, which both peers of a handshake must have in common.
pub const SCHEMA_DIGEST: [u8; 32] = [
    0x31, 0x62, 0x8f, 0x49, 0xc2, 0x13, 0xa1, 0xcb, 0x70, 0x3e, 0x9a, 0x75, 0x23, 0xeb, 0x8f, 0xc7,
    0xa1, 0xf5, 0x2b, 0xf1, 0x17, 0xc7, 0x11, 0xdc, 0x48, 0xd4, 0x56, 0x59, 0x4b, 0x8e, 0x6b, 0x04,
];

/// The pool of these messages; sizes are in bytes.
///
/// ```text
///      class  capacity    idle bytes  unused  messages
///        128       512         65536  100.0%  Heartbeat 0
///        256       256         65536   33.6%  Transfer 170
///        512       128         65536   28.5%  Block 366
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

/// Bytes of the payload of `Transfer`.
pub const TRANSFER_MAX_SIZE: usize = 170;

/// Bytes of the buffer that a `Transfer` takes.
pub const TRANSFER_BUFFER_CLASS: usize = 256;

/// A message of type 1000.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// `Address` at byte 0.
    pub from: [u8; 20],
    /// `Address` at byte 20.
    pub to: [u8; 20],
    /// `U256` at byte 40.
    pub amount: [u8; 32],
    /// `u64` at byte 72.
    pub nonce: u64,
    /// `u128` at byte 80.
    pub fee: u128,
    /// `u8` at byte 96.
    pub kind: u8,
    /// `bool` at byte 97.
    pub final_: bool,
    /// `FixedStr<64>` at byte 98.
    pub memo: __codegen::ArrayString<64>,
}

/// `Transfer`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransferView<'a> {
    /// `Address`.
    pub from: &'a [u8; 20],
    /// `Address`.
    pub to: &'a [u8; 20],
    /// `U256`.
    pub amount: &'a [u8; 32],
    /// `u64`.
    pub nonce: u64,
    /// `u128`.
    pub fee: u128,
    /// `u8`.
    pub kind: u8,
    /// `bool`.
    pub final_: bool,
    /// `FixedStr<64>`.
    pub memo: &'a str,
}

impl __codegen::Message for Transfer {
    const TYPE_ID: u16 = 1000;
    const TOPIC: &'static str = "default";
    const MAX_SIZE: usize = TRANSFER_MAX_SIZE;
    type View<'a> = TransferView<'a>;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.from);
        __codegen::put(out, &self.to);
        __codegen::put(out, &self.amount);
        __codegen::put(out, &self.nonce);
        __codegen::put(out, &self.fee);
        __codegen::put(out, &self.kind);
        __codegen::put(out, &self.final_);
        __codegen::put_text::<64>(out, &self.memo);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(TransferView {
            from: cursor.bytes("from")?,
            to: cursor.bytes("to")?,
            amount: cursor.bytes("amount")?,
            nonce: cursor.value("nonce")?,
            fee: cursor.value("fee")?,
            kind: cursor.value("kind")?,
            final_: cursor.value("final_")?,
            memo: cursor.text::<64>("memo")?,
        })
    }
}

impl ::core::convert::From<TransferView<'_>> for Transfer {
    fn from(view: TransferView<'_>) -> Self {
        Self {
            from: *view.from,
            to: *view.to,
            amount: *view.amount,
            nonce: view.nonce,
            fee: view.fee,
            kind: view.kind,
            final_: view.final_,
            memo: __codegen::text(view.memo),
        }
    }
}

/// Bytes of the payload of `Block`.
pub const BLOCK_MAX_SIZE: usize = 366;

/// Bytes of the buffer that a `Block` takes.
pub const BLOCK_BUFFER_CLASS: usize = 512;

/// A message of type 1001.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// `u32` at byte 0.
    pub number: u32,
    /// `u16` at byte 4.
    pub version: u16,
    /// `FixedVec<Address, 16>` at byte 6.
    pub signers: __codegen::ArrayVec<[u8; 20], 16>,
    /// `FixedVec<u64, 3>` at byte 334.
    pub weights: __codegen::ArrayVec<u64, 3>,
}

/// `Block`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockView<'a> {
    /// `u32`.
    pub number: u32,
    /// `u16`.
    pub version: u16,
    /// `FixedVec<Address, 16>`.
    pub signers: &'a [[u8; 20]],
    /// `FixedVec<u64, 3>`.
    pub weights: __codegen::List<'a, u64>,
}

impl __codegen::Message for Block {
    const TYPE_ID: u16 = 1001;
    const TOPIC: &'static str = "default";
    const MAX_SIZE: usize = BLOCK_MAX_SIZE;
    type View<'a> = BlockView<'a>;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.number);
        __codegen::put(out, &self.version);
        __codegen::put_list::<_, 16>(out, &self.signers);
        __codegen::put_list::<_, 3>(out, &self.weights);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(BlockView {
            number: cursor.value("number")?,
            version: cursor.value("version")?,
            signers: cursor.bytes_list::<_, 16>("signers")?,
            weights: cursor.list::<_, 3>("weights")?,
        })
    }
}

impl ::core::convert::From<BlockView<'_>> for Block {
    fn from(view: BlockView<'_>) -> Self {
        Self {
            number: view.number,
            version: view.version,
            signers: __codegen::list(view.signers.iter().copied()),
            weights: __codegen::list(view.weights),
        }
    }
}

/// Bytes of the payload of `Heartbeat`.
pub const HEARTBEAT_MAX_SIZE: usize = 0;

/// Bytes of the buffer that a `Heartbeat` takes.
pub const HEARTBEAT_BUFFER_CLASS: usize = 128;

/// A message of type 1002.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heartbeat {}

/// `Heartbeat` borrows nothing from its payload.
pub type HeartbeatView<'a> = Heartbeat;

impl __codegen::Message for Heartbeat {
    const TYPE_ID: u16 = 1002;
    const TOPIC: &'static str = "default";
    const MAX_SIZE: usize = HEARTBEAT_MAX_SIZE;
    type View<'a> = Self;

    fn encode(&self, _: &mut impl __codegen::BufMut) {}

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        __codegen::MessageError::check_len(payload, Self::MAX_SIZE)?;
        Ok(Self {})
    }
}
