//! What h2 reads and writes: the wire, and a ledger of what both sides know of each other. With it, the state of h2 can be
//! dropped while a connection is at rest, and made anew.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::super::wire::Wire;
use super::frames::{Event, Scan, Settings, response};
use super::numbers::{Inward, LAST, Offset, Outward};
use super::table::Table;
use crate::sync::{Arc, Mutex};

/// Both windows of a connection at its beginning, and the preface of a client.
pub(super) const WINDOW: u32 = 65_535;
const PREFACE: usize = 24;

/// How long what the server sent before its end may take to be read after a write has failed. The kernel has it by then.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A reference to the wire for h2. The driver has another one.
pub(super) struct Tap(pub(super) Arc<Mutex<Tapped>>);

pub(super) struct Tapped {
    wire: Wire,
    read: Scan,
    written: Scan,
    /// All that was written has left for the wire.
    is_flushed: bool,
    /// What the server has set.
    settings: Settings,
    /// For the headers of responses.
    table: Table,
    /// Settings of ours that the server has not acknowledged.
    unacknowledged: u32,
    /// Bytes that each side may send on the connection.
    may_send: i64,
    may_receive: i64,
    /// As the wire numbers them.
    last_stream: u32,
    offset: Offset,
    inward: Inward,
    replay: Option<Replay>,
    /// Nothing can be written any more. h2 does not hear of it at once: it would read no more, and a GOAWAY may be there that
    /// says which requests were not processed.
    cut: Option<Cut>,
}

struct Cut {
    error: io::Error,
    /// When h2 hears of it, unless it reads the end before.
    end: Pin<Box<Sleep>>,
}

/// A beginning that is played to h2, and not sent: it was once.
struct Replay {
    bytes: Vec<u8>,
    read: usize,
}

impl Tapped {
    pub(super) fn new(wire: Wire) -> Self {
        Self {
            wire,
            read: Scan::new(0),
            written: Scan::new(PREFACE),
            is_flushed: true,
            settings: Settings::default(),
            table: Table::new(),
            unacknowledged: 0,
            may_send: WINDOW.into(),
            may_receive: WINDOW.into(),
            last_stream: 0,
            offset: Offset::default(),
            inward: Inward::default(),
            replay: None,
            cut: None,
        }
    }

    /// Whether h2 could be dropped: nothing is on its way within it, both sides have the same settings, and the windows are
    /// such that another h2 can have them.
    pub(super) fn is_at_rest(&self) -> bool {
        let is_between = self.read.is_between_blocks() && self.written.is_between_blocks();
        let is_settled = self.settings.has_come() && self.unacknowledged == 0 && self.inward.is_empty();
        let is_settled = is_settled && !self.table.has_entries() && !self.settings.has_resized();
        let is_open = self.can_be_told() && self.deficit() <= self.settings.stream_window();
        is_between && self.is_flushed && is_settled && is_open
    }

    /// Whether another h2 would know what the server may send: it widens its window only by half of it or more.
    pub(super) fn can_be_told(&self) -> bool {
        let beyond = self.may_receive - i64::from(WINDOW);
        beyond == 0 || beyond >= i64::from(WINDOW.div_ceil(2))
    }

    /// The bytes by which we may send less than at the beginning of a connection.
    pub(super) fn deficit(&self) -> u32 {
        u32::try_from(i64::from(WINDOW) - self.may_send).unwrap_or(0)
    }

    /// The bytes that the server may send.
    pub(super) fn window(&self) -> u32 {
        u32::try_from(self.may_receive).unwrap_or(0)
    }

    /// Whether the request on this stream of h2 has begun to leave.
    pub(super) fn has_sent(&self, stream: u32) -> bool {
        self.offset.on_wire(stream) <= self.last_stream
    }

    /// Whether there was a stream.
    pub(super) fn has_streamed(&self) -> bool {
        self.last_stream > 0
    }

    /// Whether there are no numbers for more streams.
    pub(super) fn is_used_up(&self) -> bool {
        self.last_stream >= LAST
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn bytes(&self) -> u64 {
        self.wire.bytes()
    }

    pub(super) fn bytes_received(&self) -> u64 {
        self.wire.bytes_received()
    }

    /// Waits until something arrives while there is no h2. `Ready(false)` at the end of the connection.
    pub(super) fn listen(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut bytes = [0; 64];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.wire).poll_read(cx, &mut buffer))?;
        self.inward.keep(buffer.filled());
        Poll::Ready(Ok(!buffer.filled().is_empty()))
    }

    /// From now on another h2 gets the beginning of the connection once more, and what it writes is not sent.
    pub(super) fn begin_replay(&mut self) {
        self.offset = Offset::of(self.last_stream);
        self.inward.begin(self.offset);
        let window = u32::try_from(self.may_send - i64::from(WINDOW)).unwrap_or(0);
        self.replay = Some(Replay { bytes: self.settings.replayed(window), read: 0 });
    }

    /// A response that ends h2's stream 1, if it has opened that.
    pub(super) fn replay_response(&mut self) {
        if let Some(replay) = &mut self.replay {
            response(&mut replay.bytes);
        }
    }

    /// The server allows as many streams as it does.
    pub(super) fn replayed_late(&mut self) {
        if let Some(replay) = &mut self.replay {
            self.settings.replayed_late(&mut replay.bytes);
        }
    }

    /// Whether h2 has read all of it.
    pub(super) fn end_replay(&mut self) -> bool {
        self.replay.take().is_some_and(|replay| replay.read == replay.bytes.len())
    }

    fn on_read(&mut self, bytes: &[u8]) {
        let Self { read, settings, table, unacknowledged, may_send, may_receive, .. } = self;
        read.feed(bytes, |event| match event {
            Event::Data(len) => *may_receive -= i64::from(len),
            Event::Window(more) => *may_send += i64::from(more),
            Event::Settings => settings.come(),
            Event::Setting(id, value) => settings.set(id, value),
            Event::Acknowledged => *unacknowledged = unacknowledged.saturating_sub(1),
            Event::Block(bytes) => table.feed(bytes),
            Event::Headers(_) => {}
        });
    }

    fn on_written(&mut self, bytes: &[u8]) {
        let Self { written, unacknowledged, may_send, may_receive, last_stream, offset, .. } = self;
        written.feed(bytes, |event| match event {
            Event::Data(len) => *may_send -= i64::from(len),
            Event::Window(more) => *may_receive += i64::from(more),
            Event::Settings => *unacknowledged += 1,
            Event::Headers(stream) => *last_stream = offset.on_wire(stream).max(*last_stream),
            Event::Setting(..) | Event::Acknowledged | Event::Block(_) => {}
        });
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(replay) = &mut self.replay {
            let rest = replay.bytes.get(replay.read..).unwrap_or_default();
            let (now, _) = rest.split_at(rest.len().min(buffer.remaining()));
            if now.is_empty() {
                // The driver polls again when the replay has ended.
                return Poll::Pending;
            }
            buffer.put_slice(now);
            replay.read += now.len();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let Self { wire, inward, .. } = self;
        let read = inward.poll_read(buffer, |buffer| Pin::new(&mut *wire).poll_read(cx, buffer));
        if read.is_pending()
            && let Some(cut) = &mut self.cut
        {
            ready!(cut.end.as_mut().poll(cx));
            return Poll::Ready(Err(cut.error.kind().into()));
        }
        ready!(read)?;
        self.on_read(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let all = slices.iter().map(|slice| slice.len()).sum();
        if self.replay.is_some() || self.cut.is_some() {
            return Poll::Ready(Ok(all));
        }
        self.is_flushed = false;
        let wire = Pin::new(&mut self.wire);
        let written = if self.offset == Offset::default() {
            ready!(wire.poll_write_vectored(cx, slices))
        } else {
            let outward = Outward::new(self.offset, &self.written, slices);
            let (slices, count) = outward.slices(slices);
            ready!(wire.poll_write_vectored(cx, slices.get(..count).unwrap_or_default()))
        };
        let mut left = match written {
            Ok(count) => count,
            Err(error) => {
                self.cut(error, cx);
                return Poll::Ready(Ok(all));
            }
        };
        let count = left;
        for slice in slices {
            let (now, _) = slice.split_at(slice.len().min(left));
            left -= now.len();
            self.on_written(now);
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.replay.is_some() || self.cut.is_some() {
            return Poll::Ready(Ok(()));
        }
        match ready!(Pin::new(&mut self.wire).poll_flush(cx)) {
            Ok(()) => self.is_flushed = true,
            Err(error) => self.cut(error, cx),
        }
        Poll::Ready(Ok(()))
    }

    fn cut(&mut self, error: io::Error, cx: &mut Context<'_>) {
        self.cut = Some(Cut { error, end: Box::pin(sleep(LAST_WORDS)) });
        // h2 reads before it writes, and is to read again.
        cx.waker().wake_by_ref();
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.lock().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().wire.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().wire).poll_shutdown(cx)
    }
}
