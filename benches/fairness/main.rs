//! What a well-behaved connection notices of others that stall, drip, send halves, or never receive.
//!
//! `cargo bench --features bus,proxy --bench fairness [-- [--write] [--record]]`
//!
//! `FAIRNESS=quick` takes a fifth of the requests, and `FAIRNESS=WORD` only the cases with that word. Each case has its
//! own proxy and upstream, or its own hub, in processes of their own, and its own control: half of the requests without
//! the bad peers come before those with them, the other half after.
//!
//! | file | idea |
//! |---|---|
//! | `probe` | well-behaved clients |
//! | `crowd` | bad peers |
//! | `hub` | the bus under test |
//! | `backlog` | many clients at once |
//! | `report`, `chart`, `../results/mod.rs` | Markdown and SVG |
//! | `../../tests/peers/mod.rs` | the upstream |

mod backlog;
mod chart;
mod crowd;
mod hub;
#[path = "../../tests/peers/mod.rs"]
mod peers;
mod probe;
#[path = "../proxies/mod.rs"]
mod proxies;
mod report;
#[path = "../results/mod.rs"]
mod results;

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use backlog::{Rush, rush};
use crowd::{Crowd, Habit};
use hub::{NEVER_RECEIVED, RECEIVED};
use peers::Ask;
use probe::{Probe, Waits};
use proxies::{Arguments, Proxy, raise_descriptor_limit};
use tokio::runtime;

/// Rounds of two requests with bad peers, and as many without them.
const ROUNDS: usize = 400;
const SETTLE: Duration = Duration::from_secs(2);
/// Of everything but buffers.
const PER_CONNECTION: u64 = 4096;
const MIB: u64 = 1024 * 1024;

// Pauses between requests: for peers that rest, for some that do not, and to meet all readers that drip in turn.
const SHORT: Duration = Duration::from_millis(1);
const MIDDLE: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_millis(10);

#[rustfmt::skip]
const RELAY: [Case; 6] = [
    case("16 stalled readers", Habit::Stalled, 16, SHORT),
    case("200 stalled readers", Habit::Stalled, 200, SHORT),
    case("2000 stalled readers", Habit::Stalled, 2000, SHORT),
    case("300 dripping readers", Habit::Dripping, 300, LONG),
    case("2000 half-sent requests", Habit::HalfSent, 2000, SHORT),
    case("200 uploads to an upstream that stalls", Habit::Unread, 200, SHORT),
];

#[rustfmt::skip]
const BUS: [Case; 6] = [
    case("16 half-sent frames of 16 MiB", Habit::HalfFrame, 16, SHORT),
    case("64 half-sent frames of 16 MiB", Habit::HalfFrame, 64, SHORT),
    case("256 half-sent frames of 16 MiB", Habit::HalfFrame, 256, SHORT),
    case("17 frames of 16 MiB at 1 MiB/s", Habit::SlowFrame, 17, MIDDLE),
    case("10 types without a receiver, 100 MiB/s", Habit::Flood { first_type: NEVER_RECEIVED, types: 10 }, 1, MIDDLE),
    case("50 types without a receiver, 100 MiB/s", Habit::Flood { first_type: NEVER_RECEIVED, types: 50 }, 1, MIDDLE),
];

struct Case {
    label: &'static str,
    habit: Habit,
    count: usize,
    /// Between two requests.
    pause: Duration,
}

const fn case(label: &'static str, habit: Habit, count: usize, pause: Duration) -> Case {
    Case { label, habit, count, pause }
}

/// The proxy or hub under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Millpond1MiB,
    Millpond,
    Haproxy,
    Hub,
}

impl Subject {
    pub(crate) const PROXIES: [Self; 3] = [Self::Millpond1MiB, Self::Millpond, Self::Haproxy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Millpond1MiB => "millpond, 1 MiB",
            Self::Millpond => "millpond",
            Self::Haproxy => "haproxy",
            Self::Hub => "bus",
        }
    }

    /// The memory limit: of the first as the command line sets it, of the others the default.
    fn limit(self) -> Option<u64> {
        match self {
            Self::Millpond1MiB => Some(MIB),
            Self::Millpond => Some(64 * MIB),
            Self::Haproxy => None,
            Self::Hub => Some(256 * MIB),
        }
    }

    fn start(self, max_connections: usize) -> Stage {
        let log = std::env::temp_dir().join(format!("millpond-fairness-{}.log", std::process::id()));
        let to_log = || Stdio::from(File::create(&log).unwrap());
        let upstream = (self != Self::Hub).then(|| Proxy::spawn(&mut role("upstream")));
        let port = upstream.as_ref().map_or(0, |upstream| upstream.port);
        let most = max_connections.to_string();
        let mut options = vec!["--max-connections", &most];
        let process = match self {
            Self::Millpond1MiB => {
                options.extend(["--memory-limit", "1MiB"]);
                Proxy::millpond(port, &options, to_log())
            }
            Self::Millpond => Proxy::millpond(port, &options, to_log()),
            Self::Haproxy => {
                let _ = fs::remove_file(&log);
                Proxy::haproxy(port, max_connections, 2)
            }
            Self::Hub => Proxy::spawn(role("hub").stderr(to_log())),
        };
        Stage { process, log, _upstream: upstream }
    }
}

/// This program again, as another process.
fn role(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("ROLE", name);
    command
}

/// What is under test, and what it needs.
struct Stage {
    process: Proxy,
    log: std::path::PathBuf,
    _upstream: Option<Proxy>,
}

impl Stage {
    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.process.port).into()
    }

    fn log(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

/// What was measured of a subject in a case.
pub(crate) struct Outcome {
    pub(crate) case: &'static str,
    pub(crate) subject: Subject,
    pub(crate) without: Waits,
    pub(crate) with: Waits,
    /// Bytes that the process grew by, at most, and its limit with what else a connection may take.
    pub(crate) grown: u64,
    pub(crate) bound: Option<u64>,
    /// Cores in use, on average.
    pub(crate) cpu: f64,
    pub(crate) log: Vec<String>,
}

/// What was measured of a subject under many clients at once.
pub(crate) struct Burst {
    pub(crate) subject: Subject,
    pub(crate) at_once: Rush,
    pub(crate) in_turn: Rush,
}

/// How much is run.
struct Scale {
    rounds: usize,
    word: String,
}

fn main() -> io::Result<()> {
    raise_descriptor_limit();
    match std::env::var("ROLE").as_deref() {
        Ok("hub") => return runtime::Runtime::new()?.block_on(hub::run()),
        Ok("upstream") => return upstream(),
        _ => {}
    }
    let arguments = Arguments::parse();
    let wanted = std::env::var("FAIRNESS").unwrap_or_default();
    let partial = !wanted.is_empty();
    let scale = match wanted.as_str() {
        "quick" => Scale { rounds: ROUNDS / 5, word: String::new() },
        _ => Scale { rounds: ROUNDS, word: wanted },
    };
    let relay = outcomes(&RELAY, &Subject::PROXIES, &scale)?;
    let bus = outcomes(&BUS, &[Subject::Hub], &scale)?;
    let bursts = if "backlog".contains(&scale.word) { bursts()? } else { Vec::new() };
    let text = report::section(&relay, &bus, &bursts);
    println!("{text}");
    if partial {
        return Ok(());
    }
    if arguments.write {
        results::replace("fairness", "fairness", &text)?;
        chart::draw(&relay)?;
    }
    if arguments.record {
        results::record(&report::figures(&relay, &bus, &bursts))?;
    }
    Ok(())
}

fn upstream() -> io::Result<()> {
    let listener = peers::listen()?;
    println!("listening on {}", listener.local_addr()?);
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(peers::serve(listener))
}

fn outcomes(cases: &[Case], subjects: &[Subject], scale: &Scale) -> io::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for case in cases.iter().filter(|case| case.label.contains(&scale.word)) {
        for &subject in subjects {
            eprintln!("{}: {}", case.label, subject.name());
            let outcome = case.measured(subject, scale.rounds)?;
            if let Some(last) = outcome.log.last() {
                eprintln!("  {} lines in the log; the last: {last}", outcome.log.len());
            }
            outcomes.push(outcome);
        }
    }
    Ok(outcomes)
}

impl Case {
    fn measured(&self, subject: Subject, rounds: usize) -> io::Result<Outcome> {
        let stage = subject.start(9000);
        let address = stage.address();
        let opener = if subject == Subject::Hub { Vec::new() } else { Ask::Echo.encode().to_vec() };
        let mut probe = Probe::new(address, &opener)?;
        let pause = self.pause;
        let mut without = self.control(&mut probe, address, rounds.div_ceil(2))?;
        let (before, _) = stage.process.resident_and_peak();

        let crowd = Crowd::gather(address, self.habit, self.count)?;
        sleep(SETTLE);
        let (cpu, start) = (stage.process.cpu_ns(), std::time::Instant::now());
        let mut with = probe.run(rounds, pause);
        let cpu = (stage.process.cpu_ns() - cpu) as f64 / start.elapsed().as_nanos() as f64;
        let (_, peak) = stage.process.resident_and_peak();
        drop(crowd);
        sleep(SETTLE);

        // Who still suffers after they have left suffers from them.
        let after = self.control(&mut probe, address, rounds / 2)?;
        if after.failures == 0 {
            without.extend(after);
        } else {
            with.extend(after);
        }
        Ok(Outcome {
            case: self.label,
            subject,
            without,
            with,
            grown: peak.saturating_sub(before),
            bound: subject.limit().map(|limit| limit + PER_CONNECTION * self.count as u64),
            cpu,
            log: stage.log(),
        })
    }

    /// The same requests without the bad peers. A flood is replaced by one of as many bytes that are received.
    fn control(&self, probe: &mut Probe, address: SocketAddr, rounds: usize) -> io::Result<Waits> {
        let harmless = Habit::Flood { first_type: RECEIVED, types: 1 };
        let flood = matches!(self.habit, Habit::Flood { .. });
        let _crowd = flood.then(|| Crowd::gather(address, harmless, 1)).transpose()?;
        Ok(probe.run(rounds, self.pause))
    }
}

fn bursts() -> io::Result<Vec<Burst>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut bursts = Vec::new();
    for subject in [Subject::Millpond, Subject::Haproxy] {
        eprintln!("clients at once: {}", subject.name());
        let stage = subject.start(9000);
        let at_once = runtime.block_on(rush(stage.address(), 3000, Duration::ZERO));
        let stage = subject.start(1000);
        let in_turn = runtime.block_on(rush(stage.address(), 5000, Duration::from_millis(100)));
        bursts.push(Burst { subject, at_once, in_turn });
    }
    Ok(bursts)
}
