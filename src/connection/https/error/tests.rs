//! What errors say, and what may be done after them.

use super::*;

const LIMIT: Duration = Duration::from_secs(3);
const REFUSED_STREAM: u32 = 7;

/// Each kind, whether it is a timeout, and whether the request is certainly not processed.
fn kinds() -> Vec<(HttpsErrorKind, bool, bool)> {
    use HttpsErrorKind as Kind;
    vec![
        (Kind::InvalidUri, false, true),
        (Kind::Net(net::ErrorKind::Connect), false, false),
        (Kind::Net(net::ErrorKind::ConnectTimeout { after: LIMIT }), true, false),
        (Kind::Net(net::ErrorKind::LookupTimeout { after: LIMIT }), true, false),
        (Kind::Tls(TlsErrorKind::Protocol), false, false),
        (Kind::HandshakeTimeout { after: LIMIT }, true, false),
        (Kind::WrongVersion, false, false),
        (Kind::ConnectPanicked, false, true),
        (Kind::Closed, false, true),
        (Kind::Incomplete, false, false),
        (Kind::GoAway(0), false, true),
        (Kind::Reset(REFUSED_STREAM), false, true),
        (Kind::Reset(8), false, false),
        (Kind::PingTimeout, true, false),
        (Kind::InvalidResponse, false, false),
        (Kind::InvalidRequest, false, false),
        (Kind::InvalidHead, false, true),
        (Kind::Unhealthy(StatusCode::BAD_GATEWAY), false, false),
        (Kind::HealthTimeout { after: LIMIT }, true, false),
        (Kind::ReaderStalled { after: LIMIT }, false, false),
        (Kind::PoolFull, false, true),
        (Kind::PoolTimeout { after: LIMIT }, true, true),
        (Kind::PoolClosed, false, true),
        (Kind::TooManyServers, false, true),
        (Kind::TooManyConnections, false, true),
        (Kind::BreakerOpen { retry_in: LIMIT }, false, true),
        (Kind::Io(io::ErrorKind::ConnectionReset), false, false),
        (Kind::Other, false, false),
    ]
}

fn error(kind: HttpsErrorKind) -> HttpsError {
    HttpsError::new(kind).named(&"https://mill.example")
}

#[test]
fn a_message_is_one_line_that_names_the_server() {
    for (kind, ..) in kinds() {
        let text = error(kind).to_string();
        assert!(text.contains("https://mill.example") && !text.contains('\n'), "{text}");
    }
}

#[test]
fn time_limits_are_timeouts() {
    for (kind, is_timeout, _) in kinds() {
        assert_eq!(error(kind.clone()).is_timeout(), is_timeout, "{kind:?}");
    }
}

#[test]
fn a_request_is_unprocessed_only_where_the_kind_says_so() {
    for (kind, _, is_unprocessed) in kinds() {
        assert_eq!(error(kind.clone()).is_unprocessed(), is_unprocessed, "{kind:?}");
    }
}

#[test]
fn an_error_of_the_settings_has_processed_nothing() {
    let out_of_range = HttpsErrorKind::OutOfRange("windows");
    for kind in [HttpsErrorKind::TlsConfig, out_of_range, HttpsErrorKind::UnlimitedSpill] {
        assert!(error(kind.clone()).is_unprocessed(), "{kind:?}");
    }
}

#[test]
fn a_connect_that_failed_has_processed_nothing() {
    for (kind, ..) in kinds() {
        assert!(error(kind.clone()).in_phase(ConnectPhase::Tls).is_unprocessed(), "{kind:?}");
    }
}

#[test]
fn a_handshake_that_took_too_long_says_which_and_where() {
    for (phase, expected) in [
        (ConnectPhase::Tls, "no TLS handshake within 3s"),
        (ConnectPhase::Http, "no start of HTTP/2 within 3s"),
    ] {
        let error = error(HttpsErrorKind::HandshakeTimeout { after: LIMIT }).in_phase(phase);
        let text = error.at(Some(([192, 0, 2, 1], 443).into())).to_string();
        assert!(text.contains(expected) && text.contains("at 192.0.2.1:443"), "{text}");
    }
}

#[test]
fn those_who_share_a_failed_connect_get_its_sources() {
    let source = io::Error::other("the mill stands still");
    let error = error(HttpsErrorKind::Other).in_phase(ConnectPhase::Connect).because(source);
    let shared = error.clone();
    assert_eq!(format!("{shared:?}"), format!("{error:?}"));
    assert!(format!("{shared:?}").ends_with(": the mill stands still"), "{shared:?}");
}
