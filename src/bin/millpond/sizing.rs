//! `millpond size`: what a number of connections needs, from constants that were measured.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::process::ExitCode;

use bytesize::ByteSize;
use clap::Args;
use nix::sys::resource::{Resource, getrlimit};

use crate::proxy::{DESCRIPTORS_PER_CONNECTION, OWN_DESCRIPTORS};
use crate::terminal::{note, written};
use crate::values::{memory_limit, positive};

/// Resident bytes of the proxy without a connection, and of each idle connection: `cargo bench --features proxy --bench
/// idle_memory`.
const PROXY_BYTES: u64 = 9 << 20;
const PAIR_BYTES: u64 = 2_150;
/// Bytes of the kernel for both sockets of an idle TCP connection: `cargo bench --features proxy --bench kernel_memory`.
const KERNEL_PAIR_BYTES: u64 = 7_900;
/// What a socket holds of what its peer has not taken (`TCP_NOTSENT_LOWAT`, see `net::Stream`), and as much in flight.
const UNSENT_BYTES: u64 = 2 * 64 * 1024;
/// CPU time of a request and its reply of 64 bytes each: `cargo bench --features proxy --bench relay_cpu`.
const REQUEST_NS: u64 = 15_000;

/// The unit of `net.ipv4.tcp_mem`.
const PAGE_BYTES: u64 = 4096;

/// The kernel's defaults, for machines that do not tell theirs.
const PORTS: (u64, u64) = (32_768, 60_999);
const RECEIVE_BYTES: u64 = 6 << 20;

pub(crate) const EXAMPLES: &str = "\
Examples:
  millpond size
      10 000, 100 000 and 1 000 000 connections to one server.
  millpond size --connections 50000 --requests 20000 --servers 4
      50 000 connections to 4 servers, which together send 20 000 requests per second.

All is for TCP without TLS. The figures are computed from constants that were measured with Linux 6.18 on x86-64; the \
commands that measure them are named in the source. What this machine allows is read from it.";

#[derive(Args, Debug)]
pub(crate) struct SizeArgs {
    /// How many connections are open at once. Several give a column each
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000], value_parser = positive)]
    connections: Vec<usize>,

    /// How many small requests pass per second, over all connections. The default is one per connection and 10 seconds
    #[arg(long, value_name = "N", value_parser = positive)]
    requests: Option<usize>,

    /// How many addresses the servers have together: each gives a connection a port of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    servers: usize,

    /// How many connections per 1000 have a client that reads more slowly than its server sends
    #[arg(long, value_name = "N", default_value_t = 1)]
    stalled_per_mille: u64,

    /// As of `millpond proxy`
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = memory_limit)]
    memory_limit: ByteSize,
}

/// Prints the table.
pub(crate) fn run(args: &SizeArgs) -> ExitCode {
    let (machine, mut text) = (Machine::of_here(), String::new());
    let columns: Vec<_> =
        args.connections.iter().map(|&connections| Needs::of(connections as u64, args, &machine)).collect();
    table(&mut text, &columns, args, &machine);
    text.push('\n');
    for needs in &columns {
        needs.compare(&mut text, args, &machine);
    }
    match written(io::stdout().write_all(text.as_bytes())) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            note(format!("millpond: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The limits of this machine.
struct Machine {
    descriptors: Option<u64>,
    descriptors_of_any: Option<u64>,
    ports: (u64, u64),
    receive_bytes: u64,
    /// What the kernel gives to all TCP buffers together, if it tells.
    all_buffers: u64,
    cores: usize,
    memory: Option<u64>,
}

impl Machine {
    fn of_here() -> Self {
        let numbers = |path: &str| -> Vec<u64> {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
        };
        let ports = match *numbers("/proc/sys/net/ipv4/ip_local_port_range") {
            [first, last] if first <= last => (first, last),
            _ => PORTS,
        };
        Self {
            descriptors: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(_, hard)| hard),
            descriptors_of_any: numbers("/proc/sys/fs/nr_open").first().copied(),
            ports,
            receive_bytes: numbers("/proc/sys/net/ipv4/tcp_rmem").get(2).copied().unwrap_or(RECEIVE_BYTES),
            all_buffers: numbers("/proc/sys/net/ipv4/tcp_mem")
                .get(2)
                .map_or(u64::MAX, |pages| pages.saturating_mul(PAGE_BYTES)),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: numbers("/proc/meminfo").first().map(|kib| kib * 1024),
        }
    }

    fn ports(&self) -> u64 {
        self.ports.1 - self.ports.0 + 1
    }
}

/// What one number of connections needs.
struct Needs {
    connections: u64,
    proxy: u64,
    kernel: u64,
    stalled: u64,
    descriptors: u64,
    addresses: u64,
    /// Thousandths of one core.
    milli_cores: u64,
}

impl Needs {
    fn of(connections: u64, args: &SizeArgs, machine: &Machine) -> Self {
        let requests = args.requests.map_or(connections / 10, |requests| requests as u64);
        let stalled = connections.saturating_mul(args.stalled_per_mille) / 1000;
        Self {
            connections,
            proxy: PROXY_BYTES.saturating_add(connections.saturating_mul(PAIR_BYTES)),
            kernel: connections.saturating_mul(KERNEL_PAIR_BYTES),
            stalled: stalled.saturating_mul(machine.receive_bytes + UNSENT_BYTES).min(machine.all_buffers),
            descriptors: connections
                .saturating_mul(DESCRIPTORS_PER_CONNECTION)
                .saturating_add(OWN_DESCRIPTORS),
            addresses: connections.div_ceil(machine.ports()),
            milli_cores: requests.saturating_mul(REQUEST_NS).div_ceil(1_000_000),
        }
    }

    fn memory(&self, args: &SizeArgs) -> u64 {
        self.proxy
            .saturating_add(args.memory_limit.as_u64())
            .saturating_add(self.kernel)
            .saturating_add(self.stalled)
    }
}

fn table(text: &mut String, columns: &[Needs], args: &SizeArgs, machine: &Machine) {
    let ports = machine.ports();
    let mut row = |name: &str, cell: &dyn Fn(&Needs) -> String, why: &str| {
        // A String takes all.
        let _ = write!(text, "{name:<26}");
        for needs in columns {
            let _ = write!(text, " {:>12}", cell(needs));
        }
        let _ = writeln!(text, "{}{why}", if why.is_empty() { "" } else { "   " });
    };
    let bytes = |bytes: u64| ByteSize::b(bytes).display().iec().to_string();
    row("Connections", &|needs| grouped(needs.connections), "");
    let why = format!("{} + {PAIR_BYTES} B per idle connection", bytes(PROXY_BYTES));
    row("Memory of the proxy", &|needs| bytes(needs.proxy), &why);
    row("Its buffers, at most", &|_| bytes(args.memory_limit.as_u64()), "--memory-limit");
    let why = format!("{KERNEL_PAIR_BYTES} B per idle connection: two sockets");
    row("Memory of the kernel", &|needs| bytes(needs.kernel), &why);
    let why = format!(
        "up to {} for each of {} in 1000: net.ipv4.tcp_rmem; tcp_mem bounds it",
        bytes(machine.receive_bytes + UNSENT_BYTES),
        args.stalled_per_mille
    );
    row("  and for stalled clients", &|needs| bytes(needs.stalled), &why);
    row("All memory, at most", &|needs| bytes(needs.memory(args)), "");
    row("Descriptors", &|needs| grouped(needs.descriptors), "2 per connection: LimitNOFILE=, fs.nr_open");
    let why = format!("of servers or of this machine: {} ports for each pair", grouped(ports));
    row("Addresses", &|needs| grouped(needs.addresses), &why);
    let why = match args.requests {
        Some(requests) => format!("for {} requests per second", grouped(requests as u64)),
        None => "for a request per connection and 10 seconds".to_owned(),
    };
    let cores = |needs: &Needs| format!("{}.{}", needs.milli_cores / 1000, needs.milli_cores % 1000 / 100);
    row("Cores", &cores, &format!("{why}, of {} us each", REQUEST_NS / 1000));
}

impl Needs {
    /// Says what is too little here.
    fn compare(&self, text: &mut String, args: &SizeArgs, machine: &Machine) {
        let mut lacks = Vec::new();
        if let Some(limit) = machine.descriptors.filter(|&limit| limit < self.descriptors) {
            lacks.push(format!(
                "{} descriptors are allowed (ulimit -Hn, or LimitNOFILE= of systemd)",
                grouped(limit)
            ));
        }
        if let Some(limit) = machine.descriptors_of_any.filter(|&limit| limit < self.descriptors) {
            lacks.push(format!("no process may have more than {} (sysctl fs.nr_open)", grouped(limit)));
        }
        if self.addresses > args.servers as u64 {
            lacks.push(format!(
                "{} ports to each server's address (sysctl net.ipv4.ip_local_port_range, more addresses, or Unix sockets)",
                grouped(machine.ports())
            ));
        }
        if let Some(memory) = machine.memory.filter(|&memory| memory < self.memory(args)) {
            lacks.push(format!("{} of memory", ByteSize::b(memory).display().iec()));
        }
        if self.milli_cores > machine.cores as u64 * 1000 {
            lacks.push(format!("{} cores", machine.cores));
        }
        let connections = grouped(self.connections);
        let _ = if lacks.is_empty() {
            writeln!(text, "{connections} connections: this machine suffices")
        } else {
            writeln!(text, "{connections} connections: too little here: {}", lacks.join("; "))
        };
    }
}

/// With a space after each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
