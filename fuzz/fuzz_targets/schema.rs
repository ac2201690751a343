//! Fuzz target: contract files, their layouts and their plans.

#![no_main]

mod schema_model;

libfuzzer_sys::fuzz_target!(|input: &[u8]| schema_model::check(input));
