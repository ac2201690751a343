//! What WebSocket servers do wrong, and what a connection makes of it.

mod websocket_servers;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use millpond::connection::websocket::{
    Message, Overflow, WebSocketConfig, WebSocketConnection, WebSocketError, WebSocketErrorKind,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Raw;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use websocket_servers::{Here, soon};

const SHORT: Duration = Duration::from_millis(100);

async fn connected(
    config: impl FnOnce(WebSocketConfig) -> WebSocketConfig,
) -> (WebSocketConnection, WebSocketStream<TcpStream>) {
    let server = Here::new().await;
    let config = config(server.config());
    let (connection, there) = tokio::join!(WebSocketConnection::open(&config), server.accept());
    (connection.unwrap(), there)
}

/// What the client says to a server that answers the upgrade with these bytes.
async fn refused_with(answer: &'static str) -> WebSocketError {
    let server = Here::new().await;
    let config = server.config();
    let answer = async {
        let mut stream = server.accept_tcp().await;
        let mut request = vec![0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream
    };
    let (connection, _stream) = tokio::join!(soon(WebSocketConnection::open(&config)), answer);
    connection.unwrap_err()
}

/// The code of the close frame that the server gets.
async fn code_at(there: &mut WebSocketStream<TcpStream>) -> Option<u16> {
    loop {
        match soon(there.next()).await? {
            Ok(Raw::Close(frame)) => return frame.map(|frame| frame.code.into()),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

async fn end_of(connection: &WebSocketConnection) -> WebSocketErrorKind {
    soon(connection.recv()).await.unwrap_err().kind()
}

#[tokio::test]
async fn a_refused_upgrade_has_its_status() {
    let error = refused_with("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
    assert_eq!(error.kind(), WebSocketErrorKind::Refused { status: 403 });
    assert!(error.to_string().contains("check the credentials"), "{error}");
}

#[tokio::test]
async fn a_busy_server_says_when_to_come_again() {
    let error = refused_with("HTTP/1.1 503 x\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_wrong_answer_to_the_key_is_a_bad_handshake() {
    let answer =
        "HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n";
    assert_eq!(refused_with(answer).await.kind(), WebSocketErrorKind::BadHandshake);
}

#[tokio::test]
#[expect(clippy::result_large_err, reason = "the type of the callback is tungstenite's")]
async fn an_extension_that_was_not_offered_is_a_bad_handshake() {
    let server = Here::new().await;
    let config = server.config();
    let choose = |_: &Request, mut response: Response| {
        let extension = HeaderValue::from_static("permessage-deflate");
        response.headers_mut().insert("sec-websocket-extensions", extension);
        Ok(response)
    };
    let there = async { accept_hdr_async(server.accept_tcp().await, choose).await };
    let (connection, _there) = tokio::join!(soon(WebSocketConnection::open(&config)), there);
    assert_eq!(connection.unwrap_err().kind(), WebSocketErrorKind::BadHandshake);
}

#[tokio::test]
async fn a_server_that_is_no_http_server_is_a_bad_handshake() {
    assert_eq!(refused_with("220 mail.example ESMTP\r\n\r\n").await.kind(), WebSocketErrorKind::BadHandshake);
}

#[tokio::test]
async fn a_server_that_does_not_answer_the_upgrade_is_given_up() {
    let server = Here::new().await;
    let config = server.config().connect_timeout(SHORT);
    let error = soon(WebSocketConnection::open(&config)).await.unwrap_err();
    assert_eq!(error.kind(), WebSocketErrorKind::ConnectTimeout { after: SHORT });
}

#[tokio::test]
async fn a_url_that_is_none_is_refused() {
    for url in ["http://a", "ws:///path", "a", "", "wss://"] {
        let error = WebSocketConfig::new(url).unwrap_err();
        assert_eq!(error.kind(), WebSocketErrorKind::InvalidUri, "{url}");
    }
}

#[tokio::test]
async fn nothing_secret_of_the_url_is_in_messages() {
    let config = WebSocketConfig::new("ws://127.0.0.1:1/path?token=7").unwrap();
    let error = soon(WebSocketConnection::open(&config)).await.unwrap_err();
    assert_eq!(error.to_string(), "no connection to ws://127.0.0.1:1");
}

#[tokio::test]
async fn frames_that_come_with_the_answer_are_not_lost() {
    let server = Here::new().await;
    let config = server.config();
    let serve = async {
        let mut stream = server.accept_tcp().await;
        let mut request = vec![0; 4096];
        let count = stream.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..count]);
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let key = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.trim().as_bytes());
        let head = format!(
            "HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {key}\r\n\r\n"
        );
        let frames = b"\x81\x02hi\x82\x01\x07";
        stream.write_all(&[head.as_bytes(), frames].concat()).await.unwrap();
        stream
    };
    let (connection, _stream) = tokio::join!(soon(WebSocketConnection::open(&config)), serve);
    let connection = connection.unwrap();
    assert_eq!(soon(connection.recv()).await.unwrap(), Message::text("hi"));
    assert_eq!(soon(connection.recv()).await.unwrap(), Message::binary(vec![7]));
}

#[tokio::test]
async fn an_end_without_a_close_is_a_loss() {
    let (connection, there) = connected(|config| config).await;
    drop(there);
    assert_eq!(end_of(&connection).await, WebSocketErrorKind::Lost);
}

#[tokio::test]
async fn a_reset_is_a_loss() {
    let (connection, there) = connected(|config| config).await;
    there.get_ref().set_zero_linger().unwrap();
    drop(there);
    assert_eq!(end_of(&connection).await, WebSocketErrorKind::Lost);
}

#[tokio::test]
async fn a_flush_says_that_a_message_was_not_written() {
    let (connection, there) = connected(|config| config.queue_bytes(64 << 20)).await;
    // More than the kernel's buffers take.
    connection.send(Message::binary(vec![0; 64 << 20])).await.unwrap();
    there.get_ref().set_zero_linger().unwrap();
    drop(there);
    let end = end_of(&connection).await;
    assert_eq!(soon(connection.flush()).await.map_err(|error| error.kind()), Err(end));
}

#[tokio::test]
async fn a_flush_after_the_end_is_no_error_if_all_was_written() {
    let (connection, mut there) = connected(|config| config).await;
    connection.send("grist").await.unwrap();
    assert_eq!(soon(there.next()).await.unwrap().unwrap(), Raw::text("grist"));
    drop(there);
    end_of(&connection).await;
    assert!(soon(connection.flush()).await.is_ok());
}

#[tokio::test]
async fn messages_before_a_loss_are_taken_first() {
    let (connection, mut there) = connected(|config| config).await;
    there.send(Raw::text("last words")).await.unwrap();
    drop(there);
    assert_eq!(soon(connection.recv()).await.unwrap(), Message::text("last words"));
    assert_eq!(end_of(&connection).await, WebSocketErrorKind::Lost);
}

#[tokio::test]
async fn a_server_that_answers_no_ping_is_taken_for_dead() {
    let short = |config: WebSocketConfig| config.ping_interval(Some(SHORT)).pong_timeout(SHORT);
    // It holds the connection open, and reads nothing.
    let (connection, _there) = connected(short).await;
    assert_eq!(end_of(&connection).await, WebSocketErrorKind::NoPong { after: SHORT });
}

#[tokio::test]
async fn a_server_that_sends_is_alive_though_it_answers_no_ping() {
    let short = |config: WebSocketConfig| config.ping_interval(Some(SHORT)).pong_timeout(SHORT);
    let (connection, mut there) = connected(short).await;
    for _ in 0..20 {
        there.send(Raw::text("x")).await.unwrap();
        soon(connection.recv()).await.unwrap();
        tokio::time::sleep(SHORT / 4).await;
    }
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn a_program_that_does_not_take_messages_does_not_make_the_server_dead() {
    let short =
        |config: WebSocketConfig| config.ping_interval(Some(SHORT)).pong_timeout(SHORT).incoming_bytes(1);
    let (connection, mut there) = connected(short).await;
    there.send(Raw::text("x")).await.unwrap();
    tokio::time::sleep(5 * SHORT).await;
    assert!(!connection.is_closed());
    assert_eq!(soon(connection.recv()).await.unwrap(), Message::text("x"));
}

#[tokio::test]
async fn the_queue_is_bounded_when_the_server_stops_reading() {
    let (connection, _there) =
        connected(|config| config.queue_bytes(1 << 20).overflow(Overflow::Reject)).await;
    let message = Message::binary(vec![0; 100_000]);
    // The kernel's buffers take some megabytes.
    let refused = soon(async {
        loop {
            if let Err(refused) = connection.send(message.clone()).await {
                return refused;
            }
            tokio::task::yield_now().await;
        }
    });
    let refused = refused.await;
    assert_eq!(refused.error.kind(), WebSocketErrorKind::QueueFull);
    assert_eq!(refused.message, message);
}

#[tokio::test]
async fn a_message_above_the_limit_ends_the_connection_and_the_server_is_told() {
    let (connection, mut there) = connected(|config| config.max_message_size(10)).await;
    there.send(Raw::text("a".repeat(11))).await.unwrap();
    assert_eq!(end_of(&connection).await, WebSocketErrorKind::TooLarge { size: 11, limit: 10 });
    assert_eq!(code_at(&mut there).await, Some(1009));
}

#[tokio::test]
async fn a_frame_above_the_limit_ends_the_connection_before_it_is_read() {
    let (connection, mut there) = connected(|config| config.max_frame_size(10)).await;
    // Only the head of a frame of 1 GB.
    let head = [0x82, 127, 0, 0, 0, 0, 0x40, 0, 0, 0];
    there.get_mut().write_all(&head).await.unwrap();
    assert_eq!(end_of(&connection).await, WebSocketErrorKind::TooLarge { size: 1 << 30, limit: 10 });
    assert_eq!(code_at(&mut there).await, Some(1009));
}

#[tokio::test]
async fn text_that_is_not_utf_8_ends_the_connection_and_the_server_is_told() {
    let (connection, mut there) = connected(|config| config).await;
    let frame = Frame::message(vec![0xc3, 0x28], OpCode::Data(Data::Text), true);
    there.send(Raw::Frame(frame)).await.unwrap();
    assert_eq!(end_of(&connection).await, WebSocketErrorKind::InvalidUtf8);
    assert_eq!(code_at(&mut there).await, Some(1007));
}

#[tokio::test]
async fn a_broken_frame_ends_the_connection_and_the_server_is_told() {
    let (connection, mut there) = connected(|config| config).await;
    // A reserved opcode.
    there.get_mut().write_all(&[0x83, 0]).await.unwrap();
    assert_eq!(end_of(&connection).await, WebSocketErrorKind::Protocol);
    assert_eq!(code_at(&mut there).await, Some(1002));
}

#[tokio::test]
async fn a_server_that_does_not_end_the_close_handshake_is_given_up() {
    let (connection, _there) = connected(|config| config.close_timeout(SHORT)).await;
    let error = soon(connection.close()).await.unwrap_err();
    assert_eq!(error.kind(), WebSocketErrorKind::CloseTimeout { after: SHORT });
}

#[tokio::test]
async fn a_server_that_reads_nothing_cannot_delay_the_close() {
    let (connection, _there) = connected(|config| config.close_timeout(SHORT).queue_bytes(64 << 20)).await;
    connection.send(vec_message(32 << 20)).await.unwrap();
    let error = soon(connection.close()).await.unwrap_err();
    assert_eq!(error.kind(), WebSocketErrorKind::CloseTimeout { after: SHORT });
}

#[tokio::test]
async fn a_close_sends_what_is_queued_first() {
    let (connection, mut there) = connected(|config| config.queue_bytes(32 << 20)).await;
    // More than the kernel takes.
    for _ in 0..32 {
        connection.send(vec_message(1 << 20)).await.unwrap();
    }
    let close = tokio::spawn(soon(connection.close()));
    tokio::task::yield_now().await;
    for _ in 0..32 {
        assert_eq!(soon(there.next()).await.unwrap().unwrap().len(), 1 << 20);
    }
    assert_eq!(code_at(&mut there).await, Some(1000));
    // The answer to the close frame.
    assert!(soon(there.next()).await.is_none());
    drop(there);
    close.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_dropped_connection_is_closed() {
    let (connection, mut there) = connected(|config| config).await;
    drop(connection);
    assert_eq!(code_at(&mut there).await, Some(1000));
}

#[tokio::test]
async fn a_long_message_goes_out_in_frames_and_arrives_as_one() {
    let (connection, mut there) = connected(|config| config.max_outgoing_frame(1000)).await;
    let text = "ä".repeat(5_001);
    connection.send(text.clone()).await.unwrap();
    assert_eq!(soon(there.next()).await.unwrap().unwrap(), Raw::text(text));
}

#[tokio::test]
async fn a_cancelled_receive_loses_nothing() {
    let (connection, mut there) = connected(|config| config).await;
    let sender = tokio::spawn(async move {
        for number in 0..500 {
            there.send(Raw::text(format!("{number}"))).await.unwrap();
            tokio::task::yield_now().await;
        }
        there
    });
    for number in 0..500 {
        let message = loop {
            tokio::select! {
                biased;
                message = connection.recv() => break message.unwrap(),
                () = tokio::task::yield_now() => {}
            }
        };
        assert_eq!(message, Message::text(format!("{number}")));
    }
    soon(sender).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_send_queues_nothing_and_lets_the_next_go_on() {
    let (connection, mut there) = connected(|config| config.queue_messages(2).queue_bytes(8 << 20)).await;
    // The kernel does not take it whole, so it and the one after it fill the queue.
    connection.send(vec_message(8 << 20)).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(tokio::time::timeout(SHORT, connection.send(vec_message(1))).await.is_err());
    let next = tokio::spawn(async move {
        connection.send("next").await.unwrap();
        connection
    });
    assert_eq!(soon(there.next()).await.unwrap().unwrap().len(), 8 << 20);
    assert_eq!(soon(there.next()).await.unwrap().unwrap(), Raw::text("next"));
    soon(next).await.unwrap();
}

fn vec_message(size: usize) -> Message {
    Message::binary(vec![7; size])
}

#[tokio::test]
async fn a_close_does_not_wait_for_messages_that_nobody_takes() {
    // As many as may wait: nothing is read until one is taken.
    const UNTAKEN: usize = 64;
    let (connection, mut there) =
        connected(|config| config.close_timeout(30 * websocket_servers::PATIENCE).ping_interval(None)).await;
    for _ in 0..UNTAKEN {
        there.send(Raw::text("x")).await.unwrap();
    }
    // Its answer comes after them, and is not read.
    assert!(tokio::time::timeout(SHORT, connection.ping()).await.is_err());
    let server =
        tokio::spawn(async move { while there.next().await.is_some_and(|message| message.is_ok()) {} });
    soon(connection.close()).await.unwrap();
    soon(server).await.unwrap();
}

#[tokio::test]
async fn no_limit_in_time_is_a_limit_too() {
    let endless = |config: WebSocketConfig| {
        let config = config.connect_timeout(Duration::MAX).close_timeout(Duration::MAX);
        config.ping_interval(Some(Duration::MAX)).pong_timeout(Duration::MAX)
    };
    let (connection, mut there) = connected(endless).await;
    there.send(Raw::text("hello")).await.unwrap();
    assert_eq!(soon(connection.recv()).await.unwrap(), Message::text("hello"));
    let server =
        tokio::spawn(async move { while there.next().await.is_some_and(|message| message.is_ok()) {} });
    soon(connection.close()).await.unwrap();
    soon(server).await.unwrap();
}

#[tokio::test]
async fn an_endless_pong_timeout_is_one_too() {
    let config = |config: WebSocketConfig| config.ping_interval(Some(SHORT)).pong_timeout(Duration::MAX);
    let (connection, mut there) = connected(config).await;
    assert!(matches!(soon(there.next()).await, Some(Ok(Raw::Ping(_)))));
    there.send(Raw::text("hello")).await.unwrap();
    assert_eq!(soon(connection.recv()).await.unwrap(), Message::text("hello"));
}

#[tokio::test]
async fn outgoing_frames_need_no_limit() {
    let (connection, mut there) = connected(|config| config.max_outgoing_frame(usize::MAX)).await;
    connection.send(vec_message(100_000)).await.unwrap();
    assert_eq!(soon(there.next()).await.unwrap().unwrap().len(), 100_000);
}

#[test]
fn a_port_that_is_none_is_not_the_default_port() {
    for port in ["65536", "99999", "+80"] {
        let error = WebSocketConfig::new(&format!("ws://user:word@127.0.0.1:{port}/path")).unwrap_err();
        assert_eq!(error.kind(), WebSocketErrorKind::InvalidUri, "{port}");
        assert!(!error.to_string().contains("word"), "{error}");
    }
    for url in ["ws://127.0.0.1:65535", "ws://127.0.0.1:", "ws://[::1]", "ws://[::1]:80"] {
        WebSocketConfig::new(url).unwrap();
    }
}

#[tokio::test]
async fn a_server_cannot_ask_for_more_than_ten_minutes() {
    let answer = "HTTP/1.1 503 x\r\nretry-after: 18446744073709551615\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(refused_with(answer).await.retry_after(), Some(Duration::from_secs(600)));
}

#[tokio::test]
async fn a_server_may_name_a_date() {
    let answer = "HTTP/1.1 503 x\r\nretry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(refused_with(answer).await.retry_after(), Some(Duration::ZERO));
}
