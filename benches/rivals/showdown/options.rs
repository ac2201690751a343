//! The same acquire and drop in pools with options: what does each cost?

use std::hint::black_box;
use std::num::NonZeroU32;

use millpond::{BufferPool, BufferPoolConfig, BufferPoolConfigBuilder};

use crate::contest::{Contestant, SLICE, contest};
use crate::contestants::{KIB, acquire as by, classes};
use crate::outcome::{Role, Row};

pub(crate) const PLAIN: &str = "no option";
/// Far more than is out at once.
const LIMIT: usize = 64 << 20;
const ONE_IN: NonZeroU32 = NonZeroU32::new(1000).unwrap();

pub(crate) fn rows() -> Vec<Row> {
    let with = |name, set: fn(BufferPoolConfigBuilder) -> BufferPoolConfigBuilder| {
        let pool = BufferPool::new(set(classes()).build().expect("a valid table"));
        Contestant::new(Role::Ours, name, by::of(pool, KIB))
    };
    let contestants = vec![
        with(PLAIN, |pool| pool),
        with("memory_limit", |pool| pool.memory_limit(LIMIT)),
        with("sample_one_in(1000)", |pool| pool.sample_one_in(ONE_IN)),
        with("record_sizes", |pool| pool.record_sizes(true)),
        with("wipe_on_return", |pool| pool.wipe_on_return(true)),
        Contestant::new(Role::Ours, "README's second example", readme()),
    ];
    vec![contest("1 KiB", SLICE, contestants)]
}

fn readme() -> impl Fn() {
    let config = BufferPoolConfig::proxy().to_builder().memory_limit(LIMIT).sample_one_in(ONE_IN);
    let pool = BufferPool::new(config.build().expect("a valid table"));
    move || {
        black_box(pool.try_acquire(8 * KIB).expect("it is below the limit").as_ptr());
    }
}
