//! The server of a pool: scheme, host and port; and requests in the form that the protocol wants.

use std::fmt;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Uri, Version};

use super::connection::Protocol;
use super::error::{HttpsError, HttpsErrorKind};
use crate::net::{Endpoint, has_wrong_port};

/// Scheme, host and port of a server.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
}

impl Origin {
    /// Path and query of the URI are left out.
    pub(super) fn new(uri: &Uri) -> Result<Self, HttpsError> {
        let wrong = || HttpsError::new(HttpsErrorKind::InvalidUri).named(&without_user(uri));
        let scheme = uri.scheme().filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
        let authority = uri.authority().filter(|authority| is_host_and_port(authority));
        let (Some(scheme), Some(authority)) = (scheme, authority) else { return Err(wrong()) };
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?;
        let origin = Self { scheme: scheme.clone(), authority: authority.clone(), host };
        match origin.endpoint() {
            Endpoint::Invalid { .. } => Err(wrong()),
            _ => Ok(origin),
        }
    }

    pub(super) fn is_secure(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    pub(super) fn scheme(&self) -> &str {
        self.scheme.as_str()
    }

    /// The host, an IPv6 address in brackets.
    pub(super) fn host(&self) -> &str {
        self.authority.host()
    }

    pub(super) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_secure() { 443 } else { 80 })
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        format!("{}:{}", self.host(), self.port()).into()
    }

    /// Brings a request into the form that the protocol wants. Its header `Host` comes before the host of its URI, and that
    /// before the origin's: a server may have several.
    pub(super) fn address(&self, request: &mut Request<impl Sized>, protocol: Protocol) {
        leave_out_user(request);
        let path = request.uri().path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let named = request.uri().authority().cloned();
        if protocol == Protocol::Http1 {
            if !request.headers().contains_key(HOST) {
                let host = named.as_ref().and_then(|named| HeaderValue::from_str(named.as_str()).ok());
                let host = host.unwrap_or_else(|| self.host.clone());
                request.headers_mut().insert(HOST, host);
            }
            *request.uri_mut() = path.into();
            *request.version_mut() = Version::HTTP_11;
            return;
        }
        let host = request.headers_mut().remove(HOST);
        // The target of `CONNECT` is an authority.
        if request.method() != Method::CONNECT {
            let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
            let authority = host.or(named).unwrap_or_else(|| self.authority.clone());
            let mut parts = http::uri::Parts::default();
            parts.scheme = Some(self.scheme.clone());
            parts.authority = Some(authority);
            parts.path_and_query = Some(path);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
        *request.version_mut() = Version::HTTP_2;
    }
}

/// Whether there is no user, and a port only if it is one.
pub(super) fn is_host_and_port(authority: &Authority) -> bool {
    let authority = authority.as_str();
    !authority.contains('@') && !has_wrong_port(authority)
}

/// A user and its password are nothing to send (RFC 9110, section 4.2.4).
fn leave_out_user(request: &mut Request<impl Sized>) {
    let after_user = |text: &[u8]| {
        let at = text.iter().rposition(|&byte| byte == b'@')?;
        text.get(at + 1..).map(<[u8]>::to_vec)
    };
    let named = request.uri().authority().and_then(|named| after_user(named.as_str().as_bytes()));
    if let Some(named) = named {
        let mut parts = request.uri().clone().into_parts();
        parts.authority = Authority::from_maybe_shared(named).ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    let host = request.headers().get(HOST).and_then(|host| after_user(host.as_bytes()));
    if let Some(host) = host.and_then(|host| HeaderValue::from_bytes(&host).ok()) {
        request.headers_mut().insert(HOST, host);
    }
}

/// What may be shown of a URI: a user may come with a password.
pub(super) fn without_user(uri: &Uri) -> String {
    let text = uri.to_string();
    match (uri.scheme_str(), text.split_once('@')) {
        (Some(scheme), Some((_, rest))) if uri.authority().is_some_and(|it| it.as_str().contains('@')) => {
            format!("{scheme}://{rest}")
        }
        _ => text,
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(uri: &str) -> Result<Origin, HttpsError> {
        Origin::new(&uri.parse().unwrap())
    }

    /// The request's target and its `Host`.
    fn addressed(uri: &str, host: Option<&str>, protocol: Protocol) -> (String, String) {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let mut request = request.body(()).unwrap();
        origin("https://mill.example:8443/ignored").unwrap().address(&mut request, protocol);
        let host = request.headers().get(HOST).map_or("", |host| host.to_str().unwrap()).to_owned();
        (request.uri().to_string(), host)
    }

    #[test]
    fn a_uri_names_the_endpoint() {
        for (uri, endpoint) in [
            ("https://mill.example", "tcp://mill.example:443"),
            ("http://mill.example/grist?a=b", "tcp://mill.example:80"),
            ("http://[::1]:8080", "tcp://[::1]:8080"),
            ("http://[::1]", "tcp://[::1]:80"),
            ("https://mill.example:", "tcp://mill.example:443"),
        ] {
            assert_eq!(origin(uri).unwrap().endpoint(), endpoint.into(), "{uri}");
        }
    }

    #[test]
    fn a_uri_without_scheme_or_host_is_refused() {
        for uri in [
            "/grist",
            "mill.example:443",
            "ftp://mill.example",
            "https://miller:secret@mill.example",
            "https://miller:secret@mill.example:443",
            "https://mill.example:99999",
            "https://[::1]:99999",
        ] {
            let error = origin(uri).unwrap_err();
            assert_eq!(error.kind(), &HttpsErrorKind::InvalidUri, "{uri}");
        }
    }

    #[test]
    fn a_password_in_a_uri_is_not_shown() {
        let error = origin("https://miller:secret@mill.example/grist").unwrap_err();
        let said = error.to_string();
        assert!(said.contains("https://mill.example/grist") && !said.contains("secret"), "{said}");
    }

    #[test]
    fn a_port_that_is_none_is_not_the_default_port() {
        for port in ["65536", "99999", "+80"] {
            let error = origin(&format!("https://mill.example:{port}/")).unwrap_err();
            assert_eq!(error.kind(), &HttpsErrorKind::InvalidUri, "{port}");
        }
        assert_eq!(origin("https://mill.example:").unwrap().endpoint(), "tcp://mill.example:443".into());
    }

    #[test]
    fn the_target_of_connect_has_no_user() {
        let mut request = Request::connect("miller:secret@other.example:81").body(()).unwrap();
        origin("https://mill.example").unwrap().address(&mut request, Protocol::Http2);
        assert_eq!(request.uri(), "other.example:81");
    }

    #[test]
    fn http1_wants_a_path_and_a_host() {
        for (uri, host, expected) in [
            ("/grist?a=b", None, ("/grist?a=b", "mill.example:8443")),
            ("/grist", Some("other.example"), ("/grist", "other.example")),
            ("https://other.example/grist", None, ("/grist", "other.example")),
            ("https://other.example", None, ("/", "other.example")),
            ("https://mill.example/grist", Some("other.example"), ("/grist", "other.example")),
            ("*", None, ("*", "mill.example:8443")),
            ("https://miller:secret@other.example:81/grist", None, ("/grist", "other.example:81")),
            ("/grist", Some("miller:secret@other.example"), ("/grist", "other.example")),
        ] {
            let (target, host) = addressed(uri, host, Protocol::Http1);
            assert_eq!((target.as_str(), host.as_str()), expected, "{uri}");
        }
    }

    #[test]
    fn http2_wants_a_whole_uri_and_no_host() {
        for (uri, host, expected) in [
            ("/grist?a=b", None, "https://mill.example:8443/grist?a=b"),
            ("/grist", Some("other.example"), "https://other.example/grist"),
            ("https://mill.example/grist", Some("other.example"), "https://other.example/grist"),
            ("http://other.example/grist", None, "https://other.example/grist"),
            ("https://miller:secret@other.example:81/grist", None, "https://other.example:81/grist"),
            ("/grist", Some("miller:secret@other.example"), "https://other.example/grist"),
        ] {
            assert_eq!(addressed(uri, host, Protocol::Http2), (expected.to_owned(), String::new()), "{uri}");
        }
    }
}
