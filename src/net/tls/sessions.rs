//! Sessions that later handshakes resume.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use tokio_rustls::rustls::NamedGroup;
use tokio_rustls::rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::sync::Mutex;

/// The sessions of one generation, by the names of servers. rustls's own store has 8 tickets per server and no setting.
pub(super) struct Sessions {
    servers: Mutex<Servers>,
    max_servers: usize,
    tickets_per_server: usize,
}

#[derive(Default)]
struct Servers {
    by_name: HashMap<ServerName<'static>, Server>,
    /// Counts uses, so that the server with the smallest count was used least recently.
    uses: u64,
}

#[derive(Default)]
struct Server {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    /// The oldest first.
    tls13: VecDeque<Tls13ClientSessionValue>,
    used: u64,
}

impl Sessions {
    pub(super) fn new(max_servers: usize, tickets_per_server: usize) -> Self {
        Self { servers: Mutex::default(), max_servers, tickets_per_server }
    }

    /// Looks at what is kept for a server.
    fn get<T>(&self, name: &ServerName<'_>, look: impl FnOnce(&mut Server) -> Option<T>) -> Option<T> {
        let servers = &mut *self.servers.lock();
        servers.uses += 1;
        let server = servers.by_name.get_mut(&name.to_owned())?;
        server.used = servers.uses;
        look(server)
    }

    /// Keeps something for a server. The least recently used one makes room for a new one.
    fn keep(&self, name: ServerName<'static>, keep: impl FnOnce(&mut Server)) {
        let evicted;
        {
            let servers = &mut *self.servers.lock();
            servers.uses += 1;
            let is_full = servers.by_name.len() >= self.max_servers && !servers.by_name.contains_key(&name);
            evicted = if is_full { servers.remove_oldest() } else { None };
            let server = servers.by_name.entry(name).or_default();
            server.used = servers.uses;
            keep(server);
        }
        // Dropped outside the lock.
        drop(evicted);
    }
}

impl Servers {
    fn remove_oldest(&mut self) -> Option<Server> {
        let (name, _) = self.by_name.iter().min_by_key(|(_, server)| server.used)?;
        let name = name.clone();
        self.by_name.remove(&name)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.keep(name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.get(name, |server| server.group)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.keep(name, |server| server.tls12 = Some(session));
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.get(name, |server| server.tls12.clone())
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        drop(self.get(name, |server| server.tls12.take()));
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        if self.tickets_per_server == 0 {
            return;
        }
        self.keep(name, |server| {
            // First, so that the queue never grows beyond its limit.
            if server.tls13.len() == self.tickets_per_server {
                server.tls13.pop_front();
            }
            server.tls13.push_back(ticket);
        });
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        // The newest is the likeliest to be accepted.
        self.get(name, |server| server.tls13.pop_back())
    }
}

/// Without the sessions, which are secrets.
impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers: _, max_servers, tickets_per_server } = self;
        f.debug_struct("Sessions")
            .field("max_servers", max_servers)
            .field("tickets_per_server", tickets_per_server)
            .finish_non_exhaustive()
    }
}
