//! Fuzz target: the decoder of PROXY headers.

#![no_main]

mod proxy_header_model;

libfuzzer_sys::fuzz_target!(|input: &[u8]| proxy_header_model::check(input));
