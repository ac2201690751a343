use std::fmt;
use std::mem;
use std::ops::{Deref, RangeBounds};

use bytes::{Buf, Bytes};

use super::slot::{Parked, Slot};
use super::thread;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex};

/// Immutable bytes of a [`BufferPool`](super::BufferPool), cheap to clone and to slice; the storage goes
/// back to the pool at the very drop of the last handle.
///
/// While there is one handle, neither making nor dropping it takes a malloc or a locked instruction. The
/// first clone moves the slot to a place that the handles share; that place is made once for a slot and
/// kept with it.
///
/// # Examples
///
/// ```
/// use millpond::{BufferPool, BufferPoolConfig};
///
/// let pool = BufferPool::new(BufferPoolConfig::messages());
/// let mut buffer = pool.acquire(5);
/// buffer.extend_from_slice(b"hello");
/// let whole = buffer.into_shared();
/// let tail = whole.slice(1..);
/// drop(whole);
/// assert_eq!((&tail[..], pool.stats().currently_in_use), (&b"ello"[..], 1));
/// drop(tail);
/// assert_eq!(pool.stats().currently_in_use, 0);
/// ```
pub struct PooledBytes {
    view: Bytes,
    /// Locked by the methods that share through `&self`; a drop has `&mut self` and needs no lock.
    owner: Mutex<Owner>,
}

enum Owner {
    One(Box<Slot>),
    Many(Arc<Shell>),
    /// Only while the handle is being dropped.
    Gone,
}

/// Where a slot stays while several handles share it.
pub(super) struct Shell {
    holders: AtomicUsize,
    slot: Mutex<Option<Parked>>,
}

impl PooledBytes {
    pub(super) fn new(mut slot: Box<Slot>) -> Self {
        Self { view: slot.freeze(), owner: Mutex::new(Owner::One(slot)) }
    }

    /// Bytes seen through this handle.
    #[must_use]
    pub fn len(&self) -> usize {
        self.view.len()
    }

    /// Whether it sees no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view.is_empty()
    }

    /// A handle to a part of the bytes, without a copy. It keeps the whole buffer from its pool.
    ///
    /// # Panics
    ///
    /// If the range lies outside of `0..len()`.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        self.share(self.view.slice(range))
    }

    /// Splits off and returns the first `at` bytes; this handle keeps the rest.
    ///
    /// # Panics
    ///
    /// If `at > len()`.
    #[must_use = "dropping it is `advance`, at a higher price"]
    pub fn split_to(&mut self, at: usize) -> Self {
        let head = self.share(self.view.slice(..at));
        self.view.advance(at);
        head
    }

    /// Another handle of the same storage, with its own view.
    fn share(&self, view: Bytes) -> Self {
        let mut owner = self.owner.lock();
        let shell = match mem::replace(&mut *owner, Owner::Gone) {
            Owner::Many(shell) => {
                // Ordering: Relaxed. The new holder comes out of an existing one, whose own count keeps
                // the shell; whoever gets the new handle in another thread gets it by a synchronising way.
                shell.holders.fetch_add(1, Ordering::Relaxed);
                shell
            }
            Owner::One(mut slot) => {
                let shell = slot.shell.take().unwrap_or_else(|| Arc::new(Shell::new()));
                *shell.slot.lock() = Some(Parked::new(slot, self.view.clone()));
                // Ordering: Relaxed. No other holder exists yet, and a holder of the slot's last sharing
                // never looks at the count again after it took itself off.
                shell.holders.store(2, Ordering::Relaxed);
                shell
            }
            Owner::Gone => unreachable!("a handle owns its slot until it is dropped"),
        };
        *owner = Owner::Many(Arc::clone(&shell));
        Self { view, owner: Mutex::new(Owner::Many(shell)) }
    }
}

impl Shell {
    fn new() -> Self {
        Self { holders: AtomicUsize::new(0), slot: Mutex::new(None) }
    }
}

impl Drop for PooledBytes {
    fn drop(&mut self) {
        // The view goes first: whoever is last finds the storage without other views of handles.
        let view = mem::take(&mut self.view);
        match mem::replace(self.owner.get_mut(), Owner::Gone) {
            Owner::One(slot) => settle(Parked::new(slot, view), None),
            Owner::Many(shell) => {
                drop(view);
                // Ordering: AcqRel. Release: what this holder did with the slot's place is over before
                // another may take itself for the last. Acquire: if this one is the last, it sees all
                // that. Of several that drop at once the count makes exactly one the last, so the slot
                // is taken once, and never by two or by none.
                if shell.holders.fetch_sub(1, Ordering::AcqRel) == 1 {
                    let parked = shell.slot.lock().take();
                    if let Some(parked) = parked {
                        settle(parked, Some(shell));
                    }
                }
            }
            Owner::Gone => {}
        }
    }
}

/// Returns the slot of the last handle; parks it if some plain `Bytes` was made of the storage.
fn settle(parked: Parked, shell: Option<Arc<Shell>>) {
    match parked.reclaim() {
        Ok(mut slot) => {
            if shell.is_some() {
                slot.shell = shell;
            }
            thread::give_back(slot);
        }
        Err(parked) => thread::park(parked),
    }
}

impl Clone for PooledBytes {
    fn clone(&self) -> Self {
        self.share(self.view.clone())
    }
}

impl Deref for PooledBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.view
    }
}

impl AsRef<[u8]> for PooledBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Buf for PooledBytes {
    fn remaining(&self) -> usize {
        self.view.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.view.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.view.advance(count);
    }

    /// Without a copy.
    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        self.split_to(len).into()
    }
}

/// Without a copy or a malloc. From then on the pool finds the storage as it finds that of
/// [`PooledBuffer::freeze`](super::PooledBuffer::freeze): some time after the last `Bytes` is gone.
impl From<PooledBytes> for Bytes {
    fn from(shared: PooledBytes) -> Self {
        shared.view.clone()
    }
}

/// Equal when the bytes are.
impl PartialEq for PooledBytes {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for PooledBytes {}

/// Sizes only: what a buffer holds does not belong into a log.
impl fmt::Debug for PooledBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBytes").field("len", &self.len()).finish_non_exhaustive()
    }
}
