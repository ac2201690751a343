//! Channels: limits, lost frames, locks, and what dropped subscribers leave.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{Channel, Limits, PLACES_KEPT};
use crate::bus::{FrameSubscriber, RecvError};
use crate::frame::tlv::Frame;
use crate::pool::{BufferPool, BufferPoolConfig};
use crate::sync::Arc;

fn channel(frames: usize, bytes: usize) -> Arc<Channel> {
    Arc::new(Channel::new("topic", Limits { frames, bytes }))
}

/// A pool with one class of this size.
fn pool(size: usize) -> BufferPool {
    BufferPool::new(BufferPoolConfig::builder().class(size, 1024).thread_cache_bytes(0).build().unwrap())
}

fn send(channel: &Channel, pool: &BufferPool, type_id: u16) -> bool {
    let mut payload = pool.acquire(1);
    payload.extend_from_slice(&[1]);
    let payload = payload.into_shared();
    channel.send(Frame { type_id, payload }, |frame| frame)
}

fn take(subscriber: &mut FrameSubscriber) -> Option<Result<u16, RecvError>> {
    let taken = subscriber.channel.take(&mut subscriber.next);
    taken.map(|outcome| outcome.map(|frame| frame.type_id))
}

#[test]
fn a_channel_keeps_at_most_its_byte_limit() {
    let (channel, pool) = (channel(100, 1000), pool(300));
    let (mut early, mut quick) =
        (FrameSubscriber::new(Arc::clone(&channel)), FrameSubscriber::new(Arc::clone(&channel)));
    for id in 0..10 {
        send(&channel, &pool, id);
        assert_eq!(take(&mut quick), Some(Ok(id)));
        assert_eq!(take(&mut quick), None);
    }
    assert_eq!((pool.stats().in_use, channel.ring.lock().bytes), (3, 900));
    let mut late = FrameSubscriber::new(Arc::clone(&channel));
    assert_eq!(take(&mut early), Some(Err(RecvError::Lagged(7))));
    assert_eq!(take(&mut early), Some(Ok(7)));
    send(&channel, &pool, 10);
    send(&channel, &pool, 11);
    assert_eq!(take(&mut early), Some(Err(RecvError::Lagged(1))));
    for id in 9..12 {
        assert_eq!(take(&mut early), Some(Ok(id)));
    }
    assert_eq!((take(&mut late), take(&mut late), take(&mut late)), (Some(Ok(10)), Some(Ok(11)), None));
    drop(quick);
    assert_eq!((pool.stats().in_use, channel.ring.lock().bytes), (0, 0));
}

#[test]
fn slices_of_one_read_count_once() {
    let (channel, pool) = (channel(100, 600), pool(300));
    let mut subscriber = FrameSubscriber::new(Arc::clone(&channel));
    let reads = [(); 3].map(|()| {
        let mut read = pool.acquire(300);
        read.resize(300, 0);
        read.into_shared()
    });
    for (read, at) in (0..3).flat_map(|read| (0..10).map(move |at| (read, at))) {
        let payload = reads[read].slice(at * 30..(at + 1) * 30);
        channel.send(Frame { type_id: read as u16, payload }, |frame| frame);
    }
    drop(reads);
    // The third read exceeds the limit, so all slices of the first were evicted.
    assert_eq!(take(&mut subscriber), Some(Err(RecvError::Lagged(10))));
    for n in 0..20 {
        assert_eq!(pool.stats().in_use, 2 - n / 10);
        assert_eq!(channel.ring.lock().bytes, 300 * (2 - n as usize / 10));
        assert_eq!(take(&mut subscriber), Some(Ok(1 + n as u16 / 10)));
    }
    assert_eq!((pool.stats().in_use, channel.ring.lock().bytes), (0, 0));
}

#[test]
fn one_frame_is_kept_however_large() {
    let (channel, pool) = (channel(0, 0), pool(300));
    let mut subscriber = FrameSubscriber::new(Arc::clone(&channel));
    for id in 0..3 {
        send(&channel, &pool, id);
    }
    channel.close();
    send(&channel, &pool, 3);
    assert_eq!(take(&mut subscriber), Some(Err(RecvError::Lagged(2))));
    assert_eq!(take(&mut subscriber), Some(Ok(2)));
    assert_eq!(take(&mut subscriber), Some(Err(RecvError::Closed)));
}

/// After subscribers were added and dropped at random, no frame is left, and none is counted.
#[test]
fn dropped_subscribers_leave_nothing_kept() {
    let (channel, pool) = (channel(8, 2000), pool(300));
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| (0..20_000).filter(|id| send(&channel, &pool, *id)).count());
            threads.spawn(|| {
                for round in 0..2000 {
                    let mut subscriber = FrameSubscriber::new(Arc::clone(&channel));
                    for _ in 0..round % 20 {
                        let _ = take(&mut subscriber);
                    }
                }
            });
        }
    });
    let ring = channel.ring.lock();
    assert_eq!((ring.bytes, ring.kept.len(), channel.subscribers()), (0, 0, 0));
    assert_eq!(pool.stats().in_use, 0);
}

#[test]
fn capacity_is_released_after_a_burst() {
    let (channel, pool) = (channel(10_000, usize::MAX), pool(128));
    let mut subscriber = FrameSubscriber::new(Arc::clone(&channel));
    for burst in [200, 600, 5000] {
        for _ in 0..burst {
            send(&channel, &pool, 1);
        }
        while take(&mut subscriber).is_some() {}
        let places = channel.ring.lock().kept.capacity();
        // The capacity for usual bursts is kept for the next one.
        assert!(places <= PLACES_KEPT && (burst > PLACES_KEPT || burst <= places), "{places}");
    }
    // Without subscribers nothing is kept.
    drop(subscriber);
    send(&channel, &pool, 1);
    assert_eq!((pool.stats().in_use, channel.ring.lock().next()), (0, 5800));
}

#[test]
fn a_frame_without_subscribers_takes_no_lock() {
    let (channel, pool) = (channel(8, 8 * 300), pool(300));
    drop(FrameSubscriber::new(Arc::clone(&channel)));
    let (sender, receiver) = mpsc::channel();
    let _locked = channel.ring.lock();
    thread::spawn({
        let channel = Arc::clone(&channel);
        move || sender.send(send(&channel, &pool, 1))
    });
    assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok(false));
}

#[test]
fn frames_are_counted_once_per_subscriber_that_missed_them() {
    let (channel, pool) = (channel(4, usize::MAX), pool(300));
    let mut subscribers = [(); 3].map(|()| FrameSubscriber::new(Arc::clone(&channel)));
    for id in 0..10 {
        send(&channel, &pool, id);
        assert_eq!(take(&mut subscribers[0]), Some(Ok(id)));
    }
    assert_eq!(channel.lagged(), 2 * 6);
    for slow in &mut subscribers[1..] {
        assert_eq!(take(slow), Some(Err(RecvError::Lagged(6))));
    }
    assert_eq!(channel.lagged(), 2 * 6);
}

#[test]
fn the_oldest_frames_are_dropped_as_far_as_they_exceed_the_share() {
    let (channel, pool) = (channel(100, 10_000), pool(300));
    let mut subscriber = FrameSubscriber::new(Arc::clone(&channel));
    for id in 0..10 {
        send(&channel, &pool, id);
    }
    assert_eq!(channel.drop_oldest(301, 600), (2, 600));
    assert_eq!(channel.drop_oldest(usize::MAX, 600), (6, 1800));
    assert_eq!(channel.drop_oldest(usize::MAX, 600), (0, 0));
    assert_eq!(channel.lagged(), 8);
    assert_eq!(take(&mut subscriber), Some(Err(RecvError::Lagged(8))));
    assert_eq!(take(&mut subscriber), Some(Ok(8)));
    assert_eq!((channel.bytes(), pool.stats().in_use), (300, 1));
}

/// Its storage is not returned to the pool, so more frames are dropped.
#[test]
fn a_dropped_frame_that_others_keep_releases_nothing() {
    let (channel, pool) = (channel(100, 10_000), pool(300));
    let _subscriber = FrameSubscriber::new(Arc::clone(&channel));
    let kept = Frame { type_id: 1, payload: pool.acquire(1).into_shared() };
    channel.send(kept.clone(), |frame| frame);
    send(&channel, &pool, 2);
    send(&channel, &pool, 3);
    assert_eq!(channel.drop_oldest(300, 0), (2, 300));
    assert_eq!(pool.stats().in_use, 2);
}
