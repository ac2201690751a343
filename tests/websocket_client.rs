//! A WebSocket connection that is kept up: reconnects, the resume hook, and what waits meanwhile.

mod websocket_servers;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use millpond::connection::websocket::{
    Message, Overflow, WebSocketClient, WebSocketConfig, WebSocketErrorKind, WebSocketState,
};
use millpond::net::Backoff;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message as Raw;
use websocket_servers::{Here, Server, soon};

const SHORT: Duration = Duration::from_millis(100);

fn quick(config: WebSocketConfig) -> WebSocketConfig {
    config.backoff(Backoff::default().initial(Duration::from_millis(10)).max(Duration::from_millis(50)))
}

/// The URL of a server that does not exist.
fn nowhere() -> WebSocketConfig {
    quick(WebSocketConfig::new("ws://127.0.0.1:1/").unwrap())
}

async fn down(client: &WebSocketClient) {
    soon(async {
        while client.state() != WebSocketState::Down {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

async fn next(there: &mut (impl StreamExt<Item = Result<Raw, impl std::fmt::Debug>> + Unpin)) -> String {
    soon(there.next()).await.unwrap().unwrap().into_text().unwrap().to_string()
}

#[tokio::test]
async fn messages_that_wait_for_a_restarted_server_arrive_in_order() {
    let server = Server::python(0, &[]);
    let port = server.port;
    let client = WebSocketClient::start_with(quick(server.config()), |session| async move {
        session.send("hook")?;
        Ok(())
    })
    .unwrap();
    assert_eq!(soon(client.recv()).await.unwrap(), Message::text("hook"));
    drop(server);
    down(&client).await;
    for number in 0..100 {
        client.send(format!("{number}")).await.unwrap();
    }
    let _server = Server::python(port, &[]);
    assert_eq!(soon(client.recv()).await.unwrap(), Message::text("hook"));
    for number in 0..100 {
        assert_eq!(soon(client.recv()).await.unwrap(), Message::text(format!("{number}")));
    }
    assert_eq!(client.statistics().connects, 2);
    assert_eq!(client.statistics().lost, 1);
    soon(client.close()).await.unwrap();
}

#[tokio::test]
async fn the_hook_may_wait_for_an_answer_before_anything_else_goes_out() {
    let server = Here::new().await;
    let client = WebSocketClient::start_with(quick(server.config()), |session| async move {
        session.send(if session.is_reconnect() { "again" } else { "login" })?;
        let answer = session.recv().await?;
        if answer.as_text() == Some("welcome") { Ok(()) } else { Err("refused".into()) }
    })
    .unwrap();
    client.send("queued").await.unwrap();
    let mut there = server.accept().await;
    assert_eq!(next(&mut there).await, "login");
    assert!(tokio::time::timeout(SHORT, there.next()).await.is_err(), "something overtook the hook");
    assert_eq!(client.state(), WebSocketState::Connecting);
    there.send(Raw::text("welcome")).await.unwrap();
    assert_eq!(next(&mut there).await, "queued");
    drop(there);
    let mut there = server.accept().await;
    assert_eq!(next(&mut there).await, "again");
}

#[tokio::test]
async fn what_the_hook_does_not_take_goes_to_the_program() {
    let server = Here::new().await;
    let client = WebSocketClient::start_with(quick(server.config()), |session| async move {
        session.recv().await?;
        Ok(())
    })
    .unwrap();
    let mut there = server.accept().await;
    for text in ["for the hook", "first", "second"] {
        there.send(Raw::text(text)).await.unwrap();
    }
    assert_eq!(soon(client.recv()).await.unwrap(), Message::text("first"));
    assert_eq!(soon(client.recv()).await.unwrap(), Message::text("second"));
}

#[tokio::test]
async fn a_hook_that_fails_ends_the_connection_and_the_next_is_tried() {
    let server = Here::new().await;
    let client = WebSocketClient::start_with(quick(server.config()), |session| async move {
        if session.is_reconnect() { Ok(()) } else { Err("not yet".into()) }
    })
    .unwrap();
    client.send("queued").await.unwrap();
    let mut first = server.accept().await;
    assert!(matches!(soon(first.next()).await, Some(Ok(Raw::Close(_)))));
    drop(first);
    let mut second = server.accept().await;
    assert_eq!(next(&mut second).await, "queued");
    assert_eq!(client.last_error().unwrap().kind(), WebSocketErrorKind::Hook);
}

#[tokio::test]
async fn a_hook_that_never_ends_is_given_up() {
    let server = Here::new().await;
    let config = quick(server.config()).connect_timeout(SHORT);
    let _client = WebSocketClient::start_with(config, |session| async move {
        if !session.is_reconnect() {
            std::future::pending::<()>().await;
        }
        Ok(())
    })
    .unwrap();
    let mut first = server.accept().await;
    assert!(matches!(soon(first.next()).await, Some(Ok(Raw::Close(_)))));
    drop(first);
    server.accept().await;
}

#[tokio::test]
async fn a_message_that_was_half_written_is_sent_whole_over_the_next_connection() {
    let server = Here::new().await;
    let client = WebSocketClient::start(quick(server.config()).queue_bytes(32 << 20)).unwrap();
    let there = server.accept().await;
    client.send("small").await.unwrap();
    soon(client.flush()).await.unwrap();
    client.send(Message::binary(vec![7; 16 << 20])).await.unwrap();
    client.send("after").await.unwrap();
    // As much of it as the kernel takes is written, and the rest is not.
    tokio::time::sleep(SHORT).await;
    assert_eq!(client.queued().0, 2);
    drop(there);
    let mut there = server.accept().await;
    assert_eq!(soon(there.next()).await.unwrap().unwrap().len(), 16 << 20);
    assert_eq!(next(&mut there).await, "after");
    assert_eq!(client.statistics().messages_sent, 3);
}

#[tokio::test]
async fn reject_gives_the_message_back() {
    let client = WebSocketClient::start(nowhere().queue_messages(2).overflow(Overflow::Reject)).unwrap();
    client.send("a").await.unwrap();
    client.send("b").await.unwrap();
    let refused = client.send("c").await.unwrap_err();
    assert_eq!(refused.error.kind(), WebSocketErrorKind::QueueFull);
    assert_eq!(refused.message, Message::text("c"));
    assert_eq!(client.statistics().messages_rejected, 1);
}

#[tokio::test]
async fn drop_oldest_keeps_the_newest() {
    let server = Here::new().await;
    let config = quick(server.config()).queue_messages(2).overflow(Overflow::DropOldest);
    let client = WebSocketClient::start(config).unwrap();
    for text in ["a", "b", "c"] {
        client.send(text).await.unwrap();
    }
    let mut there = server.accept().await;
    assert_eq!(next(&mut there).await, "b");
    assert_eq!(next(&mut there).await, "c");
    assert_eq!(client.statistics().messages_dropped, 1);
}

#[tokio::test]
async fn wait_lets_senders_wait_in_their_order() {
    let server = Here::new().await;
    let client = WebSocketClient::start(quick(server.config()).queue_messages(1)).unwrap();
    client.send("0").await.unwrap();
    let mut senders = Vec::new();
    for number in 1..10 {
        let client = client.clone();
        senders.push(tokio::spawn(async move { client.send(format!("{number}")).await.unwrap() }));
        tokio::task::yield_now().await;
    }
    assert!(client.try_send("overtakes").is_err());
    assert!(senders.iter().all(|sender| !sender.is_finished()));
    let mut there = server.accept().await;
    for number in 0..10 {
        assert_eq!(next(&mut there).await, number.to_string());
    }
    for sender in senders {
        soon(sender).await.unwrap();
    }
}

#[tokio::test]
async fn a_small_message_does_not_overtake_a_large_one_that_waits() {
    let server = Here::new().await;
    let client = WebSocketClient::start(quick(server.config()).queue_bytes(10)).unwrap();
    client.send("123456").await.unwrap();
    let mut senders = Vec::new();
    for text in ["12345678", "1"] {
        let client = client.clone();
        senders.push(tokio::spawn(async move { client.send(text).await.unwrap() }));
        tokio::task::yield_now().await;
    }
    assert!(client.try_send("2").is_err());
    let mut there = server.accept().await;
    for text in ["123456", "12345678", "1"] {
        assert_eq!(next(&mut there).await, text);
    }
    for sender in senders {
        soon(sender).await.unwrap();
    }
    client.try_send("2").unwrap();
}

#[tokio::test]
async fn a_message_larger_than_the_queue_does_not_wait_for_ever() {
    let client = WebSocketClient::start(nowhere().queue_bytes(10)).unwrap();
    let refused = soon(client.send("12345678901")).await.unwrap_err();
    assert_eq!(refused.error.kind(), WebSocketErrorKind::LargerThanQueue { size: 11, limit: 10 });
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it() {
    let server = Here::new().await;
    let _client = WebSocketClient::start(quick(server.config())).unwrap();
    let mut stream = server.accept_tcp().await;
    let mut request = [0; 4096];
    assert!(stream.read(&mut request).await.unwrap() > 0);
    let answer = b"HTTP/1.1 503 x\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    let asked = std::time::Instant::now();
    stream.write_all(answer).await.unwrap();
    drop(stream);
    server.accept().await;
    assert!(asked.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_client_that_is_closed_while_there_is_no_server_says_why_there_was_none() {
    let client = WebSocketClient::start(nowhere()).unwrap();
    down(&client).await;
    let error = soon(client.close()).await.unwrap_err();
    assert_eq!(error.kind(), WebSocketErrorKind::Connect);
    assert_eq!(client.state(), WebSocketState::Closed);
}

#[tokio::test]
async fn a_client_that_is_being_closed_takes_no_message() {
    let server = Here::new().await;
    let client = WebSocketClient::start(server.config()).unwrap();
    let mut there = server.accept().await;
    soon(client.up()).await.unwrap();
    let close = tokio::spawn({
        let client = client.clone();
        async move { client.close().await }
    });
    // The client waits for the answer to its close frame.
    let close_frame = soon(there.next()).await.unwrap().unwrap();
    assert!(close_frame.is_close());
    assert_eq!(client.try_send("late").unwrap_err().error.kind(), WebSocketErrorKind::Closed);
    assert!(soon(there.next()).await.is_none());
    drop(there);
    soon(close).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_last_clone_closes_the_connection() {
    let server = Here::new().await;
    let client = WebSocketClient::start(server.config()).unwrap();
    let mut there = server.accept().await;
    let clone = client.clone();
    drop(client);
    clone.send("still here").await.unwrap();
    assert_eq!(next(&mut there).await, "still here");
    drop(clone);
    assert!(matches!(soon(there.next()).await, Some(Ok(Raw::Close(_)))));
}

#[test]
fn who_waits_for_a_runtime_that_has_ended_is_told() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let client = first.block_on(async { WebSocketClient::start(nowhere()).unwrap() });
    drop(first);
    let error = runtime().block_on(soon(client.recv())).unwrap_err();
    assert_eq!(error.kind(), WebSocketErrorKind::TaskEnded);
}

/// The number is in the first bytes of a message.
fn number_of(message: &Raw) -> Option<u32> {
    match message {
        Raw::Binary(bytes) => Some(u32::from_be_bytes(bytes.first_chunk().copied()?)),
        _ => None,
    }
}

#[tokio::test]
async fn messages_keep_their_order_and_none_comes_twice_whatever_the_server_does() {
    const ROUNDS: usize = 60;
    const LARGE: usize = 300_000;
    let server = Here::new().await;
    let moment = Duration::from_millis(1);
    let config = server.config().backoff(Backoff::default().initial(moment).max(moment)).queue_messages(16);
    let client = WebSocketClient::start(config.queue_bytes(16 * LARGE)).unwrap();
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    let sender = tokio::spawn({
        let client = client.clone();
        async move {
            let mut number = 0_u32;
            while stopped.try_recv().is_err() {
                let size = if number.is_multiple_of(3) { LARGE } else { 10 };
                let mut payload = vec![7; size];
                payload[..4].copy_from_slice(&number.to_be_bytes());
                client.send(Message::binary(payload)).await.unwrap();
                number += 1;
            }
            client.send("the end").await.unwrap();
        }
    });
    let mut numbers = Vec::new();
    for round in 0..ROUNDS {
        if round % 7 == 3 {
            drop(server.accept_tcp().await);
            continue;
        }
        let mut there = server.accept().await;
        for _ in 0..round % 5 {
            numbers.extend(number_of(&soon(there.next()).await.unwrap().unwrap()));
        }
        match round % 4 {
            0 => drop(there),
            1 => there.get_ref().set_zero_linger().unwrap(),
            2 => there.send(Raw::Close(None)).await.unwrap(),
            _ => there.get_mut().shutdown().await.unwrap(),
        }
    }
    stop.send(()).unwrap();
    let mut there = server.accept().await;
    loop {
        let message = soon(there.next()).await.unwrap().unwrap();
        if message.is_text() {
            break;
        }
        numbers.extend(number_of(&message));
    }
    soon(sender).await.unwrap();
    assert!(numbers.len() > ROUNDS);
    assert!(numbers.is_sorted_by(|before, after| before < after), "{numbers:?}");
    assert_eq!(client.queued(), (0, 0));
}

#[tokio::test]
async fn the_server_may_be_behind_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let config = WebSocketConfig::new("ws://name.example/").unwrap().endpoint(Some(path.as_path().into()));
    let client = WebSocketClient::start(config).unwrap();
    let (stream, _) = soon(listener.accept()).await.unwrap();
    let mut there = soon(tokio_tungstenite::accept_async(stream)).await.unwrap();
    client.send("hello").await.unwrap();
    assert_eq!(next(&mut there).await, "hello");
}

#[tokio::test]
async fn a_hook_that_panics_ends_its_connection_and_the_next_is_tried() {
    let server = Here::new().await;
    let calls = AtomicUsize::new(0);
    let client = WebSocketClient::start_with(quick(server.config()), move |_| {
        let call = calls.fetch_add(1, SeqCst);
        assert!(call != 0, "a bug before the future of the hook");
        async move {
            assert!(call != 1, "a bug in the future of the hook");
            Ok(())
        }
    })
    .unwrap();
    for _ in 0..2 {
        let mut there = server.accept().await;
        assert!(matches!(soon(there.next()).await, Some(Ok(Raw::Close(_)))));
    }
    let _there = server.accept().await;
    soon(client.up()).await.unwrap();
    assert_eq!(client.last_error().unwrap().kind(), WebSocketErrorKind::Hook);
}

#[tokio::test]
async fn untaken_messages_do_not_keep_the_next_hook_from_its_answer() {
    // As many as may wait: nothing more is read for the program.
    const UNTAKEN: usize = 64;
    let server = Here::new().await;
    let client = WebSocketClient::start_with(quick(server.config()), |session| async move {
        session.send("login")?;
        session.recv().await?;
        Ok(())
    })
    .unwrap();
    let mut there = server.accept().await;
    assert_eq!(next(&mut there).await, "login");
    there.send(Raw::text("welcome")).await.unwrap();
    soon(client.up()).await.unwrap();
    for _ in 0..UNTAKEN {
        there.send(Raw::text("news")).await.unwrap();
    }
    while client.statistics().messages_received < UNTAKEN as u64 + 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(there);
    let login = async {
        let mut there = server.accept().await;
        assert_eq!(next(&mut there).await, "login");
        there.send(Raw::text("welcome")).await.unwrap();
        while there.next().await.is_some_and(|message| message.is_ok()) {}
    };
    let up = async {
        // A write is what tells that the server is gone: nothing is read.
        while client.state() == WebSocketState::Up {
            client.send("tick").await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        soon(client.up()).await.unwrap();
    };
    tokio::select! {
        () = up => {}
        () = login => panic!("the hook got no answer"),
    }
    assert_eq!(client.statistics().connects, 2);
}

#[tokio::test]
async fn a_close_sends_what_is_queued_after_the_hook() {
    let server = Here::new().await;
    let client = WebSocketClient::start_with(server.config(), |session| async move {
        session.send("login")?;
        session.recv().await?;
        Ok(())
    })
    .unwrap();
    let mut there = server.accept().await;
    assert_eq!(next(&mut there).await, "login");
    client.send("precious").await.unwrap();
    let close = tokio::spawn(async move { client.close().await });
    assert!(tokio::time::timeout(SHORT, there.next()).await.is_err(), "something overtook the hook");
    there.send(Raw::text("welcome")).await.unwrap();
    assert_eq!(next(&mut there).await, "precious");
    assert!(matches!(soon(there.next()).await, Some(Ok(Raw::Close(_)))));
    assert!(soon(there.next()).await.is_none());
    drop(there);
    soon(close).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_close_that_the_hook_outlasts_is_no_success() {
    let server = Here::new().await;
    let client = WebSocketClient::start_with(server.config().close_timeout(SHORT), |session| async move {
        session.send("login")?;
        std::future::pending::<()>().await;
        Ok(())
    })
    .unwrap();
    let mut there = server.accept().await;
    assert_eq!(next(&mut there).await, "login");
    client.send("precious").await.unwrap();
    let error = soon(client.close()).await.unwrap_err();
    assert_eq!(error.kind(), WebSocketErrorKind::CloseTimeout { after: SHORT });
}

#[tokio::test]
async fn a_close_before_the_first_connection_is_no_success_if_something_was_queued() {
    let server = Here::new().await;
    for (queued, expected) in [(true, Err(WebSocketErrorKind::Connect)), (false, Ok(()))] {
        let client = WebSocketClient::start(server.config()).unwrap();
        // The upgrade is not answered.
        let _stream = server.accept_tcp().await;
        if queued {
            client.send("precious").await.unwrap();
        }
        assert_eq!(soon(client.close()).await.map_err(|error| error.kind()), expected);
    }
}
