//! Fuzz target: views of all generated messages.

#![no_main]

#[path = "../../tests/generated/mod.rs"]
mod generated;
mod view_model;

libfuzzer_sys::fuzz_target!(|input: &[u8]| view_model::check(input));
