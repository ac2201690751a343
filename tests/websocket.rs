//! WebSocket connections, alone and in a pool, against Python's `websockets`.

mod tls_servers;
mod websocket_servers;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use millpond::connection::websocket::{
    Message, WebSocketConfig, WebSocketConnection, WebSocketErrorKind, WebSocketManager,
};
use millpond::connection::{ManageConnection, Pool};
use millpond::net::tls::{TlsConfig, TlsRoots};
use tls_servers::{Authority, NAME, folder_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message as Raw;
use websocket_servers::{Here, Server, soon};

async fn open(config: &WebSocketConfig) -> WebSocketConnection {
    soon(WebSocketConnection::open(config)).await.unwrap()
}

#[tokio::test]
async fn messages_come_back_as_they_were_sent_and_in_order() {
    let server = Server::python(0, &[]);
    let connection = open(&server.config()).await;
    let sent = [
        Message::text("hello"),
        Message::binary(vec![0, 159, 255]),
        Message::text(""),
        Message::binary(Bytes::new()),
        Message::text("größer".repeat(10_000)),
        Message::binary(vec![7; 1 << 20]),
    ];
    for message in &sent {
        connection.send(message.clone()).await.unwrap();
    }
    for message in &sent {
        assert_eq!(soon(connection.recv()).await.unwrap(), *message);
    }
    soon(connection.close()).await.unwrap();
}

#[tokio::test]
async fn pings_of_the_server_are_answered() {
    let server = Server::python(0, &[]);
    let mut connection = open(&server.config()).await;
    assert_eq!(soon(connection.exchange("ping")).await.unwrap().as_text(), Some("pong received"));
}

#[tokio::test]
async fn a_ping_is_answered_by_the_server() {
    let server = Server::python(0, &[]);
    soon(open(&server.config()).await.ping()).await.unwrap();
}

#[tokio::test]
async fn the_server_chooses_one_of_the_subprotocols() {
    let server = Server::python(0, &["subprotocol"]);
    let connection = open(&server.config().subprotocols(["a", "b"]).unwrap()).await;
    assert_eq!(connection.subprotocol(), Some("b"));
}

#[tokio::test]
async fn the_code_of_the_server_s_close_is_told_after_what_came_before() {
    let server = Server::python(0, &[]);
    let connection = open(&server.config()).await;
    connection.send("before").await.unwrap();
    connection.send("close").await.unwrap();
    assert_eq!(soon(connection.recv()).await.unwrap().as_text(), Some("before"));
    let error = soon(connection.recv()).await.unwrap_err();
    assert_eq!(error.kind(), WebSocketErrorKind::ClosedByServer { code: 4001 });
}

fn over_tls(server: &Server) -> WebSocketConfig {
    let config = WebSocketConfig::new(&format!("wss://{NAME}/")).unwrap();
    config.endpoint(Some(("127.0.0.1", server.port).into()))
}

#[tokio::test]
async fn a_connection_over_tls_speaks_to_a_server_with_the_right_name() {
    let authority = Authority::new("root");
    let folder = folder_with(&authority.issue(|_| ()));
    let server = Server::python(0, &[folder.path().to_str().unwrap()]);
    let config = over_tls(&server).tls(Some(authority.trusted().build().unwrap()));
    let mut connection = open(&config).await;
    let large = Message::binary(vec![7; 300_000]);
    assert_eq!(soon(connection.exchange(large.clone())).await.unwrap(), large);
    soon(connection.close()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_refused() {
    let folder = folder_with(&Authority::new("root").issue(|_| ()));
    let server = Server::python(0, &[folder.path().to_str().unwrap()]);
    let error = soon(WebSocketConnection::open(&over_tls(&server))).await.unwrap_err();
    assert_eq!(error.kind(), WebSocketErrorKind::Tls);
}

#[tokio::test]
async fn after_a_reload_a_pool_closes_connections_from_before() {
    let authority = Authority::new("root");
    let folder = folder_with(&authority.issue(|_| ()));
    let server = Server::python(0, &[folder.path().to_str().unwrap()]);
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, authority.pem()).unwrap();
    let tls = TlsConfig::new().roots(TlsRoots::OnlyAdded).add_root_file(&roots).build().unwrap();
    let manager = WebSocketManager::new(over_tls(&server).tls(Some(tls.clone()))).unwrap();
    let pool = Pool::builder().max_size(1).min_idle(0).build(manager.clone()).await.unwrap();
    for (reloads, connects) in [(false, 1), (false, 1), (true, 2)] {
        if reloads {
            std::fs::write(&roots, authority.pem() + &Authority::new("other").pem()).unwrap();
            assert!(tls.reload().unwrap());
        }
        soon(soon(pool.get()).await.unwrap().exchange("grist")).await.unwrap();
        assert_eq!(manager.statistics().connects, connects);
    }
}

#[tokio::test]
async fn a_pool_uses_a_connection_again() {
    let server = Server::python(0, &[]);
    let manager = WebSocketManager::new(server.config()).unwrap();
    let pool = Pool::builder().max_size(4).min_idle(0).build(manager.clone()).await.unwrap();
    for number in 0..20 {
        let mut connection = soon(pool.get()).await.unwrap();
        let answer = soon(connection.exchange(format!("{number}"))).await.unwrap();
        assert_eq!(answer.as_text(), Some(format!("{number}").as_str()));
    }
    assert_eq!(manager.statistics().connects, 1);
}

#[tokio::test]
async fn an_idle_connection_of_a_pool_is_tested_by_a_ping() {
    let server = Server::python(0, &[]);
    let manager = WebSocketManager::new(server.config()).unwrap();
    let pool = Pool::builder().max_size(1).min_idle(0).bypass_window(Duration::ZERO);
    let pool = pool.build(manager.clone()).await.unwrap();
    drop(soon(pool.get()).await.unwrap());
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(soon(pool.get()).await.unwrap());
    assert_eq!(manager.statistics().connects, 1);
    assert!(manager.statistics().pongs_received >= 1);
}

#[tokio::test]
async fn a_connection_with_a_message_before_the_answer_to_the_ping_is_not_valid() {
    let server = Here::new().await;
    let manager = WebSocketManager::new(server.config()).unwrap();
    let (connection, mut there) = tokio::join!(manager.connect(), server.accept());
    let mut connection = connection.unwrap();
    let answer = async {
        let Some(Ok(Raw::Ping(token))) = soon(there.next()).await else { panic!("it was not tested") };
        let both = [frame(0x81, b"news"), frame(0x8a, &token)].concat();
        there.get_mut().write_all(&both).await.unwrap();
    };
    let (tested, ()) = tokio::join!(soon(manager.is_valid(&mut connection)), answer);
    assert!(tested.is_err());
}

#[tokio::test]
async fn the_answer_to_a_cancelled_exchange_reaches_nobody_else() {
    let server = Here::new().await;
    let manager = WebSocketManager::new(server.config()).unwrap();
    let pool = Pool::builder().max_size(1).min_idle(0).build(manager.clone()).await.unwrap();
    let (first, mut there) = tokio::join!(pool.get(), server.accept());
    let mut connection = first.unwrap();
    tokio::select! {
        _ = connection.exchange("question") => panic!("nobody answers"),
        message = there.next() => assert_eq!(message.unwrap().unwrap(), Raw::text("question")),
    }
    drop(connection);
    let second = tokio::spawn(async move { soon(pool.get()).await.unwrap().exchange("other").await });
    let mut other = server.accept().await;
    assert_eq!(soon(other.next()).await.unwrap().unwrap(), Raw::text("other"));
    other.send(Raw::text("answer")).await.unwrap();
    assert_eq!(second.await.unwrap().unwrap().as_text(), Some("answer"));
}

#[tokio::test]
async fn a_connection_with_unread_messages_is_not_handed_out_again() {
    let server = Here::new().await;
    let manager = WebSocketManager::new(server.config()).unwrap();
    let pool = Pool::builder().max_size(1).min_idle(0).build(manager.clone()).await.unwrap();
    let (first, mut there) = tokio::join!(pool.get(), server.accept());
    let connection = first.unwrap();
    there.send(Raw::text("taken")).await.unwrap();
    there.send(Raw::text("not taken")).await.unwrap();
    let serve = tokio::spawn(async move { while there.next().await.is_some() {} });
    soon(connection.recv()).await.unwrap();
    // Its answer comes after both messages.
    soon(connection.ping()).await.unwrap();
    drop(connection);
    let (second, _there) = tokio::join!(pool.get(), server.accept());
    drop(second.unwrap());
    assert_eq!(manager.statistics().connects, 2);
    soon(serve).await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_gets_all_messages_in_their_order() {
    let server = Here::new().await;
    let config = server.config().incoming_bytes(10_000);
    let (connection, mut there) = tokio::join!(open(&config), server.accept());
    let sender = tokio::spawn(async move {
        for number in 0..2000_u32 {
            there.send(Raw::text(format!("{number:10000}"))).await.unwrap();
        }
        there
    });
    for number in 0..2000_u32 {
        let message = soon(connection.recv()).await.unwrap();
        assert_eq!(message.as_text().unwrap().trim_start(), number.to_string());
    }
    soon(sender).await.unwrap();
}

/// A frame as a server writes it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(length as u8),
        length => {
            bytes.push(126);
            bytes.extend((length as u16).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

/// The buffers are replaced whenever a large frame was received and nothing is under way. That is so after each write of
/// this server, however it cuts its frames.
#[tokio::test]
async fn no_byte_is_lost_when_buffers_are_replaced() {
    const SIZES: [usize; 8] = [600, 1, 5000, 0, 513, 20_000, 125, 126];
    const CUTS: [usize; 7] = [1, 700, 2, 30_000, 13, 511, 4096];
    let server = Here::new().await;
    let config = server.config().buffer_size(512);
    let (connection, mut there) = tokio::join!(open(&config), server.accept());
    let (mut stream, mut sent) = (Vec::new(), Vec::new());
    for (number, size) in (0..200_u32).zip(SIZES.into_iter().cycle()) {
        let payload: Vec<u8> = (0..size).map(|at| (at as u32 ^ number) as u8).collect();
        if number.is_multiple_of(3) {
            let (first, second) = payload.split_at(size / 2);
            stream.extend(frame(0x02, first));
            stream.extend(frame(0x89, b"ping"));
            stream.extend(frame(0x80, second));
        } else {
            stream.extend(frame(0x82, &payload));
        }
        sent.push(payload);
    }
    let writer = tokio::spawn(async move {
        let (mut rest, mut cuts) = (&stream[..], CUTS.into_iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            there.get_mut().write_all(now).await.unwrap();
            rest = later;
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        there
    });
    for payload in sent {
        assert_eq!(soon(connection.recv()).await.unwrap(), Message::binary(payload));
        connection.send("also in the other direction").await.unwrap();
    }
    let mut there = soon(writer).await.unwrap();
    let (mut messages, mut pongs) = (0, 0);
    while messages < 200 {
        match soon(there.next()).await.unwrap().unwrap() {
            Raw::Text(text) => messages += usize::from(text == "also in the other direction"),
            pong => pongs += usize::from(pong == Raw::Pong("ping".into())),
        }
    }
    assert!(pongs > 0);
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_is_not_handed_out() {
    let server = Here::new().await;
    let manager = WebSocketManager::new(server.config()).unwrap();
    let pool = Pool::builder().max_size(1).min_idle(0).build(manager.clone()).await.unwrap();
    let (first, mut there) = tokio::join!(pool.get(), server.accept());
    drop(first.unwrap());
    there.send(Raw::Close(None)).await.unwrap();
    // Its answer. The stream stays open.
    assert!(matches!(soon(there.next()).await, Some(Ok(Raw::Close(_)))));
    let (second, _there) = tokio::join!(soon(pool.get()), server.accept());
    assert!(second.is_ok());
    assert_eq!(manager.statistics().connects, 2);
}

#[tokio::test]
async fn a_connection_that_was_lost_while_idle_is_not_handed_out() {
    let server = Here::new().await;
    let manager = WebSocketManager::new(server.config()).unwrap();
    let pool = Pool::builder().max_size(1).min_idle(0).build(manager.clone()).await.unwrap();
    let (first, there) = tokio::join!(pool.get(), server.accept());
    drop(first.unwrap());
    drop(there);
    soon(async {
        while manager.statistics().lost == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let (second, mut there) = tokio::join!(soon(pool.get()), server.accept());
    second.unwrap().send("hello").await.unwrap();
    assert_eq!(soon(there.next()).await.unwrap().unwrap(), Raw::text("hello"));
}

/// Answers each text after a moment, on all connections.
async fn answering(server: Here) {
    loop {
        let mut there = server.accept().await;
        tokio::spawn(async move {
            while let Some(Ok(message)) = there.next().await {
                if let Raw::Text(text) = message {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    let _ = there.send(Raw::text(format!("answer to {text}"))).await;
                }
            }
        });
    }
}

#[tokio::test]
async fn the_answer_to_a_plain_send_reaches_nobody_else() {
    let server = Here::new().await;
    let manager = WebSocketManager::new(server.config()).unwrap();
    let serve = tokio::spawn(answering(server));
    let pool = Pool::builder().max_size(1).min_idle(0).build(manager).await.unwrap();
    // As if cancelled between `send` and `recv`.
    soon(pool.get()).await.unwrap().send("alice").await.unwrap();
    let answer = soon(soon(pool.get()).await.unwrap().exchange("bob")).await.unwrap();
    assert_eq!(answer.as_text(), Some("answer to bob"));
    soon(pool.get()).await.unwrap().try_send("carol").unwrap();
    let answer = soon(soon(pool.get()).await.unwrap().exchange("dave")).await.unwrap();
    assert_eq!(answer.as_text(), Some("answer to dave"));
    serve.abort();
}

#[tokio::test]
async fn an_exchange_does_not_make_up_for_a_plain_send() {
    let server = Here::new().await;
    let manager = WebSocketManager::new(server.config()).unwrap();
    let serve = tokio::spawn(answering(server));
    let pool = Pool::builder().max_size(1).min_idle(0).build(manager.clone()).await.unwrap();
    let mut connection = soon(pool.get()).await.unwrap();
    connection.send("first").await.unwrap();
    // What it gets is the answer to the other.
    soon(connection.exchange("second")).await.unwrap();
    drop(connection);
    drop(soon(pool.get()).await.unwrap());
    assert_eq!(manager.statistics().connects, 2);
    serve.abort();
}

#[tokio::test]
async fn a_program_that_has_taken_all_answers_may_say_so() {
    let server = Here::new().await;
    let manager = WebSocketManager::new(server.config()).unwrap();
    let serve = tokio::spawn(answering(server));
    let pool = Pool::builder().max_size(1).min_idle(0).build(manager.clone()).await.unwrap();
    let mut connection = soon(pool.get()).await.unwrap();
    connection.send("question").await.unwrap();
    soon(connection.recv()).await.unwrap();
    connection.mark_reusable();
    drop(connection);
    drop(soon(pool.get()).await.unwrap());
    assert_eq!(manager.statistics().connects, 1);
    serve.abort();
}

#[tokio::test]
async fn no_subprotocols_are_no_header() {
    let server = Here::new().await;
    let config = server.config().subprotocols([] as [&str; 0]).unwrap();
    let opening = tokio::spawn(async move { WebSocketConnection::open(&config).await });
    let mut request = vec![0; 4096];
    let count = soon(server.accept_tcp().await.read(&mut request)).await.unwrap();
    let request = String::from_utf8_lossy(&request[..count]).to_lowercase();
    assert!(!request.contains("sec-websocket-protocol"), "{request}");
    soon(opening).await.unwrap().unwrap_err();
}

/// This upgrade exists in HTTP/1.1 only.
#[tokio::test]
async fn a_server_that_speaks_only_http2_is_not_waited_for() {
    let authority = Authority::new("root");
    let server = tls_servers::Server::openssl(&authority.issue(|_| ()), &["-alpn", "h2"]);
    let connector = authority.trusted().alpn(["h2", "http/1.1"]).build().unwrap();
    let config = WebSocketConfig::new(&format!("wss://{NAME}/")).unwrap().tls(Some(connector));
    let config =
        config.endpoint(Some(server.endpoint.as_str().into())).connect_timeout(Duration::from_secs(5));
    let error = soon(WebSocketConnection::open(&config)).await.unwrap_err();
    assert!(!error.is_timeout(), "{error}");
}
