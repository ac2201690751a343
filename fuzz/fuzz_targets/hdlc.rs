//! Fuzz target: the HDLC decoder against its model.

#![no_main]

mod hdlc_model;
mod stream;
mod stuffing_model;

libfuzzer_sys::fuzz_target!(|input: &[u8]| hdlc_model::check(input));
