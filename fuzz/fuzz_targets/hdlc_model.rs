//! Model of HDLC: the rules for the shared model of byte-stuffed frames.
//!
//! The fuzzer and the replay of the checked-in corpus (`tests/fuzz_corpus.rs`) both run [`check`].

use millpond::frame::Hdlc;

use super::stuffing_model::{self, Rules};

pub(crate) fn check(input: &[u8]) {
    let rules = |max, min| Rules { special: [0x7E, 0x7D], escaped: [0x5E, 0x5D], command: false, max, min };
    stuffing_model::check(input, rules, |max, min| Hdlc::new(max).with_min_frame(min), Hdlc::dropped);
}
