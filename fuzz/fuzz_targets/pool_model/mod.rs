//! Model of the pool: a `Vec<u8>` and a reference count beside each handle.
//!
//! The fuzzer, the replay of the checked-in corpus (`tests/fuzz_corpus.rs`) and proptest (`tests/pool_operations.rs`) all
//! run [`Case::check`].
//!
//! Input: `u8` [`Setup`] | operations of four bytes: code, handle, two numbers. Any input is a case.

mod held;
mod world;

use std::fmt;
use std::num::NonZeroU32;

use millpond::{BufferPool, BufferPoolConfig};

use self::world::World;

/// `(size, capacity)`: small enough for every queue to run full and empty within a short case.
const CLASSES: [(usize, usize); 3] = [(16, 3), (64, 5), (256, 2)];
const LARGEST: usize = 256;

pub(crate) struct Case {
    setup: Setup,
    operations: Vec<Operation>,
}

#[derive(Clone, Copy, Debug)]
struct Setup {
    cache: usize,
    limit: usize,
    wipe: bool,
    sample: bool,
    record: bool,
    next_class: bool,
}

/// What a user can do. If it is done to a handle or a waiter, the first number selects it: 0 is the newest handle, or the
/// oldest waiter.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Acquire(usize),
    TryAcquire(usize),
    /// Polled once. If it is not served, it becomes a waiter.
    AcquireAsync(usize),
    /// In another thread, which holds a second buffer meanwhile and then exits.
    AcquireElsewhere(usize),
    PollWaiting,
    Cancel(usize),
    Extend(usize, usize, u8),
    Put(usize, usize, u8),
    Reserve(usize, usize),
    Resize(usize, usize, u8),
    Truncate(usize, usize),
    Freeze(usize),
    FreezeTracked(usize),
    Share(usize),
    Clone(usize),
    Slice(usize, usize, usize),
    SplitTo(usize, usize),
    Advance(usize, usize),
    Write(usize, usize, u8),
    Unique(usize),
    Detach(usize, usize),
    IntoBytes(usize),
    CopyToBytes(usize, usize),
    IntoForeign(usize),
    Drop(usize),
    /// In another thread, which then exits.
    DropElsewhere(usize),
    Trim,
    Flush,
    Decay,
    /// Makes another pool the one that this thread used last.
    TouchOther,
    /// Drops the last `BufferPool`. Its buffers stay valid.
    Close,
}

impl Case {
    pub(crate) fn parse(input: &[u8]) -> Self {
        let (&setup, operations) = input.split_first().unwrap_or((&0, &[]));
        let operations = operations.as_chunks().0.iter().map(Operation::parse).collect();
        Self { setup: Setup::parse(setup), operations }
    }

    pub(crate) fn check(&self) {
        let mut world = World::new(self.setup);
        for &operation in &self.operations {
            world.apply(operation);
            world.assert_bytes();
            world.assert_books();
        }
        world.end();
    }
}

/// On one line, also if proptest asks for several.
impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.setup, self.operations)
    }
}

impl Setup {
    fn parse(bits: u8) -> Self {
        Self {
            cache: [0, 64, 256, 1 << 20][usize::from(bits & 3)],
            limit: [usize::MAX, LARGEST, 600, 2048][usize::from(bits >> 2 & 3)],
            // Half of the pools have no option that disables the fast paths.
            wipe: matches!(bits >> 4 & 7, 4 | 7),
            sample: matches!(bits >> 4 & 7, 5 | 7),
            record: matches!(bits >> 4 & 7, 6 | 7),
            next_class: bits & 128 != 0,
        }
    }

    fn pool(self) -> BufferPool {
        let mut builder = BufferPoolConfig::builder()
            .classes(CLASSES)
            .thread_cache_bytes(self.cache)
            .memory_limit(self.limit)
            .decay_interval(None)
            .wipe_on_return(self.wipe)
            .serve_from_next_class(self.next_class)
            .record_sizes(self.record);
        if self.sample {
            builder = builder.sample_one_in(NonZeroU32::MIN);
        }
        BufferPool::new(builder.build().unwrap())
    }
}

impl Operation {
    fn parse(&[code, handle, low, high]: &[u8; 4]) -> Self {
        let at = usize::from(handle);
        let (low, high) = (usize::from(low), usize::from(high));
        // Half of the sizes are near a class's size, the others reach beyond the largest class.
        let number = match high {
            128.. => [0, 1, 15, 16, 17, 63, 64, 65, 255, 256, 257][low % 11],
            _ => (low | high << 8) % 320,
        };
        let byte = handle ^ code;
        match code % 64 {
            0..=5 => Self::Acquire(number),
            6..=8 => Self::TryAcquire(number),
            9..=12 => Self::AcquireAsync(number),
            13 => Self::AcquireElsewhere(number),
            14..=15 => Self::PollWaiting,
            16 => Self::Cancel(at),
            17..=22 => Self::Extend(at, number, byte),
            23 => Self::Put(at, number, byte),
            24 => Self::Reserve(at, number),
            25 => Self::Resize(at, number, byte),
            26 => Self::Truncate(at, number),
            27..=30 => Self::Freeze(at),
            31 => Self::FreezeTracked(at),
            32..=34 => Self::Share(at),
            35..=37 => Self::Clone(at),
            38..=39 => Self::Slice(at, low, high),
            40 => Self::SplitTo(at, number),
            41..=42 => Self::Advance(at, low),
            43..=44 => Self::Write(at, low, byte),
            45..=46 => Self::Unique(at),
            47 => Self::Detach(at, low),
            48..=49 => Self::IntoBytes(at),
            50 => Self::CopyToBytes(at, number),
            51 => Self::IntoForeign(at),
            52..=57 => Self::Drop(at),
            58 => Self::DropElsewhere(at),
            59 => Self::Trim,
            60 => Self::Flush,
            61 => Self::Decay,
            62 => Self::TouchOther,
            _ if high == 255 => Self::Close, // rare, because most operations do nothing after it
            _ => Self::Drop(at),
        }
    }
}
