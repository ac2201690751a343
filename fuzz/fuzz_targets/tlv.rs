//! Fuzz target: the TLV decoder against its model.

#![no_main]

mod stream;
mod tlv_model;

libfuzzer_sys::fuzz_target!(|input: &[u8]| tlv_model::check(input));
