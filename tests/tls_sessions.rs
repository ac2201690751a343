//! Sessions that are resumed, by the account of real servers: of as many servers and connections as a pool has.

mod tls_servers;

use millpond::net::Stream;
use millpond::net::tls::{TlsConnector, TlsStream, TlsVersion};
use rcgen::CertificateParams;
use tls_servers::{Authority, NAME, PATIENCE, Server, get, handshake};
use tokio::io::{copy_bidirectional, duplex};
use tokio::time::timeout;

/// What nginx says at the start of its answer.
const FULL: &str = "[.]";
const RESUMED: &str = "[r]";

/// An nginx whose certificate is for [`NAME`] and all names below it.
fn server_of_many_names(directives: &str) -> (Server, Authority) {
    let authority = Authority::new("root");
    let issued = authority.issue(|params| {
        *params = CertificateParams::new([NAME.to_owned(), format!("*.{NAME}")]).unwrap();
    });
    (Server::nginx(&issued, directives), authority)
}

/// Whether a new connection resumes a session, which client and server must agree on. Reading its answer brings tickets.
async fn resumes(server: &Server, connector: &TlsConnector, name: &str) -> bool {
    let mut stream = handshake(connector, name, server.tcp().await).await.unwrap();
    let answer = get(&mut stream).await;
    assert!(answer.starts_with(if stream.is_resumed() { RESUMED } else { FULL }), "{answer}");
    stream.is_resumed()
}

/// Connections that all have made their handshakes before one reads, and so before one has a new ticket.
async fn at_once(server: &Server, connector: &TlsConnector, count: usize) -> Vec<TlsStream<Stream>> {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(server.tls(connector).await.unwrap());
    }
    streams
}

fn resumed(streams: &[TlsStream<Stream>]) -> usize {
    streams.iter().filter(|stream| stream.is_resumed()).count()
}

#[tokio::test]
async fn the_second_connection_resumes_the_session_of_the_first() {
    let (server, authority) = server_of_many_names("");
    let connector = authority.trusted().build().unwrap();
    assert!(!resumes(&server, &connector, NAME).await);
    assert!(resumes(&server, &connector, NAME).await);
}

#[tokio::test]
async fn a_resumed_session_of_tls_12_is_resumed_again_and_again() {
    let authority = Authority::new("root");
    let server = Server::openssl(&authority.issue(|_| ()), &["-tls1_2", "-www"]);
    let connector = authority.trusted().build().unwrap();
    for (nth, said) in ["New, ", "Reused, ", "Reused, "].into_iter().enumerate() {
        let mut stream = server.tls(&connector).await.unwrap();
        assert_eq!(stream.version(), TlsVersion::Tls12);
        assert_eq!(stream.is_resumed(), nth > 0);
        let page = get(&mut stream).await;
        assert!(page.contains(&format!("{said}TLSv1.2, Cipher is")), "{page}");
    }
}

#[tokio::test]
async fn openssl_resumes_sessions_of_tls_13() {
    let authority = Authority::new("root");
    let server = Server::openssl(&authority.issue(|_| ()), &["-tls1_3", "-www"]);
    let connector = authority.trusted().build().unwrap();
    for said in ["New, ", "Reused, ", "Reused, "] {
        let page = get(&mut server.tls(&connector).await.unwrap()).await;
        assert!(page.contains(&format!("{said}TLSv1.3, Cipher is")), "{page}");
    }
}

#[tokio::test]
async fn a_resumed_connection_has_the_certificates_of_the_first() {
    let (server, authority) = server_of_many_names("");
    let connector = authority.trusted().build().unwrap();
    let mut first = server.tls(&connector).await.unwrap();
    get(&mut first).await;
    let second = server.tls(&connector).await.unwrap();
    assert!(second.is_resumed());
    assert_eq!(second.peer_certificates(), first.peer_certificates());
}

#[tokio::test]
async fn a_ticket_of_tls_13_is_used_once() {
    let (server, authority) = server_of_many_names("");
    let connector = authority.trusted().build().unwrap();
    // nginx sends two tickets after a full handshake.
    get(&mut server.tls(&connector).await.unwrap()).await;
    assert_eq!(resumed(&at_once(&server, &connector, 3).await), 2);
}

#[tokio::test]
async fn only_so_many_tickets_per_server_are_kept() {
    let (server, authority) = server_of_many_names("");
    let connector = authority.trusted().tickets_per_server(1).build().unwrap();
    get(&mut server.tls(&connector).await.unwrap()).await;
    assert_eq!(resumed(&at_once(&server, &connector, 3).await), 1);
}

#[tokio::test]
async fn thirty_two_connections_at_once_resume_by_default() {
    let (server, authority) = server_of_many_names("");
    let connector = authority.trusted().build().unwrap();
    for mut stream in at_once(&server, &connector, 20).await {
        get(&mut stream).await;
    }
    assert_eq!(resumed(&at_once(&server, &connector, 33).await), 32);
}

#[tokio::test]
async fn a_pool_that_grows_in_waves_resumes_from_the_second_connection_on() {
    let (server, authority) = server_of_many_names("");
    let connector = authority.trusted().build().unwrap();
    let mut resumed = 0;
    // After each connection nginx has sent as many new tickets as it took, or one more.
    for wave in [1, 2, 2, 2, 2, 2, 2, 2] {
        for mut stream in at_once(&server, &connector, wave).await {
            resumed += usize::from(get(&mut stream).await.starts_with(RESUMED));
        }
    }
    assert_eq!(resumed, 14);
}

#[tokio::test]
async fn more_servers_are_remembered_than_rustls_has_room_for() {
    const SERVERS: usize = 40;
    let (server, authority) = server_of_many_names("");
    let connector = authority.trusted().build().unwrap();
    let names: Vec<_> = (0..SERVERS).map(|number| format!("n{number}.{NAME}")).collect();
    for name in &names {
        assert!(!resumes(&server, &connector, name).await, "{name}");
    }
    for name in &names {
        assert!(resumes(&server, &connector, name).await, "{name}");
    }
}

#[tokio::test]
async fn the_server_that_was_used_least_recently_makes_room() {
    let (server, authority) = server_of_many_names("");
    let connector = authority.trusted().session_servers(2).build().unwrap();
    for name in ["a.pond.example", "b.pond.example"] {
        assert!(!resumes(&server, &connector, name).await, "{name}");
    }
    assert!(resumes(&server, &connector, "a.pond.example").await);
    assert!(!resumes(&server, &connector, "c.pond.example").await);
    assert!(resumes(&server, &connector, "a.pond.example").await);
    assert!(!resumes(&server, &connector, "b.pond.example").await);
}

#[tokio::test]
async fn without_room_for_servers_nothing_is_resumed() {
    let (server, authority) = server_of_many_names("");
    let connector = authority.trusted().session_servers(0).build().unwrap();
    for _ in 0..2 {
        assert!(!resumes(&server, &connector, NAME).await);
    }
}

#[tokio::test]
async fn the_group_that_a_server_wants_is_guessed_wrong_only_once() {
    let authority = Authority::new("root");
    let server = Server::openssl(&authority.issue(|_| ()), &["-tls1_3", "-groups", "P-384", "-www"]);
    let connector = authority.trusted().tickets_per_server(0).build().unwrap();
    let mut sent = Vec::new();
    for _ in 0..2 {
        let (near, mut far) = duplex(1 << 16);
        let mut tcp = server.tcp().await;
        let relay = tokio::spawn(async move { copy_bidirectional(&mut far, &mut tcp).await });
        let mut stream = timeout(PATIENCE, connector.connect(NAME, near)).await.unwrap().unwrap();
        assert!(!stream.is_resumed());
        get(&mut stream).await;
        drop(stream);
        sent.push(timeout(PATIENCE, relay).await.unwrap().unwrap().unwrap().0);
    }
    // The second time there is one greeting, not two.
    assert!(sent[1] + 100 < sent[0], "{sent:?}");
}

#[tokio::test]
async fn connectors_do_not_share_sessions_but_clones_do() {
    let (server, authority) = server_of_many_names("");
    let [one, other] = [(); 2].map(|()| authority.trusted().build().unwrap());
    assert!(!resumes(&server, &one, NAME).await);
    assert!(!resumes(&server, &other, NAME).await);
    assert!(resumes(&server, &one.clone(), NAME).await);
}
