//! The admin endpoint of the proxy: what it shows, and when the proxy is ready.

use std::error::Error;
use std::future;
use std::mem;
use std::num::NonZeroU32;
use std::slice;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use clap::Args;
use millpond::net::{Endpoint, Listener};
use millpond::observe::Registry;
use millpond::observe::admin::{Admin, AdminConfig};
use tokio::task::{AbortHandle, JoinSet};

use crate::handover::{ADMIN, Handed};
use crate::listeners::{Upstream, Upstreams};

/// How long the upstream may take to be reached by a check: less than the check may take.
const REACH_TIMEOUT: Duration = Duration::from_secs(1);

/// Rare enough to cost nothing that can be measured, and often enough to catch a leak of some thousand buffers.
const SAMPLE_ONE_IN: u32 = 1024;

#[derive(Args, Debug)]
pub(crate) struct AdminArgs {
    /// Where to serve metrics, a live page, health and readiness over HTTP: HOST:PORT, tcp://HOST:PORT, unix:///PATH or
    /// unix://@NAME. There is no password, so the host must be 127.0.0.1, [::1] or localhost. Every user of this machine can read it there, with the
    /// addresses of all clients; a Unix socket in a folder of yours keeps others out. Off by default
    #[arg(long, value_name = "ENDPOINT", value_parser = Endpoint::from_str)]
    admin: Option<Endpoint>,

    /// Lets --admin have any address: anybody who can connect to it sees all numbers, and who is connected
    #[arg(long, requires = "admin")]
    admin_public: bool,

    /// Samples one in N acquires of a buffer for the leak report of --admin: which code holds buffers, and for how long. 0
    /// turns it off
    #[arg(long, value_name = "N", default_value_t = SAMPLE_ONE_IN, requires = "admin", allow_negative_numbers = true)]
    sample_one_in: u32,
}

impl AdminArgs {
    pub(crate) fn is_on(&self) -> bool {
        self.admin.is_some()
    }

    /// How often an acquire is sampled, if it is.
    pub(crate) fn sample_one_in(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.sample_one_in).filter(|_| self.is_on())
    }

    /// The most descriptors that it takes: its listener, its connections, and for each a check of the upstream.
    pub(crate) fn descriptors(&self) -> u64 {
        if self.is_on() { 1 + 2 * AdminConfig::default().max_connections as u64 } else { 0 }
    }
}

/// The admin endpoint.
pub(crate) struct AdminAt {
    spare: Listener,
    task: AbortHandle,
}

impl AdminAt {
    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.spare.local_endpoint()
    }

    /// Its socket, with the name for a new process.
    pub(crate) fn socket(&self) -> (&str, &Listener) {
        (ADMIN, &self.spare)
    }

    /// Another process serves it.
    pub(crate) fn hand_over(self) {
        self.task.abort();
        mem::forget(self.spare);
    }
}

/// Serves in a task until the process ends. Returns where, unless it is off.
pub(crate) async fn start(
    args: &AdminArgs,
    registry: Registry,
    upstreams: &Upstreams,
    draining: &Arc<AtomicBool>,
    handed: &mut Handed,
) -> Result<Option<AdminAt>, String> {
    let Some(endpoint) = &args.admin else { return Ok(None) };
    let failed = |error: &dyn Error| format!("--admin: {error}");
    let given = handed.listeners(ADMIN, false, slice::from_ref(endpoint)).map_err(|error| failed(&error))?;
    let listener = match given.into_iter().flatten().next() {
        Some(listener) => listener,
        None => Listener::bind(endpoint).await.map_err(|error| failed(&error))?,
    };
    let spare = listener.try_clone().map_err(|error| failed(&error))?;
    let at = spare.local_endpoint();
    let (upstreams, draining) = (Arc::clone(upstreams), Arc::clone(draining));
    let ready = move || {
        let upstreams = upstreams.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_draining = draining.load(Ordering::Relaxed);
        async move {
            if is_draining {
                return Err("the proxy drains".to_owned());
            }
            check_all(upstreams).await
        }
    };
    let config = AdminConfig::default().allow_public(args.admin_public);
    let serve = Admin::new(registry, config).ready(ready).serve(listener, future::pending());
    let task = tokio::spawn(serve.map_err(|_| {
        format!(
            "--admin {at} can be reached by others, and has no password: use 127.0.0.1, [::1] or unix:///PATH, or add \
             --admin-public"
        )
    })?);
    Ok(Some(AdminAt { spare, task: task.abort_handle() }))
}

/// Whether each listener reaches one of its servers.
async fn check_all(upstreams: Vec<Upstream>) -> Result<(), String> {
    let is_one = upstreams.len() == 1;
    let mut checks = JoinSet::new();
    for Upstream { listener, backend } in upstreams {
        let of = if is_one { String::new() } else { format!(" of {listener}") };
        checks.spawn(async move {
            let reached = backend.reach(REACH_TIMEOUT).await;
            reached.map_err(|error| format!("the upstream{of} cannot be reached: {error}"))
        });
    }
    while let Some(checked) = checks.join_next().await {
        checked.unwrap_or_else(|error| Err(error.to_string()))?;
    }
    Ok(())
}
