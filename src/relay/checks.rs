//! Checks of the servers of a backend: a connect to each, in every interval.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::group::Group;
use super::server::Member;
use crate::net::{Error, ProxyHeader, ProxyVersion, Stream};
use crate::sync::{Arc, Weak};

/// The longest time for a check, and the shortest interval.
const LONGEST: Duration = Duration::from_secs(2);
const SHORTEST: Duration = Duration::from_millis(10);

/// Starts the task, if the group wants one and has none. Outside a runtime it is for the next caller.
pub(super) fn start(group: &Arc<Group>) {
    if let Ok(runtime) = Handle::try_current()
        && let Some((every, ended)) = group.claim_checks()
    {
        runtime.spawn(run(Arc::downgrade(group), every.max(SHORTEST), ended));
    }
}

async fn run(group: Weak<Group>, every: Duration, ended: oneshot::Receiver<Infallible>) {
    tokio::select! {
        _ = ended => {}
        () = check_all(&group, every) => {}
    }
}

async fn check_all(group: &Weak<Group>, every: Duration) {
    let mut checks = JoinSet::new();
    let random = RandomState::new();
    for round in 0_u64.. {
        let Some(members) = group.upgrade().map(|group| group.members()) else { return };
        let pause = every / u32::try_from(members.len()).unwrap_or(u32::MAX).max(1);
        if members.is_empty() {
            sleep(pause).await;
        }
        for (index, member) in members.into_iter().enumerate() {
            // From half to one and a half times: several proxies do not check in step.
            let jitter = (random.hash_one((round, index)) % 1024) as f64 / 1024.0;
            sleep(pause.mul_f64(0.5 + jitter)).await;
            while checks.try_join_next().is_some() {}
            checks.spawn(check(Weak::clone(group), member, every.min(LONGEST)));
        }
    }
}

async fn check(group: Weak<Group>, member: Arc<Member>, limit: Duration) {
    let Some(send_proxy) = group.upgrade().map(|group| group.config().send_proxy) else { return };
    let connected = connect(&member, limit, send_proxy).await;
    if let Some(group) = group.upgrade() {
        group.checked(&member, &connected);
    }
}

/// A check is no traffic, and makes no traces.
pub(super) async fn connect(
    member: &Member,
    limit: Duration,
    send_proxy: Option<ProxyVersion>,
) -> Result<(), Error> {
    let connecting = Stream::connect(&*member.endpoint, limit).with_subscriber(Dispatch::none());
    let mut connected = connecting.await?;
    if let Some(version) = send_proxy {
        // A server that expects a header logs its absence as an error. That it is reached is known by now.
        let _ = connected.write_all(&ProxyHeader::Local.encode(version, None)).await;
    }
    Ok(())
}
