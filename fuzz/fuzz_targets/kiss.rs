//! Fuzz target: the KISS decoder against its model.

#![no_main]

mod kiss_model;
mod stream;
mod stuffing_model;

libfuzzer_sys::fuzz_target!(|input: &[u8]| kiss_model::check(input));
