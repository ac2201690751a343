//! First messages as rustls writes them, in any pieces, and bytes that are none.

use proptest::prelude::*;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::sync::Arc;

const NAME: &str = "Pond.example";

/// The first record of a client, with the keys of post-quantum cryptography.
fn hello() -> Vec<u8> {
    let kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    let provider = CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), NAME.try_into().unwrap()).unwrap();
    let mut sent = Vec::new();
    client.write_tls(&mut sent).unwrap();
    sent
}

/// The same message in records of this length.
fn in_records(len: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[HANDSHAKE, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat();
    hello()[RECORD_HEADER..].chunks(len).flat_map(record).collect()
}

fn name_in(sent: &[u8]) -> Option<Box<str>> {
    ClientHello::read(sent).unwrap().unwrap().server_name
}

#[test]
fn the_name_is_read_in_lower_case() {
    assert_eq!(name_in(&hello()).as_deref(), Some("pond.example"));
}

#[test]
fn a_part_is_no_message_yet() {
    let whole = hello();
    for len in 0..whole.len() {
        assert!(ClientHello::read(&whole[..len]).is_none(), "{len}");
    }
}

#[test]
fn a_message_in_small_records_is_read_as_well() {
    for len in [1, 3, 100] {
        let whole = in_records(len);
        assert!(ClientHello::read(&whole[..whole.len() - 1]).is_none(), "{len}");
        assert_eq!(name_in(&whole).as_deref(), Some("pond.example"), "{len}");
    }
}

#[test]
fn what_comes_after_the_message_does_not_count() {
    assert!(name_in(&[hello(), vec![7; 100]].concat()).is_some());
}

#[test]
fn other_protocols_are_told_from_their_first_bytes() {
    for sent in [&b"G"[..], b"SSH-2.0", &[HANDSHAKE, 2], &[HANDSHAKE, 3, 1, 0, 1, 2]] {
        assert!(matches!(ClientHello::read(sent), Some(Err(ClientHelloError::NotTls))), "{sent:?}");
    }
}

#[test]
fn a_message_that_is_too_large_is_told_from_its_header() {
    let sent = [HANDSHAKE, 3, 1, 0x40, 0, CLIENT_HELLO, 0, 0x40, 0];
    assert!(matches!(ClientHello::read(&sent), Some(Err(ClientHelloError::TooLarge))));
}

#[test]
fn records_that_are_too_many_are_too_large() {
    let mut sent = [&[HANDSHAKE, 3, 1, 0, 4, CLIENT_HELLO, 0, 0x3f, 0xf0][..]].concat();
    sent.extend([HANDSHAKE, 3, 1, 0, 1, 0].repeat(LONGEST / 6 + 1));
    assert!(matches!(ClientHello::read(&sent[..LONGEST]), Some(Err(ClientHelloError::TooLarge))));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_bytes_make_it_panic(start in 0..1000_usize, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut sent = hello();
        let start = start.min(sent.len());
        let end = (start + bytes.len()).min(sent.len());
        sent.splice(start..end, bytes);
        let _ = ClientHello::read(&sent);
    }
}
