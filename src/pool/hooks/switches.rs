//! Debug switches, after those of HAProxy's pools: with the feature `pool-debug` and the environment variable
//! `MILLPOND_DEBUG`, each pool that is made from then on does one thing, or several, worse or with more care.
//!
//! | switch | does |
//! |---|---|
//! | `poison` | fills what comes back with 0xDE |
//! | `integrity` | the same, and panics if it is not so any more when the buffer is handed out again; and if a buffer comes back to another pool, or smaller than its class |
//! | `no-cache` | no thread keeps anything |
//! | `no-shared` | the shared queues keep nothing |
//! | `fail` | of 10 acquires that find nothing in their thread's cache one is refused, as if the memory limit were reached |
//! | `drop` | of 4 buffers that come back one is freed |
//! | `caller` | every acquire is followed, for [`holders`](crate::pool::BufferPool::holders) |

use core::num::NonZeroU32;
use std::env;

use bytes::BytesMut;

use crate::pool::config::BufferPoolConfig;
use crate::sync::statistic::{AtomicU32, Ordering};

const POISON: u8 = 0xDE;

pub(in crate::pool) struct Switches {
    poison: bool,
    integrity: bool,
    no_shared: bool,
    fail: bool,
    drop: bool,
    /// Draws lots, the same in each run of one thread.
    drawn: AtomicU32,
}

impl Switches {
    /// Those that are set, and what becomes of the configuration by them.
    ///
    /// # Panics
    ///
    /// If one is misspelt: a switch that does nothing would prove nothing.
    #[expect(clippy::panic, reason = "a debug switch")]
    pub(in crate::pool) fn from_environment(config: &BufferPoolConfig) -> (Option<Self>, BufferPoolConfig) {
        let mut config = config.to_builder();
        let Ok(names) = env::var("MILLPOND_DEBUG") else { return (None, config.built()) };
        let mut switches = Self {
            poison: false,
            integrity: false,
            no_shared: false,
            fail: false,
            drop: false,
            drawn: AtomicU32::new(1),
        };
        for name in names.split(',').filter(|name| !name.is_empty()) {
            match name {
                "poison" => switches.poison = true,
                "integrity" => switches.integrity = true,
                "no-cache" => config = config.thread_cache_bytes(0),
                "no-shared" => switches.no_shared = true,
                "fail" => switches.fail = true,
                "drop" => switches.drop = true,
                "caller" => config = config.sample_one_in(NonZeroU32::MIN),
                other => panic!("MILLPOND_DEBUG: no switch `{other}`"),
            }
        }
        (Some(switches), config.built())
    }

    /// A buffer comes back.
    pub(in crate::pool) fn fill(&self, storage: &mut BytesMut) {
        if self.poison || self.integrity {
            storage.clear();
            storage.resize(storage.capacity(), POISON);
        }
    }

    /// A buffer is handed out. New storage is empty.
    pub(in crate::pool) fn check(&self, storage: &mut BytesMut) {
        assert!(
            !self.integrity || storage.iter().all(|&byte| byte == POISON),
            "a buffer was written to after it came back"
        );
        storage.clear();
    }

    /// A buffer of the pool at `home` comes back to the one at `here`, whole or not.
    pub(in crate::pool) fn check_home<T>(&self, home: *const T, here: *const T, whole: bool) {
        assert!(
            !self.integrity || (home == here && whole),
            "a buffer came back to a place that is not its own"
        );
    }

    pub(in crate::pool) fn keeps_nothing_shared(&self) -> bool {
        self.no_shared
    }

    pub(in crate::pool) fn must_fail(&self) -> bool {
        self.fail && self.draw().is_multiple_of(10)
    }

    pub(in crate::pool) fn must_drop(&self) -> bool {
        self.drop && self.draw().is_multiple_of(4)
    }

    fn draw(&self) -> u32 {
        // A step of a linear congruential generator (Numerical Recipes), its high bits.
        let next = |drawn: u32| Some(drawn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        // Ordering: Relaxed, any number will do.
        self.drawn.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default() >> 16
    }
}
