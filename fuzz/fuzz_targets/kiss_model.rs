//! Model of KISS: the rules for the shared model of byte-stuffed frames.
//!
//! The fuzzer and the replay of the checked-in corpus (`tests/fuzz_corpus.rs`) both run [`check`].

use millpond::frame::kiss::Frame;
use millpond::frame::{Encoder, Kiss};

use super::stuffing_model::{self, Options, Plain, Rules};

pub(crate) fn check(input: &[u8]) {
    let rules = |options| Rules { special: [0xC0, 0xDB], escaped: [0xDC, 0xDD], command: true, options };
    let framing = |options: Options| {
        let kiss = Kiss::new(options.max).with_min_frame(options.min);
        if options.all_commands { kiss.with_commands() } else { kiss }
    };
    let plain = |frame: Frame| (frame.port << 4 | frame.command, frame.payload.to_vec());
    let encode = |kiss: &Kiss, (command, payload): Plain, wire: &mut Vec<u8>| {
        let frame = Frame::new(payload).with_port(command >> 4).with_command(command & 0x0F);
        let len = kiss.encoded_len(&frame);
        kiss.encode(frame, wire).unwrap();
        len
    };
    stuffing_model::check(input, rules, framing, Kiss::dropped, plain, encode);
}
