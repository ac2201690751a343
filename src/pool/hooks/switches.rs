//! Debug switches, after those of HAProxy's pools. With the feature `pool-debug`, each pool reads the environment
//! variable `MILLPOND_DEBUG` when it is created: a list of switches, separated by commas. In a pool with switches all
//! buffers take the slow paths, which is five times as many instructions, and a fill of the whole storage if it is asked
//! for. Without the variable the feature costs nothing.
//!
//! | switch | effect |
//! |---|---|
//! | `poison` | fills returned buffers with 0xDE |
//! | `integrity` | the same, and panics if the fill has changed when the buffer is handed out again, or if a buffer is returned to another pool or smaller than its class |
//! | `no-cache` | turns off the thread caches |
//! | `no-shared` | the shared queues keep nothing |
//! | `fail` | one in 10 acquires that miss their thread's cache fails, as if the memory limit were reached |
//! | `drop` | one in 4 returned buffers is freed |
//! | `caller` | every acquire is sampled, for [`holders`](crate::BufferPool::holders) |

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
    /// State of a random generator; the same sequence in each run of one thread.
    drawn: AtomicU32,
}

impl Switches {
    /// The switches that are set, and the configuration as they change it.
    ///
    /// # Panics
    ///
    /// If a name is unknown: a misspelt switch would do nothing unnoticed.
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

    /// A buffer is returned.
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
            "a buffer was written to after its return"
        );
        storage.clear();
    }

    /// A buffer of the pool at `home` is returned to the pool at `here`, whole or not.
    pub(in crate::pool) fn check_home<T>(&self, home: *const T, here: *const T, whole: bool) {
        assert!(
            !self.integrity || (home == here && whole),
            "a buffer was returned to the wrong pool, or smaller than its class"
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
        // Ordering: Relaxed. Any number will do.
        self.drawn.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default() >> 16
    }
}
