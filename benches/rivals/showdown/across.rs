//! Made and frozen on one thread, sent through a bounded channel, dropped on another: a proxy's pattern.
//!
//! 64 bytes are written, whatever the size: the rows tell the price of the storage's way, not of a copy.

use std::hint::black_box;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use crate::contest::{Contestant, contest};
use crate::contestants::{KIB, route};
use crate::outcome::{Role, Row};

/// Messages that wait, at most.
const CHANNEL: usize = 256;
/// Longer than elsewhere: a slice ends when the other thread has dropped all, which takes a wake-up.
const SLICE: Duration = Duration::from_millis(10);

pub(crate) fn rows() -> Vec<Row> {
    vec![contest("1 KiB", SLICE, contestants(KIB)), contest("16 KiB", SLICE, contestants(16 * KIB))]
}

fn contestants(size: usize) -> Vec<Contestant> {
    let (ours, rival) = (Role::Ours, Role::Rival);
    vec![
        Contestant::batched(ours, "freeze", handed_over(route::freeze(size))),
        Contestant::batched(ours, "into_shared", handed_over(route::into_shared(size))),
        Contestant::batched(rival, "BytesMut", handed_over(route::bytes_mut(size))),
        Contestant::batched(rival, "from_owner(PooledBuffer)", handed_over(route::owned_pooled(size))),
        // What the channel itself takes of all the others' numbers.
        Contestant::batched(Role::Limit, "the channel alone", handed_over(|| Bytes::from_static(&[7; 64]))),
    ]
}

/// Makes this many messages here and waits until a thread of its own has dropped them.
fn handed_over<T: Send + 'static>(make: impl Fn() -> T + 'static) -> impl FnMut(u64) + 'static {
    let (send, receive) = sync_channel::<Option<T>>(CHANNEL);
    let (done, all_dropped) = sync_channel(1);
    // It ends with the channel.
    thread::spawn(move || {
        for message in receive {
            match message {
                Some(message) => drop(black_box(message)),
                None => done.send(()).expect("the maker waits"),
            }
        }
    });
    move |times| {
        for _ in 0..times {
            send.send(Some(make())).expect("the dropper lives");
        }
        send.send(None).expect("the dropper lives");
        all_dropped.recv().expect("the dropper lives");
    }
}
