//! Which of several servers gets a connection.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::ejection::{LONGEST, Standing, Terms};
use super::outcome::Outcome;
use super::setters;

/// How a server is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// The one with the fewest connections for its weight. Equal ones take turns.
    #[default]
    LeastConnections,
    /// The first that serves: a primary, and backups.
    InOrder,
    /// By the hash of the source, so that a client stays at its server. When a server leaves, only its clients move, each
    /// to one of all the others (rendezvous hashing). A connection without a source goes by `LeastConnections`.
    SourceHash,
}

impl FromStr for Balance {
    type Err = ParseBalanceError;

    fn from_str(text: &str) -> Result<Self, ParseBalanceError> {
        match text {
            "least-connections" => Ok(Self::LeastConnections),
            "in-order" => Ok(Self::InOrder),
            "source-hash" => Ok(Self::SourceHash),
            _ => Err(ParseBalanceError),
        }
    }
}

/// A text is no [`Balance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseBalanceError;

impl fmt::Display for ParseBalanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write least-connections, in-order or source-hash")
    }
}

impl Error for ParseBalanceError {}

/// How servers are chosen and ejected.
///
/// | setting | default | reason |
/// |---|---|---|
/// | `balance` | least connections | long and short connections even out, and a slow server gets fewer |
/// | `eject_after` | 3 failures in a row | a connect carries no request that could be to blame; each failure delays a client, and one alone may be a restart |
/// | `eject_for` | 10 s | a trial costs one connect, after which the next server is tried, and most restarts take less |
/// | `max_eject_for` | 300 s | after 10, 20, 40, 80 and 160 s; what is repaired serves within five minutes |
/// | `return_over` | 20 s | its caches are cold, as for [regions](super::RegionPolicy) |
/// | `fall` | 3 checks in a row | as `eject_after` |
/// | `rise` | 2 checks in a row | one success may be luck |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerPolicy {
    /// How a server is chosen.
    pub balance: Balance,
    /// After this many failed connects in a row, a server is ejected.
    pub eject_after: u32,
    /// How long it is ejected the first time, and then twice as long each time.
    pub eject_for: Duration,
    /// How long it is ejected at most.
    pub max_eject_for: Duration,
    /// The time over which a server that was ejected gets its share of connections back. One that serves after as long is
    /// ejected for `eject_for` the next time.
    pub return_over: Duration,
    /// After this many failed checks in a row, a server is ejected until checks succeed.
    pub fall: u32,
    /// After this many successful checks in a row, an ejection ends, whatever its reason.
    pub rise: u32,
}

impl Default for ServerPolicy {
    fn default() -> Self {
        Self {
            balance: Balance::default(),
            eject_after: 3,
            eject_for: Duration::from_secs(10),
            max_eject_for: Duration::from_secs(300),
            return_over: Duration::from_secs(20),
            fall: 3,
            rise: 2,
        }
    }
}

impl ServerPolicy {
    setters! {
        balance: Balance,
        eject_after: u32,
        eject_for: Duration,
        max_eject_for: Duration,
        return_over: Duration,
        fall: u32,
        rise: u32,
    }

    fn terms(&self) -> Terms {
        let Self { eject_after, eject_for, max_eject_for, return_over, .. } = *self;
        Terms { after: eject_after, initial: eject_for, max: max_eject_for, return_over }
    }
}

/// Servers that serve the same, by their index.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use millpond::policy::{Outcome, ServerPolicy, Servers};
///
/// let (mut servers, now) = (Servers::new(ServerPolicy::default(), [("a", 1), ("b", 1)]), Instant::now());
/// for _ in 0..3 {
///     servers.record(now, 0, Duration::from_millis(2), Outcome::Failure);
/// }
/// // Neither has a connection.
/// assert_eq!(servers.pick(now, None, |_| Some(0)).unwrap().server, 1);
/// ```
#[derive(Clone, Debug)]
pub struct Servers {
    policy: ServerPolicy,
    servers: Vec<Server>,
    /// How often one was picked.
    turn: u64,
    /// How often there was a last resort.
    resorts: u64,
}

#[derive(Clone, Debug)]
struct Server {
    /// The hash of its name.
    key: u64,
    weight: u32,
    standing: Standing,
    /// Checks in a row with the same outcome, the last one's.
    checks: u32,
    check_succeeded: bool,
    /// Whether it is ejected until checks succeed.
    fell: bool,
}

/// Where a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerPick {
    /// The index of the server.
    pub server: usize,
    /// Whether all are ejected, or have failed the connection already. They take turns, so one that serves again is found
    /// soon.
    pub is_last_resort: bool,
}

/// How a server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerStanding {
    /// It gets its share.
    Serving,
    /// It was ejected, and gets its share back.
    Returning,
    /// It gets no connections.
    Ejected,
}

/// A change, for logs and counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerChange {
    /// It is ejected: for that long, or until checks succeed.
    Ejected(Option<Duration>),
    /// Its ejection ended before its time, because it serves.
    Readmitted,
}

impl Servers {
    /// Servers by their names, which decide the hash, and their weights.
    #[must_use]
    pub fn new<N: AsRef<[u8]>>(policy: ServerPolicy, servers: impl IntoIterator<Item = (N, u32)>) -> Self {
        let mut new = Self { policy, servers: Vec::new(), turn: 0, resorts: 0 };
        new.replace(Instant::now(), policy, servers);
        new
    }

    /// Replaces the servers and the settings. A server with the same name keeps its standing. `checks` that no longer happen
    /// keep nobody out: call [`forget_checks`](Self::forget_checks).
    pub fn replace<N: AsRef<[u8]>>(
        &mut self,
        now: Instant,
        policy: ServerPolicy,
        servers: impl IntoIterator<Item = (N, u32)>,
    ) {
        let server = |(name, weight): (N, u32)| {
            let (key, weight) = (stable_hash(name.as_ref()), weight.max(1));
            match self.servers.iter().find(|server| server.key == key) {
                Some(known) => Server { weight, ..known.clone() },
                None => Server {
                    key,
                    weight,
                    standing: Standing::default(),
                    checks: 0,
                    check_succeeded: false,
                    fell: false,
                },
            }
        };
        let servers = servers.into_iter().map(server).collect();
        (self.policy, self.servers) = (policy, servers);
        self.end_ejections(now);
    }

    /// Readmits the servers that checks have ejected.
    pub fn forget_checks(&mut self, now: Instant) {
        let terms = self.policy.terms();
        for server in &mut self.servers {
            server.checks = 0;
            if server.fell {
                server.readmit(now, &terms);
            }
        }
    }

    /// The server for a connection, given the hash of its source and the connections of each server. `None` of these: the
    /// connection has tried that server. `None` if it has tried all.
    pub fn pick(
        &mut self,
        now: Instant,
        source: Option<u64>,
        open: impl Fn(usize) -> Option<usize>,
    ) -> Option<ServerPick> {
        self.end_ejections(now);
        self.turn = self.turn.wrapping_add(1);
        let (turn, terms) = (self.turn, self.policy.terms());
        let candidates = self.servers.iter_mut().enumerate().filter_map(|(index, server)| {
            let open = open(index).filter(|_| !server.standing.is_ejected(now))?;
            server.standing.begin_return(now, false);
            let share = server.standing.share(now, &terms);
            Some(Candidate { index, open, share, weight: f64::from(server.weight) * share, key: server.key })
        });
        let chosen = match (self.policy.balance, source) {
            (Balance::InOrder, _) => first(candidates, turn),
            (Balance::SourceHash, Some(source)) => {
                candidates.max_by(|a, b| a.score(source).total_cmp(&b.score(source)))
            }
            (Balance::LeastConnections | Balance::SourceHash, _) => least(candidates, turn),
        };
        match chosen {
            Some(Candidate { index: server, .. }) => Some(ServerPick { server, is_last_resort: false }),
            None => self.resort(open),
        }
    }

    /// Takes the outcome of a connect, and how long it took. A success ends the ejection of its server.
    pub fn record(
        &mut self,
        now: Instant,
        server: usize,
        took: Duration,
        outcome: Outcome,
    ) -> Option<ServerChange> {
        let terms = self.policy.terms();
        let server = self.servers.get_mut(server)?;
        server.standing.end_ejection(now, &terms);
        // What began before the ejection is no news.
        if !outcome.is_of_the_server() || !server.standing.is_news(now, took) {
            return None;
        }
        if server.standing.is_ejected(now) {
            let serves = outcome == Outcome::Success;
            return serves.then(|| server.readmit(now, &terms));
        }
        let duration = server.standing.record(now, outcome, &terms)?;
        Some(ServerChange::Ejected(Some(server.standing.eject(now, duration))))
    }

    /// Takes the outcome of a check.
    pub fn check(&mut self, now: Instant, server: usize, succeeded: bool) -> Option<ServerChange> {
        let (terms, policy) = (self.policy.terms(), self.policy);
        let server = self.servers.get_mut(server)?;
        server.checks = if server.check_succeeded == succeeded { server.checks.saturating_add(1) } else { 1 };
        server.check_succeeded = succeeded;
        let is_ejected = server.standing.is_ejected(now);
        if succeeded {
            return (is_ejected && server.checks >= policy.rise).then(|| server.readmit(now, &terms));
        }
        if server.fell || server.checks < policy.fall {
            return None;
        }
        server.fell = true;
        server.standing.eject(now, LONGEST);
        // The log has it already if failed connects have ejected it before.
        (!is_ejected).then_some(ServerChange::Ejected(None))
    }

    /// How a server stands.
    #[must_use]
    pub fn standing(&self, now: Instant, server: usize) -> ServerStanding {
        match self.servers.get(server).map(|server| &server.standing) {
            Some(standing) if standing.is_ejected(now) => ServerStanding::Ejected,
            Some(standing) if standing.is_returning() => ServerStanding::Returning,
            _ => ServerStanding::Serving,
        }
    }

    fn end_ejections(&mut self, now: Instant) {
        let terms = self.policy.terms();
        self.servers.iter_mut().for_each(|server| server.standing.end_ejection(now, &terms));
    }

    fn resort(&mut self, open: impl Fn(usize) -> Option<usize>) -> Option<ServerPick> {
        let left = self.servers.iter_mut().enumerate().filter(|(index, _)| open(*index).is_some());
        let (server, last) = left.min_by_key(|(_, server)| server.standing.turn())?;
        self.resorts += 1;
        last.standing.note_resort(self.resorts);
        Some(ServerPick { server, is_last_resort: true })
    }
}

impl Server {
    fn readmit(&mut self, now: Instant, terms: &Terms) -> ServerChange {
        (self.fell, self.checks) = (false, 0);
        self.standing.readmit(now, terms);
        ServerChange::Readmitted
    }
}

/// A server that may be picked.
struct Candidate {
    index: usize,
    open: usize,
    /// 1, or less while it comes back.
    share: f64,
    /// Of that share.
    weight: f64,
    key: u64,
}

impl Candidate {
    /// Rendezvous hashing with weights: the server with the highest score has the source.
    fn score(&self, source: u64) -> f64 {
        -self.weight / unit(mix(self.key ^ source)).ln()
    }
}

/// The first, but while it comes back only in some of the turns.
fn first(candidates: impl Iterator<Item = Candidate>, turn: u64) -> Option<Candidate> {
    let mut first = None;
    for candidate in candidates {
        // Evenly spread over the turns: the fractions of the multiples of the golden ratio.
        if unit(turn.wrapping_mul(0x9e37_79b9_7f4a_7c15)) < candidate.share {
            return Some(candidate);
        }
        first.get_or_insert(candidate);
    }
    first
}

/// The least loaded one. Equal ones take turns.
fn least(candidates: impl Iterator<Item = Candidate>, turn: u64) -> Option<Candidate> {
    let mut least: Option<(f64, Candidate)> = None;
    let mut equal = Vec::new();
    for candidate in candidates {
        let load = (candidate.open as f64 + 1.0) / candidate.weight;
        match &least {
            Some((known, _)) if load > *known => {}
            Some((known, _)) if load == *known => equal.push(candidate),
            _ => {
                equal.clear();
                least = Some((load, candidate));
            }
        }
    }
    let (_, least) = least?;
    let which = (turn % (equal.len() as u64 + 1)) as usize;
    Some(if which == 0 { least } else { equal.swap_remove(which - 1) })
}

/// Between 0 and 1, and neither of them.
fn unit(hash: u64) -> f64 {
    ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// The hash of a name or a source: the same in every process, so that several proxies agree (FNV-1a, and
/// [SplitMix64](https://prng.di.unimi.it/splitmix64.c)'s last step). Somebody who chooses names can make two collide.
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv))
}

fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests;
