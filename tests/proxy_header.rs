//! PROXY headers: the bytes of the specification, and reading them off real sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use millpond::net::{
    AsyncStream, Endpoint, Listener, ProxyHeader, ProxyHeaderError as Error, ProxyVersion, Stream,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

/// A test that waits this long has failed, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);
const SIGNATURE: &[u8] = b"\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A";
const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x9c, 0x40, 1, 0xbb];

fn tcp(source: &str, destination: &str) -> ProxyHeader {
    ProxyHeader::Tcp { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = [SIGNATURE, &[command, family]].concat();
    bytes.extend((rest.len() as u16).to_be_bytes());
    bytes.extend(rest);
    bytes
}

/// What the bytes say, which are all of a header.
fn whole(bytes: &[u8]) -> ProxyHeader {
    let (header, length) = ProxyHeader::decode(bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    header
}

fn error(bytes: &[u8]) -> Error {
    ProxyHeader::decode(bytes).unwrap_err()
}

#[test]
fn the_lines_of_the_specification_are_decoded() {
    let longest_ip = ["ffff"; 8].join(":");
    let example = tcp("192.168.0.1:56324", "192.168.0.11:443");
    assert_eq!(whole(b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"), example);
    let ipv4 = tcp("255.255.255.255:65535", "255.255.255.255:65535");
    assert_eq!(whole(b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), ipv4);
    let ipv6: SocketAddr = format!("[{longest_ip}]:65535").parse().unwrap();
    let longest = format!("{longest_ip} {longest_ip} 65535 65535\r\n");
    let line = format!("PROXY TCP6 {longest}");
    assert_eq!(whole(line.as_bytes()), ProxyHeader::Tcp { source: ipv6, destination: ipv6 });
    assert_eq!(whole(b"PROXY UNKNOWN\r\n"), ProxyHeader::Local);
    let line = format!("PROXY UNKNOWN {longest}");
    assert_eq!(line.len(), 107);
    assert_eq!(whole(line.as_bytes()), ProxyHeader::Local);
}

#[test]
fn binary_headers_are_decoded() {
    let ipv4 = tcp("192.0.2.1:40000", "198.51.100.1:443");
    assert_eq!(whole(&v2(0x21, 0x11, &IPV4)), ipv4);
    let ipv6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[1][..]].concat();
    let ipv6 = [&ipv6[..], &ipv6, &[0x9c, 0x40, 1, 0xbb]].concat();
    assert_eq!(whole(&v2(0x21, 0x21, &ipv6)), tcp("[2001:db8::1]:40000", "[2001:db8::1]:443"));
    assert_eq!(whole(&v2(0x21, 0x31, &[b'a'; 216])), ProxyHeader::Unix);
    // A TLV of an unknown type, and one without a value.
    let tlvs = [&IPV4[..], &[0xea, 0, 2, 1, 2], &[0x04, 0, 0]].concat();
    assert_eq!(whole(&v2(0x21, 0x11, &tlvs)), ipv4);
}

#[test]
fn without_a_source_the_address_of_the_connection_counts() {
    // A health check, also with a family that does not exist.
    assert_eq!(whole(&v2(0x20, 0x00, b"")), ProxyHeader::Local);
    assert_eq!(whole(&v2(0x20, 0xff, b"anything")), ProxyHeader::Local);
    // An unknown family, and datagrams.
    assert_eq!(whole(&v2(0x21, 0x00, b"anything")), ProxyHeader::Local);
    assert_eq!(whole(&v2(0x21, 0x12, &IPV4)), ProxyHeader::Local);
}

#[test]
fn what_breaks_the_rules_is_refused() {
    for line in [
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        "PROXY TCP4 1.2.3.4 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
    ] {
        assert_eq!(error(line.as_bytes()), Error::Malformed, "{line}");
    }
    assert_eq!(error(b"PROXY \xff\r\n"), Error::Malformed);
    for (command, family, rest) in [
        (0x11, 0x11, &IPV4[..]),
        (0x22, 0x11, &IPV4),
        (0x21, 0x41, &IPV4),
        (0x21, 0x13, &IPV4),
        (0x21, 0x11, &IPV4[1..]),
        (0x21, 0x21, &IPV4),
        (0x21, 0x31, &IPV4),
        (0x21, 0x12, &IPV4[1..]),
    ] {
        assert_eq!(error(&v2(command, family, rest)), Error::Malformed, "{command:x} {family:x} {rest:?}");
    }
    let tlv_past_the_end = [&IPV4[..], &[0x04, 0, 2, 1]].concat();
    assert_eq!(error(&v2(0x21, 0x11, &tlv_past_the_end)), Error::Malformed);
}

#[test]
fn the_first_wrong_byte_is_enough() {
    assert_eq!(error(b"G"), Error::Missing);
    assert_eq!(error(b"PROXY\t"), Error::Missing);
    assert_eq!(error(b"\r\n\r\n\0\r\nQUIX"), Error::Missing);
}

#[test]
fn longer_ones_are_refused_before_they_have_come() {
    let line = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert_eq!(ProxyHeader::decode(&line.as_bytes()[..106]), Ok(None));
    assert_eq!(error(&line.as_bytes()[..107]), Error::TooLong);
    let room = ProxyHeader::MAX_LENGTH - SIGNATURE.len() - 4;
    assert_eq!(whole(&v2(0x20, 0, &vec![0; room])), ProxyHeader::Local);
    assert_eq!(error(&v2(0x20, 0, &vec![0; room + 1])[..16]), Error::TooLong);
}

#[test]
fn a_wrong_checksum_is_refused() {
    // As haproxy sends it with `proxy-v2-options crc32c`; see proxy_header_peers.rs.
    let crc = |crc: u32| {
        let mut tlvs = [&IPV4[..], &[0x03, 0, 4]].concat();
        tlvs.extend(crc.to_be_bytes());
        tlvs.extend([0x05, 0, 1, 7]);
        v2(0x21, 0x11, &tlvs)
    };
    let right = expected_checksum(&crc(0));
    assert_eq!(whole(&crc(right)), tcp("192.0.2.1:40000", "198.51.100.1:443"));
    assert_eq!(error(&crc(right ^ 1)), Error::Checksum);
    let short = [&IPV4[..], &[0x03, 0, 3, 0, 0, 0]].concat();
    assert_eq!(error(&v2(0x21, 0x11, &short)), Error::Malformed);
}

/// CRC32c, by a table.
fn expected_checksum(bytes: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256u32)
        .map(|byte| (0..8).fold(byte, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }))
        .collect();
    !bytes.iter().fold(!0, |crc, byte| crc >> 8 ^ table[(crc as u8 ^ byte) as usize])
}

#[test]
fn headers_are_encoded_as_the_specification_has_them() {
    let (v1, v2_) = (ProxyVersion::V1, ProxyVersion::V2);
    let ipv4 = tcp("192.0.2.1:40000", "198.51.100.1:443");
    assert_eq!(ipv4.encode(v1, None), b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\n");
    assert_eq!(ipv4.encode(v2_, None), v2(0x21, 0x11, &IPV4));
    let named = [&IPV4[..], &[0x02, 0, 11], b"example.org"].concat();
    assert_eq!(ipv4.encode(v2_, Some("example.org")), v2(0x21, 0x11, &named));
    let longest = "x".repeat(107 - 16 - IPV4.len() - 3);
    assert_eq!(ipv4.encode(v2_, Some(&longest)).len(), 107);
    assert_eq!(ipv4.encode(v2_, Some(&format!("{longest}x"))), v2(0x21, 0x11, &IPV4));
    let ipv6 = tcp("[2001:db8::1]:40000", "[2001:db8::2]:443");
    assert_eq!(ipv6.encode(v1, None), b"PROXY TCP6 2001:db8::1 2001:db8::2 40000 443\r\n");
    assert_eq!(ProxyHeader::Local.encode(v1, None), b"PROXY UNKNOWN\r\n");
    assert_eq!(ProxyHeader::Local.encode(v2_, None), v2(0x20, 0, b""));
    assert_eq!(ProxyHeader::Unix.encode(v1, None), b"PROXY UNKNOWN\r\n");
    assert_eq!(ProxyHeader::Unix.encode(v2_, None), v2(0x20, 0, b""));
}

#[test]
fn addresses_of_two_families_are_both_sent_as_ipv6() {
    let mixed = tcp("192.0.2.1:40000", "[2001:db8::2]:443");
    let line = mixed.encode(ProxyVersion::V1, None);
    assert_eq!(line, b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 40000 443\r\n");
    assert_eq!(whole(&line), tcp("[::ffff:192.0.2.1]:40000", "[2001:db8::2]:443"));
}

#[test]
fn mapped_addresses_are_sent_as_ipv4() {
    let mapped: SocketAddr = "[::ffff:192.0.2.1]:40000".parse().unwrap();
    let header = ProxyHeader::between(Some(mapped), Some(mapped));
    assert_eq!(header, tcp("192.0.2.1:40000", "192.0.2.1:40000"));
}

/// Both ends of a connection. The second was accepted.
async fn pair(endpoint: &Endpoint) -> (Stream, Stream) {
    let listener = Listener::bind(endpoint).await.unwrap();
    let client = Stream::connect(listener.local_endpoint().clone(), PATIENCE).await.unwrap();
    (client, listener.accept().await.unwrap())
}

async fn pairs() -> [(Stream, Stream); 2] {
    let file = tempfile::Builder::new().make(|path| std::os::unix::net::UnixListener::bind(path)).unwrap();
    let path = file.into_temp_path();
    std::fs::remove_file(&path).unwrap();
    let unix = format!("unix://{}", path.display()).parse().unwrap();
    [pair(&"127.0.0.1:0".parse().unwrap()).await, pair(&unix).await]
}

async fn rest(mut stream: Stream) -> String {
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

fn reason(error: &io::Error) -> Option<Error> {
    error.get_ref()?.downcast_ref().copied()
}

fn read(mut accepted: Stream) -> JoinHandle<(io::Result<ProxyHeader>, Stream)> {
    tokio::spawn(async move { (accepted.read_proxy_header(PATIENCE).await, accepted) })
}

#[tokio::test]
async fn no_byte_after_the_header_is_taken() {
    for (mut client, mut accepted) in pairs().await {
        client.write_all(b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\nhello").await.unwrap();
        let header = accepted.read_proxy_header(PATIENCE).await.unwrap();
        assert_eq!(header, tcp("192.0.2.1:40000", "198.51.100.1:443"));
        drop(client);
        assert_eq!(rest(accepted).await, "hello");
    }
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    let headers = [ProxyVersion::V1, ProxyVersion::V2]
        .map(|version| tcp("192.0.2.1:40000", "198.51.100.1:443").encode(version, None));
    for header in headers {
        for (mut client, accepted) in pairs().await {
            let reading = read(accepted);
            for byte in &header {
                client.write_all(&[*byte]).await.unwrap();
                // The reader sees most of them alone.
                yield_now().await;
            }
            client.write_all(b"hello").await.unwrap();
            drop(client);
            let (read, accepted) = reading.await.unwrap();
            assert_eq!(read.unwrap(), tcp("192.0.2.1:40000", "198.51.100.1:443"));
            assert_eq!(rest(accepted).await, "hello");
        }
    }
}

#[tokio::test]
async fn a_header_with_the_end_of_the_stream_is_read() {
    for (mut client, mut accepted) in pairs().await {
        client.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(accepted.read_proxy_header(PATIENCE).await.unwrap(), ProxyHeader::Local);
        assert_eq!(rest(accepted).await, "");
    }
}

#[tokio::test]
async fn an_end_within_the_header_is_seen_at_once() {
    for (mut client, accepted) in pairs().await {
        let reading = read(accepted);
        client.write_all(b"PROXY TCP4 192.0.2.1 ").await.unwrap();
        yield_now().await;
        client.shutdown().await.unwrap();
        let (read, _) = timeout(PATIENCE, reading).await.unwrap().unwrap();
        assert_eq!(reason(&read.unwrap_err()), Some(Error::Truncated));
    }
}

#[tokio::test]
async fn a_connection_without_a_byte_has_its_own_error() {
    for (client, mut accepted) in pairs().await {
        drop(client);
        let error = accepted.read_proxy_header(PATIENCE).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[tokio::test]
async fn a_reset_within_the_header_is_seen_at_once() {
    let [(mut client, accepted), _] = pairs().await;
    let reading = read(accepted);
    client.write_all(b"PROXY ").await.unwrap();
    yield_now().await;
    client.reset_on_close();
    drop(client);
    let (read, _) = timeout(PATIENCE, reading).await.unwrap().unwrap();
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn anything_else_is_refused_without_a_wait() {
    for (mut client, accepted) in pairs().await {
        client.write_all(b"GET").await.unwrap();
        let (read, accepted) = timeout(PATIENCE, read(accepted)).await.unwrap().unwrap();
        assert_eq!(reason(&read.unwrap_err()), Some(Error::Missing));
        drop(client);
        assert_eq!(rest(accepted).await, "GET");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_header_ends_at_the_limit() {
    const LIMIT: Duration = Duration::from_secs(3);
    let [(mut client, mut accepted), _] = pairs().await;
    let reading = tokio::spawn(async move {
        let begun = tokio::time::Instant::now();
        (accepted.read_proxy_header(LIMIT).await, begun.elapsed())
    });
    // A byte per second does not prolong it.
    for byte in b"PROXY TCP4" {
        if client.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (read, elapsed) = reading.await.unwrap();
    assert_eq!(reason(&read.unwrap_err()), Some(Error::Timeout));
    assert_eq!(elapsed.as_secs(), LIMIT.as_secs());
}
