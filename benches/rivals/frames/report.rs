//! Markdown: on the terminal, and in `benches/results/frames.md`.

use std::fmt::Write as _;
use std::io;

use crate::contestants::FRAMED;
use crate::outcome::{Outcome, Role, Row};
use crate::race::{ROUNDS, Race};
use crate::{PAYLOADS, Socket, bars, results};

pub(crate) type Results = [(Socket, Vec<Race>)];

/// Payloads up to here have to be faster than the rival by this factor; longer ones at least as fast, and all of them
/// under the rival's own `Framed`.
const SMALL: (usize, f64) = (1024, 1.3);

fn title(socket: Socket) -> &'static str {
    match socket {
        Socket::Tcp => "Frames over TCP",
        Socket::Unix => "Frames over a Unix socket",
    }
}

fn file_name(socket: Socket) -> String {
    format!("frames-{}.svg", socket.name())
}

pub(crate) fn tables(socket: Socket, races: &[Race]) -> String {
    let mut text = format!(
        "### {}\n\n| payload | | frames/s | MiB/s | ns per frame | middle half | CPU ns per frame | allocations per frame | \
         rate / better rival's | CPU / better rival's |\n|---|---|---|---|---|---|---|---|---|---|\n",
        title(socket)
    );
    for (race, (payload, label)) in races.iter().zip(PAYLOADS) {
        for ((wall, cpu), allocations) in
            race.wall.outcomes.iter().zip(&race.cpu.outcomes).zip(&race.allocations)
        {
            let rate = 1e9 / wall.median();
            let (low, high) = wall.quartiles();
            let (mine, its) = match wall.role {
                Role::Ours => (
                    format!("{:.2}", rate_ratio(&race.wall, wall)),
                    format!("{:.2}", cost_ratio(&race.cpu, cpu)),
                ),
                _ => (String::new(), String::new()),
            };
            let _ = writeln!(
                text,
                "| {label} | {} | {rate:.0} | {:.0} | {:.0} | {low:.0} to {high:.0} | {:.0} | {allocations:.4} | {mine} | {its} |",
                wall.name,
                rate * payload as f64 / 1048576.0,
                wall.median(),
                cpu.median(),
            );
        }
    }
    text
}

pub(crate) fn verdicts(results: &Results) -> String {
    let mut text = String::from(
        "### Verdicts\n\n| sockets | payload | | target | rate / better rival's | |\n|---|---|---|---|---|---|\n",
    );
    for (socket, races) in results {
        for (race, (payload, label)) in races.iter().zip(PAYLOADS) {
            for ours in race.wall.ours() {
                let is_small = payload <= SMALL.0 && ours.name != FRAMED;
                let bar = if is_small { SMALL.1 } else { 1.0 };
                let measured = rate_ratio(&race.wall, ours);
                let met = if measured >= bar { "PASS" } else { "**MISS**" };
                let _ = writeln!(
                    text,
                    "| {} | {label} | {} | {bar:.1} | {measured:.2} | {met} |",
                    socket.name(),
                    ours.name,
                );
            }
        }
    }
    text
}

/// How much faster than the rival who did better in the median.
fn rate_ratio(row: &Row, ours: &Outcome) -> f64 {
    better_rival(row).over(ours)
}

fn cost_ratio(row: &Row, ours: &Outcome) -> f64 {
    ours.over(better_rival(row))
}

fn better_rival(row: &Row) -> &Outcome {
    let rivals = row.outcomes.iter().filter(|outcome| outcome.role == Role::Rival);
    rivals.min_by(|a, b| a.median().total_cmp(&b.median())).expect("every row has rivals")
}

/// Puts all of it into `benches/results/frames.md`, between the markers, and draws the charts.
pub(crate) fn write(results: &Results) -> io::Result<()> {
    let machine = results::machine();
    let mut text = format!(
        "\n{machine}; glibc's malloc. {ROUNDS} interleaved rounds. A figure is the median of the rounds, a ratio the median \
         of the\nrounds' own ratios.\n\n{}",
        verdicts(results)
    );
    for (socket, races) in results {
        let _ = write!(text, "\n{}", tables(*socket, races));
        let _ = writeln!(text, "\n![{}, CPU time](../charts/{})", title(*socket), file_name(*socket));
    }
    for (socket, races) in results {
        let rows: Vec<&Row> = races.iter().map(|race| &race.cpu).collect();
        bars::draw(&file_name(*socket), title(*socket), "ns of CPU time per frame, both sides", &rows)?;
    }
    results::replace("frames", "frames", &(text + "\n"))
}

/// Adds the figures to `benches/results/runs.tsv`: rates over the better rival's.
pub(crate) fn record(results: &Results) -> io::Result<()> {
    let mut figures = Vec::new();
    for (socket, races) in results {
        for Race { wall, cpu, .. } in races {
            let row = format!("frames/{}/{}", socket.name(), wall.label);
            for (wall_of, cpu_of) in wall.ours().zip(cpu.ours()) {
                figures.push((format!("{row}/{}/ns", wall_of.name), wall_of.median()));
                figures.push((format!("{row}/{}/rate", wall_of.name), rate_ratio(wall, wall_of)));
                figures.push((format!("{row}/{}/CPU", cpu_of.name), cost_ratio(cpu, cpu_of)));
            }
        }
    }
    results::record(&figures)
}
