//! What holds for the decoder of PROXY headers, whatever the bytes: it says the same however much has come, once it has said
//! something, and what is encoded is decoded again.
//!
//! The fuzzer and the replay of the checked-in corpus (`tests/fuzz_corpus.rs`) both run [`check`].

use millpond::net::{ProxyHeader, ProxyVersion};

pub(crate) fn check(input: &[u8]) {
    let at_once = ProxyHeader::decode(input);
    let first = (0..=input.len())
        .map(|length| (length, ProxyHeader::decode(&input[..length])))
        .find(|(_, decoded)| *decoded != Ok(None));
    let Some((needed, first)) = first else {
        assert!(input.len() < ProxyHeader::MAX_LENGTH);
        return;
    };
    assert_eq!(at_once, first);
    let Ok(Some((header, length))) = first else { return };
    assert_eq!(length, needed);
    assert!(length <= ProxyHeader::MAX_LENGTH);

    let expected = if header == ProxyHeader::Unix { ProxyHeader::Local } else { header };
    for (version, authority) in
        [(ProxyVersion::V1, None), (ProxyVersion::V2, None), (ProxyVersion::V2, Some("example.org"))]
    {
        let mut bytes = header.encode(version, authority);
        let length = bytes.len();
        bytes.extend(b"payload");
        assert_eq!(ProxyHeader::decode(&bytes), Ok(Some((expected, length))));
    }
}
