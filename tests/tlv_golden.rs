//! Golden frames that an independent implementation of the protocol encoded: we encode the same bytes, and decode them.

use millpond::frame::tlv::{self, Frame};
use millpond::frame::{Assembler, Message, MessageError, ReadMode, Tlv};
use millpond::{BufferPool, BufferPoolConfig};
use serde_json::Value;

mod messages;

use messages::{CounterUpdate, TextMessage, TextMessageView};

#[derive(Debug)]
enum Golden {
    Text(TextMessage),
    Counter(CounterUpdate),
}

#[test]
fn messages_encode_to_the_golden_frames() {
    for (message, wire) in golden_frames() {
        assert_eq!(message.frame(), wire, "{message:?}");
    }
}

#[test]
fn the_golden_frames_decode_to_their_messages() {
    let pool = BufferPool::new(BufferPoolConfig::messages());
    let (messages, wires): (Vec<_>, Vec<_>) = golden_frames().into_iter().unzip();
    let stream = wires.concat();
    for reading in [ReadMode::PerFrame, ReadMode::batched()] {
        let mut frames = Assembler::new(Tlv::default(), pool.clone(), reading);
        frames.push(&mut stream.as_slice()).unwrap();
        for message in &messages {
            let frame = frames.next_frame().unwrap().expect("a golden frame is whole");
            message.is_seen_in(&frame);
        }
        assert_eq!(frames.next_frame(), Ok(None));
        assert_eq!(frames.finish(), Ok(()));
    }
}

fn golden_frames() -> Vec<(Golden, Vec<u8>)> {
    let file: Value = serde_json::from_str(include_str!("data/tlv_frames.json")).unwrap();
    let frames = file["frames"].as_array().unwrap();
    assert_eq!(frames.len(), 4);
    frames.iter().map(|frame| (Golden::described_by(frame), bytes_of(&frame["frame_hex"]))).collect()
}

impl Golden {
    fn described_by(frame: &Value) -> Self {
        let fields = &frame["fields"];
        match frame["message"].as_str().unwrap() {
            "TextMessage" => Self::Text(TextMessage {
                sender: text_of(&fields["sender"]),
                content: text_of(&fields["content"]),
                timestamp: fields["timestamp"].as_u64().unwrap(),
            }),
            "CounterUpdate" => Self::Counter(CounterUpdate {
                counter_id: fields["counter_id"].as_u64().unwrap(),
                value: fields["value"].as_i64().unwrap().try_into().unwrap(),
                delta: fields["delta"].as_i64().unwrap().try_into().unwrap(),
            }),
            other => panic!("no test encodes {other}"),
        }
    }

    fn frame(&self) -> Vec<u8> {
        fn encoded<M: Message>(message: &M) -> Vec<u8> {
            let (mut payload, mut frame) = (Vec::new(), Vec::new());
            message.encode(&mut payload);
            assert_eq!(payload.len(), message.encoded_len());
            tlv::encode(M::TYPE_ID, &payload, &mut frame).unwrap();
            frame
        }
        match self {
            Self::Text(message) => encoded(message),
            Self::Counter(message) => encoded(message),
        }
    }

    fn is_seen_in(&self, frame: &Frame) {
        match self {
            Self::Text(TextMessage { sender, content, timestamp }) => {
                assert_eq!(frame.type_id, TextMessage::TYPE_ID);
                let expected = TextMessageView { sender, content, timestamp: *timestamp };
                assert_eq!(TextMessage::view(&frame.payload), Ok(expected));
            }
            Self::Counter(message) => {
                assert_eq!(frame.type_id, CounterUpdate::TYPE_ID);
                assert_eq!(CounterUpdate::view(&frame.payload), Ok(*message));
            }
        }
    }
}

#[test]
fn bytes_that_encode_no_message_are_refused() {
    let expected = Err(MessageError::Length { received: 311, expected: 312 });
    assert_eq!(TextMessage::view(&[0; 311]), expected);
    for (at, field, offset) in [(0, "sender", 0), (3, "sender", 0), (39, "sender", 0), (41, "content", 40)] {
        let mut payload = [0; 312];
        payload[at] = 0xFF;
        assert_eq!(TextMessage::view(&payload), Err(MessageError::Field { field, offset }), "{at}");
    }
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
