//! Instructions per operation, exact: what the clock of a shared machine cannot tell.
//!
//! `cargo bench -p rivals [--features jemalloc] --bench instructions [-- NAME... [--write] [--record]]`
//!
//! Each operation runs in a process of its own under valgrind's callgrind, twice, with different counts; the
//! difference is the operation's, start and warm-up cancel out. A name runs the operations that contain it. `--write`
//! replaces a section of `benches/results/instructions.md` and wants all of them, `--record` keeps the counts for the
//! claims. With jemalloc as the global allocator it runs the operations whose name has the allocator.
//! For where they go: `valgrind --tool=callgrind BINARY --run OPERATION 100000`, then `callgrind_annotate`.
//!
//! Instructions are not time: a locked one counts as any other, and so does one that waits for memory.

#[path = "../callgrind/mod.rs"]
mod callgrind;
mod contestants;
#[path = "../results/mod.rs"]
mod results;
#[path = "messages/samples.rs"]
mod samples;

use std::alloc::System;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io;
use std::num::NonZeroU32;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use callgrind::{callgrind, missing};
use contestants::{KIB, acquire as by, heap, pool, route};
use futures_util::StreamExt;
use millpond::frame::{Assembler, Message, ReadMode, Tlv, tlv};
use millpond::net::{FrameReader, WriteQueue};
use millpond::{BufferPool, BufferPoolConfig, BufferPoolConfigBuilder, PooledBuffer};
use mimalloc::MiMalloc;
use samples::defi::PoolStateUpdate;
use samples::examples::TextMessage;
use tikv_jemallocator::Jemalloc;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::codec::{Decoder, Encoder, FramedRead, LengthDelimitedCodec};

/// An operation that repeats itself this many times.
type Operation = (&'static str, Box<dyn Fn(u64)>);

/// Enough to fill every cache and to reach every steady state.
const WARM_UP: u64 = 32 * MANY;
const COUNTED: u64 = 160 * MANY;
const THOUSAND: NonZeroU32 = NonZeroU32::new(1000).unwrap();
/// Buffers out at once where there are several.
const MANY: u64 = 64;

fn operations() -> Vec<Operation> {
    vec![
        operation("acquire + drop, millpond", by::millpond(KIB)),
        operation("acquire + drop, millpond, memory_limit", with(|pool| pool.memory_limit(64 << 20))),
        operation("acquire + drop, millpond, sample_one_in(1000)", with(|pool| pool.sample_one_in(THOUSAND))),
        operation("acquire + drop, millpond, record_sizes", with(|pool| pool.record_sizes(true))),
        operation("acquire + drop, millpond, wipe_on_return", with(|pool| pool.wipe_on_return(true))),
        operation(
            "acquire + drop, millpond, README's memory_limit and sample_one_in(1000)",
            with(|pool| pool.memory_limit(64 << 20).sample_one_in(THOUSAND)),
        ),
        operation("acquire + drop, limit", by::thread_local_stack(KIB)),
        operation("acquire + drop, malloc of glibc", by::allocator(System, KIB)),
        operation("acquire + drop, malloc of jemalloc", by::allocator(Jemalloc, KIB)),
        operation("acquire + drop, malloc of mimalloc", by::allocator(MiMalloc, KIB)),
        operation("acquire + drop, zeropool", by::zeropool(KIB)),
        operation("acquire + drop, opool", by::opool(KIB)),
        operation("acquire + drop, opool, local", by::opool_local(KIB)),
        operation("acquire + drop, object-pool", by::object_pool(KIB)),
        operation("acquire + drop, lockfree-object-pool", by::lockfree_object_pool(KIB)),
        operation("acquire + drop, sharded-slab", by::sharded_slab::<KIB>()),
        operation("acquire + drop, byte-pool", by::byte_pool(KIB)),
        operation("acquire + drop, ArrayQueue", by::array_queue(KIB)),
        operation("acquire + drop, Mutex<Vec>", by::mutexed_stack(KIB)),
        operation("write + freeze + drop, millpond", dropped(route::freeze(KIB))),
        operation("write + into_shared + drop, millpond", dropped(route::into_shared(KIB))),
        operation(heap::named("write + freeze + drop, BytesMut"), dropped(route::bytes_mut(KIB))),
        operation(heap::named("write + split().freeze() + drop, BytesMut"), dropped(route::split(KIB))),
        operation(heap::named("write + from_owner + drop, millpond"), dropped(route::owned_pooled(KIB))),
        operation(heap::named("write + from_owner + drop, Vec"), dropped(route::owned_vec(KIB))),
        operation("write + into_shared + clone + drop both, millpond", shared_twice()),
        operation("two classes in turn, both out, millpond", two_classes()),
        operation("growing into the next class, millpond", growing()),
        ("200 frozen in flight, 1 KiB, each, millpond", in_flight(route::freeze(KIB))),
        (heap::named("200 frozen in flight, 1 KiB, each, split().freeze()"), in_flight(route::split(KIB))),
        (heap::named("200 frozen in flight, 1 KiB, each, BytesMut"), in_flight(route::bytes_mut(KIB))),
        ("200 frozen in flight, 16 KiB, each, millpond", in_flight(route::freeze(16 * KIB))),
        (
            heap::named("200 frozen in flight, 16 KiB, each, split().freeze()"),
            in_flight(route::split(16 * KIB)),
        ),
        (heap::named("200 frozen in flight, 16 KiB, each, BytesMut"), in_flight(route::bytes_mut(16 * KIB))),
        ("64 out at once, 1 KiB, each, millpond", many_out(KIB)),
        operation(
            "PoolStateUpdate encoded + into_shared + drop, encode_pooled",
            encoded(Message::encode_pooled),
        ),
        operation("PoolStateUpdate encoded + into_shared + drop, BufMut", encoded(by_buf_mut)),
        operation("TextMessage of 18 B of text viewed", viewed()),
        operation("a frame of 16 B read, per frame", frames_read(ReadMode::PerFrame)),
        operation("a frame of 16 B read, batched", frames_read(ReadMode::batched())),
        operation(
            "a frame of 16 B read, batched, none detached",
            frames_read(ReadMode::Batched { detach_below: 0 }),
        ),
        operation("a frame of 16 B read, LengthDelimitedCodec", frames_decoded()),
        ("a frame of 16 B received, per frame, FrameReader", frames_received(ReadMode::PerFrame)),
        ("a frame of 16 B received, batched, FrameReader", frames_received(ReadMode::batched())),
        ("a frame of 16 B received, FramedRead", frames_received_framed()),
        operation("a frame of 16 B written, WriteQueue", frames_queued(16)),
        operation("a frame of 4 KiB written, WriteQueue", frames_queued(4 * KIB)),
        operation("a frame of 16 B written, LengthDelimitedCodec", frames_encoded()),
        ("64 out at once, 16 KiB, each, millpond", many_out(16 * KIB)),
    ]
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [flag, name, times] = &arguments[..]
        && flag == "--run"
    {
        let times = times.parse().expect("a number of times");
        let found = operations().into_iter().find(|(other, _)| other == name);
        let (_, run) = found.expect("an operation's name");
        run(times);
        return ExitCode::SUCCESS;
    }
    let (flags, parts): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|argument| argument.starts_with("--"));
    let of_heap = |name: &str| !cfg!(feature = "jemalloc") || name.ends_with(heap::NAME);
    let wanted =
        |name: &str| of_heap(name) && (parts.is_empty() || parts.iter().any(|part| name.contains(part)));
    let names: Vec<_> = operations().into_iter().map(|(name, _)| name).filter(|name| wanted(name)).collect();
    let partial = flags.contains(&"--write") && !parts.is_empty();
    if names.is_empty() || partial || flags.iter().any(|flag| !["--write", "--record"].contains(flag)) {
        eprintln!("usage: cargo bench -p rivals --bench instructions [-- NAME... [--write] [--record]]");
        return ExitCode::from(2);
    }
    let done = counted(&names).and_then(|counts| {
        let text = section(&counts);
        println!("{text}");
        let written = !flags.contains(&"--write") || results::replace("instructions", bench(), &text).is_ok();
        let figures: Vec<_> =
            counts.iter().map(|(name, count)| (format!("{}/{name}", bench()), *count)).collect();
        let recorded = !flags.contains(&"--record") || results::record(&figures).is_ok();
        (written && recorded).then_some(()).ok_or_else(|| "benches/results cannot be written".to_owned())
    });
    if let Err(reason) = done {
        eprintln!("instructions: {reason}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Of the section and of the recorded counts.
fn bench() -> &'static str {
    if cfg!(feature = "jemalloc") { "instructions-jemalloc" } else { "instructions" }
}

fn counted(names: &[&'static str]) -> Result<Vec<(&'static str, f64)>, String> {
    let count = |(index, &name): (usize, &&'static str)| {
        eprintln!("{} of {}: {name}", index + 1, names.len());
        an_operation(name).map(|count| (name, count)).map_err(|reason| format!("{name}: {reason}"))
    };
    names.iter().enumerate().map(count).collect()
}

fn section(counts: &[(&'static str, f64)]) -> String {
    let mut text = format!(
        "\n{}; the global allocator is {}.\n\n| operation | instructions |\n|---|---|\n",
        results::machine(),
        heap::NAME,
    );
    for (name, count) in counts {
        let _ = writeln!(text, "| {name} | {count:.1} |");
    }
    text + "\n"
}

/// Instructions of one run of the operation, in the steady state.
fn an_operation(name: &str) -> Result<f64, String> {
    let without = collected(name, WARM_UP)?;
    let with = collected(name, WARM_UP + COUNTED)?;
    Ok(with.saturating_sub(without) as f64 / COUNTED as f64)
}

/// Instructions of a whole process that does the operation this many times.
fn collected(name: &str, times: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = callgrind(&program).args(["--run", name, &times.to_string()]).output();
    callgrind::collected(&output.map_err(|error| missing(&error))?)
}

fn operation(name: &'static str, op: impl Fn() + 'static) -> Operation {
    (name, Box::new(move |times| (0..times).for_each(|_| op())))
}

fn dropped<T>(make: impl Fn() -> T + 'static) -> impl Fn() + 'static {
    move || {
        black_box(&mut make());
    }
}

/// Acquire and drop, as `by::millpond`, of a pool with options.
fn with(options: impl Fn(BufferPoolConfigBuilder) -> BufferPoolConfigBuilder) -> impl Fn() {
    let classes = [(KIB, 1024), (16 * KIB, 1024), (64 * KIB, 256)];
    let config = options(BufferPoolConfig::builder().classes(classes)).build();
    let pool = BufferPool::new(config.expect("a valid configuration"));
    move || {
        black_box(pool.acquire(KIB).as_ptr());
    }
}

fn shared_twice() -> impl Fn() {
    let make = route::into_shared(KIB);
    move || {
        let first = make();
        black_box(&mut first.clone());
        black_box(&first);
    }
}

fn two_classes() -> impl Fn() {
    let pool = pool();
    move || {
        let small = pool.acquire(KIB);
        let large = pool.acquire(64 * KIB);
        black_box((small.as_ptr(), large.as_ptr()));
    }
}

/// One byte too many: the bytes move to a buffer twice as large at least, and the outgrown one goes back.
fn growing() -> impl Fn() {
    let pool = pool();
    move || {
        let mut buffer = pool.acquire(KIB);
        buffer.extend_from_slice(black_box(&[7; KIB]));
        buffer.extend_from_slice(black_box(&[7]));
        black_box(buffer.as_ptr());
    }
}

fn encoded(encode: fn(&PoolStateUpdate, &BufferPool) -> PooledBuffer) -> impl Fn() {
    let (pool, message) = (pool(), samples::update());
    move || {
        black_box(&mut encode(black_box(&message), &pool).into_shared());
    }
}

fn by_buf_mut(message: &PoolStateUpdate, pool: &BufferPool) -> PooledBuffer {
    let mut payload = pool.acquire(PoolStateUpdate::MAX_SIZE);
    message.encode(&mut payload);
    payload
}

fn viewed() -> impl Fn() {
    let payload = samples::text("alice", "Hello, World!").encode_pooled(&pool());
    move || {
        let _ = black_box(TextMessage::view(black_box(&payload)));
    }
}

const FRAME: [u8; 16] = [7; 16];
/// That fill 64 KiB, all but a little.
const FRAMES: usize = 2900;

/// Out of reads of 64 KiB.
fn frames_read(reading: ReadMode) -> impl Fn() {
    let frames = RefCell::new(Assembler::new(Tlv::default(), pool(), reading));
    let mut wire = Vec::new();
    (0..FRAMES).for_each(|_| tlv::encode(1, &FRAME, &mut wire).expect("a vector grows"));
    // As a reader that is filled learns it.
    frames.borrow_mut().learn(64 * KIB, 64 * KIB);
    move || {
        let mut frames = frames.borrow_mut();
        loop {
            if let Some(frame) = frames.next_frame().expect("they are frames") {
                black_box(frame);
                return;
            }
            frames.push(&mut &wire[..]).unwrap();
        }
    }
}

/// A stream of the same bytes over and over, that is always ready.
struct Endless {
    wire: Vec<u8>,
    at: usize,
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.wire[self.at..];
        let piece = &rest[..rest.len().min(out.remaining())];
        out.put_slice(piece);
        let end = self.at + piece.len();
        self.at = if end == self.wire.len() { 0 } else { end };
        Poll::Ready(Ok(()))
    }
}

/// The whole way of a receiver, all but the socket.
fn frames_received(reading: ReadMode) -> Box<dyn Fn(u64)> {
    let mut wire = Vec::new();
    (0..FRAMES).for_each(|_| tlv::encode(1, &FRAME, &mut wire).expect("a vector grows"));
    let frames = Assembler::new(Tlv::default(), pool(), reading);
    let reader = RefCell::new(FrameReader::new(Endless { wire, at: 0 }, frames));
    Box::new(move |times| {
        let mut reader = reader.borrow_mut();
        at_once(async {
            for _ in 0..times {
                black_box(reader.next_frame().await.expect("they are frames").expect("it never ends"));
            }
        });
    })
}

fn frames_received_framed() -> Box<dyn Fn(u64)> {
    let mut wire = BytesMut::new();
    let mut codec = LengthDelimitedCodec::new();
    (0..FRAMES).for_each(|_| codec.encode(Bytes::from_static(&FRAME), &mut wire).expect("it is short"));
    let endless = Endless { wire: wire.to_vec(), at: 0 };
    let reader = RefCell::new(FramedRead::with_capacity(endless, codec, 64 * KIB));
    Box::new(move |times| {
        let mut reader = reader.borrow_mut();
        at_once(async {
            for _ in 0..times {
                black_box(reader.next().await.expect("it never ends").expect("they are frames"));
            }
        });
    })
}

/// Of a future that never waits.
fn at_once(future: impl Future<Output = ()>) {
    assert!(pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

fn frames_decoded() -> impl Fn() {
    let state = RefCell::new((LengthDelimitedCodec::new(), BytesMut::with_capacity(64 * KIB)));
    let mut wire = BytesMut::new();
    let mut codec = LengthDelimitedCodec::new();
    (0..FRAMES).for_each(|_| codec.encode(Bytes::from_static(&FRAME), &mut wire).expect("it is short"));
    move || {
        let (codec, input) = &mut *state.borrow_mut();
        loop {
            if let Some(frame) = codec.decode(input).expect("they are frames") {
                black_box(frame);
                return;
            }
            input.extend_from_slice(&wire);
        }
    }
}

/// Into 64 KiB at a time, which somebody takes at once.
fn frames_queued(size: usize) -> impl Fn() {
    let pool = pool();
    let mut payload = pool.acquire(size);
    payload.resize(size, 7);
    let (payload, queue) = (payload.into_shared(), RefCell::new(WriteQueue::new(pool)));
    move || {
        let mut queue = queue.borrow_mut();
        if queue.len() >= 64 * KIB {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(queue.poll_write(&mut cx, pin!(tokio::io::sink())).is_ready());
        }
        queue.push(&Tlv::default(), (1, black_box(&payload).clone())).expect("there is memory");
    }
}

fn frames_encoded() -> impl Fn() {
    let state = RefCell::new((LengthDelimitedCodec::new(), BytesMut::with_capacity(64 * KIB + 64)));
    let payload = Bytes::from(vec![7; FRAME.len()]);
    move || {
        let (codec, out) = &mut *state.borrow_mut();
        if out.len() >= 64 * KIB {
            out.clear();
        }
        codec.encode(black_box(&payload).clone(), out).expect("it is short");
    }
}

/// Dropped in the order in which they were made, 200 later: with 16 KiB more than a thread follows, so that the
/// shared queue takes part.
fn in_flight(make: impl Fn() -> Bytes + 'static) -> Box<dyn Fn(u64)> {
    Box::new(move |times| {
        let mut flight = VecDeque::new();
        for _ in 0..times {
            flight.push_back(make());
            if flight.len() > 200 {
                black_box(flight.pop_front());
            }
        }
    })
}

/// Deeper than one buffer: with 16 KiB deeper than the thread's cache, so that the shared queue takes part.
fn many_out(size: usize) -> Box<dyn Fn(u64)> {
    let pool = pool();
    Box::new(move |times| {
        for _ in 0..times / MANY {
            let held: Vec<_> = (0..MANY).map(|_| pool.acquire(size)).collect();
            black_box(&held);
        }
    })
}
