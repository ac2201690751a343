//! Checks of all generated messages' views: bytes are an error, or a message that encodes to a payload of the same
//! message; if its view is strict, to the same bytes.
//!
//! The fuzzer and the replay of the checked-in corpus (`tests/fuzz_corpus.rs`) both run [`check`].

use millpond::frame::MessageError;

use super::generated::ENTRIES;

/// The first byte selects the message, and the rest is its payload, padded with zeros to the message's length, so that a
/// short input passes the check of the length. The unpadded payload goes to all other messages, too.
pub(crate) fn check(input: &[u8]) {
    let Some((&chosen, rest)) = input.split_first() else { return };
    let chosen = usize::from(chosen) % ENTRIES.len();
    for (index, entry) in ENTRIES.iter().enumerate() {
        let mut payload = rest.to_vec();
        if index == chosen {
            payload.resize(entry.max_size, 0);
        }
        match (entry.recode)(&payload) {
            Ok(encoded) => {
                assert_eq!((entry.recode)(&encoded).as_ref(), Ok(&encoded), "{}", entry.name);
                assert!(!entry.is_strict() || encoded == payload, "{}", entry.name);
            }
            Err(MessageError::Length { received, expected }) => {
                assert!((received, expected) == (payload.len(), entry.max_size) && received != expected);
            }
            Err(MessageError::Field { offset, .. } | MessageError::Padding { offset }) => {
                assert!(offset < entry.max_size);
            }
            Err(_) => assert_eq!(payload.len(), entry.max_size),
        }
    }
}
