//! Fuzz target: the decoder of lines against its model.

#![no_main]

mod lines_model;
mod stream;

libfuzzer_sys::fuzz_target!(|input: &[u8]| lines_model::check(input));
