//! The handles that a case holds, each beside a plain copy of its bytes, and its waiters.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use millpond::{Acquire, AcquireError, PooledBuffer, PooledBytes};

pub(super) struct Held {
    pub(super) handle: Handle,
    pub(super) bytes: Vec<u8>,
    /// None for bytes that hold no storage of the pool.
    pub(super) storage: Option<Rc<Storage>>,
}

pub(super) enum Handle {
    Buffer(PooledBuffer),
    Shared(PooledBytes),
    Plain(Bytes),
}

/// One buffer of the pool, with one reference per handle to it.
pub(super) struct Storage {
    /// Size of its class in bytes; 0 if it is from the heap.
    pub(super) class: usize,
    /// Whether it is frozen and tracked by the pool.
    pub(super) frozen: bool,
}

impl Held {
    pub(super) fn seen(&self) -> &[u8] {
        match &self.handle {
            Handle::Buffer(buffer) => buffer,
            Handle::Shared(shared) => shared,
            Handle::Plain(plain) => plain,
        }
    }

    /// Another handle to a part of the bytes; `None` for a buffer, which has only one.
    pub(super) fn slice(&self, from: usize, len: usize) -> Option<Self> {
        let all = (from, len) == (0, self.bytes.len());
        let mut storage = self.storage.clone().filter(|_| len > 0); // an empty slice holds no storage
        let handle = match &self.handle {
            Handle::Buffer(_) => return None,
            Handle::Shared(shared) if all => Handle::Shared(shared.clone()),
            Handle::Shared(shared) => Handle::Shared(shared.slice(from..from + len)),
            Handle::Plain(plain) if all => {
                storage.clone_from(&self.storage); // but an empty clone of plain bytes does
                Handle::Plain(plain.clone())
            }
            Handle::Plain(plain) => Handle::Plain(plain.slice(from..from + len)),
        };
        Some(Self { handle, bytes: self.bytes[from..from + len].to_vec(), storage })
    }
}

pub(super) struct Waiting {
    pub(super) future: Acquire,
    pub(super) size: usize,
    pub(super) wakes: Arc<Wakes>,
}

#[derive(Default)]
pub(super) struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Waiting {
    pub(super) fn poll(&mut self) -> Poll<Result<PooledBuffer, AcquireError>> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker))
    }

    pub(super) fn woken(&self) -> bool {
        self.wakes.0.load(Ordering::SeqCst) > 0
    }
}
