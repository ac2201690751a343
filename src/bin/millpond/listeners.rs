//! The listeners of the proxy as the settings say, also after a reload: each with its relay and its servers, and all with one
//! pool.

use std::error::Error;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millpond::BufferPool;
use millpond::net::{AccessList, DrainReport, Endpoint, Listener, ListenerConfig, Runtimes, SourceLimits};
use millpond::observe::Registry;
use millpond::relay::{Backend, BackendConfig, Relay, RelayConfig, ServerPolicy};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::handover::Handed;
use crate::options::ListenerArgs;
use crate::settings::Listening;
use crate::tls;

/// What the proxy listens at and leads to now.
pub(crate) struct Listeners {
    pool: BufferPool,
    runtimes: Runtimes,
    registry: Registry,
    serving: Vec<Serving>,
    /// Of listeners that a reload has removed. Their connections continue.
    leaving: Vec<Relay>,
    /// Connections that were aborted when such a listener had drained for too long.
    aborted: u64,
    /// One per socket.
    tasks: JoinSet<DrainReport>,
    upstreams: Upstreams,
}

/// One `[[listen]]`.
pub(crate) struct Serving {
    pub(crate) name: String,
    pub(crate) relay: Relay,
    pub(crate) args: ListenerArgs,
    backend: Backend,
    sockets: Vec<Socket>,
}

struct Socket {
    /// As it stands in the settings.
    wanted: Endpoint,
    /// To be handed over. Dropped before `_stop`: the socket that stops is then the only one.
    spare: Listener,
    /// Dropped, the socket drains.
    _stop: oneshot::Sender<()>,
}

/// Where each listener leads to, for checks.
pub(crate) type Upstreams = Arc<Mutex<Vec<Upstream>>>;

#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) listener: String,
    pub(crate) backend: Backend,
}

impl Listeners {
    pub(crate) fn new(pool: BufferPool, runtimes: Runtimes, registry: Registry) -> Self {
        let (serving, leaving, tasks) = (Vec::new(), Vec::new(), JoinSet::new());
        Self {
            pool,
            runtimes,
            registry,
            serving,
            leaving,
            aborted: 0,
            tasks,
            upstreams: Upstreams::default(),
        }
    }

    /// Makes it so, with the sockets that were `handed` over, or fails and changes nothing. Listeners are known by their names,
    /// and sockets by their addresses. What stays keeps its socket and its connections, and new connections see the new
    /// settings. What goes drains.
    ///
    /// Cancel safety: cancelled, it has changed nothing.
    pub(crate) async fn apply(
        &mut self,
        wanted: Vec<Listening>,
        drain_timeout: Duration,
        handed: &mut Handed,
    ) -> Result<(), Box<dyn Error>> {
        let configs = wanted.iter().map(|listening| configs(&listening.args, drain_timeout));
        let configs = configs.collect::<Result<Vec<_>, _>>()?;
        let mut bound = Vec::new();
        for Listening { name, args } in &wanted {
            let owner = args.unix_owner.unwrap_or_default();
            let config = ListenerConfig::default()
                .backlog(args.backlog)
                .unix_mode(args.unix_mode)
                .unix_user(owner.user)
                .unix_group(owner.group);
            let open = self.serving.iter().find(|serving| serving.name == *name);
            let mut listeners = Vec::new();
            let given = handed.listeners(name, wanted.len() == 1, &args.listen)?;
            for (endpoint, given) in args.listen.iter().zip(given) {
                if !open.is_some_and(|open| open.sockets.iter().any(|socket| socket.wanted == *endpoint)) {
                    let listener = match given {
                        Some(listener) => listener,
                        None => Listener::bind_with(endpoint, &config).await?,
                    };
                    let spare = listener.try_clone()?;
                    listeners.push((endpoint.clone(), (listener, spare)));
                }
            }
            bound.push(listeners);
        }
        // Nothing fails from here on, and nothing waits.
        let mut before = mem::take(&mut self.serving);
        for ((Listening { name, args }, listeners), configs) in wanted.into_iter().zip(bound).zip(configs) {
            let (config, backend_config) = configs;
            let known = before.iter().position(|serving| serving.name == name);
            let mut serving = match known.map(|index| before.swap_remove(index)) {
                Some(serving) => {
                    serving.relay.replace_config(config);
                    serving.backend.replace(args.to.iter().cloned(), backend_config);
                    Serving { args, ..serving }
                }
                None => {
                    let relay = Relay::new(self.pool.clone(), config);
                    self.registry.add(&*name, &relay);
                    let backend = Backend::new(args.to.iter().cloned(), backend_config);
                    self.registry.add(&*name, &backend);
                    Serving { name, relay, args, backend, sockets: Vec::new() }
                }
            };
            serving.sockets.retain(|socket| serving.args.listen.contains(&socket.wanted));
            for (endpoint, listener) in listeners {
                let socket = self.serve(&serving, endpoint, listener);
                serving.sockets.push(socket);
            }
            self.serving.push(serving);
        }
        self.leaving.extend(before.into_iter().map(|serving| serving.relay));
        self.forget_left();
        *self.upstreams.lock().unwrap_or_else(PoisonError::into_inner) =
            self.serving.iter().map(Serving::upstream).collect();
        Ok(())
    }

    fn serve(
        &mut self,
        serving: &Serving,
        wanted: Endpoint,
        (listener, spare): (Listener, Listener),
    ) -> Socket {
        let (stop, stopped) = oneshot::channel::<()>();
        let (relay, backend) = (serving.relay.clone(), serving.backend.clone());
        let runtimes = self.runtimes.clone();
        self.tasks.spawn(async move {
            // An error means that the sender is gone, which is how it stops.
            relay.serve_on(&runtimes, listener, backend, async { drop(stopped.await) }).await
        });
        Socket { wanted, spare, _stop: stop }
    }

    fn forget_left(&mut self) {
        let aborted = &mut self.aborted;
        self.leaving.retain(|relay| {
            let stats = relay.stats();
            let is_open = stats.active > 0;
            *aborted += if is_open { 0 } else { stats.aborted };
            is_open
        });
    }

    pub(crate) fn serving(&self) -> &[Serving] {
        &self.serving
    }

    pub(crate) fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    pub(crate) fn pool(&self) -> &BufferPool {
        &self.pool
    }

    /// The open connections.
    pub(crate) fn open(&self) -> u64 {
        self.relays().map(|relay| relay.stats().active).sum()
    }

    /// The connections that were aborted, or are about to be.
    pub(crate) fn aborted(&self) -> u64 {
        let aborted = |relay: &Relay| {
            let stats = relay.stats();
            stats.active + stats.aborted
        };
        self.aborted + self.relays().map(aborted).sum::<u64>()
    }

    fn relays(&self) -> impl Iterator<Item = &Relay> {
        self.serving.iter().map(|serving| &serving.relay).chain(&self.leaving)
    }

    /// Forgets the sockets that have drained, as they do. Never returns.
    pub(crate) async fn drained(&mut self) {
        while self.tasks.join_next().await.is_some() {}
        std::future::pending::<()>().await;
    }

    /// The sockets, each with the name of its listener.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (&str, &Listener)> {
        self.serving
            .iter()
            .flat_map(|serving| serving.sockets.iter().map(|socket| (&*serving.name, &socket.spare)))
    }

    /// Another process has the sockets: they stay open until this one ends, and nobody is turned away from their queues.
    pub(crate) fn hand_over(&mut self) {
        for socket in self.serving.iter_mut().flat_map(|serving| serving.sockets.drain(..)) {
            mem::forget(socket.spare);
        }
    }

    /// Stops listening, and returns how many connections have drained once all have ended.
    ///
    /// Cancel safety: cancelled, it aborts all connections.
    pub(crate) fn drain(&mut self) -> impl Future<Output = u64> + use<> {
        let mut tasks = mem::take(&mut self.tasks);
        for serving in &mut self.serving {
            serving.sockets.clear();
        }
        async move {
            let mut drained = 0;
            while let Some(report) = tasks.join_next().await {
                drained += report.map_or(0, |report| report.drained);
            }
            drained
        }
    }
}

impl Serving {
    /// Where it listens.
    pub(crate) fn at(&self) -> impl Iterator<Item = &Endpoint> {
        self.sockets.iter().map(|socket| socket.spare.local_endpoint())
    }

    fn upstream(&self) -> Upstream {
        Upstream { listener: self.name.clone(), backend: self.backend.clone() }
    }
}

/// The settings of both sides. Reads the files of TLS.
fn configs(
    args: &ListenerArgs,
    drain_timeout: Duration,
) -> Result<(RelayConfig, BackendConfig), Box<dyn Error>> {
    let backend = tls::towards_servers(args, backend_config(args))?;
    Ok((tls::towards_clients(args, relay_config(args, drain_timeout), &backend)?, backend))
}

/// What concerns the clients' side.
fn relay_config(args: &ListenerArgs, drain_timeout: Duration) -> RelayConfig {
    let access = AccessList::default()
        .allow(args.allow.iter().copied().collect())
        .deny(args.deny.iter().copied().collect());
    let limits = SourceLimits::default().max_connections(args.max_per_source).rate(args.rate_per_source);
    let defaults = RelayConfig::default();
    let keepalive =
        defaults.keepalive.map(|keepalive| keepalive.user_timeout(unless_zero(args.user_timeout)));
    defaults
        .keepalive(keepalive)
        .access(access)
        .source_limits(limits)
        .max_connections(args.max_connections)
        .idle_timeout(unless_zero(args.idle_timeout))
        .half_closed_timeout(unless_zero(args.half_closed_timeout))
        .stalled_timeout(unless_zero(args.stalled_timeout))
        .max_lifetime(unless_zero(args.max_lifetime))
        .connect_timeout(args.connect_timeout)
        .drain_timeout(drain_timeout)
        .accept_proxy(args.accept_proxy.iter().copied().collect())
}

/// What concerns the servers' side.
fn backend_config(args: &ListenerArgs) -> BackendConfig {
    let policy = ServerPolicy::default()
        .balance(args.balance)
        .eject_after(args.eject_after)
        .eject_for(args.eject_for)
        .max_eject_for(ServerPolicy::default().max_eject_for.max(args.eject_for))
        .return_over(args.return_over);
    BackendConfig::default()
        .policy(policy)
        .check_every(unless_zero(args.health_check))
        .send_proxy(args.send_proxy)
}

/// Of a time whose 0 means no limit.
fn unless_zero(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}
