#![no_main]

mod stream;
mod stuffing_model;

libfuzzer_sys::fuzz_target!(|input: &[u8]| stuffing_model::check_kiss(input));
