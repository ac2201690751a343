//! Many channels in one WebSocket connection, with a server that speaks their envelope.

mod websocket_servers;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use millpond::connection::websocket::{Message, WebSocketChannels, WebSocketConnection, WebSocketErrorKind};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Raw;
use websocket_servers::{Here, soon};

const BINARY: u8 = 0;
const TEXT: u8 = 1;
const END: u8 = 2;

struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    async fn send(&mut self, kind: u8, channel: u32, payload: &[u8]) {
        let bytes = [&[kind], &channel.to_be_bytes()[..], payload].concat();
        self.0.send(Raw::binary(bytes)).await.unwrap();
    }

    async fn next(&mut self) -> (u8, u32, Vec<u8>) {
        loop {
            if let Raw::Binary(bytes) = soon(self.0.next()).await.unwrap().unwrap() {
                return (bytes[0], u32::from_be_bytes(bytes[1..5].try_into().unwrap()), bytes[5..].to_vec());
            }
        }
    }
}

async fn connected() -> (WebSocketChannels, Peer) {
    let server = Here::new().await;
    let config = server.config();
    let (connection, there) = tokio::join!(WebSocketConnection::open(&config), server.accept());
    (WebSocketChannels::new(connection.unwrap(), 100, 1000), Peer(there))
}

#[tokio::test]
async fn each_channel_gets_its_own_answers_in_order() {
    let (channels, mut there) = connected().await;
    let serve = tokio::spawn(async move {
        for _ in 0..1000 {
            let (kind, number, payload) = there.next().await;
            assert_eq!(kind, TEXT);
            there.send(TEXT, number, &payload).await;
        }
        there
    });
    let mut users = Vec::new();
    for _ in 0..100 {
        let channel = channels.open().unwrap();
        users.push(tokio::spawn(async move {
            for number in 0..10 {
                let text = format!("{number} on {}", channel.number());
                channel.send(text.clone()).await.unwrap();
                assert_eq!(soon(channel.recv()).await.unwrap(), Message::text(text));
            }
            channel
        }));
    }
    for user in users {
        soon(user).await.unwrap();
    }
    assert!(channels.is_empty());
    soon(serve).await.unwrap();
}

#[tokio::test]
async fn a_channel_that_is_not_read_is_ended_and_the_others_go_on() {
    let (channels, mut there) = connected().await;
    let (stalled, active) = (channels.open().unwrap(), channels.open().unwrap());
    for _ in 0..3 {
        there.send(BINARY, stalled.number(), &[7; 600]).await;
    }
    there.send(TEXT, active.number(), b"hello").await;
    assert_eq!(soon(active.recv()).await.unwrap(), Message::text("hello"));
    assert_eq!(there.next().await, (END, stalled.number(), Vec::new()));
    for _ in 0..2 {
        assert_eq!(soon(stalled.recv()).await.unwrap().len(), 600);
    }
    let error = soon(stalled.recv()).await.unwrap_err();
    assert_eq!(error.kind(), WebSocketErrorKind::ChannelOverflow);
    let refused = soon(stalled.send("more")).await.unwrap_err();
    assert_eq!(refused.error.kind(), WebSocketErrorKind::ChannelOverflow);
}

#[tokio::test]
async fn a_channel_that_the_server_ends_gives_what_came_before() {
    let (channels, mut there) = connected().await;
    let channel = channels.open().unwrap();
    there.send(TEXT, channel.number(), b"last words").await;
    there.send(END, channel.number(), b"").await;
    assert_eq!(soon(channel.recv()).await.unwrap(), Message::text("last words"));
    assert_eq!(soon(channel.recv()).await.unwrap_err().kind(), WebSocketErrorKind::ChannelClosed);
}

#[tokio::test]
async fn the_server_is_told_of_a_dropped_channel_and_what_was_under_way_is_ignored() {
    let (channels, mut there) = connected().await;
    let (first, second) = (channels.open().unwrap(), channels.open().unwrap());
    let number = first.number();
    first.send("hello").await.unwrap();
    assert_eq!(there.next().await.0, TEXT);
    drop(first);
    assert_eq!(there.next().await, (END, number, Vec::new()));
    there.send(TEXT, number, b"under way").await;
    there.send(TEXT, second.number(), b"hello").await;
    assert_eq!(soon(second.recv()).await.unwrap(), Message::text("hello"));
}

#[tokio::test]
async fn all_channels_end_with_their_connection() {
    let (channels, there) = connected().await;
    let (first, second) = (channels.open().unwrap(), channels.open().unwrap());
    drop(there);
    for channel in [first, second] {
        assert_eq!(soon(channel.recv()).await.unwrap_err().kind(), WebSocketErrorKind::Lost);
    }
    assert_eq!(channels.open().unwrap_err().kind(), WebSocketErrorKind::Lost);
}

#[tokio::test]
async fn no_more_channels_are_open_than_may_be() {
    let (channels, _there) = connected().await;
    let mut open: Vec<_> = (0..100).map(|_| channels.open().unwrap()).collect();
    assert_eq!(channels.open().unwrap_err().kind(), WebSocketErrorKind::TooManyChannels);
    open.pop();
    channels.open().unwrap();
}

#[tokio::test]
async fn a_server_that_speaks_no_envelope_is_left() {
    for nonsense in [Raw::text("hello"), Raw::binary(vec![0, 0]), Raw::binary(vec![9, 0, 0, 0, 1])] {
        let (channels, mut there) = connected().await;
        let channel = channels.open().unwrap();
        there.0.send(nonsense).await.unwrap();
        assert_eq!(soon(channel.recv()).await.unwrap_err().kind(), WebSocketErrorKind::Protocol);
        let close = soon(there.0.next()).await.unwrap().unwrap();
        assert!(matches!(close, Raw::Close(Some(frame)) if u16::from(frame.code) == 1002));
    }
}

#[tokio::test]
async fn the_last_handle_closes_the_connection() {
    let (channels, mut there) = connected().await;
    let channel = channels.open().unwrap();
    channel.send("hello").await.unwrap();
    assert_eq!(there.next().await.0, TEXT);
    drop(channels);
    assert!(tokio::time::timeout(Duration::from_millis(50), there.0.next()).await.is_err());
    drop(channel);
    assert_eq!(there.next().await.0, END);
    assert!(matches!(soon(there.0.next()).await, Some(Ok(Raw::Close(_)))));
}

#[tokio::test]
async fn messages_without_payload_do_not_wait_without_bound() {
    const SENT: usize = 1_000;
    let (channels, mut there) = connected().await;
    let (stalled, active) = (channels.open().unwrap(), channels.open().unwrap());
    for _ in 0..SENT {
        there.send(BINARY, stalled.number(), b"").await;
    }
    there.send(TEXT, active.number(), b"hello").await;
    assert_eq!(soon(active.recv()).await.unwrap(), Message::text("hello"));
    let mut waiting = 0;
    let end = loop {
        match soon(stalled.recv()).await {
            Ok(_) => waiting += 1,
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(end, WebSocketErrorKind::ChannelOverflow);
    // As many small messages as wait in a connection.
    assert_eq!(waiting, 64);
}

#[tokio::test]
async fn a_channel_of_which_the_server_never_heard_is_not_ended_there() {
    let (channels, mut there) = connected().await;
    for _ in 0..1000 {
        drop(channels.open().unwrap());
    }
    let channel = channels.open().unwrap();
    channel.send("first").await.unwrap();
    assert_eq!(there.next().await, (TEXT, channel.number(), b"first".to_vec()));
}

#[tokio::test]
async fn ends_wait_within_a_bound_though_the_server_has_opened_the_channels() {
    const ROUNDS: u32 = 2_000;
    let server = Here::new().await;
    let config = server.config().queue_messages(16).queue_bytes(32 << 20).ping_interval(None);
    let (connection, there) = tokio::join!(WebSocketConnection::open(&config), server.accept());
    let connection = connection.unwrap();
    // More than the kernel takes, so nothing after it is written.
    connection.send(Message::binary(vec![7; 16 << 20])).await.unwrap();
    let (channels, mut there) = (WebSocketChannels::new(connection, 100, 1000), Peer(there));
    for number in 1..=ROUNDS {
        let channel = channels.open().unwrap();
        there.send(BINARY, number, b"x").await;
        soon(channel.recv()).await.unwrap();
    }
    let last = channels.open().unwrap();
    let (sent, ends) = tokio::join!(soon(last.send("last")), async {
        assert_eq!(there.next().await.2.len(), (16 << 20) - 5);
        let mut ends = 0;
        while there.next().await.0 == END {
            ends += 1;
        }
        ends
    });
    sent.unwrap();
    assert!(ends <= 16 + 100, "{ends}");
}
