//! Model of server-sent events: a decoder that sees the whole stream at once and follows the standard step by step.
//!
//! The fuzzer and the replay of the checked-in corpus (`tests/fuzz_corpus.rs`) both run [`check`]. The input's limit is
//! that of the event as it arrives; there is no option.

use std::time::Duration;

use millpond::PooledBytes;
use millpond::frame::sse::{Event, MAX_RETRY};
use millpond::frame::{Encoder, FrameErrorKind, Sse};

use super::stream::{Case, Outcome};

pub(crate) fn check(input: &[u8]) {
    let Some((mut case, _)) = Case::parse(input, b'x', true) else { return };
    let (expected, id, retry) = decode_at_once(&case.stream, case.limit);
    case.decode(
        || Sse::new(case.limit),
        case.limit + 3,
        |(outcomes, end), decoder| {
            let plain = outcomes.into_iter().map(|outcome| outcome.map(plain));
            assert_eq!((plain.collect(), end), expected);
            let last = (decoder.last_event_id().map(owned), decoder.retry().map(millis));
            assert_eq!(last, (id.clone(), retry));
        },
    );

    // What was decoded can be encoded, and decoded again.
    case.stream.clear();
    for event in expected.0.iter().flatten() {
        // No id is written as an empty one, which resets the last id.
        let id = event.id.as_deref().unwrap_or_default();
        let mut written = Event::new(event.data.as_slice()).with_id(id);
        written.event = event.event.as_deref();
        written.retry = event.retry.map(Duration::from_millis);
        let before = case.stream.len();
        Sse::default().encode(written, &mut case.stream).unwrap();
        assert_eq!(case.stream.len() - before, Sse::default().encoded_len(&written));
    }
    let events: Vec<_> = expected.0.into_iter().filter(Result::is_ok).collect();
    case.decode(Sse::default, usize::MAX / 4, |(outcomes, end), _| {
        let plain: Vec<_> = outcomes.into_iter().map(|outcome| outcome.map(plain)).collect();
        assert_eq!((&plain, end), (&events, Ok(())));
    });
}

#[derive(Debug, PartialEq)]
struct Plain {
    event: Option<Vec<u8>>,
    data: Vec<u8>,
    id: Option<Vec<u8>>,
    retry: Option<u64>,
}

fn plain(event: Event) -> Plain {
    Plain {
        event: event.event.as_ref().map(owned),
        data: owned(&event.data),
        id: event.id.as_ref().map(owned),
        retry: event.retry.map(millis),
    }
}

fn owned(bytes: &PooledBytes) -> Vec<u8> {
    bytes.to_vec()
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap()
}

/// The fields of a block so far, by the standard's names.
#[derive(Default)]
struct Buffers {
    event_type: Vec<u8>,
    data: Vec<u8>,
    id: Option<Vec<u8>>,
    retry: Option<u64>,
}

/// Returns the last id and the last retry time, too.
fn decode_at_once(stream: &[u8], max: usize) -> (Outcome<Plain>, Option<Vec<u8>>, Option<u64>) {
    let mark = b"\xEF\xBB\xBF";
    let (mut outcomes, mut id, mut retry) = (Vec::new(), None, None);
    if stream.len() < mark.len() && mark.starts_with(stream) {
        return ((outcomes, Ok(())), id, retry);
    }
    let mut at = if stream.starts_with(mark) { mark.len() } else { 0 };
    let (mut block_start, mut is_refused, mut buffers) = (at, false, Buffers::default());
    loop {
        let end = (at..stream.len()).find(|&at| matches!(stream[at], b'\r' | b'\n'));
        if !is_refused && end.unwrap_or(stream.len()) - block_start > max {
            outcomes.push(Err((FrameErrorKind::MessageTooLarge { size: max + 1, max }, block_start as u64)));
            is_refused = true;
        }
        let Some(end) = end else { break };
        let line = &stream[at..end];
        let next = end + if stream[end..].starts_with(b"\r\n") { 2 } else { 1 };
        if line.is_empty() {
            let block = std::mem::take(&mut buffers);
            if !is_refused {
                id = block.id.or(id).filter(|id| !id.is_empty());
                if let Some((_, data)) = block.data.split_last() {
                    let event = Some(block.event_type).filter(|event| !event.is_empty());
                    outcomes.push(Ok(Plain {
                        event,
                        data: data.to_vec(),
                        id: id.clone(),
                        retry: block.retry,
                    }));
                }
            }
            (block_start, is_refused) = (next, false);
        } else if at == block_start && line[0] == b':' && !is_refused {
            block_start = next;
        } else {
            buffers.process(line);
            if !is_refused {
                retry = buffers.retry.or(retry);
            }
        }
        at = next;
    }
    ((outcomes, Ok(())), id, retry)
}

impl Buffers {
    fn process(&mut self, line: &[u8]) {
        let colon = line.iter().position(|&byte| byte == b':');
        let name = &line[..colon.unwrap_or(line.len())];
        let mut value = colon.map_or(&[][..], |colon| &line[colon + 1..]);
        if value.first() == Some(&b' ') {
            value = &value[1..];
        }
        match name {
            b"event" => self.event_type = value.to_vec(),
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"id" if !value.contains(&0) => self.id = Some(value.to_vec()),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let digits = std::str::from_utf8(value).unwrap();
                self.retry = Some(digits.parse().unwrap_or(u64::MAX).min(millis(MAX_RETRY)));
            }
            _ => {}
        }
    }
}
