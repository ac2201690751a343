//! A handwritten message: 16 bytes, little-endian.

use bytes::{Buf, BufMut};
use millpond::frame::{Message, MessageError};

#[derive(Debug, PartialEq)]
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
