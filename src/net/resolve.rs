//! The addresses of a host's name: one lookup per name at a time, few in all, and answers that are used for seconds.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::pin::Pin;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::Instant;

use super::error::is_shortage;
use crate::sync::Arc;

/// The most lookups at once. Each blocks a thread of the runtime until the system's resolver answers or gives up, with
/// a silent name server after half a minute, for example.
const MAX_LOOKUPS: usize = 4;

/// How long an answer is used. The system's resolver keeps to the TTL of a name and does not tell it, so this is shorter
/// than nearly all TTLs: an address that has changed is known within seconds, and a name costs 12 lookups per minute.
pub(super) const ANSWER_LIFETIME: Duration = Duration::from_secs(5);

/// How long a failure is used, so that it costs one lookup and not one per connection.
const FAILURE_LIFETIME: Duration = Duration::from_secs(1);

static LOOKUPS: Semaphore = Semaphore::const_new(MAX_LOOKUPS);

/// Names that are looked up now, and those whose answers are not outdated.
static NAMES: Mutex<BTreeMap<Arc<str>, watch::Receiver<Option<Answer>>>> = Mutex::const_new(BTreeMap::new());

/// Looks names up for a [`Dial`](super::Dial), instead of the system.
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// The addresses of a host, in the order in which to try them.
    ///
    /// # Errors
    ///
    /// That there is none, or that nobody said so.
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a>;
}

/// A lookup that has begun.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// What the system's resolver said.
#[derive(Debug)]
struct Answer {
    /// The addresses, in the order in which to try them.
    addresses: io::Result<Vec<SocketAddr>>,
    until: Instant,
}

/// The addresses of a host, with a port.
///
/// # Errors
///
/// Those of the system's resolver.
///
/// # Cancel safety
///
/// Cancelled, it leaves the lookup to those who wait for the same name, now or soon.
pub(super) async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    loop {
        let mut lookup = lookup(host).await;
        // An error means that the lookup's runtime has ended before the lookup, or that it ended as nobody waited for it.
        if let Ok(answer) = lookup.wait_for(Option::is_some).await
            && let Some(answer) = &*answer
        {
            return match &answer.addresses {
                Ok(found) => Ok(found.iter().map(|address| with_port(*address, port)).collect()),
                Err(error) => Err(copy(error)),
            };
        }
    }
}

/// A lookup of the name that has begun or is not outdated.
async fn lookup(host: &str) -> watch::Receiver<Option<Answer>> {
    let mut names = NAMES.lock().await;
    if let Some(lookup) = names.get(host).filter(|lookup| is_usable(lookup)) {
        return lookup.clone();
    }
    names.retain(|_, lookup| is_usable(lookup));
    let name: Arc<str> = host.into();
    let (tell, lookup) = watch::channel(None);
    names.insert(Arc::clone(&name), lookup.clone());
    // A task of its own: the client that asks first may leave first.
    tokio::spawn(async move {
        // The semaphore is never closed.
        let _permit = LOOKUPS.acquire().await;
        // Only the table has its receiver: all callers have left. So names that nobody waits for any more, such as those of
        // silent name servers, do not hold up the others. A caller that comes now begins another lookup.
        if tell.receiver_count() <= 1 {
            return;
        }
        let addresses = lookup_host((&*name, 0)).await.map(Iterator::collect);
        let addresses = addresses.map_err(|error| shortage().unwrap_or(error));
        let lifetime = match &addresses {
            Ok(_) => ANSWER_LIFETIME,
            Err(error) if is_shortage(error) => Duration::ZERO,
            Err(_) => FAILURE_LIFETIME,
        };
        tell.send_replace(Some(Answer { addresses, until: Instant::now() + lifetime }));
    });
    lookup
}

/// The error that says that no descriptor is left. The system's resolver, which needs one, then says that the name does not
/// exist.
fn shortage() -> Option<io::Error> {
    UnixDatagram::unbound().err().filter(is_shortage)
}

fn is_usable(lookup: &watch::Receiver<Option<Answer>>) -> bool {
    match &*lookup.borrow() {
        Some(answer) => Instant::now() < answer.until,
        // Fails if the task has ended without an answer.
        None => lookup.has_changed().is_ok(),
    }
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

/// The same error for another caller.
pub(super) fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_nobody_waits_for_any_more_is_not_looked_up() {
        const NAME: &str = "nobody-waits.localhost";
        let all = LOOKUPS.acquire_many(MAX_LOOKUPS as u32).await.unwrap();
        let left = tokio::time::timeout(Duration::from_millis(10), addresses(NAME, 1)).await;
        assert!(left.is_err());
        let mut lookup = NAMES.lock().await.get(NAME).unwrap().clone();
        // Instead of the table's.
        NAMES.lock().await.remove(NAME);
        drop(all);
        assert!(lookup.changed().await.is_err(), "{:?}", lookup.borrow());
    }
}
