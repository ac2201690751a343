//! Sixteen threads use every operation of a pool, wait for memory, send buffers to each other, panic, exit and are
//! replaced, for `MILLPOND_SOAK_SECONDS` (default 5). Each round of about one second has its own pool, and ends with every
//! byte accounted for. `tests/deep` runs it for ten minutes.

use std::collections::VecDeque;
use std::env;
use std::future::Future;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use millpond::{BufferPool, BufferPoolConfig, PooledBuffer, PooledBytes};

const THREADS: usize = 16;
const CLASSES: [(usize, usize); 4] = [(256, 64), (2048, 32), (16_384, 16), (65_536, 8)];
const LARGEST: usize = 65_536;
/// Less than sixteen threads use without a limit.
const LIMIT: usize = 2 << 20;
const MAILBOX: usize = 16;
/// Longer than any wait for a buffer, even on a slow machine.
const STARVED: Duration = Duration::from_secs(60);

fn main() {
    let seconds = env::var("MILLPOND_SOAK_SECONDS").map_or(5, |seconds| seconds.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let round_time = Duration::from_secs(1).min(Duration::from_secs(seconds) / 5);
    let (mut rounds, mut sums) = (0, [0; 4]);
    while Instant::now() < end {
        let done = round(rounds, Instant::now() + round_time);
        sums.iter_mut().zip(done).for_each(|(sum, done)| *sum += done);
        rounds += 1;
    }
    let [acquires, waits, deaths, panics] = sums;
    println!(
        "test result: ok. {rounds} rounds in {seconds} s: {acquires} acquires, {waits} waits, {deaths} threads \
         died, {panics} of a panic"
    );
}

fn config(round: u64) -> BufferPoolConfig {
    let builder =
        BufferPoolConfig::builder().classes(CLASSES).decay_interval(Some(Duration::from_millis(50)));
    let builder = builder.thread_cache_bytes([0, 64 << 10, 1 << 20][round as usize % 3]);
    let builder = if round % 4 == 3 { builder } else { builder.memory_limit(LIMIT) };
    let builder = if round % 5 == 4 { builder.sample_one_in(NonZeroU32::new(7).unwrap()) } else { builder };
    builder.wipe_on_return(round % 7 == 6).serve_from_next_class(round % 2 == 1).build().unwrap()
}

/// State shared by the threads of one round.
struct World {
    pool: BufferPool,
    mailboxes: Vec<Mutex<VecDeque<Parcel>>>,
    end: Instant,
    /// Whether only one of the threads waits, so that only a returned buffer can serve it.
    lonely: bool,
    lives: AtomicU64,
    panics: AtomicU64,
}

fn round(round: u64, end: Instant) -> [u64; 4] {
    let config = config(round);
    let limit = config.memory_limit() as u64;
    let world = Arc::new(World {
        pool: BufferPool::new(config),
        mailboxes: (0..THREADS).map(|_| Mutex::default()).collect(),
        end,
        lonely: round.is_multiple_of(2),
        lives: AtomicU64::new(0),
        panics: AtomicU64::new(0),
    });
    let lanes: Vec<_> = (0..THREADS)
        .map(|lane| {
            let world = Arc::clone(&world);
            thread::spawn(move || be_reborn(&world, lane, round))
        })
        .collect();
    while lanes.iter().any(|lane| !lane.is_finished()) {
        let stats = world.pool.stats();
        assert!(stats.live_bytes <= limit, "{stats:#}");
        thread::sleep(Duration::from_millis(5));
    }
    for lane in lanes {
        lane.join().unwrap();
    }
    for mailbox in &world.mailboxes {
        mailbox.lock().unwrap().drain(..).for_each(|parcel| parcel.check());
    }
    world.pool.trim();
    let stats = world.pool.stats();
    assert_eq!((stats.live_bytes, stats.idle, stats.waiting), (0, 0, 0), "round {round}: {stats:#}");
    assert_eq!((stats.in_use, stats.frozen), (0, 0), "round {round}: {stats:#}");
    assert_eq!(stats.acquires, stats.returns, "round {round}: {stats:#}");
    assert!(stats.high_water_bytes <= limit, "round {round}: {stats:#}");
    assert!(world.pool.holders().is_none_or(|report| report.holders.is_empty()), "round {round}");
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    [stats.acquires, stats.waits, count(&world.lives), count(&world.panics)]
}

/// The payload of a panic on purpose; any other is a failure.
struct OnPurpose;

fn be_reborn(world: &Arc<World>, lane: usize, round: u64) {
    while Instant::now() < world.end {
        let life = world.lives.fetch_add(1, Ordering::Relaxed);
        let theirs = Arc::clone(world);
        let dice = Dice(0x9E37_79B9_7F4A_7C15 ^ (round << 40) ^ (life << 8) ^ lane as u64);
        let worker =
            thread::spawn(move || Worker { world: theirs, lane, dice, held: VecDeque::new() }.live());
        if let Err(payload) = worker.join() {
            world.panics.fetch_add(1, Ordering::Relaxed);
            payload.downcast::<OnPurpose>().map_or_else(|payload| resume_unwind(payload), drop);
        }
    }
}

struct Worker {
    world: Arc<World>,
    lane: usize,
    dice: Dice,
    held: VecDeque<Parcel>,
}

impl Worker {
    fn live(mut self) {
        for _ in 0..self.dice.below(20_000) {
            if Instant::now() >= self.world.end {
                return;
            }
            let pool = &self.world.pool;
            match self.dice.below(1000) {
                0 => _ = pool.trim(),
                1 => _ = pool.decay(),
                2..5 => pool.flush_thread_cache(),
                5..9 if self.may_wait() => self.panic_while_holding(),
                9 if self.dice.below(4) == 0 => resume_unwind(Box::new(OnPurpose)),
                10..400 => self.drop_one(),
                400..500 => self.open_mailbox(),
                _ => self.make_one(),
            }
            while self.held.len() > 24 {
                self.drop_one();
            }
        }
        // Half the time, another thread returns what this one still holds.
        while let Some(parcel) = self.held.pop_front() {
            if self.dice.below(2) == 0 {
                send(&self.world.mailboxes[self.dice.below(THREADS)], parcel);
            }
        }
    }

    fn make_one(&mut self) {
        let size = (1 << self.dice.below(17)) + self.dice.below(200);
        let Some(mut buffer) = self.acquire(size) else { return };
        assert!(buffer.is_empty());
        let start = self.dice.below(256);
        let len = self.dice.below(size + 1);
        buffer.extend_from_slice(&PATTERN[start..start + len]);
        let mut parcel = Parcel { start, len, handle: Handle::Buffer(buffer) };
        for _ in 0..self.dice.below(3) {
            if let Some(part) = self.turn(&mut parcel) {
                self.keep_or_send(part);
            }
        }
        parcel.check();
        self.keep_or_send(parcel);
    }

    fn acquire(&mut self, size: usize) -> Option<PooledBuffer> {
        match self.dice.below(if self.may_wait() { 10 } else { 8 }) {
            0..5 => Some(self.world.pool.acquire(size)),
            5..8 => self.world.pool.try_acquire(size).ok(),
            8 => self.wait(size.min(LARGEST), Instant::now() + Duration::from_micros(200)),
            _ => {
                // A thread that holds no buffer may wait without a deadline.
                self.held.clear();
                let buffer = self.wait(size.min(LARGEST), Instant::now() + STARVED);
                Some(buffer.unwrap_or_else(|| panic!("starved: {:#}", self.world.pool.stats())))
            }
        }
    }

    fn may_wait(&self) -> bool {
        self.lane == 0 || !self.world.lonely
    }

    /// Stops waiting after `until`. Empties the mailboxes meanwhile, because possibly no other thread does.
    fn wait(&mut self, size: usize, until: Instant) -> Option<PooledBuffer> {
        let bell = Arc::new(Bell { thread: thread::current(), rung: AtomicBool::new(false) });
        let waker = Waker::from(Arc::clone(&bell));
        let mut future = pin!(self.world.pool.acquire_async(size));
        let mut has_waited = false;
        loop {
            if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                let served = Instant::now();
                while has_waited && !bell.rung.load(Ordering::SeqCst) {
                    assert!(served.elapsed() < STARVED, "served, but not woken");
                    thread::yield_now();
                }
                return Some(result.unwrap());
            }
            has_waited = true;
            if Instant::now() >= until {
                return None;
            }
            let over = Instant::now() >= self.world.end;
            for (lane, mailbox) in self.world.mailboxes.iter().enumerate() {
                if over || lane == self.lane {
                    mailbox.lock().unwrap().clear();
                }
            }
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Converts the parcel, or makes another handle to a part of it.
    fn turn(&mut self, parcel: &mut Parcel) -> Option<Parcel> {
        let handle = std::mem::replace(&mut parcel.handle, Handle::Plain(Bytes::new()));
        let dice = &mut self.dice;
        let (handle, part) = match handle {
            Handle::Buffer(buffer) => match dice.below(6) {
                0 | 1 => (Handle::Plain(buffer.freeze()), None),
                2 => (Handle::Plain(buffer.freeze_tracked()), None),
                3 => (Handle::Buffer(parcel.grow(buffer, dice)), None),
                _ => (Handle::Shared(buffer.into_shared()), None),
            },
            Handle::Shared(mut shared) => match dice.below(6) {
                0 => (Handle::Plain(shared.into()), None),
                1 => {
                    parcel.start = dice.below(256);
                    shared.make_mut().copy_from_slice(parcel.expected());
                    (Handle::Shared(shared), None)
                }
                2 => {
                    shared.detach(1 + dice.below(16));
                    (Handle::Shared(shared), None)
                }
                3 => (Handle::Buffer(parcel.grow(shared.into_mut(&self.world.pool), dice)), None),
                _ => {
                    let (from, to) = parcel.range(dice);
                    let part = parcel.part(from, to, Handle::Shared(shared.slice(from..to)));
                    (Handle::Shared(shared), Some(part))
                }
            },
            Handle::Plain(plain) => match dice.below(4) {
                0 => {
                    let mut own = BytesMut::from(plain);
                    parcel.start = dice.below(256);
                    own.copy_from_slice(parcel.expected());
                    (Handle::Plain(own.freeze()), None)
                }
                _ => {
                    let (from, to) = parcel.range(dice);
                    let part = parcel.part(from, to, Handle::Plain(plain.slice(from..to)));
                    (Handle::Plain(plain), Some(part))
                }
            },
        };
        parcel.handle = handle;
        part
    }

    fn keep_or_send(&mut self, parcel: Parcel) {
        match self.dice.below(4) {
            0 => drop(parcel),
            1 => send(&self.world.mailboxes[self.dice.below(THREADS)], parcel),
            _ => self.held.push_back(parcel),
        }
    }

    /// Drops the oldest or a random one, so that some live long.
    fn drop_one(&mut self) {
        let at = self.dice.below(2) * self.dice.below(self.held.len().max(1));
        if let Some(parcel) = self.held.remove(at) {
            parcel.check();
        }
    }

    fn open_mailbox(&mut self) {
        let mine = std::mem::take(&mut *self.world.mailboxes[self.lane].lock().unwrap());
        for mut parcel in mine {
            parcel.check();
            if self.dice.below(2) == 0 {
                let part = self.turn(&mut parcel);
                self.held.extend(part);
                self.held.push_back(parcel);
            }
        }
    }

    fn panic_while_holding(&mut self) {
        let end = catch_unwind(AssertUnwindSafe(|| {
            let mut buffer = self.world.pool.acquire(self.dice.below(LARGEST));
            buffer.extend_from_slice(b"held");
            let shared = buffer.into_shared();
            let _clone = shared.clone();
            let mut waiting = pin!(self.world.pool.acquire_async(1));
            let _waits = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            resume_unwind(Box::new(OnPurpose));
        }));
        assert!(end.is_err_and(|payload| payload.is::<OnPurpose>()));
    }
}

/// If the mailbox is full, drops the parcel, after unlocking.
fn send(mailbox: &Mutex<VecDeque<Parcel>>, parcel: Parcel) {
    let mut parcels = mailbox.lock().unwrap();
    if parcels.len() < MAILBOX {
        parcels.push_back(parcel);
    } else {
        drop(parcels);
        drop(parcel);
    }
}

struct Bell {
    thread: Thread,
    rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// Every parcel holds a part of this.
static PATTERN: [u8; 4 * LARGEST] = {
    let mut pattern = [0; 4 * LARGEST];
    let mut at = 0;
    while at < pattern.len() {
        pattern[at] = at as u8;
        at += 1;
    }
    pattern
};

struct Parcel {
    handle: Handle,
    start: usize,
    len: usize,
}

enum Handle {
    Buffer(PooledBuffer),
    Shared(PooledBytes),
    Plain(Bytes),
}

impl Parcel {
    fn expected(&self) -> &'static [u8] {
        &PATTERN[self.start % 256..][..self.len]
    }

    fn check(&self) {
        let bytes: &[u8] = match &self.handle {
            Handle::Buffer(buffer) => buffer,
            Handle::Shared(shared) => shared,
            Handle::Plain(plain) => plain,
        };
        assert!(bytes == self.expected(), "{} bytes are not what was written", self.len);
    }

    fn range(&self, dice: &mut Dice) -> (usize, usize) {
        let from = dice.below(self.len + 1);
        (from, from + dice.below(self.len - from + 1))
    }

    fn part(&self, from: usize, to: usize, handle: Handle) -> Self {
        Self { handle, start: self.start + from, len: to - from }
    }

    /// Sometimes beyond its class, and beyond all classes.
    fn grow(&mut self, mut buffer: PooledBuffer, dice: &mut Dice) -> PooledBuffer {
        let more = dice.below(self.len.max(16));
        if self.len + more < 2 * LARGEST {
            self.len += more;
            buffer.extend_from_slice(&self.expected()[self.len - more..]);
        }
        buffer
    }
}

/// xorshift64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }
}
