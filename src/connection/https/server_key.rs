//! What tells servers apart: scheme, host and port.

use std::fmt;

use http::Uri;
use http::uri::{Authority, Scheme};

use super::error::{HttpsError, HttpsErrorKind};
use super::origin::{is_host_and_port, without_user};

/// The server that a URI names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServerKey {
    scheme: Scheme,
    authority: Authority,
}

impl ServerKey {
    pub(crate) fn of(uri: &Uri) -> Result<Self, HttpsError> {
        let authority = uri.authority().filter(|authority| is_host_and_port(authority));
        let (Some(scheme), Some(authority)) = (uri.scheme(), authority) else {
            return Err(HttpsError::new(HttpsErrorKind::InvalidUri).named(&without_user(uri)));
        };
        let default_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
        // One text for each server: `h:08443` and `h:8443` are the same.
        let text = match authority.port_u16() {
            Some(port) if port != default_port => format!("{}:{port}", authority.host()),
            _ => authority.host().to_owned(),
        };
        let authority = text.parse().unwrap_or_else(|_| authority.clone());
        Ok(Self { scheme: scheme.clone(), authority })
    }

    /// The URI of its root.
    pub(super) fn uri(&self) -> Option<Uri> {
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        uri.path_and_query("/").build().ok()
    }
}

impl fmt::Display for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_host_and_port_tell_servers_apart() {
        let is_same = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|uri| ServerKey::of(&uri.parse().unwrap()).unwrap());
            one == other
        };
        for (other, expected) in [
            ("https://mill.example/grist?a=b", true),
            ("https://MILL.example", true),
            ("https://mill.example:443", true),
            ("https://mill.example:00443", true),
            ("https://mill.example:", true),
            ("https://mill.example:8443", false),
            ("http://mill.example:443", false),
            ("https://pond.example", false),
        ] {
            assert_eq!(is_same("https://mill.example", other), expected, "{other}");
        }
    }
}
