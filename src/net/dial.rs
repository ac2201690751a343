//! Connecting with every setting a client has: limits in time, keepalive; and what connecting cost.

use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "https")]
use super::connect::connect;
use super::connect::{Settings, connect_traced};
use super::endpoint::Endpoint;
use super::error::Error;
use super::keepalive::Keepalive;
use super::resolve::Resolve;
use super::stream::Stream;
use crate::policy::setters;
use crate::sync::Arc;

/// How to connect to a server.
///
/// [`Stream::connect`] says what is tried. This adds a time limit per address of a name, and keepalive.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use millpond::net::{Dial, Listener};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Listener::bind("127.0.0.1:0").await?;
/// let dial = Dial::default().timeout(Duration::from_secs(3));
/// let dialed = dial.connect(listener.local_endpoint()).await?;
/// println!("{:?} for the lookup, {:?} to connect", dialed.lookup, dialed.connect);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dial {
    /// The time in which the name is looked up and a connection made. 10 s.
    pub timeout: Duration,
    /// The time that each address of a name has to answer. 5 s: a lost first packet is sent again after 1 s, a second one
    /// after 3 s.
    pub address_timeout: Duration,
    /// How a dead server is detected. `None` means that it is not.
    pub keepalive: Option<Keepalive>,
    /// Who looks names up. `None` means the system, whose answers are used for 5 s: it keeps to the TTL of a name and does
    /// not tell it.
    pub resolver: Option<Arc<dyn Resolve>>,
}

/// A new connection, and what it cost.
#[derive(Debug)]
#[non_exhaustive]
pub struct Dialed {
    /// The connection.
    pub stream: Stream,
    /// The time that the lookup of the name took. Zero if there was no name.
    pub lookup: Duration,
    /// The time that connecting took, without the lookup.
    pub connect: Duration,
}

impl Default for Dial {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            address_timeout: Duration::from_secs(5),
            keepalive: Some(Keepalive::default()),
            resolver: None,
        }
    }
}

impl Dial {
    setters! {
        timeout: Duration,
        address_timeout: Duration,
        keepalive: Option<Keepalive>,
        resolver: Option<Arc<dyn Resolve>>,
    }

    /// Connects to an endpoint.
    ///
    /// # Errors
    ///
    /// Those of [`Stream::connect`]. [`Error::address`] is the address of the name that failed first.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, it closes what it opened.
    pub async fn connect(&self, endpoint: impl Into<Endpoint>) -> Result<Dialed, Error> {
        let endpoint = endpoint.into();
        // On the heap: see `Stream::connect`.
        self.dialed(|settings| Box::pin(connect_traced(endpoint, settings, None))).await
    }

    /// As [`connect`](Self::connect), as a part of a connect that has a span already.
    #[cfg(feature = "https")]
    pub(crate) async fn connect_within(&self, endpoint: Endpoint) -> Result<Dialed, Error> {
        self.dialed(|settings| Box::pin(connect(endpoint, settings, None))).await
    }

    async fn dialed<'a, F>(&'a self, connect: impl FnOnce(Settings<'a>) -> F) -> Result<Dialed, Error>
    where
        F: Future<Output = Result<(Stream, Duration), Error>>,
    {
        let settings = Settings {
            total: self.timeout,
            address: self.address_timeout,
            resolver: self.resolver.as_deref(),
        };
        let begun = Instant::now();
        let (stream, lookup) = connect(settings).await?;
        let connect = begun.elapsed().saturating_sub(lookup);
        if let Some(keepalive) = &self.keepalive {
            // Only a connection that has just ended takes no options, and its first use says so.
            let _ = stream.set_keepalive(keepalive);
        }
        Ok(Dialed { stream, lookup, connect })
    }
}
