//! The length limit of every framing, on every path that a frame can take: at the limit it passes, one byte above it is
//! refused.

use std::iter;

use bytes::BytesMut;
use futures_util::{FutureExt, StreamExt};
use millpond::frame::{
    Assembler, Decoder, Encoder, FrameError, FrameErrorKind, Hdlc, Kiss, Lines, ReadMode, Sse, Tlv, sse,
};
use millpond::net::{Codec, FrameReader};
use millpond::{BufferPool, BufferPoolConfig};
use tokio_util::codec::{Decoder as _, FramedRead};

/// Length of the longest frame.
const LEN: usize = 100;

/// With buffers at hand for all frames, so that they can take the shortest path.
fn pool() -> BufferPool {
    let pool = BufferPool::new(BufferPoolConfig::messages());
    drop([LEN; 4].map(|size| pool.acquire(size)));
    pool
}

/// What becomes of the stream's frames: their lengths or the errors, up to a fatal one.
type Outcomes = Vec<Result<usize, FrameErrorKind>>;

fn kinds<T>(outcomes: impl Iterator<Item = Result<T, FrameError>>, len: impl Fn(T) -> usize) -> Outcomes {
    outcomes.map(|outcome| outcome.map(&len).map_err(|error| error.kind())).collect()
}

fn assembled<F: Decoder>(
    framing: F,
    wire: &[u8],
    read_mode: ReadMode,
    cut: usize,
    len: impl Fn(F::Frame) -> usize,
) -> Outcomes {
    let mut frames = Assembler::new(framing, pool(), read_mode);
    let mut outcomes = Vec::new();
    for mut piece in wire.chunks(cut) {
        while !piece.is_empty() {
            frames.push(&mut piece).unwrap();
            for outcome in iter::from_fn(|| frames.next_frame().transpose()) {
                let fatal = outcome.as_ref().is_err_and(FrameError::is_fatal);
                outcomes.push(outcome);
                if fatal {
                    return kinds(outcomes.into_iter(), len);
                }
            }
        }
    }
    kinds(outcomes.into_iter(), len)
}

fn read<F: Decoder>(
    framing: F,
    wire: &[u8],
    read_mode: ReadMode,
    len: impl Fn(F::Frame) -> usize,
) -> Outcomes {
    let mut reader = FrameReader::new(wire, Assembler::new(framing, pool(), read_mode));
    let mut outcomes = Vec::new();
    loop {
        match reader.next_frame().now_or_never().unwrap() {
            Ok(None) => return outcomes,
            Ok(Some(frame)) => outcomes.push(Ok(len(frame))),
            Err(error) => {
                let source = std::error::Error::source(&error).unwrap().downcast_ref::<FrameError>().unwrap();
                outcomes.push(Err(source.kind()));
                if error.is_fatal() {
                    return outcomes;
                }
            }
        }
    }
}

fn framed<F: Decoder>(
    framing: F,
    wire: &[u8],
    read_mode: ReadMode,
    len: impl Fn(F::Frame) -> usize,
) -> Outcomes {
    let codec = Codec::new(framing, pool()).with_read_mode(read_mode);
    let mut outcomes = Vec::new();
    let mut frames = FramedRead::new(wire, codec);
    while let Some(outcome) = frames.next().now_or_never().unwrap() {
        outcomes.push(match outcome {
            Ok(Ok(frame)) => Ok(len(frame)),
            Ok(Err(error)) | Err(millpond::net::CodecError::Frame(error)) => Err(error.kind()),
            Err(other) => panic!("{other}"),
        });
    }
    outcomes
}

/// Checks a framing with limits at and below [`LEN`]. `wire` is a short frame, one of [`LEN`] bytes, and a short one, which
/// arrives after an error if the framing `continues`.
fn check<F: Decoder>(
    framing: impl Fn(usize) -> F,
    wire: &[u8],
    [short, long]: [usize; 2],
    continues: bool,
    len: impl Fn(F::Frame) -> usize + Copy,
) {
    for limit in [LEN, LEN - 1] {
        let long = match limit {
            LEN => Ok(long),
            max => Err(FrameErrorKind::MessageTooLarge { size: LEN, max }),
        };
        let rest = (continues || long.is_ok()).then_some(Ok(short));
        let expected: Outcomes = [Ok(short), long].into_iter().chain(rest).collect();
        for read_mode in [ReadMode::PerFrame, ReadMode::Batched { detach_below: 0 }, ReadMode::batched()] {
            for cut in [usize::MAX, 1, 7, LEN] {
                let outcomes = assembled(framing(limit), wire, read_mode, cut, len);
                assert_eq!(outcomes, expected, "{read_mode:?}, cut at {cut}");
            }
            assert_eq!(read(framing(limit), wire, read_mode, len), expected, "FrameReader, {read_mode:?}");
            assert_eq!(framed(framing(limit), wire, read_mode, len), expected, "Codec, {read_mode:?}");
        }
        // A codec that finds the whole stream in a buffer that is not its own.
        let (mut codec, mut source) = (Codec::new(framing(limit), pool()), BytesMut::from(wire));
        let first = codec.decode(&mut source).unwrap().unwrap();
        assert_eq!(first.map(len).map_err(|error| error.kind()), Ok(short));
    }
}

fn encoded<F: Encoder<M>, M>(framing: &F, messages: [M; 3]) -> Vec<u8> {
    let mut wire = Vec::new();
    messages.into_iter().for_each(|message| framing.encode(message, &mut wire).unwrap());
    wire
}

fn payloads() -> [Vec<u8>; 3] {
    [vec![b'a'; 5], vec![b'b'; LEN], vec![b'c'; 5]]
}

#[test]
fn tlv_payloads() {
    let wire = encoded(&Tlv::default(), payloads().map(|payload| (7, payload)));
    check(Tlv::new, &wire, [5, LEN], false, |frame| frame.payload.len());
}

#[test]
fn hdlc_payloads() {
    check(Hdlc::new, &encoded(&Hdlc::default(), payloads()), [5, LEN], true, |payload| payload.len());
}

#[test]
fn kiss_payloads() {
    check(Kiss::new, &encoded(&Kiss::default(), payloads()), [5, LEN], true, |frame| frame.payload.len());
}

#[test]
fn lines() {
    check(Lines::new, &encoded(&Lines::default(), payloads()), [5, LEN], true, |line| line.len());
}

/// The limit is that of the event's lines.
#[test]
fn events() {
    let data = LEN - "data: \n".len();
    let events = [5, data, 5].map(|len| sse::Event::new(vec![b'x'; len]));
    check(Sse::new, &encoded(&Sse::default(), events), [5, data], true, |event| event.data.len());
}

/// The first and the second frame of `wire`, between which `raise` raises the limit from 10 to [`LEN`].
fn with_raised_limit<F: Decoder>(
    framing: F,
    wire: &[u8],
    raise: impl FnOnce(&mut F),
    len: impl Fn(F::Frame) -> usize,
) -> [usize; 2] {
    let mut reader = FrameReader::new(wire, Assembler::new(framing, pool(), ReadMode::PerFrame));
    let first = reader.next_frame().now_or_never().unwrap().unwrap().unwrap();
    raise(reader.decoder_mut());
    let second = reader.next_frame().now_or_never().unwrap().unwrap().unwrap();
    [first, second].map(len)
}

/// The second frame has arrived already when the limit is raised, and shares a flag with the first.
#[test]
fn a_limit_can_be_raised_between_two_frames() {
    let tlv = encoded(&Tlv::default(), payloads().map(|payload| (7, payload)));
    let raise = |tlv: &mut Tlv| tlv.set_max_payload(LEN);
    assert_eq!(with_raised_limit(Tlv::new(10), &tlv, raise, |frame| frame.payload.len()), [5, LEN]);

    let hdlc = [&b"\x7Eshort\x7E"[..], &[b'x'; LEN], b"\x7E"].concat();
    let raise = |hdlc: &mut Hdlc| hdlc.set_max_frame(LEN);
    assert_eq!(with_raised_limit(Hdlc::new(10), &hdlc, raise, |payload| payload.len()), [5, LEN]);

    let lines = encoded(&Lines::default(), payloads());
    let raise = |lines: &mut Lines| lines.set_max_line(LEN);
    assert_eq!(with_raised_limit(Lines::new(10), &lines, raise, |line| line.len()), [5, LEN]);

    let events = [&b"id: 7\n\ndata:1\n\ndata:"[..], &[b'x'; LEN - 6], b"\n\n"].concat();
    let raise = |events: &mut Sse| events.set_max_event(LEN);
    assert_eq!(with_raised_limit(Sse::new(10), &events, raise, |event| event.data.len()), [1, LEN - 6]);
}
