//! Acquire and drop, once for each contestant, with the settings its documentation calls the fastest.
//!
//! Nobody touches the bytes; everyone tells their address to [`black_box`], so that the work is not optimised
//! away and no handle is forced into memory for the benchmark's sake.
//! A pool of objects holds `BytesMut`, like ours, and clears it, as anything that reuses bytes must.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Mutex;

use bytes::BytesMut;
use crossbeam_queue::ArrayQueue;
use millpond::BufferPool;

use super::pool;

/// Objects that a pool with a fixed number of places keeps: more than any row here has out at once.
const PLACES: usize = 64;

pub(crate) fn millpond(size: usize) -> impl Fn() + Send + Sync + 'static {
    of(pool(), size)
}

pub(crate) fn of(pool: BufferPool, size: usize) -> impl Fn() + Send + Sync + 'static {
    move || {
        black_box(pool.acquire(size).as_ptr());
    }
}

/// The limit: a stack of the thread's own, which knows neither classes nor other threads nor counters. What it moves is
/// a handle of 8 bytes, as ours is.
pub(crate) fn thread_local_stack(size: usize) -> impl Fn() + Send + Sync + 'static {
    type Stack = RefCell<Vec<Box<BytesMut>>>;
    thread_local!(static STACK: Stack = const { RefCell::new(Vec::new()) });
    STACK.with_borrow_mut(Vec::clear);
    move || {
        let mut buffer =
            STACK.with_borrow_mut(Vec::pop).unwrap_or_else(|| Box::new(BytesMut::with_capacity(size)));
        black_box(buffer.as_mut_ptr());
        buffer.clear();
        STACK.with_borrow_mut(|stack| stack.push(buffer));
    }
}

/// An allocator called directly, so that several fit into one process and none pays for another's work.
///
/// A few blocks of the size stay allocated, as in any program: an allocator that gives a page back when its
/// only block is freed would do so each time (mimalloc then takes ten times as long). Otherwise they are as
/// they come; a larger `tcache_max` of jemalloc, whose thread cache ends at 32 KiB, changed nothing at 64 KiB.
pub(crate) fn allocator(
    allocator: impl GlobalAlloc + Send + Sync + 'static,
    size: usize,
) -> impl Fn() + Send + Sync + 'static {
    let layout = Layout::array::<u8>(size).expect("a size that fits");
    for _ in 0..8 {
        // SAFETY: the layout is not empty. The block is never freed.
        black_box(unsafe { allocator.alloc(layout) });
    }
    move || {
        // SAFETY: the layout is not empty.
        let buffer = black_box(unsafe { allocator.alloc(layout) });
        // SAFETY: just allocated there with this layout, and not used any more.
        unsafe { allocator.dealloc(buffer, layout) };
    }
}

/// `alloc_uninit`, "the fastest path", leaves out the zeroing of `alloc`. Stats are off by default; 8 is the
/// deepest thread cache its documentation shows. Its smallest class is 4 KiB.
pub(crate) fn zeropool(size: usize) -> impl Fn() + Send + Sync + 'static {
    let pool = zeropool::ZeroPool::new().tls_cache_size(8).max_buffers_per_class(PLACES);
    move || {
        black_box(pool.alloc_uninit(size).as_uninit_mut().as_mut_ptr());
    }
}

/// What `opool` asks of its user; its documentation wants the functions inlined.
struct Storage(usize);

impl opool::PoolAllocator<BytesMut> for Storage {
    #[inline]
    fn allocate(&self) -> BytesMut {
        BytesMut::with_capacity(self.0)
    }

    #[inline]
    fn reset(&self, buffer: &mut BytesMut) {
        buffer.clear();
    }
}

/// `get` borrows the pool: "recommended" over `get_rc`, which counts a reference each time.
pub(crate) fn opool(size: usize) -> impl Fn() + Send + Sync + 'static {
    let pool = opool::Pool::new(PLACES, Storage(size));
    move || {
        black_box(pool.get().as_mut_ptr());
    }
}

/// Its pool for one thread, which can neither be shared nor sent.
pub(crate) fn opool_local(size: usize) -> impl Fn() + 'static {
    let pool = opool::LocalPool::new(PLACES, Storage(size));
    move || {
        black_box(pool.get().as_mut_ptr());
    }
}

/// `pull`: borrowed, because `pull_owned` "is about 10 % slower". It leaves the reset to its user.
pub(crate) fn object_pool(size: usize) -> impl Fn() + Send + Sync + 'static {
    let pool = object_pool::Pool::new(1, || BytesMut::with_capacity(size));
    move || {
        let mut buffer = pool.pull(|| BytesMut::with_capacity(size));
        buffer.clear();
        black_box(buffer.as_mut_ptr());
    }
}

/// The linear one is the fastest of its four pools by its own tables; `pull` borrows.
pub(crate) fn lockfree_object_pool(size: usize) -> impl Fn() + Send + Sync + 'static {
    let pool =
        lockfree_object_pool::LinearObjectPool::new(move || BytesMut::with_capacity(size), BytesMut::clear);
    move || {
        black_box(pool.pull().as_mut_ptr());
    }
}

/// `clear` marks the entry for the pool's own clearing, which keeps the storage. Its objects come from
/// `Default`, so the size is a constant.
pub(crate) fn sharded_slab<const SIZE: usize>() -> impl Fn() + Send + Sync + 'static {
    struct Entry<const SIZE: usize>(BytesMut);

    impl<const SIZE: usize> Default for Entry<SIZE> {
        fn default() -> Self {
            Self(BytesMut::with_capacity(SIZE))
        }
    }

    impl<const SIZE: usize> sharded_slab::Clear for Entry<SIZE> {
        fn clear(&mut self) {
            self.0.clear();
        }
    }

    let pool = sharded_slab::Pool::<Entry<SIZE>>::new();
    move || {
        let mut entry = pool.create().expect("room for one");
        black_box(entry.0.as_mut_ptr());
        let key = entry.key();
        drop(entry);
        pool.clear(key);
    }
}

/// It has no settings, and holds `Vec`s whose length is their size: there is nothing to clear.
pub(crate) fn byte_pool(size: usize) -> impl Fn() + Send + Sync + 'static {
    let pool = byte_pool::BytePool::<Vec<u8>>::new();
    move || {
        black_box(pool.alloc(size).as_mut_ptr());
    }
}

pub(crate) fn array_queue(size: usize) -> impl Fn() + Send + Sync + 'static {
    let queue = ArrayQueue::new(PLACES);
    move || {
        let mut buffer: BytesMut = queue.pop().unwrap_or_else(|| BytesMut::with_capacity(size));
        black_box(buffer.as_mut_ptr());
        buffer.clear();
        // Full: the buffer is freed, as a pool would.
        let _ = queue.push(buffer);
    }
}

pub(crate) fn mutexed_stack(size: usize) -> impl Fn() + Send + Sync + 'static {
    let stack = Mutex::new(Vec::new());
    move || {
        let buffer: Option<BytesMut> = stack.lock().expect("no panic").pop();
        let mut buffer = buffer.unwrap_or_else(|| BytesMut::with_capacity(size));
        black_box(buffer.as_mut_ptr());
        buffer.clear();
        stack.lock().expect("no panic").push(buffer);
    }
}
