//! Acquire and drop on one thread: the price of a pool's own work, the bytes untouched.

use std::alloc::System;

use mimalloc::MiMalloc;
use tikv_jemallocator::Jemalloc;

use crate::contest::{Contestant, SLICE, contest};
use crate::contestants::{KIB, acquire as by};
use crate::outcome::{Role, Row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        contest("1 KiB", SLICE, contestants::<KIB>()),
        contest("64 KiB", SLICE, contestants::<{ 64 * KIB }>()),
    ]
}

fn contestants<const SIZE: usize>() -> Vec<Contestant> {
    let rival = Role::Rival;
    vec![
        Contestant::new(Role::Ours, "millpond", by::millpond(SIZE)),
        Contestant::new(Role::Limit, "limit", by::thread_local_stack(SIZE)),
        Contestant::new(rival, "malloc, glibc", by::allocator(System, SIZE)),
        Contestant::new(rival, "malloc, jemalloc", by::allocator(Jemalloc, SIZE)),
        Contestant::new(rival, "malloc, mimalloc", by::allocator(MiMalloc, SIZE)),
        Contestant::new(rival, "zeropool", by::zeropool(SIZE)),
        Contestant::new(rival, "opool", by::opool(SIZE)),
        Contestant::new(rival, "opool, local", by::opool_local(SIZE)),
        Contestant::new(rival, "object-pool", by::object_pool(SIZE)),
        Contestant::new(rival, "lockfree-object-pool", by::lockfree_object_pool(SIZE)),
        Contestant::new(rival, "sharded-slab", by::sharded_slab::<SIZE>()),
        Contestant::new(rival, "byte-pool", by::byte_pool(SIZE)),
        Contestant::new(rival, "ArrayQueue", by::array_queue(SIZE)),
        Contestant::new(rival, "Mutex<Vec>", by::mutexed_stack(SIZE)),
    ]
}
