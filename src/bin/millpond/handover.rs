//! Sockets that are handed over: by a service manager (socket activation), or by the process that this one replaces.
//!
//! Both come as descriptors with names (`LISTEN_FDS`, `LISTEN_FDNAMES`). A process that is replaced also hands over a socket
//! on which it waits until the new one listens. The crate `listenfd` takes descriptors, and `command-fds` passes them.

use std::env;
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use listenfd::ListenFd;
use millpond::net::{Endpoint, Listener};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// The name of the socket on which the process that is replaced waits.
const READY: &str = "millpond-ready";
/// The name of the admin endpoint's socket. No listener takes it.
pub(crate) const ADMIN: &str = "millpond-admin";
/// How long a new process may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// The first descriptor after the standard streams, where the protocol begins.
const FIRST: i32 = 3;

/// What this process was handed.
#[derive(Default)]
pub(crate) struct Handed {
    sockets: Vec<(String, OwnedFd)>,
    ready: Option<UnixDatagram>,
}

impl Handed {
    /// Takes all, once, before there are threads: it removes the variables.
    pub(crate) fn take() -> Self {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut fds = ListenFd::from_env();
        let mut handed = Self::default();
        for index in 0..fds.len() {
            let name = names.next().unwrap_or_default();
            if name == READY {
                handed.ready = fds.take_unix_datagram(index).ok().flatten();
            } else if let Ok(Some(socket)) = fds.take_tcp_listener(index) {
                handed.sockets.push((name.to_owned(), socket.into()));
            } else if let Ok(Some(socket)) = fds.take_unix_listener(index) {
                handed.sockets.push((name.to_owned(), socket.into()));
            }
        }
        handed
    }

    /// Listeners for a name: one for each of `wanted`, if there is one. The one at that address, or else the next.
    pub(crate) fn listeners(
        &mut self,
        name: &str,
        is_only: bool,
        wanted: &[Endpoint],
    ) -> io::Result<Vec<Option<Listener>>> {
        let is_meant = |(other, _): &(String, OwnedFd)| other == name || (is_only && other != ADMIN);
        let meant: Vec<_> = self.sockets.extract_if(.., |socket| is_meant(socket)).collect();
        let mut given = Vec::new();
        for (_, fd) in meant {
            given.push(Listener::from_fd(fd)?);
        }
        let take_same = |endpoint: &Endpoint| {
            let place = given.iter().position(|listener| listener.local_endpoint() == endpoint)?;
            Some(given.remove(place))
        };
        let mut listeners: Vec<_> = wanted.iter().map(take_same).collect();
        let mut rest = given.into_iter();
        for missing in listeners.iter_mut().filter(|listener| listener.is_none()) {
            *missing = rest.next();
        }
        Ok(listeners)
    }

    /// Names of sockets that nobody wants. They are closed.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        self.sockets.drain(..).map(|(name, _)| name).collect()
    }

    /// Tells the process that is replaced, if there is one. Fails if it has given up meanwhile, and continues to serve.
    pub(crate) fn listens(&mut self) -> io::Result<()> {
        let Some(ready) = self.ready.take() else { return Ok(()) };
        ready.set_nonblocking(true)?;
        if ready.recv(&mut [0; 8]).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the process that was to be replaced has given up",
            ));
        }
        // If that process is gone, nobody waits.
        let _ = ready.send(b"ready");
        Ok(())
    }
}

/// Starts this program anew, as it was called, with these sockets. Returns once the new process listens. If it fails to, all
/// is as before.
pub(crate) async fn replace<'a>(
    sockets: impl Iterator<Item = (&'a str, &'a Listener)>,
) -> Result<u32, Box<dyn Error>> {
    let (here, there) = UnixDatagram::pair()?;
    let mut fds = vec![there.into()];
    let mut names = vec![READY];
    for (name, listener) in sockets {
        fds.push(listener.as_fd().try_clone_to_owned()?);
        names.push(name);
    }
    let mut arguments = env::args_os();
    let mut command = Command::new(arguments.next().ok_or("the program has no name")?);
    command.args(arguments);
    command.env("LISTEN_FDS", fds.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    // Its number is not known yet, and the sockets are for no other process.
    command.env_remove("LISTEN_PID").env_remove("WATCHDOG_PID");
    let mapping = |(parent_fd, child_fd)| FdMapping { parent_fd, child_fd };
    command.fd_mappings(fds.into_iter().zip(FIRST..).map(mapping).collect())?;
    let child = command.spawn()?;
    drop(command);
    let process = child.id();
    here.set_nonblocking(true)?;
    let ready = tokio::net::UnixDatagram::from_std(here)?;
    let mut word = [0; 8];
    let started = tokio::select! {
        biased;
        started = timeout(START_TIMEOUT, ready.recv(&mut word)) => started.is_ok_and(|started| started.is_ok()),
        // It is reaped, too.
        _ = spawn_blocking(move || reap(child)) => false,
    };
    if started {
        return Ok(process);
    }
    let _ = ready.try_send(b"give up");
    Err("the new process does not listen".into())
}

fn reap(mut child: Child) -> io::Result<()> {
    child.wait().map(drop)
}
