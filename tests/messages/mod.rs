//! Two messages of the contracts file, written by hand: 312 and 16 bytes, little-endian.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]

use bytes::{Buf, BufMut};
use millpond::frame::{Message, MessageError};

pub(crate) const SENDER_SLOTS: usize = 32;
pub(crate) const CONTENT_SLOTS: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CounterUpdate {
    pub(crate) counter_id: u64,
    pub(crate) value: i32,
    pub(crate) delta: i32,
}

impl Message for CounterUpdate {
    const TYPE_ID: u16 = 1002;
    const TOPIC: &'static str = "examples";
    const MAX_SIZE: usize = 16;
    type View<'a> = Self;

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u64_le(self.counter_id);
        out.put_i32_le(self.value);
        out.put_i32_le(self.delta);
    }

    fn view(mut payload: &[u8]) -> Result<Self, MessageError> {
        MessageError::check_len(payload, Self::MAX_SIZE)?;
        Ok(Self {
            counter_id: payload.get_u64_le(),
            value: payload.get_i32_le(),
            delta: payload.get_i32_le(),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextMessage {
    pub(crate) sender: String,
    pub(crate) content: String,
    pub(crate) timestamp: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextMessageView<'a> {
    pub(crate) sender: &'a str,
    pub(crate) content: &'a str,
    pub(crate) timestamp: u64,
}

impl Message for TextMessage {
    const TYPE_ID: u16 = 1001;
    const TOPIC: &'static str = "examples";
    const MAX_SIZE: usize = 312;
    type View<'a> = TextMessageView<'a>;

    fn encode(&self, out: &mut impl BufMut) {
        put_fixed_str::<SENDER_SLOTS>(out, &self.sender);
        put_fixed_str::<CONTENT_SLOTS>(out, &self.content);
        out.put_u64_le(self.timestamp);
    }

    fn view(mut payload: &[u8]) -> Result<TextMessageView<'_>, MessageError> {
        MessageError::check_len(payload, Self::MAX_SIZE)?;
        let sender = fixed_str::<SENDER_SLOTS>(&mut payload).ok_or(field("sender", 0))?;
        let content = fixed_str::<CONTENT_SLOTS>(&mut payload).ok_or(field("content", 40))?;
        Ok(TextMessageView { sender, content, timestamp: payload.get_u64_le() })
    }
}

fn field(field: &'static str, offset: usize) -> MessageError {
    MessageError::Field { field, offset }
}

/// `u16` count | 6 zero bytes | `SLOTS` bytes, the unused ones zero.
fn put_fixed_str<const SLOTS: usize>(out: &mut impl BufMut, text: &str) {
    out.put_u16_le(text.len().try_into().unwrap());
    out.put_bytes(0, 6);
    out.put_slice(text.as_bytes());
    out.put_bytes(0, SLOTS - text.len());
}

fn fixed_str<'a, const SLOTS: usize>(payload: &mut &'a [u8]) -> Option<&'a str> {
    let (mut head, rest) = payload.split_at_checked(8)?;
    let (slots, rest) = rest.split_at_checked(SLOTS)?;
    *payload = rest;
    let (text, unused) = slots.split_at_checked(head.get_u16_le().into())?;
    let zero = head.iter().chain(unused).all(|&byte| byte == 0);
    std::str::from_utf8(text).ok().filter(|_| zero)
}
