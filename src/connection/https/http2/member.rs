//! One connection of a pool, and the streams on it.

use std::collections::HashMap;
use std::time::Duration;

use super::super::connection::{ConnectionInfo, Facts, Protocol};
use super::super::multiplexed::{Client, Link};
use super::config::Http2PoolConfig;
use super::reader::Reader;
use super::state::Http2ConnectionState;
use crate::connection::clock::now;
use crate::connection::statistics::Closed;
use crate::sync::{Arc, Weak};

/// A connection of the pool.
pub(super) struct Member {
    /// No other one ever has it.
    pub(super) generation: u64,
    /// `None` if it takes no more requests. The connection ends after the last stream.
    pub(super) client: Option<Client>,
    pub(super) link: Arc<Link>,
    /// The streams that the server allows.
    pub(super) allowed: usize,
    pub(super) facts: Facts,
    limit: usize,
    max_requests: u64,
    /// A permit for each. So there is no counter beside them that could differ.
    streams: HashMap<u64, Weak<Reader>>,
    created: u64,
    expires: u64,
    /// When a stream last began or ended.
    last_used: u64,
    requests: u64,
}

impl Member {
    pub(super) fn new(
        generation: u64,
        client: Client,
        config: &Http2PoolConfig,
        allowed: usize,
        lifetime: u64,
        facts: Facts,
    ) -> Self {
        let created = now();
        Self {
            generation,
            link: Arc::clone(client.link()),
            client: Some(client),
            allowed,
            facts,
            limit: config.max_streams,
            max_requests: config.https.max_requests.unwrap_or(u64::MAX),
            streams: HashMap::new(),
            created,
            expires: created.saturating_add(lifetime),
            last_used: created,
            requests: 0,
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.min(self.allowed)
    }

    pub(super) fn open(&self) -> usize {
        self.streams.len()
    }

    /// Whether it takes another request.
    pub(super) fn is_free(&self) -> bool {
        self.open() < self.limit() && !self.is_done() && self.client.as_ref().is_some_and(Client::is_open)
    }

    /// Whether it has had all the requests that it may have, or its TLS settings are others since a reload.
    pub(super) fn is_done(&self) -> bool {
        self.requests >= self.max_requests || self.facts.is_outdated()
    }

    /// What a request that is sent now goes over.
    pub(super) fn info(&self) -> ConnectionInfo {
        self.facts.info(Protocol::Http2, self.requests)
    }

    /// For how long nothing has come from the server, in milliseconds.
    pub(super) fn silence(&self) -> u64 {
        now().saturating_sub(self.facts.traffic.heard.get())
    }

    pub(super) fn begin(&mut self, number: u64, reader: &Arc<Reader>) {
        self.streams.insert(number, Arc::downgrade(reader));
        self.requests += 1;
        self.last_used = now();
    }

    pub(super) fn release(&mut self, number: u64) {
        self.streams.remove(&number);
        self.last_used = now();
        if self.streams.is_empty() {
            // What a burst of streams has needed.
            self.streams = HashMap::new();
        }
    }

    /// Why it must end, if it is too old, or was idle for too long.
    pub(super) fn reason_to_close(&self, now: u64, idle: u64) -> Option<Closed> {
        if now >= self.expires {
            Some(Closed::MaxLifetime)
        } else if self.streams.is_empty() && now.saturating_sub(self.last_used) >= idle {
            Some(Closed::IdleTimeout)
        } else {
            None
        }
    }

    pub(super) fn readers(&self) -> impl Iterator<Item = Arc<Reader>> + '_ {
        self.streams.values().filter_map(Weak::upgrade)
    }

    pub(super) fn state(&self) -> Http2ConnectionState {
        let (now, traffic) = (now(), &self.facts.traffic);
        let since = |then| Duration::from_millis(now.saturating_sub(then));
        Http2ConnectionState {
            id: self.generation,
            remote_address: self.facts.remote_address,
            streams: self.open(),
            max_streams: self.limit(),
            is_draining: self.client.is_none(),
            is_at_rest: self.link.is_at_rest(),
            allows_extended_connect: self.link.allows_extended_connect(),
            is_resumed: self.facts.is_resumed,
            timings: self.facts.timings,
            age: since(self.created),
            since_last_use: since(self.last_used),
            requests: self.requests,
            errors: traffic.errors.get(),
            bytes_received: traffic.received.get(),
            bytes_sent: traffic.sent.get(),
        }
    }
}
