//! Fuzz target: the decoder of server-sent events against its model.

#![no_main]

mod sse_model;
mod stream;

libfuzzer_sys::fuzz_target!(|input: &[u8]| sse_model::check(input));
