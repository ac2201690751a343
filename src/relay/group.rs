//! The servers of a backend and their state: which one is next, what became of it, and what the log says.

use std::convert::Infallible;
use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{info, warn};

use super::backend_config::BackendConfig;
use super::server::{Chosen, Member, Server, ServerState};
use crate::net::{self, ErrorKind, Peer};
use crate::policy::{Outcome, ServerChange, Servers, stable_hash};
use crate::sync::{Arc, Mutex};

/// The target of the events.
const TARGET: &str = "millpond::relay";

pub(super) struct Group(Mutex<List>);

struct List {
    config: Arc<BackendConfig>,
    members: Vec<Arc<Member>>,
    /// Of the same order.
    servers: Servers,
    /// Ends the task of the checks when it is dropped.
    checker: Option<oneshot::Sender<Infallible>>,
}

impl Group {
    pub(super) fn new(servers: Vec<Server>, config: BackendConfig) -> Self {
        let policy = Servers::new(config.policy, [("", 1); 0]);
        let list =
            List { config: Arc::new(config.clone()), members: Vec::new(), servers: policy, checker: None };
        let group = Self(Mutex::new(list));
        group.replace(servers, config);
        group
    }

    /// A server that is named twice counts once.
    pub(super) fn replace(&self, servers: Vec<Server>, config: BackendConfig) {
        let mut list = self.0.lock();
        let (mut members, mut named) = (Vec::<Arc<Member>>::new(), Vec::new());
        for Server { endpoint, weight } in servers {
            if members.iter().any(|member| *member.endpoint == endpoint) {
                continue;
            }
            named.push((endpoint.to_string(), weight));
            let known = list.members.iter().find(|member| *member.endpoint == endpoint).cloned();
            members.push(known.unwrap_or_else(|| Arc::new(Member::new(endpoint))));
        }
        let now = now();
        list.servers.replace(now, config.policy, named);
        if config.check_every != list.config.check_every {
            list.checker = None;
        }
        if config.check_every.is_none() {
            list.servers.forget_checks(now);
        }
        (list.config, list.members) = (Arc::new(config), members);
    }

    pub(super) fn config(&self) -> Arc<BackendConfig> {
        Arc::clone(&self.0.lock().config)
    }

    pub(super) fn members(&self) -> Vec<Arc<Member>> {
        self.0.lock().members.clone()
    }

    /// How often to check, if nobody does so, and what the task that does it waits for.
    pub(super) fn claim_checks(&self) -> Option<(Duration, oneshot::Receiver<Infallible>)> {
        let mut list = self.0.lock();
        let every = list.config.check_every?;
        if list.checker.as_ref().is_some_and(|checker| !checker.is_closed()) {
            return None;
        }
        let (checker, ended) = oneshot::channel();
        list.checker = Some(checker);
        Some((every, ended))
    }

    /// The server for a connection that has tried some already. The second number is how many are left, this one included.
    pub(super) fn choose(&self, client: &Peer, tried: &[Arc<Member>]) -> Option<(Chosen, usize)> {
        let source = hash_of(client);
        let mut list = self.0.lock();
        let List { members, servers, .. } = &mut *list;
        let is_tried = |member: &Arc<Member>| tried.iter().any(|one| Arc::ptr_eq(one, member));
        let open = |index: usize| {
            members.get(index).filter(|member| !is_tried(member)).map(|member| member.connections())
        };
        let pick = servers.pick(now(), source, open)?;
        let member = members.get(pick.server)?;
        if pick.is_last_resort {
            member.counters.last_resorts.add(1);
        }
        // Under the lock, so that the next one sees it.
        let chosen = Chosen::new(Arc::clone(member));
        Some((chosen, members.iter().filter(|member| !is_tried(member)).count()))
    }

    /// Takes the outcome of a connect for a client.
    pub(super) fn connected<T>(
        &self,
        member: &Arc<Member>,
        took: Duration,
        connected: &Result<T, net::Error>,
    ) {
        let outcome = match connected {
            Ok(_) => Outcome::Success,
            // The server is not to blame.
            Err(error) if error.kind() == ErrorKind::OutOfResources => Outcome::Cancelled,
            Err(error) if error.is_timeout() => Outcome::Timeout,
            Err(_) => Outcome::Failure,
        };
        member.counters.connect(outcome).add(1);
        self.note(member, connected.as_ref().err(), outcome, |servers, index| {
            servers.record(now(), index, took, outcome)
        });
    }

    /// Takes the outcome of a check.
    pub(super) fn checked<T>(&self, member: &Arc<Member>, connected: &Result<T, net::Error>) {
        let outcome = match connected {
            Ok(_) => Outcome::Success,
            // It says nothing.
            Err(error) if error.kind() == ErrorKind::OutOfResources => return,
            Err(_) => Outcome::Failure,
        };
        let counters = &member.counters;
        if connected.is_ok() { &counters.checks_passed } else { &counters.checks_failed }.add(1);
        self.note(member, connected.as_ref().err(), outcome, |servers, index| {
            servers.check(now(), index, outcome == Outcome::Success)
        });
    }

    /// The log says that the server is down, once, that it is ejected, and that it is up again.
    fn note(
        &self,
        member: &Arc<Member>,
        error: Option<&net::Error>,
        outcome: Outcome,
        record: impl FnOnce(&mut Servers, usize) -> Option<ServerChange>,
    ) {
        let upstream = &*member.endpoint;
        match (outcome, error) {
            (Outcome::Success, _) if member.is_up_again() => {
                info!(target: TARGET, %upstream, "the upstream is up again");
            }
            (Outcome::Failure | Outcome::Timeout, Some(error)) if member.is_down_now() => {
                warn!(target: TARGET, %upstream, error = error as &dyn Error, "the upstream is down");
            }
            _ => {}
        }
        let mut list = self.0.lock();
        let List { members, servers, .. } = &mut *list;
        let Some(index) = members.iter().position(|one| Arc::ptr_eq(one, member)) else { return };
        let change = record(servers, index);
        let is_alone = members.len() == 1;
        drop(list);
        if let Some(ServerChange::Ejected(duration)) = change {
            member.counters.ejections.add(1);
            // Without another one it gets the connections all the same.
            if !is_alone {
                let seconds = duration.map(|duration| duration.as_secs_f64());
                warn!(target: TARGET, %upstream, seconds, "the upstream is ejected");
            }
        }
    }

    pub(super) fn states(&self) -> Vec<ServerState> {
        let list = self.0.lock();
        let now = now();
        let members = list.members.iter().enumerate();
        members.map(|(index, member)| member.state(list.servers.standing(now, index))).collect()
    }
}

/// As the timers of tokio have it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// The hash of an address, whatever its port, or of a process that connected over a Unix socket, if the system tells which.
fn hash_of(client: &Peer) -> Option<u64> {
    match client {
        Peer::Tcp(address) => Some(match address.ip().to_canonical() {
            IpAddr::V4(ip) => stable_hash(&ip.octets()),
            IpAddr::V6(ip) => stable_hash(&ip.octets()),
        }),
        Peer::Unix { pid } => pid.map(|pid| stable_hash(&pid.to_le_bytes())),
    }
}
