//! The options of `millpond proxy`, each declared once: for the command line, and for the file of `--config`.
//!
//! To add one, declare a field with its help, default and parser in one of the two structs. The file then has it by the same
//! name: `settings` turns each of its keys into an argument, and clap parses them. Then use it in `proxy`. An option
//! without a value (a `bool`) is `true` or `false` in the file. One that may be given several times (a `Vec`) is a list, or
//! a table if its values are `KEY=VALUE`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use millpond::net::{Endpoint, Listener, PeerRange, ProxyVersion};
use millpond::relay::Balance;

use crate::admin::AdminArgs;
use crate::export::ExportArgs;
use crate::log::LogArgs;
use crate::threads::cores;
use crate::values::{
    Owner, backlog, count, failures, memory_limit, name_route, positive, positive_seconds, seconds,
    unix_mode, upstream,
};

/// What concerns all listeners: in the file, before the first `[[listen]]`.
#[derive(Args, Debug)]
pub(crate) struct ProcessArgs {
    /// Threads that relay. Each connection stays on one of them, the one that had the fewest. The default is the number of
    /// cores that the process may use, by its affinity and by the quota of its cgroup: more do not help. With more than one,
    /// another thread accepts, and serves --admin
    #[arg(long, value_name = "N", default_value_t = cores(), hide_default_value = true, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) threads: usize,

    /// The most memory that the buffers of all connections take together, 64KiB at least. At the limit, bytes pass in
    /// pieces of 16 KiB at most, at more CPU time; no connection waits for memory
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = memory_limit, allow_negative_numbers = true)]
    pub(crate) memory_limit: ByteSize,

    /// How long open connections may continue after SIGINT (Ctrl-C), SIGTERM or SIGHUP, before they are aborted. The
    /// default is below the 10 seconds after which container runtimes kill
    #[arg(long, value_name = "SECONDS", default_value = "8", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) drain_timeout: Duration,

    /// Logs statistics at this interval: a line about connections, and one about memory. The default, 0, logs them at
    /// the end only
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) stats_every: Duration,

    #[command(flatten)]
    pub(crate) admin: AdminArgs,

    #[command(flatten)]
    pub(crate) export: ExportArgs,

    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// What concerns one listener: in the file, a `[[listen]]`.
#[derive(Args, Debug)]
pub(crate) struct ListenerArgs {
    /// Where to accept connections: HOST:PORT (port 0 picks a free one), tcp://HOST:PORT, unix:///PATH (missing folders are
    /// made), or on Linux unix://@NAME, an abstract socket (no file is created). Several times
    /// for several addresses
    #[arg(long, required = true, value_name = "ENDPOINT", value_parser = Endpoint::from_str)]
    pub(crate) listen: Vec<Endpoint>,

    /// Where to connect to for each of them: HOST:PORT, tcp://HOST:PORT, unix:///PATH or unix://@NAME. Several times for
    /// several servers: if one cannot be reached, the next is tried before the client notices
    #[arg(long, required = true, value_name = "ENDPOINT", value_parser = upstream)]
    pub(crate) to: Vec<Endpoint>,

    /// Which of several servers gets a connection: `least-connections` evens out long and short ones, `in-order` takes
    /// the first that serves, for a primary and its backups, and `source-hash` keeps a client's address at its server
    #[arg(long, value_name = "MODE", default_value = "least-connections", value_parser = Balance::from_str)]
    pub(crate) balance: Balance,

    /// Checks each server by a connect of its own at this interval: 3 failures eject it, and 2 successes bring it back. 0, the
    /// default, never does, since a failed connect costs a client little, and servers log connects without a request
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) health_check: Duration,

    /// Gives a server no more connections after this many failed connects in a row, as long as another one serves. A single
    /// failure may be a restart, and each delays a client
    #[arg(long, value_name = "N", default_value = "3", value_parser = failures, allow_negative_numbers = true)]
    pub(crate) eject_after: u32,

    /// How long it gets none at first, and then twice as long each time, up to 300 or this. Most restarts take less than
    /// the default, and a trial costs one failed connect
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = positive_seconds, allow_negative_numbers = true)]
    pub(crate) eject_for: Duration,

    /// The time over which it then gets its share back, from a tenth on, as its caches are cold; 0 gives it all at
    /// once
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) return_over: Duration,

    /// The most connections at once; the next ones wait in the kernel's accept queue. Each takes two descriptors, and
    /// the default stays below the 20480 that many systems allow
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) max_connections: usize,

    /// The most clients in the kernel's accept queue, where they wait for the proxy to accept them. The kernel drops the
    /// SYN packets of further ones, which then try again after a second or more. It allows no more than
    /// `sysctl net.core.somaxconn`
    #[arg(long, value_name = "N", default_value_t = Listener::DEFAULT_BACKLOG, value_parser = backlog, allow_negative_numbers = true)]
    pub(crate) backlog: u32,

    /// The mode of the socket file of a unix:// listener, such as 660: who may write to it may connect. By default the umask
    /// decides
    #[arg(long, value_name = "MODE", value_parser = unix_mode)]
    pub(crate) unix_mode: Option<u32>,

    /// The owner of this file: USER, USER:GROUP or :GROUP, by name or number. Only root may name another user. By default
    /// the user of the process
    #[arg(long, value_name = "OWNER", value_parser = Owner::from_str)]
    pub(crate) unix_owner: Option<Owner>,

    /// Lets only these clients connect: a network such as 10.0.0.0/8, an address, or `unix` for clients of Unix sockets.
    /// Several times for several. By default everybody may
    #[arg(long, value_name = "CIDR", value_parser = PeerRange::from_str)]
    pub(crate) allow: Vec<PeerRange>,

    /// Resets the connections of these clients, even if they are allowed as well. Nobody by default
    #[arg(long, value_name = "CIDR", value_parser = PeerRange::from_str)]
    pub(crate) deny: Vec<PeerRange>,

    /// The most connections at once of one source: an IPv4 address, or a /64 of IPv6. Further ones are reset. No limit by
    /// default, as many clients may be behind one address
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    pub(crate) max_per_source: Option<u32>,

    /// The most connections per second of one source; after a second of rest as many at once. Further ones are reset. No
    /// limit by default, as above
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    pub(crate) rate_per_source: Option<u32>,

    /// Takes the address of the client from the PROXY header (version 1 or 2) of these proxies: a network such as 10.0.0.0/8,
    /// an address, or `unix` for all clients of Unix sockets. Several times for several. Each of them must send a header, within
    /// 5 seconds. From all others none is read, so that nobody can pretend to be another; nobody is trusted by default
    #[arg(long, value_name = "CIDR", value_parser = PeerRange::from_str)]
    pub(crate) accept_proxy: Vec<PeerRange>,

    /// Tells the upstream who the client is, by a PROXY header of this version at the start of each connection. Version 2 is
    /// shorter, version 1 can be read in a capture. Off by default: an upstream that expects no header takes it for a
    /// request
    #[arg(long, value_name = "v1|v2", value_parser = ProxyVersion::from_str)]
    pub(crate) send_proxy: Option<ProxyVersion>,

    /// Makes clients speak TLS, with the certificate chain in this PEM file; needs --tls-key. Several times for several
    /// certificates: a client gets the one for the name that it asks for, or else the first. Off by default: bytes pass as
    /// they are
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Vec<PathBuf>,

    /// The private key of each --tls-cert, in the same order, as PEM without a password. It may be the same file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Vec<PathBuf>,

    /// Demands a certificate from each client, signed by an authority in this PEM file. None is demanded by default
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_client_ca: Vec<PathBuf>,

    /// Speaks TLS to the upstream, and verifies its certificate: for the host of --to, by the authorities that the system
    /// trusts. Off by default
    #[arg(long)]
    pub(crate) to_tls: bool,

    /// Trusts the authorities in this PEM file for the upstream, and none of the system's
    #[arg(long, value_name = "FILE", requires = "to_tls")]
    pub(crate) to_ca: Vec<PathBuf>,

    /// The name that the certificate of the upstream must be for, instead of the host of --to. A Unix socket needs one
    #[arg(long, value_name = "NAME", requires = "to_tls")]
    pub(crate) to_name: Option<String>,

    /// Where clients go that want a server of this name by TLS: a name, or *.NAME for one label in front of it. TLS need not end
    /// here. Several times for several names, or endpoints of one name; in the file a table. All other clients go to --to
    #[arg(long, value_name = "NAME=ENDPOINT", value_parser = name_route)]
    pub(crate) sni: Vec<(String, Endpoint)>,

    /// Refuses all clients that --sni does not name, instead of sending them to --to
    #[arg(long, requires = "sni")]
    pub(crate) sni_only: bool,

    /// Closes a connection after this long without a byte in either direction; 0 means never. The default outlasts
    /// the keep-alive of common clients, and is shorter than the timeout of most NAT tables
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) idle_timeout: Duration,

    /// Closes a connection this long after the last byte if one direction has ended; 0, the default, means as long as
    /// any. A client that has sent its request may wait for a slow answer, but one that is gone looks the same
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) half_closed_timeout: Duration,

    /// Closes a connection if bytes have waited this long for a side that takes none, even if that side sends; 0, the
    /// default, leaves it to the idle timeout. A paused download takes none, either
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) stalled_timeout: Duration,

    /// Closes a connection this long after its accept, however busy it is, with a reset; 0, the default, means never,
    /// as it cuts healthy connections
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) max_lifetime: Duration,

    /// Closes a TCP connection if sent bytes are not acknowledged for this long (TCP_USER_TIMEOUT); 0, the default, leaves it
    /// to the system, about 15 minutes. It closes those of live peers, too, if they take no bytes for so long
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) user_timeout: Duration,

    /// How long connecting to the upstream may take, with several servers for all that are tried. The default leaves time for
    /// three lost SYN packets, which are repeated after 1, 2 and 4 seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = positive_seconds, allow_negative_numbers = true)]
    pub(crate) connect_timeout: Duration,
}
