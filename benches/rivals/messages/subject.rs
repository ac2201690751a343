//! The messages, and what the rivals have in their place: the same fields.
//!
//! The limits and constraints of the contract that a rival's types do not check are checked here, so that all refuse the
//! same values.

use std::fmt::Debug;
use std::hint::black_box;

use bincode::de::BorrowDecoder;
use bincode::de::read::BorrowReader;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use millpond::__codegen::{max_length, not_empty, not_zero};
use millpond::frame::{Message, MessageError};
use rkyv::Archived;
use rkyv::with::{Inline, InlineAsBox};
use zerocopy::little_endian::{I32, U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::samples::defi::{PoolStateUpdate, PoolStateUpdateView};
use crate::samples::examples::{TextMessage, TextMessageView};

pub(crate) trait Subject:
    Message + Debug + PartialEq + for<'a> From<Self::View<'a>> + 'static
{
    /// In the place of bincode, postcard and rkyv.
    type Plain<'a>: bincode::Encode
        + bincode::BorrowDecode<'a, ()>
        + serde::Serialize
        + serde::Deserialize<'a>
        + rkyv::Archive;
    /// In the place of zerocopy.
    type Fixed: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned;

    fn plain(&self) -> Self::Plain<'_>;
    fn fixed(&self) -> Self::Fixed;

    fn of_plain<'a>(plain: &'a Self::Plain<'_>) -> Result<Self::View<'a>, MessageError>;
    fn of_archived<'a>(archived: &'a Archived<Self::Plain<'static>>) -> Result<Self::View<'a>, MessageError>;
    fn of_fixed(fixed: &Self::Fixed) -> Result<Self::View<'_>, MessageError>;

    /// Reads every field. Text has been read when it was found to be text.
    fn read(view: Self::View<'_>);
}

#[derive(
    bincode::Encode,
    bincode::BorrowDecode,
    serde::Serialize,
    serde::Deserialize,
    rkyv::Archive,
    rkyv::Serialize,
)]
pub(crate) struct Text<'a> {
    #[rkyv(with = InlineAsBox)]
    sender: &'a str,
    #[rkyv(with = InlineAsBox)]
    content: &'a str,
    timestamp: u64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct FixedText {
    timestamp: U64,
    // At multiples of 8, where std is fastest to see that it is text.
    sender: [u8; 32],
    content: [u8; 256],
    sender_len: U16,
    content_len: U16,
}

fn text<'a>(sender: &'a str, content: &'a str, timestamp: u64) -> Result<TextMessageView<'a>, MessageError> {
    not_empty("sender", sender.len())?;
    max_length("sender", sender.len(), 32)?;
    not_empty("content", content.len())?;
    max_length("content", content.len(), 256)?;
    Ok(TextMessageView { sender, content, timestamp })
}

fn slots<const SLOTS: usize>(text: &str) -> (U16, [u8; SLOTS]) {
    let mut slots = [0; SLOTS];
    slots[..text.len()].copy_from_slice(text.as_bytes());
    (U16::new(text.len() as u16), slots)
}

/// zerocopy has no text: who reads it looks for its end, and whether it is any.
fn used<'a>(field: &'static str, len: U16, slots: &'a [u8]) -> Result<&'a str, MessageError> {
    let used = slots.get(..len.get().into()).and_then(|used| str::from_utf8(used).ok());
    used.ok_or(MessageError::Field { field, offset: 0 })
}

impl Subject for TextMessage {
    type Plain<'a> = Text<'a>;
    type Fixed = FixedText;

    fn plain(&self) -> Text<'_> {
        Text { sender: &self.sender, content: &self.content, timestamp: self.timestamp }
    }

    fn fixed(&self) -> FixedText {
        let ((sender_len, sender), (content_len, content)) = (slots(&self.sender), slots(&self.content));
        FixedText { timestamp: self.timestamp.into(), sender, content, sender_len, content_len }
    }

    fn of_plain<'a>(plain: &'a Text<'_>) -> Result<TextMessageView<'a>, MessageError> {
        text(plain.sender, plain.content, plain.timestamp)
    }

    fn of_archived<'a>(archived: &'a ArchivedText<'static>) -> Result<TextMessageView<'a>, MessageError> {
        text(&archived.sender, &archived.content, archived.timestamp.to_native())
    }

    fn of_fixed(fixed: &FixedText) -> Result<TextMessageView<'_>, MessageError> {
        let sender = used("sender", fixed.sender_len, &fixed.sender)?;
        text(sender, used("content", fixed.content_len, &fixed.content)?, fixed.timestamp.get())
    }

    fn read(view: TextMessageView<'_>) {
        black_box(view);
    }
}

/// An array where it lies. bincode derives that for slices only; it decodes arrays by value, which takes twice the time.
#[derive(serde::Serialize, serde::Deserialize, rkyv::Archive, rkyv::Serialize)]
pub(crate) struct At<'a, const N: usize>(
    #[serde(borrow, with = "serde_bytes")]
    #[rkyv(with = Inline)]
    &'a [u8; N],
);

impl<const N: usize> bincode::Encode for At<'_, N> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.encode(encoder)
    }
}

impl<'a, C, const N: usize> bincode::BorrowDecode<'a, C> for At<'a, N> {
    fn borrow_decode<D: BorrowDecoder<'a, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        decoder.claim_bytes_read(N)?;
        let array = decoder.borrow_reader().take_bytes(N)?.as_array();
        array.map(Self).ok_or(DecodeError::Other("bytes of another length"))
    }
}

#[derive(
    bincode::Encode,
    bincode::BorrowDecode,
    serde::Serialize,
    serde::Deserialize,
    rkyv::Archive,
    rkyv::Serialize,
)]
pub(crate) struct Update<'a> {
    #[serde(borrow)]
    pool_address: At<'a, 20>,
    venue_id: u16,
    #[serde(borrow)]
    reserve0: At<'a, 32>,
    #[serde(borrow)]
    reserve1: At<'a, 32>,
    #[serde(borrow)]
    liquidity: At<'a, 32>,
    #[serde(borrow)]
    sqrt_price_x96: At<'a, 32>,
    tick: i32,
    block_number: u64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct FixedUpdate {
    pool_address: [u8; 20],
    venue_id: U16,
    reserve0: [u8; 32],
    reserve1: [u8; 32],
    liquidity: [u8; 32],
    sqrt_price_x96: [u8; 32],
    tick: I32,
    block_number: U64,
}

/// A view of any form: arrays lie in a field, or in the only one of it, and numbers turn into ours.
macro_rules! view {
    ($form:ident $($at:tt)*) => {{
        let view = PoolStateUpdateView {
            pool_address: &$form.pool_address$($at)*,
            venue_id: $form.venue_id.into(),
            reserve0: &$form.reserve0$($at)*,
            reserve1: &$form.reserve1$($at)*,
            liquidity: &$form.liquidity$($at)*,
            sqrt_price_x96: &$form.sqrt_price_x96$($at)*,
            tick: $form.tick.into(),
            block_number: $form.block_number.into(),
        };
        not_zero("pool_address", view.pool_address)?;
        Ok(view)
    }};
}

impl Subject for PoolStateUpdate {
    type Plain<'a> = Update<'a>;
    type Fixed = FixedUpdate;

    fn plain(&self) -> Update<'_> {
        Update {
            pool_address: At(&self.pool_address),
            venue_id: self.venue_id,
            reserve0: At(&self.reserve0),
            reserve1: At(&self.reserve1),
            liquidity: At(&self.liquidity),
            sqrt_price_x96: At(&self.sqrt_price_x96),
            tick: self.tick,
            block_number: self.block_number,
        }
    }

    fn fixed(&self) -> FixedUpdate {
        FixedUpdate {
            pool_address: self.pool_address,
            venue_id: self.venue_id.into(),
            reserve0: self.reserve0,
            reserve1: self.reserve1,
            liquidity: self.liquidity,
            sqrt_price_x96: self.sqrt_price_x96,
            tick: self.tick.into(),
            block_number: self.block_number.into(),
        }
    }

    fn of_plain<'a>(plain: &'a Update<'_>) -> Result<PoolStateUpdateView<'a>, MessageError> {
        view!(plain.0)
    }

    fn of_archived<'a>(
        archived: &'a ArchivedUpdate<'static>,
    ) -> Result<PoolStateUpdateView<'a>, MessageError> {
        view!(archived.0)
    }

    fn of_fixed(fixed: &FixedUpdate) -> Result<PoolStateUpdateView<'_>, MessageError> {
        view!(fixed)
    }

    fn read(view: PoolStateUpdateView<'_>) {
        black_box((*view.pool_address, view.venue_id, view.tick, view.block_number));
        for number in [view.reserve0, view.reserve1, view.liquidity, view.sqrt_price_x96] {
            black_box(*number);
        }
    }
}
