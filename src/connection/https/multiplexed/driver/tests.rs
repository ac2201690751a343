//! Health checks by ping, with a server of h2 at the other end.

use std::time::Duration;

use futures_util::future::poll_immediate;
use h2::{Reason, server};
use http::Request;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::super::super::config::HealthCheck;
use super::super::super::request_body::RequestBody;
use super::super::super::wire::Transport;
use super::*;
use crate::net::Dial;

const PATIENCE: Duration = Duration::from_secs(20);

type Server = server::Connection<TcpStream, Bytes>;

/// Both ends of a connection, of which nothing is polled any more.
async fn begun() -> (Client, Driver, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // No timer may wake the driver.
    let config = HttpsConfig::default().health_check(HealthCheck::Ping).health_timeout(10 * PATIENCE);
    let client = async {
        let dialed = Dial::default().connect(address).await.unwrap();
        begin(Wire::new(Transport::Plain(dialed.stream), Arc::default(), None), &config).await.unwrap()
    };
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut server = server::handshake(stream).await.unwrap();
        // Its settings are on their way.
        assert!(poll_immediate(server.accept()).await.is_none());
        server
    };
    let ((client, driver, _), server) = tokio::join!(client, server);
    (client, driver, server)
}

/// Answers pings. There are no requests.
async fn serve(mut server: Server) {
    assert!(server.accept().await.is_none_or(|request| request.is_err()));
}

async fn checked(client: &Client) -> Result<(), HttpsError> {
    timeout(PATIENCE, client.check()).await.expect("the check does not end")
}

#[tokio::test]
async fn a_check_takes_a_connection_from_its_rest() {
    let (client, driver, server) = begun().await;
    tokio::spawn(serve(server));
    tokio::spawn(driver.run("mill"));
    for _ in 0..3 {
        let rest = async {
            while !client.link().is_at_rest() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, rest).await.expect("there is no rest");
        checked(&client).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_is_read_at_once_wakes_the_driver() {
    let (client, mut driver, server) = begun().await;
    tokio::spawn(serve(server));
    let mut pings = driver.pings.take().unwrap();
    let Live { mut connection, .. } = *driver.live.take().unwrap();
    assert!(poll_immediate(client.check()).await.is_none());
    // Tasks of their own, so that nothing but the answer wakes the second one.
    tokio::spawn(poll_fn(move |cx| Pin::new(&mut connection).poll(cx).map(|_| ())));
    let link = Arc::clone(client.link());
    let answered = tokio::spawn(poll_fn(move |cx| {
        pings.poll(cx, 0, &link);
        if pings.is_waiting() { Poll::Pending } else { Poll::Ready(()) }
    }));
    timeout(PATIENCE, answered).await.expect("nobody was woken").unwrap();
}

#[tokio::test]
async fn a_check_that_goaway_ends_names_its_code() {
    let (client, driver, mut server) = begun().await;
    let mut check = pin!(checked(&client));
    assert!(poll_immediate(&mut check).await.is_none());
    server.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    tokio::spawn(serve(server));
    tokio::spawn(driver.run("mill"));
    let error = check.await.unwrap_err();
    assert_eq!(error.kind(), &HttpsErrorKind::GoAway(Reason::ENHANCE_YOUR_CALM.into()), "{error:?}");
}

#[tokio::test]
async fn a_check_that_ends_with_the_connection_speaks_of_no_request() {
    let (client, driver, server) = begun().await;
    let mut check = pin!(checked(&client));
    assert!(poll_immediate(&mut check).await.is_none());
    drop(server);
    tokio::spawn(driver.run("mill"));
    let error = check.await.unwrap_err();
    assert!(!format!("{error:?}").contains("request"), "{error:?}");
}

/// Sends GOAWAY, and closes the connection.
async fn end(mut server: Server) {
    server.abrupt_shutdown(Reason::NO_ERROR);
    while poll_immediate(server.accept()).await.flatten().is_some() {}
}

#[tokio::test]
async fn a_connection_that_fails_a_request_before_its_driver_knows_takes_no_other() {
    let (client, mut driver, server) = begun().await;
    let Live { mut connection, .. } = *driver.live.take().unwrap();
    end(server).await;
    timeout(PATIENCE, poll_fn(|cx| Pin::new(&mut connection).poll(cx))).await.unwrap().unwrap();
    assert!(client.is_open());
    let (error, request) = client.open(Request::new(()), true).await.err().unwrap();
    assert_eq!(error.kind(), &HttpsErrorKind::Closed);
    assert!(request.is_some());
    assert!(!client.is_open());
}

#[tokio::test]
async fn goaway_is_read_after_a_write_has_failed() {
    let (client, mut driver, server) = begun().await;
    // Nothing is left to read, and the runtime does not see what comes until something waits.
    let connection = &mut driver.live.as_mut().unwrap().connection;
    assert!(poll_immediate(poll_fn(|cx| Pin::new(&mut *connection).poll(cx))).await.is_none());
    end(server).await;
    let request = || Request::post("http://mill.example/").body(RequestBody::from("grain")).unwrap();
    let mut first = pin!(client.send(request()));
    let mut second = pin!(client.send(request()));
    // The server's kernel answers the first write by a reset, and the second one fails.
    assert!(poll_immediate(&mut first).await.is_none());
    let has_ended = poll_fn(|cx| Poll::Ready(driver.observe(cx).is_closed)).await;
    assert!(!has_ended, "the end was read before the second write");
    assert!(poll_immediate(&mut second).await.is_none());
    tokio::spawn(driver.run("mill"));
    for sent in [first.await, second.await] {
        let (error, _) = sent.err().unwrap();
        assert_eq!(error.kind(), &HttpsErrorKind::GoAway(0), "{error:?}");
    }
}
