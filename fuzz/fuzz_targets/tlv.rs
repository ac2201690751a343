#![no_main]

mod tlv_model;

libfuzzer_sys::fuzz_target!(|input: &[u8]| tlv_model::check(input));
