//! Framings: where one message ends and the next begins, free of I/O.
//!
//! A framing is handed bytes and hands back frames whose payload lies in a pooled buffer; it never reads,
//! writes, waits or looks at a clock, so that sockets, property tests and the fuzzer drive the same code.
//!
//! Invariants of every framing here:
//! - the result does not depend on how the input was cut into pieces;
//! - an announced length is checked against its limit before anything is reserved for it;
//! - no input panics: bytes are looked at through [`Buf`](bytes::Buf) and array patterns, never by index;
//! - between frames, and after an error, no buffer is held.
//!
//! Deliberately absent: what a payload means (that is the schema's), and reading ahead (that is the
//! transport's).

pub mod tlv;
