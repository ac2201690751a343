//! The frames of HTTP/2 as they pass (RFC 9113, section 4.1): only what decides whether h2 can be made anew.

use super::tap::WINDOW;

/// What a frame says, as soon as it is known.
pub(super) enum Event<'a> {
    /// So many bytes count for the windows.
    Data(u32),
    /// The first part of a request or a response on this stream.
    Headers(u32),
    /// A piece of a header block.
    Block(&'a [u8]),
    /// The window of the connection is larger by so much.
    Window(u32),
    /// Settings begin.
    Settings,
    Setting(u16, u32),
    Acknowledged,
}

const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
pub(super) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
/// On HEADERS: the payload says on which stream this one depends.
pub(super) const PRIORITIZED: u8 = 32;

pub(super) const HEAD: usize = 9;
/// What HEADERS say of the stream's priority.
const PRIORITY_SIZE: usize = 5;
const SETTING: usize = 6;
/// Settings that are played after the first request: the size of the table for compressed headers, whose change the next
/// request announces to the server, and the streams that are allowed.
const LATE: [u16; 2] = [HEADER_TABLE_SIZE, 3];
const HEADER_TABLE_SIZE: u16 = 1;

/// What each frame begins with.
pub(super) struct Head {
    /// The bytes of the payload.
    pub(super) len: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    pub(super) fn read(bytes: &[u8; HEAD]) -> Self {
        let &[a, b, c, kind, flags, ref stream @ ..] = bytes;
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        Self { len, kind, flags, stream: u32::from_be_bytes(*stream) & (u32::MAX >> 1) }
    }
}

/// Finds frames in a stream of bytes that may be cut anywhere.
pub(super) struct Scan {
    /// Bytes that are no frame, and then those of a payload, until the next head.
    skip: usize,
    /// The begin of a head, or of an entry of a payload.
    part: Part,
    entries: Entries,
    is_in_block: bool,
    /// In a payload with a header block: whether the bytes of padding come next, how many there are, and the bytes before the
    /// block.
    is_padded: bool,
    padding: usize,
    before: usize,
}

/// What the payload of the current frame consists of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entries {
    None,
    Settings,
    Window,
    Block,
}

#[derive(Default)]
struct Part {
    bytes: [u8; HEAD],
    len: usize,
}

impl Part {
    /// Takes up to `size` bytes together. The rest, and whether they are complete.
    fn fill<'a>(&mut self, bytes: &'a [u8], size: usize) -> (&'a [u8], bool) {
        let (now, rest) = bytes.split_at(bytes.len().min(size - self.len));
        for (to, from) in self.bytes.iter_mut().skip(self.len).zip(now) {
            *to = *from;
        }
        self.len += now.len();
        let is_whole = self.len == size;
        if is_whole {
            self.len = 0;
        }
        (rest, is_whole)
    }
}

impl Scan {
    /// A stream whose first bytes are no frames.
    pub(super) fn new(skip: usize) -> Self {
        Self {
            skip,
            part: Part::default(),
            entries: Entries::None,
            is_in_block: false,
            is_padded: false,
            padding: 0,
            before: 0,
        }
    }

    /// Whether the last frame has ended, and with it its header block.
    pub(super) fn is_between_blocks(&self) -> bool {
        self.skip == 0 && self.part.len == 0 && !self.is_in_block
    }

    /// How many bytes there are until the next head, and what has already passed of it.
    pub(super) fn next_head(&self) -> (usize, &[u8]) {
        let begun = if self.skip == 0 { self.part.bytes.get(..self.part.len) } else { None };
        (self.skip, begun.unwrap_or_default())
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8], mut on: impl FnMut(Event)) {
        while !bytes.is_empty() {
            if self.skip == 0 {
                let (rest, is_whole) = self.part.fill(bytes, HEAD);
                bytes = rest;
                if is_whole {
                    self.begin(&mut on);
                }
                continue;
            }
            let (mut now, rest) = bytes.split_at(bytes.len().min(self.skip));
            self.skip -= now.len();
            bytes = rest;
            let size = match self.entries {
                Entries::None => continue,
                Entries::Block => {
                    self.block(now, &mut on);
                    continue;
                }
                Entries::Settings => SETTING,
                Entries::Window => 4,
            };
            while !now.is_empty() {
                let (rest, is_whole) = self.part.fill(now, size);
                now = rest;
                if is_whole {
                    self.entry(&mut on);
                }
            }
            if self.skip == 0 {
                // A size that is wrong is h2's to complain about.
                self.part.len = 0;
            }
        }
    }

    fn begin(&mut self, on: &mut impl FnMut(Event)) {
        let Head { len, kind, flags, stream } = Head::read(&self.part.bytes);
        self.skip = len;
        self.entries = Entries::None;
        match kind {
            DATA => on(Event::Data(len as u32)),
            HEADERS | PUSH_PROMISE | CONTINUATION => {
                self.is_in_block = flags & END_HEADERS == 0;
                if kind == HEADERS {
                    on(Event::Headers(stream));
                }
                // Nothing is pushed.
                if kind != PUSH_PROMISE {
                    self.entries = Entries::Block;
                }
                self.is_padded = kind == HEADERS && flags & PADDED != 0;
                self.padding = 0;
                self.before = if kind == HEADERS && flags & PRIORITIZED != 0 { PRIORITY_SIZE } else { 0 };
            }
            SETTINGS if flags & ACK != 0 => on(Event::Acknowledged),
            SETTINGS => {
                self.entries = Entries::Settings;
                on(Event::Settings);
            }
            WINDOW_UPDATE if stream == 0 => self.entries = Entries::Window,
            _ => {}
        }
    }

    /// A part of a payload with a header block, of which `skip` bytes follow.
    fn block(&mut self, mut now: &[u8], on: &mut impl FnMut(Event)) {
        if self.is_padded
            && let Some((&padding, rest)) = now.split_first()
        {
            (self.is_padded, self.padding, now) = (false, padding.into(), rest);
        }
        let (before, now) = now.split_at(now.len().min(self.before));
        self.before -= before.len();
        let len = (now.len() + self.skip).saturating_sub(self.padding);
        on(Event::Block(now.get(..len).unwrap_or(now)));
    }

    fn entry(&mut self, on: &mut impl FnMut(Event)) {
        let [a, b, c, d, e, f, ..] = self.part.bytes;
        on(match self.entries {
            Entries::Settings => Event::Setting(u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f])),
            _ => Event::Window(u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1)),
        });
    }
}

/// The settings of a server, those that h2 knows.
#[derive(Default)]
pub(super) struct Settings {
    has_come: bool,
    /// By their numbers, from 1 on.
    values: [Option<u32>; 8],
    /// Whether the size of the table for compressed headers was changed.
    has_resized: bool,
}

impl Settings {
    pub(super) fn has_come(&self) -> bool {
        self.has_come
    }

    pub(super) fn come(&mut self) {
        self.has_come = true;
    }

    pub(super) fn set(&mut self, id: u16, value: u32) {
        if let Some(at) = usize::from(id).checked_sub(1).and_then(|at| self.values.get_mut(at)) {
            self.has_resized |= id == HEADER_TABLE_SIZE && at.is_some_and(|before| before != value);
            *at = Some(value);
        }
    }

    /// Whether the server may expect to be told of a size that another h2 would not know of: only the last one is kept.
    pub(super) fn has_resized(&self) -> bool {
        self.has_resized
    }

    /// Whether the server takes requests for other protocols (RFC 8441).
    pub(super) fn allows_extended_connect(&self) -> bool {
        let [.., extended_connect] = self.values;
        extended_connect == Some(1)
    }

    /// What may be sent on a new stream.
    pub(super) fn stream_window(&self) -> u32 {
        let [.., window, _, _, _, _] = self.values;
        window.unwrap_or(WINDOW)
    }

    /// The frames of a server that has these settings, acknowledges those of the client, and makes its window larger by so
    /// much. Some of the settings come later: see [`replayed_late`](Self::replayed_late).
    pub(super) fn replayed(&self, window: u32) -> Vec<u8> {
        let mut frames = Vec::new();
        self.replay(&mut frames, |id| !LATE.contains(&id));
        frame(&mut frames, SETTINGS, ACK, 0, &[]);
        if window > 0 {
            frame(&mut frames, WINDOW_UPDATE, 0, 0, &window.to_be_bytes());
        }
        frames
    }

    /// The settings that come after the first request.
    pub(super) fn replayed_late(&self, to: &mut Vec<u8>) {
        self.replay(to, |id| LATE.contains(&id));
    }

    fn replay(&self, to: &mut Vec<u8>, is_meant: impl Fn(u16) -> bool) {
        let values = self.values.iter().zip(1_u16..).filter_map(|(value, id)| Some((id, (*value)?)));
        let mut payload = Vec::new();
        for (id, value) in values.filter(|(id, _)| is_meant(*id)) {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        frame(to, SETTINGS, 0, 0, &payload);
    }
}

/// A response of status 200 without a body on stream 1: the eighth entry of the static table (RFC 7541, appendix A).
pub(super) fn response(to: &mut Vec<u8>) {
    frame(to, HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]);
}

pub(super) fn frame(to: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, len @ ..] = (payload.len() as u32).to_be_bytes();
    to.extend(len);
    to.extend([kind, flags]);
    to.extend(stream.to_be_bytes());
    to.extend(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_and_priority_are_no_part_of_a_header_block() {
        let mut frames = Vec::new();
        frame(&mut frames, HEADERS, PADDED | PRIORITIZED, 1, &[2, 0, 0, 0, 0, 9, 0x82, 0x84, 7, 7]);
        frame(&mut frames, CONTINUATION, END_HEADERS, 1, &[0x86]);
        frame(&mut frames, HEADERS, PADDED | END_HEADERS, 3, &[1, 0x88, 7]);
        frame(&mut frames, HEADERS, END_HEADERS, 5, &[0x89]);
        for size in 1..=frames.len() {
            let (mut scan, mut block) = (Scan::new(0), Vec::new());
            for piece in frames.chunks(size) {
                scan.feed(piece, |event| {
                    if let Event::Block(bytes) = event {
                        block.extend_from_slice(bytes);
                    }
                });
            }
            assert_eq!(block, [0x82, 0x84, 0x86, 0x88, 0x89], "pieces of {size}");
        }
    }
}
