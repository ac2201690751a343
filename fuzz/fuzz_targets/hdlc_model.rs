//! Model of HDLC: the rules for the shared model of byte-stuffed frames.
//!
//! The fuzzer and the replay of the checked-in corpus (`tests/fuzz_corpus.rs`) both run [`check`].

use millpond::PooledBytes;
use millpond::frame::{Encoder, Hdlc};

use super::stuffing_model::{self, Options, Plain, Rules};

pub(crate) fn check(input: &[u8]) {
    let rules = |options| Rules { special: [0x7E, 0x7D], escaped: [0x5E, 0x5D], command: false, options };
    let framing = |options: Options| Hdlc::new(options.max).with_min_frame(options.min);
    let plain = |payload: PooledBytes| (0, payload.to_vec());
    let encode = |hdlc: &Hdlc, (_, payload): Plain, wire: &mut Vec<u8>| {
        let len = hdlc.encoded_len(&payload);
        hdlc.encode(payload, wire).unwrap();
        len
    };
    stuffing_model::check(input, rules, framing, Hdlc::dropped, plain, encode);
}
