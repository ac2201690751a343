//! Model of KISS: the rules for the shared model of byte-stuffed frames.
//!
//! The fuzzer and the replay of the checked-in corpus (`tests/fuzz_corpus.rs`) both run [`check`].

use millpond::frame::Kiss;

use super::stuffing_model::{self, Rules};

pub(crate) fn check(input: &[u8]) {
    let rules = |max, min| Rules { special: [0xC0, 0xDB], escaped: [0xDC, 0xDD], command: true, max, min };
    stuffing_model::check(input, rules, |max, min| Kiss::new(max).with_min_frame(min), Kiss::dropped);
}
