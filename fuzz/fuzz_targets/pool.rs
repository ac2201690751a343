//! Fuzz target: operations on a pool against its model.

#![no_main]

mod pool_model;

libfuzzer_sys::fuzz_target!(|input: &[u8]| pool_model::Case::parse(input).check());
