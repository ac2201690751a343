//! Tests of server-sent events: the standard's examples, limits, errors, and any chunking.

use alloc::string::String;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::frame::pieces::{Outcome, decode, decode_all_ways, pool, push_in_vain, read_modes};
use crate::frame::{Assembler, EncodeError, Encoder, ReadMode};

/// Type, data, id, retry time in milliseconds.
type Plain = (Option<String>, String, Option<String>, Option<u64>);

fn plain(event: Event) -> Plain {
    let text = |bytes: PooledBytes| String::from_utf8_lossy(&bytes).into_owned();
    let retry = event.retry.map(|retry| retry.as_millis().try_into().unwrap());
    (event.event.map(text), text(event.data), event.id.map(text), retry)
}

/// The events and errors of `wire`. The end of a stream is never an error.
fn read(max_event: usize, wire: &[u8]) -> Vec<Result<Plain, FrameError>> {
    let (events, end): Outcome<Plain> = decode_all_ways(|| Sse::new(max_event), wire, plain);
    assert_eq!(end, Ok(()));
    events
}

fn event(event: Option<&str>, data: &str, id: Option<&str>) -> Result<Plain, FrameError> {
    Ok((event.map(Into::into), data.into(), id.map(Into::into), None))
}

fn data(text: &str) -> Result<Plain, FrameError> {
    event(None, text, None)
}

fn too_large(max: usize, offset: u64) -> Result<Plain, FrameError> {
    Err(FrameError::new(FrameErrorKind::MessageTooLarge { size: max + 1, max }, offset))
}

/// HTML standard, section 9.2.6, "Interpreting an event stream".
#[test]
fn the_standards_examples_are_decoded() {
    let stocks = b"data: YHOO\ndata: +2\ndata: 10\n\n";
    assert_eq!(read(1000, stocks), [data("YHOO\n+2\n10")]);

    let ids = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
    let expected =
        [event(None, "first event", Some("1")), event(None, "second event", None), data(" third event")];
    assert_eq!(read(1000, ids), expected);

    // The last block is discarded: no blank line follows it.
    assert_eq!(read(1000, b"data\n\ndata\ndata\n\ndata:"), [data(""), data("\n")]);
    assert_eq!(read(1000, b"data:test\n\ndata: test\n\n"), [data("test"), data("test")]);
}

/// HTML standard, section 9.2.1, "Introduction".
#[test]
fn the_standards_example_of_event_types_is_decoded() {
    let wire = b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n";
    let expected = [("add", "73857293"), ("remove", "2153"), ("add", "113411")]
        .map(|(kind, text)| event(Some(kind), text, None));
    assert_eq!(read(1000, wire), expected);
}

#[test]
fn lines_end_in_any_of_three_ways() {
    for wire in [
        &b"data: a\ndata: b\n\ndata: c\n\n"[..],
        b"data: a\rdata: b\r\rdata: c\r\r",
        b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n",
        b"data: a\ndata: b\r\r\ndata: c\r\n\r",
        b"data: a\rdata: b\n\r\n\r\r\n\n\ndata: c\r\n\n",
    ] {
        assert_eq!(read(1000, wire), [data("a\nb"), data("c")], "{}", wire.escape_ascii());
    }
}

#[test]
fn a_carriage_return_ends_the_event_at_once() {
    let mut events = Assembler::new(Sse::default(), pool(), ReadMode::PerFrame);
    events.push(&mut &b"data: a\r\n\r"[..]).unwrap();
    assert_eq!(events.next_frame().unwrap().map(plain), Some(data("a").unwrap()));
    events.push(&mut &b"\ndata: b\n\n"[..]).unwrap();
    assert_eq!(events.next_frame().unwrap().map(plain), Some(data("b").unwrap()));
}

#[test]
fn a_byte_order_mark_is_skipped_once() {
    assert_eq!(read(1000, b"\xEF\xBB\xBFdata: a\n\n"), [data("a")]);
    assert_eq!(read(1000, b"\xEF\xBB\xBF\xEF\xBB\xBFdata: a\n\ndata: b\n\n"), [data("b")]);
    assert_eq!(read(1000, b"data: a\n\n\xEF\xBB\xBFdata: b\n\n"), [data("a")]);
    assert_eq!(read(1000, b"\xEF\xBBdata: a\n\ndata: b\n\n"), [data("b")]);
    assert_eq!(read(0, b"\xEF\xBB"), []);
}

#[test]
fn comments_and_unknown_fields_are_ignored() {
    let wire =
        b":\n: c\n:data: no\ndata: a\n:data: no\nDATA: no\n data: no\ndatax: no\ndata : no\ndata: b\n\n";
    assert_eq!(read(1000, wire), [data("a\nb")]);
}

#[test]
fn one_space_after_the_colon_is_removed() {
    assert_eq!(
        read(1000, b"data:a\n\ndata: a\n\ndata:  a\n\ndata:\ta:b\n\n"),
        ["a", "a", " a", "\ta:b"].map(data)
    );
}

#[test]
fn a_block_without_data_is_no_event_and_its_type_is_discarded() {
    let wire =
        b"event: lost\n: no data\n\ndata: a\n\nevent: kept\nevent: b\ndata\n\nevent: c\nevent\ndata: d\n\n";
    assert_eq!(read(1000, wire), [data("a"), event(Some("b"), "", None), data("d")]);
}

#[test]
fn an_id_is_kept_until_another_is_set() {
    let wire =
        b"id: 1\n\ndata: a\n\nid: 2\ndata: b\n\nid: \0\ndata: c\n\nid: 3\0\nid:\ndata: d\n\ndata: e\n\n";
    let expected = [("a", Some("1")), ("b", Some("2")), ("c", Some("2")), ("d", None), ("e", None)]
        .map(|(d, id)| event(None, d, id));
    assert_eq!(read(1000, wire), expected);
    // A discarded or refused event sets no id.
    let mut events = Assembler::new(Sse::new(20), pool(), ReadMode::PerFrame);
    let (seen, _) =
        decode(&mut events, b"id: 1\n\nid: 2\ndata: 12345678901234567890\n\nid: 3\ndata: a\n", &[3]);
    assert_eq!(seen.len(), 1);
    assert_eq!(events.decoder().last_event_id().unwrap(), b"1");
}

#[test]
fn a_retry_time_has_only_digits() {
    let retry = |wire: &[u8]| read(1000, &[wire, b"\ndata\n\n"].concat())[0].clone().unwrap().3;
    assert_eq!(retry(b"retry: 1500"), Some(1500));
    assert_eq!(retry(b"retry:007"), Some(7));
    assert_eq!(retry(b"retry: 1\nretry: x"), Some(1));
    for wire in
        [&b"retry"[..], b"retry: ", b"retry: -1", b"retry: +1", b"retry:  1", b"retry: 1 ", b"retry: 1.5"]
    {
        assert_eq!(retry(wire), None, "{}", wire.escape_ascii());
    }
}

#[test]
fn an_event_has_the_retry_time_that_it_sets() {
    let mut events = Assembler::new(Sse::default(), pool(), ReadMode::PerFrame);
    let (seen, _) = decode(&mut events, b"retry: 5\ndata: a\n\ndata: b\n\nretry: 7\n\n", &[100]);
    let times: Vec<_> = seen.into_iter().map(|event| event.unwrap().retry).collect();
    assert_eq!(times, [Some(Duration::from_millis(5)), None]);
    assert_eq!(events.decoder().retry(), Some(Duration::from_millis(7)));
}

/// HTML standard, section 9.2.6: a field is processed when its line has been read.
#[test]
fn a_retry_time_counts_once_its_line_was_read() {
    for cut in [1, 2, 3, 100] {
        for (wire, expected) in [
            (&b"retry: 5"[..], None),
            (b"retry: 5\n", Some(5)),
            (b"retry: 5\r", Some(5)),
            (b"data: a\r\nretry: 5\r\nid: 1", Some(5)),
            (b"data: a\r\rretry: 5\nretry: x\nretr: 9\nretry: 7", Some(5)),
            (b": retry: 9\n\n\nretry: 5\n", Some(5)),
            (b"retry: 5\ndata: more than all of the limit", Some(5)),
            (b"data: more than all of the limit\nretry: 5\n", None),
        ] {
            let mut events = Assembler::new(Sse::new(24), pool(), ReadMode::PerFrame);
            let (_, end) = decode(&mut events, wire, &[cut]);
            assert_eq!(end, Ok(()));
            let expected = expected.map(Duration::from_millis);
            assert_eq!(events.decoder().retry(), expected, "{}, cut at {cut}", wire.escape_ascii());
        }
    }
}

#[test]
fn a_huge_retry_time_can_be_added_to_a_clock() {
    for digits in ["31536000001", "18446744073709551615", "99999999999999999999"] {
        let wire = [b"retry: ", digits.as_bytes(), b"\ndata\n\n"].concat();
        let mut events = Assembler::new(Sse::default(), pool(), ReadMode::PerFrame);
        let (seen, _) = decode(&mut events, &wire, &[100]);
        assert_eq!(seen[0].as_ref().unwrap().retry, Some(MAX_RETRY));
        assert_eq!(events.decoder().retry(), Some(MAX_RETRY));
    }
}

#[test]
fn the_limit_is_inclusive_and_does_not_count_the_blank_line() {
    assert_eq!(read(8, b"data: a\n\ndata: b\r\r"), [data("a"), data("b")]);
    assert_eq!(read(9, b"data: a\r\n\r\n"), [data("a")]);
    assert_eq!(read(8, b"data: a\r\n\r\ndata: b\n\n"), [too_large(8, 0), data("b")]);
    assert_eq!(read(8, b"\n\ndata: aa\n\ndata: b\n\n"), [too_large(8, 2), data("b")]);
    assert_eq!(read(8, b"data: aaaaaaaaaaaaaa\n\n\r\n\ndata: b\n\n"), [too_large(8, 0), data("b")]);
    assert_eq!(read(8, b"data: a\ndata: b\r\n\r\ndata: c\n\n"), [too_large(8, 0), data("c")]);
    assert_eq!(read(8, b"data: aaaaaaaaaaaaaa\ndata: b\n"), [too_large(8, 0)]);
}

#[test]
fn comments_between_events_are_not_held() {
    let mut events = Assembler::new(Sse::new(100), pool(), ReadMode::PerFrame);
    push_in_vain(&mut events, b": still here\r\n", 1000, 8192);
    let (seen, _) = decode(&mut events, b"data: a\n\n", &[9]);
    assert_eq!(seen.len(), 1);
    assert_eq!(read(9, b": comment\n:\n: too long\ndata: no\n\ndata: a\n\n"), [too_large(9, 12), data("a")]);
}

#[test]
fn nothing_is_held_of_an_event_that_is_too_large() {
    for read_mode in [ReadMode::PerFrame, ReadMode::batched()] {
        let mut events = Assembler::new(Sse::new(100_000), pool(), read_mode);
        push_in_vain(&mut events, b"data: line\n", 9000, 4 * 100_000);
        let mut refused = 0;
        for _ in 0..1000 {
            events.push(&mut &b"data: line\n"[..]).unwrap();
            while !matches!(events.next_frame(), Ok(None)) {
                refused += 1;
            }
        }
        assert_eq!(refused, 1);
        push_in_vain(&mut events, b"data: line\n", 9000, 65_536);
        push_in_vain(&mut events, &[b'x'; 9000], 90, 65_536);
        let (seen, end) = decode(&mut events, b"\r\r\ndata: a\n\n", &[2]);
        assert_eq!((seen.len(), end), (1, Ok(())));
    }
}

#[test]
fn a_single_line_of_data_stays_where_it_was_read() {
    let mut events = Assembler::new(Sse::default(), pool(), ReadMode::Batched { detach_below: 0 });
    events.push(&mut &b"event: e\nid: 1\ndata: one\n\ndata: one\ndata: two\n\n"[..]).unwrap();
    let one = events.next_frame().unwrap().unwrap();
    let sizes =
        [&one.data, one.event.as_ref().unwrap(), one.id.as_ref().unwrap()].map(PooledBytes::storage_len);
    assert_eq!(sizes, [8192, 128, 128]);
    let two = events.next_frame().unwrap().unwrap();
    assert_eq!((two.data.storage_len(), events.held_bytes()), (128, 0));
    assert!(one.data.try_into_mut().is_ok(), "another handle holds the storage");
}

#[test]
fn between_events_only_the_id_is_held() {
    let pool = pool();
    let mut events = Assembler::new(Sse::default(), pool.clone(), ReadMode::PerFrame);
    drop(decode(&mut events, b"data: a\n\n", &[9]));
    assert_eq!(pool.stats().in_use, 0);
    drop(decode(&mut events, b"id: 1\ndata: a\n\n", &[9]));
    assert_eq!(pool.stats().in_use, 1);
    drop(events);
    assert_eq!(pool.stats().in_use, 0);
}

#[test]
fn no_byte_is_scanned_twice() {
    let mut events = Assembler::new(Sse::default(), pool(), ReadMode::PerFrame);
    for (piece, state) in [(&b"data: a\nda"[..], "scanned: 10, ended: 1"), (b"ta\r", "scanned: 13, ended: 2")]
    {
        events.push(&mut &piece[..]).unwrap();
        assert_eq!(events.next_frame(), Ok(None));
        let decoder = format!("{:?}", events.decoder());
        assert!(decoder.contains(state), "{decoder}");
    }
}

fn encode(event: Event<&[u8]>) -> Result<String, EncodeError> {
    let mut out = Vec::new();
    Sse::default().encode(event, &mut out)?;
    assert_eq!(out.len(), Sse::default().encoded_len(&event));
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn events_are_encoded_with_their_fields() {
    let bare = Event::new(&b""[..]);
    assert_eq!(encode(bare).unwrap(), "data: \n\n");
    assert_eq!(encode(Event::new(b"a\n\nb\n")).unwrap(), "data: a\ndata: \ndata: b\ndata: \n\n");
    let full = Event::new(&b" d"[..]).with_type(b"e").with_id(b"1");
    let full = full.with_retry(Duration::from_micros(1_500_900));
    assert_eq!(encode(full).unwrap(), "retry: 1500\nevent: e\nid: 1\ndata:  d\n\n");
    assert_eq!(encode(bare.with_retry(Duration::ZERO)).unwrap(), "retry: 0\ndata: \n\n");
}

#[test]
fn an_event_that_would_be_decoded_differently_is_refused() {
    let bare = Event::new(&b""[..]);
    let delimiter = |at| Err(EncodeError::Delimiter { at });
    assert_eq!(encode(bare.with_type(b"a\nb")), delimiter(1));
    assert_eq!(encode(bare.with_type(b"\rb")), delimiter(0));
    assert_eq!(encode(bare.with_id(b"ab\n")), delimiter(2));
    assert_eq!(encode(bare.with_id(b"ab\r")), delimiter(2));
    assert_eq!(encode(bare.with_id(b"a\0")), delimiter(1));
    assert_eq!(encode(Event::new(b"a\r\n")), delimiter(1));
    let mut short = [0xAA; 7];
    let no_room = EncodeError::NoRoom { needed: 8, available: 7 };
    assert_eq!(Sse::default().encode(bare, &mut short.as_mut_slice()), Err(no_room));
    assert_eq!(short, [0xAA; 7]);
}

/// Fewer than `len` of these characters.
fn text(characters: &'static [u8], len: usize) -> impl Strategy<Value = String> {
    let character = (0..characters.len()).prop_map(|at| char::from(characters[at]));
    vec(character, 0..len).prop_map(String::from_iter)
}

proptest! {
    #[test]
    fn encoded_frames_are_decoded_in_any_chunking(
        events in vec((
            prop_oneof![Just(None), "[ -~]{1,20}".prop_map(Some)],
            prop_oneof![text(b"\n:a ", 40), text(b"\nabcdefgh", 3000), text(b"ab: ", 12_000)],
            prop_oneof![Just(None), "[ -~]{1,20}".prop_map(Some)],
            prop_oneof![Just(None), (0..=MAX_RETRY.as_millis() as u64).prop_map(Some)],
        ), 0..12),
        cuts in vec(1_usize..9000, 1..20),
        read_mode in read_modes(),
    ) {
        let pool = pool();
        let (mut wire, mut len) = (Vec::new(), 0);
        for (event, data, id, retry) in &events {
            let event = Event {
                event: event.as_deref().map(str::as_bytes),
                data: data.as_bytes(),
                id: id.as_deref().map(str::as_bytes),
                retry: retry.map(Duration::from_millis),
            };
            Sse::default().encode(event, &mut wire).unwrap();
            len += Sse::default().encoded_len(&event);
        }
        prop_assert_eq!(len, wire.len());
        let mut frames = Assembler::new(Sse::default(), pool.clone(), read_mode);
        let (decoded, end) = decode(&mut frames, &wire, &cuts);
        prop_assert_eq!(end, Ok(()));
        let decoded: Vec<_> = decoded.into_iter().map(|event| plain(event.unwrap())).collect();
        let mut last = None;
        let sent: Vec<_> = events.into_iter().map(|(event, data, id, retry)| {
            last = id.or(last.take());
            (event, data, last.clone(), retry)
        }).collect();
        prop_assert_eq!(decoded, sent);
        drop(frames);
        prop_assert_eq!(pool.stats().in_use, 0);
    }
}
