//! Memory of TLS connections at rest, counted by dhat: after the handshake, and after a mebibyte in each direction.
//!
//! Without the test harness, whose own thread allocates at any time. What aws-lc allocates is not counted: it calls C's
//! `malloc`.

mod tls_servers;

use std::fs;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use dhat::HeapStats;
use millpond::net::Stream;
use millpond::net::tls::{TlsConfig, TlsStream};
use tls_servers::{Authority, Server, folder_with, get};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const CONNECTIONS: usize = 50;
const MIB: usize = 1 << 20;
/// A connection at rest on the heap, with the socket that tokio watches: 6.2 KB, of which 4 KiB are the buffer into which
/// rustls reads.
const AT_REST: usize = 6_500;
/// A connection after a transfer, when nobody reads from it: the buffer for the largest record, and more by its growth.
const UNREAD: usize = 40_000;
/// A connection with all the bytes that it accepts while its peer takes none: 64 KiB of records.
const UNWRITTEN: usize = AT_REST + 66_500;
/// One ticket, with a chain of one small certificate.
const TICKET: usize = 1_400;
const TICKETS: usize = 32;

fn held() -> usize {
    HeapStats::get().curr_bytes
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let authority = Authority::new("root");
    let folder = folder_with(&authority.issue(|_| ()));
    fs::create_dir(folder.path().join("files")).unwrap();
    fs::write(folder.path().join("files/large"), vec![7; MIB]).unwrap();
    let server = Server::nginx_in(folder, "location = /large { root files; } client_max_body_size 0;");
    let at_rest = a_connection_at_rest_holds_one_small_buffer(&server, authority.trusted()).await;
    let ticket = tickets_are_bounded(&server, authority.trusted()).await;
    println!(
        "test result: ok. {at_rest} bytes of heap per connection, {} in it, {ticket} per ticket",
        size_of::<TlsStream<Stream>>() - size_of::<Stream>()
    );
}

async fn a_connection_at_rest_holds_one_small_buffer(server: &Server, config: TlsConfig) -> usize {
    let connector = config.session_servers(0).build().unwrap();
    // What is allocated once.
    get(&mut server.tls(&connector).await.unwrap()).await;
    let mut streams = Vec::with_capacity(CONNECTIONS);
    let before = held();
    let each = || held().saturating_sub(before) / CONNECTIONS;

    for _ in 0..CONNECTIONS {
        streams.push(server.tls(&connector).await.unwrap());
    }
    streams.iter_mut().for_each(rest);
    assert!(each() <= AT_REST, "{} bytes after the handshake", each());

    for stream in &mut streams {
        download(stream).await;
    }
    assert!(each() <= UNREAD, "{} bytes while nobody reads", each());
    streams.iter_mut().for_each(rest);
    assert!(each() <= AT_REST, "{} bytes after a read of 1 MiB", each());

    for stream in &mut streams {
        upload(stream).await;
    }
    streams.iter_mut().for_each(rest);
    assert!(each() <= AT_REST, "{} bytes after a write of 1 MiB", each());

    let at_rest = each();
    server.pause();
    for stream in &mut streams {
        write_all_that_fits(stream);
    }
    server.resume();
    assert!(each() <= UNWRITTEN, "{} bytes while the server takes nothing", each());
    drop(streams);
    assert!(each() <= CONNECTIONS, "{} bytes are left", each() * CONNECTIONS);
    at_rest
}

async fn tickets_are_bounded(server: &Server, config: TlsConfig) -> usize {
    let connector = config.tickets_per_server(TICKETS).build().unwrap();
    drop(server.tls(&connector).await.unwrap());
    let before = held();
    for _ in 0..2 {
        let mut streams = Vec::new();
        for _ in 0..2 * TICKETS {
            streams.push(server.tls(&connector).await.unwrap());
        }
        // After a full handshake nginx sends two tickets.
        for stream in &mut streams {
            get(stream).await;
        }
    }
    let held = held().saturating_sub(before);
    assert!(held <= TICKETS * TICKET, "{held} bytes");
    held / TICKETS
}

/// Polls a read that finds nothing.
fn rest(stream: &mut TlsStream<Stream>) {
    let mut room = [0; 64];
    let mut room = ReadBuf::new(&mut room);
    assert!(Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut room).is_pending());
}

fn write_all_that_fits(stream: &mut TlsStream<Stream>) {
    let bytes = [7; 4096];
    let mut written = 0;
    let cx = &mut Context::from_waker(Waker::noop());
    while let Poll::Ready(count) = Pin::new(&mut *stream).poll_write(cx, &bytes) {
        written += count.unwrap();
        assert!(written < 16 * MIB, "the server takes bytes");
    }
}

async fn download(stream: &mut TlsStream<Stream>) {
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: pond.example\r\n\r\n").await.unwrap();
    stream.flush().await.unwrap();
    let mut body = vec![0; MIB];
    answer(stream, &mut body).await;
    assert!(body.iter().all(|&byte| byte == 7));
}

async fn upload(stream: &mut TlsStream<Stream>) {
    let head = format!("POST / HTTP/1.1\r\nHost: pond.example\r\nContent-Length: {MIB}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![7; MIB]).await.unwrap();
    stream.flush().await.unwrap();
    let mut body = *b"[.] [TLSv1.3] [pond.example] [] [NONE]";
    answer(stream, &mut body).await;
}

/// Reads a head, and a body of this length.
async fn answer(stream: &mut TlsStream<Stream>, body: &mut [u8]) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).await.unwrap();
    }
    reader.read_exact(body).await.unwrap();
    assert!(reader.buffer().is_empty());
}
