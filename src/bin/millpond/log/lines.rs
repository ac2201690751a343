//! A bounded queue of lines, and the thread that writes them. Logging takes a lock and a copy; only the thread waits for
//! the reader of the log or for the disk.

use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{Level, Metadata, error, warn};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that wait to be written. Further lines are lost, and counted.
const MAX_WAITING: usize = 1 << 20;
/// Lines about failed connections per second. Further ones are left out, and counted. At 300 B per line a storm that lasts
/// writes 260 MB per day.
const MAX_FAILED_PER_SECOND: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);
/// The pause before another write to a non-blocking pipe that is full.
const FULL_PIPE_PAUSE: Duration = Duration::from_millis(20);

/// Lines on their way to one file. Clones share it.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

struct Shared {
    /// What messages call the file.
    name: String,
    /// The target of the events of which only some per second are written.
    limited: Option<&'static str>,
    state: Mutex<State>,
    /// Notified when the state changes. The thread waits for work, and `close` for the end of the thread.
    changed: Condvar,
}

struct State {
    waiting: Vec<u8>,
    /// Lines for which there was no room, or that could not be written, since this was last logged.
    lost: u64,
    /// Lines that the thread writes now, and lost ones that it then logs. Some may be written already.
    in_flight: u64,
    /// The second in which limited lines are counted.
    second: Instant,
    limited: u32,
    left_out: u64,
    is_closing: bool,
    has_ended: bool,
}

/// What the thread does next.
enum Work {
    Write { lines: Vec<u8>, lost: u64 },
    TellLeftOut(u64),
    End,
}

impl Lines {
    /// Starts the thread that writes to `file`. `limited` is the target of events of which only some per second are
    /// written, with a count of the others.
    pub(super) fn start(
        name: String,
        file: impl Write + Send + 'static,
        limited: Option<&'static str>,
    ) -> io::Result<Self> {
        let state = State {
            waiting: Vec::new(),
            lost: 0,
            in_flight: 0,
            second: Instant::now(),
            limited: 0,
            left_out: 0,
            is_closing: false,
            has_ended: false,
        };
        let shared = Arc::new(Shared { name, limited, state: Mutex::new(state), changed: Condvar::new() });
        let lines = Self(Arc::clone(&shared));
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || shared.run(Output { file, is_torn: false }))?;
        Ok(lines)
    }

    /// Writes what waits, but not for longer than `timeout`: a log that is not read must not keep the process. Lines that
    /// remain are counted in the log.
    pub(super) fn close(&self, timeout: Duration) {
        let mut state = self.0.lock();
        state.is_closing = true;
        self.0.changed.notify_all();
        let ended = self.0.changed.wait_timeout_while(state, timeout, |state| !state.has_ended);
        let (mut state, _) = ended.unwrap_or_else(PoisonError::into_inner);
        let lost = mem::take(&mut state.lost) + state.in_flight + lines_of(&state.waiting);
        drop(state);
        if lost > 0 {
            warn!(target: super::TARGET, lost, log = %self.0.name, "up to this many lines are missing");
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: &self.0, is_limited: false }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line<'a> {
        let is_limited = self.0.limited == Some(event.target()) && *event.level() <= Level::WARN;
        Line { lines: &self.0, is_limited }
    }
}

impl Shared {
    fn push(&self, line: &[u8], is_limited: bool) {
        let mut state = self.lock();
        if is_limited && !state.is_admitted(Instant::now()) {
            state.left_out += 1;
            if state.left_out == 1 {
                self.changed.notify_all();
            }
        } else if state.waiting.len() + line.len() > MAX_WAITING {
            state.lost += 1;
        } else {
            if state.waiting.is_empty() {
                self.changed.notify_all();
            }
            state.waiting.extend_from_slice(line);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut output: Output<impl Write>) {
        let mut is_failing = false;
        loop {
            match self.next_work() {
                Work::End => break,
                Work::TellLeftOut(left_out) => {
                    warn!(target: super::LEFT_OUT, left_out, "more failed connections are not logged");
                }
                Work::Write { lines, lost } => match output.write_lines(&lines) {
                    Ok(()) => {
                        self.lock().in_flight = 0;
                        is_failing = false;
                        // Only a log that can be written is told of losses, or each message would cause the next.
                        if lost > 0 {
                            warn!(target: super::TARGET, lost, log = %self.name, "lines were lost");
                        }
                    }
                    Err((unwritten, error)) => {
                        let mut state = self.lock();
                        state.lost += lost + unwritten;
                        state.in_flight = 0;
                        drop(state);
                        if !is_failing {
                            error!(target: super::TARGET, %error, log = %self.name, "cannot write to a log");
                        }
                        is_failing = true;
                    }
                },
            }
        }
        self.lock().has_ended = true;
        self.changed.notify_all();
    }

    /// Waits for work.
    fn next_work(&self) -> Work {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if state.left_out > 0 && (state.is_closing || state.second + SECOND <= now) {
                return Work::TellLeftOut(mem::take(&mut state.left_out));
            }
            if !state.waiting.is_empty() {
                let lines = mem::take(&mut state.waiting);
                let lost = mem::take(&mut state.lost);
                state.in_flight = lines_of(&lines) + lost;
                return Work::Write { lines, lost };
            }
            if state.is_closing {
                return Work::End;
            }
            state = if state.left_out > 0 {
                let until_told = (state.second + SECOND).saturating_duration_since(now);
                self.changed.wait_timeout(state, until_told).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }
}

impl State {
    /// Whether another limited line may be written in this second.
    fn is_admitted(&mut self, now: Instant) -> bool {
        // While the last second's count is not yet told, that second lasts.
        if self.left_out == 0 && self.second + SECOND <= now {
            self.second = now;
            self.limited = 0;
        }
        self.limited = self.limited.saturating_add(1);
        self.limited <= MAX_FAILED_PER_SECOND
    }
}

fn lines_of(text: &[u8]) -> u64 {
    text.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// A file, and whether it ends within a line.
struct Output<W> {
    file: W,
    is_torn: bool,
}

impl<W: Write> Output<W> {
    /// Writes lines. If that fails, the error has the number of lines that are missing.
    fn write_lines(&mut self, mut lines: &[u8]) -> Result<(), (u64, io::Error)> {
        // What a failed write has left of a line must not become the start of the next one.
        let mut line_end: &[u8] = if self.is_torn { b"\n" } else { b"" };
        let outcome = self.write(&mut line_end).and_then(|()| self.write(&mut lines));
        outcome.map_err(|error| (lines_of(lines), error))
    }

    /// Writes bytes, and removes those that are written.
    fn write(&mut self, bytes: &mut &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => {
                    let (written, rest) = bytes.split_at(length);
                    self.is_torn = written.last() != Some(&b'\n');
                    *bytes = rest;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process may have made the pipe non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL_PIPE_PAUSE),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Takes one line.
pub(super) struct Line<'a> {
    lines: &'a Shared,
    is_limited: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.push(line, self.is_limited);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const FULL: Result<usize, ErrorKind> = Err(ErrorKind::StorageFull);

    /// A file whose next writes take at most this many bytes, or fail. Later ones take all.
    struct Scripted {
        outcomes: VecDeque<Result<usize, ErrorKind>>,
        written: Vec<u8>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = self.outcomes.pop_front().unwrap_or(Ok(usize::MAX))?;
            let length = most.min(bytes.len());
            self.written.extend_from_slice(&bytes[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a file has after these writes, and how many lines are missing.
    fn written(outcomes: &[Result<usize, ErrorKind>], writes: &[&str]) -> (String, u64) {
        let file = Scripted { outcomes: outcomes.to_vec().into(), written: Vec::new() };
        let mut output = Output { file, is_torn: false };
        let outcomes = writes.iter().map(|lines| output.write_lines(lines.as_bytes()));
        let missing = outcomes.filter_map(Result::err).map(|(missing, _)| missing).sum();
        (String::from_utf8(output.file.written).unwrap(), missing)
    }

    #[test]
    fn a_torn_line_does_not_become_the_start_of_the_next() {
        let torn = written(&[Ok(2), FULL], &["one\n", "two\n", "three\n"]);
        assert_eq!(torn, ("on\ntwo\nthree\n".to_owned(), 1));
        let torn = written(&[Ok(2), FULL, FULL], &["one\n", "two\n", "three\n"]);
        assert_eq!(torn, ("on\nthree\n".to_owned(), 2));
        let torn = written(&[Ok(5), FULL], &["one\ntwo\nthree\n", "four\n"]);
        assert_eq!(torn, ("one\nt\nfour\n".to_owned(), 2));
    }

    #[test]
    fn a_write_that_fails_between_lines_leaves_no_empty_line() {
        assert_eq!(written(&[Ok(4), FULL], &["one\ntwo\n", "three\n"]), ("one\nthree\n".to_owned(), 1));
        assert_eq!(written(&[FULL], &["one\n", "two\n"]), ("two\n".to_owned(), 1));
    }

    #[test]
    fn a_pipe_that_another_process_made_non_blocking_loses_no_line() {
        let busy = Err(ErrorKind::WouldBlock);
        assert_eq!(written(&[busy, Ok(1), busy], &["one\n"]), ("one\n".to_owned(), 0));
    }
}
