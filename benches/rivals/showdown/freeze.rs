//! Acquire, write 64 bytes, freeze, drop, on one thread.

use std::hint::black_box;

use crate::contest::{Contestant, SLICE, contest};
use crate::contestants::{KIB, heap, route};
use crate::outcome::{Role, Row};

pub(crate) fn rows() -> Vec<Row> {
    vec![contest("1 KiB", SLICE, contestants(KIB)), contest("64 KiB", SLICE, contestants(64 * KIB))]
}

fn contestants(size: usize) -> Vec<Contestant> {
    vec![
        Contestant::new(Role::Ours, "freeze", dropped(route::freeze(size))),
        Contestant::new(Role::Ours, "into_shared", dropped(route::into_shared(size))),
        Contestant::new(Role::Rival, heap::named("BytesMut"), dropped(route::bytes_mut(size))),
        Contestant::new(Role::Rival, heap::named("split().freeze()"), dropped(route::split(size))),
        Contestant::new(
            Role::Rival,
            heap::named("from_owner(PooledBuffer)"),
            dropped(route::owned_pooled(size)),
        ),
        Contestant::new(Role::Rival, heap::named("from_owner(Vec)"), dropped(route::owned_vec(size))),
    ]
}

fn dropped<T>(make: impl Fn() -> T + 'static) -> impl Fn() + 'static {
    move || {
        black_box(&mut make());
    }
}
