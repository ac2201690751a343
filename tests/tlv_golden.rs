//! Frames that an independent implementation of the protocol encoded, in both directions.

use bytes::{Buf, BufMut};
use millpond::frame::{Assembler, Reading, Tlv, tlv};
use millpond::{BufferPool, BufferPoolConfig};
use serde_json::Value;

const SENDER_SLOTS: usize = 32;
const CONTENT_SLOTS: usize = 256;

#[derive(Debug, PartialEq)]
enum Message {
    Text { sender: String, content: String, timestamp: u64 },
    Counter { counter_id: u64, value: i32, delta: i32 },
}

#[test]
fn our_frames_are_theirs() {
    for (message, wire) in golden_frames() {
        let mut encoded = Vec::new();
        tlv::encode(message.type_id(), &message.payload(), &mut encoded).unwrap();
        assert_eq!(encoded, wire, "{message:?}");
    }
}

#[test]
fn their_frames_are_ours() {
    let pool = BufferPool::new(BufferPoolConfig::messages());
    let (messages, wires): (Vec<_>, Vec<_>) = golden_frames().into_iter().unzip();
    let stream = wires.concat();
    for reading in [Reading::OneBufferAFrame, Reading::batched()] {
        let mut frames = Assembler::new(Tlv::default(), pool.clone(), reading);
        frames.push(&mut stream.as_slice());
        for message in &messages {
            let frame = frames.next_frame().unwrap().expect("a golden frame is whole");
            assert_eq!(Message::parse(frame.type_id, &frame.payload), *message);
        }
        assert_eq!(frames.next_frame(), Ok(None));
        assert_eq!(frames.finish(), Ok(()));
    }
}

fn golden_frames() -> Vec<(Message, Vec<u8>)> {
    let file: Value = serde_json::from_str(include_str!("data/tlv_frames.json")).unwrap();
    let frames = file["frames"].as_array().unwrap();
    assert_eq!(frames.len(), 4);
    frames.iter().map(|frame| (Message::described_by(frame), bytes_of(&frame["frame_hex"]))).collect()
}

impl Message {
    fn described_by(frame: &Value) -> Self {
        let fields = &frame["fields"];
        match frame["message"].as_str().unwrap() {
            "TextMessage" => Self::Text {
                sender: text_of(&fields["sender"]),
                content: text_of(&fields["content"]),
                timestamp: fields["timestamp"].as_u64().unwrap(),
            },
            "CounterUpdate" => Self::Counter {
                counter_id: fields["counter_id"].as_u64().unwrap(),
                value: fields["value"].as_i64().unwrap().try_into().unwrap(),
                delta: fields["delta"].as_i64().unwrap().try_into().unwrap(),
            },
            other => panic!("{other} has no encoder here"),
        }
    }

    fn type_id(&self) -> u16 {
        match self {
            Self::Text { .. } => 1001,
            Self::Counter { .. } => 1002,
        }
    }

    fn payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Text { sender, content, timestamp } => {
                put_fixed_str::<SENDER_SLOTS>(&mut out, sender);
                put_fixed_str::<CONTENT_SLOTS>(&mut out, content);
                out.put_u64_le(*timestamp);
            }
            Self::Counter { counter_id, value, delta } => {
                out.put_u64_le(*counter_id);
                out.put_i32_le(*value);
                out.put_i32_le(*delta);
            }
        }
        out
    }

    fn parse(type_id: u16, mut payload: &[u8]) -> Self {
        let message = match type_id {
            1001 => Self::Text {
                sender: get_fixed_str::<SENDER_SLOTS>(&mut payload),
                content: get_fixed_str::<CONTENT_SLOTS>(&mut payload),
                timestamp: payload.get_u64_le(),
            },
            1002 => Self::Counter {
                counter_id: payload.get_u64_le(),
                value: payload.get_i32_le(),
                delta: payload.get_i32_le(),
            },
            other => panic!("{other} has no decoder here"),
        };
        assert_eq!(payload, b"");
        message
    }
}

/// `u16` count | 6 zero bytes | `SLOTS` bytes, the unused ones zero.
fn put_fixed_str<const SLOTS: usize>(out: &mut Vec<u8>, text: &str) {
    out.put_u16_le(text.len().try_into().unwrap());
    out.put_bytes(0, 6);
    out.put_slice(text.as_bytes());
    out.put_bytes(0, SLOTS - text.len());
}

fn get_fixed_str<const SLOTS: usize>(payload: &mut &[u8]) -> String {
    let count = payload.get_u16_le().into();
    let (padding, slots) = (payload.copy_to_bytes(6), payload.copy_to_bytes(SLOTS));
    let (text, unused) = slots.split_at(count);
    assert!(padding.iter().chain(unused).all(|&byte| byte == 0));
    String::from_utf8(text.to_vec()).unwrap()
}

/// `"c*256"` in the file stands for 256 times `c`.
fn text_of(value: &Value) -> String {
    let text = value.as_str().unwrap();
    match text.split_once('*') {
        Some((repeated, times)) => repeated.repeat(times.parse().unwrap()),
        None => text.to_owned(),
    }
}

fn bytes_of(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
