//! The oracle: applies operations to a pool and to plain values, and compares them with the pool's statistics.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::thread;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use millpond::{AcquireError, BufferPool, BufferPoolConfig, PooledBuffer, PooledBytes};

use super::held::{Handle, Held, Storage, Waiting};
use super::{CLASSES, LARGEST, Operation, Setup};

/// A pool and the oracle's knowledge of it.
pub(super) struct World {
    setup: Setup,
    /// `None` after [`Operation::Close`].
    pool: Option<BufferPool>,
    other: BufferPool,
    held: Vec<Held>,
    waiting: Vec<Waiting>,
    storages: Vec<Weak<Storage>>,
    acquires: u64,
    /// Buffers that were granted to a waiter that was cancelled: acquired and returned.
    unused_grants: u64,
    /// The largest possible number of frozen buffers: those of the last check, and those frozen since.
    frozen: u64,
}

impl World {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            setup,
            pool: Some(setup.pool()),
            other: BufferPool::new(BufferPoolConfig::from_map([(64, 4)]).unwrap()),
            held: Vec::new(),
            waiting: Vec::new(),
            storages: Vec::new(),
            acquires: 0,
            unused_grants: 0,
            frozen: 0,
        }
    }

    pub(super) fn apply(&mut self, operation: Operation) {
        use Operation as Op;
        match operation {
            Op::Close => {
                self.waiting.clear(); // each waiter keeps the pool open
                self.pool = None;
            }
            Op::TouchOther => drop(self.other.acquire(1)),
            Op::PollWaiting => self.poll_waiting(),
            Op::Cancel(at) => {
                if let Some(at) = at.checked_rem(self.waiting.len()) {
                    self.unused_grants += u64::from(self.waiting.remove(at).woken());
                }
            }
            Op::Acquire(size) => self.acquire(size),
            Op::TryAcquire(size) => self.try_acquire(size),
            Op::AcquireAsync(size) => self.acquire_async(size),
            Op::AcquireElsewhere(size) => self.acquire_elsewhere(size),
            Op::Trim => self.trim(),
            Op::Flush => self.with_pool(BufferPool::flush_thread_cache),
            Op::Decay => self.with_pool(|pool| _ = pool.decay()),
            Op::Extend(at, ..)
            | Op::Put(at, ..)
            | Op::Reserve(at, ..)
            | Op::Resize(at, ..)
            | Op::Truncate(at, ..)
            | Op::Freeze(at)
            | Op::FreezeTracked(at)
            | Op::Share(at)
            | Op::Clone(at)
            | Op::Slice(at, ..)
            | Op::SplitTo(at, ..)
            | Op::Advance(at, ..)
            | Op::Write(at, ..)
            | Op::Unique(at)
            | Op::Detach(at, ..)
            | Op::IntoBytes(at)
            | Op::CopyToBytes(at, ..)
            | Op::IntoForeign(at)
            | Op::Drop(at)
            | Op::DropElsewhere(at) => {
                let Some(at) = at.checked_rem(self.held.len()) else { return };
                let held = self.held.remove(self.held.len() - 1 - at);
                let kept = self.apply_to(operation, held);
                self.held.extend(kept);
            }
        }
    }

    /// Applies the operation to the handle, and returns the handle that results. Ignores handles of the wrong kind.
    fn apply_to(&mut self, operation: Operation, mut held: Held) -> Option<Held> {
        use Operation as Op;
        match operation {
            Op::Drop(_) => return None,
            Op::DropElsewhere(_) => {
                thread::spawn(move || drop(held.handle)).join().unwrap();
                return None;
            }
            Op::Clone(_) => self.held.extend(held.slice(0, held.bytes.len())),
            Op::Slice(_, from, len) => {
                let from = from.min(held.bytes.len());
                self.held.extend(held.slice(from, len.min(held.bytes.len() - from)));
            }
            _ => {}
        }
        match held.handle {
            Handle::Buffer(buffer) => Some(self.apply_to_buffer(operation, buffer, held.bytes, held.storage)),
            Handle::Shared(shared) => self.apply_to_shared(operation, shared, held.bytes, held.storage),
            Handle::Plain(mut plain) => {
                match operation {
                    Op::Advance(_, count) => {
                        let count = count.min(plain.len());
                        plain.advance(count);
                        held.bytes.drain(..count);
                    }
                    Op::IntoForeign(_) => {
                        let mut foreign = BytesMut::from(plain);
                        foreign.fill(0xF0);
                        foreign.put_u8(0x0F);
                        held.bytes.fill(0xF0);
                        held.bytes.push(0x0F);
                        plain = foreign.freeze();
                        held.storage = None;
                    }
                    _ => {}
                }
                held.handle = Handle::Plain(plain);
                Some(held)
            }
        }
    }

    fn apply_to_buffer(
        &mut self,
        operation: Operation,
        mut buffer: PooledBuffer,
        mut bytes: Vec<u8>,
        mut storage: Option<Rc<Storage>>,
    ) -> Held {
        use Operation as Op;
        let (before, capacity) = (buffer.len(), buffer.capacity());
        let class = storage.as_ref().map_or(0, |storage| storage.class);
        let mut wanted = before;
        match operation {
            Op::Extend(_, len, byte) => {
                wanted += len;
                buffer.extend_from_slice(&vec![byte; len]);
                bytes.resize(wanted, byte);
            }
            Op::Resize(_, len, byte) => {
                wanted = len;
                buffer.resize(len, byte);
                bytes.resize(len, byte);
            }
            Op::Reserve(_, len) => {
                wanted += len;
                buffer.reserve(len);
            }
            Op::Put(_, len, byte) => {
                wanted += len;
                let source = vec![byte; len];
                buffer.put(source[..len / 2].chain(&source[len / 2..]));
                bytes.resize(wanted, byte);
                let room = buffer.capacity() - wanted;
                assert!(room == 0 || buffer.chunk_mut().len() == room);
            }
            Op::Advance(_, count) => {
                let count = count.min(before);
                buffer.advance(count);
                bytes.drain(..count);
                // Bytes that were cut off, and not dropped, leave the room before them as it is.
                let left = if bytes.is_empty() && count > 0 { class.max(capacity) } else { capacity - count };
                assert!(buffer.capacity() == left || (bytes.is_empty() && class == 0));
                return Held { handle: Handle::Buffer(buffer), bytes, storage };
            }
            Op::Truncate(_, len) => {
                buffer.truncate(len);
                bytes.truncate(len);
            }
            Op::Write(_, at, byte) => {
                write(&mut buffer, at, byte);
                write(&mut bytes, at, byte);
            }
            Op::Share(_) => return Held { handle: Handle::Shared(buffer.into_shared()), bytes, storage },
            Op::FreezeTracked(_) => {
                storage = storage.filter(|_| !bytes.is_empty());
                return Held { handle: Handle::Plain(buffer.freeze_tracked()), bytes, storage };
            }
            Op::Freeze(_) => return self.frozen(|| buffer.freeze(), bytes, storage),
            _ => {}
        }
        let moves = match class {
            _ if wanted <= capacity => false,
            // It may use the room of bytes that were read. The oracle does not know how much of the heap's that is, and
            // without a pool it makes no difference.
            0 => self.pool.as_ref().is_some_and(|pool| pool.stats().acquires > self.counted()),
            class => wanted > class || class - capacity < before,
        };
        if moves {
            let doubled = wanted.max(2 * capacity);
            let asked = if doubled > LARGEST && wanted <= LARGEST { wanted } else { doubled };
            storage = Some(self.made(asked, &buffer));
        } else if wanted <= capacity {
            assert_eq!(buffer.capacity(), capacity, "it moved without need");
        } else {
            assert!(buffer.capacity() >= class, "all of the storage");
        }
        Held { handle: Handle::Buffer(buffer), bytes, storage }
    }

    fn apply_to_shared(
        &mut self,
        operation: Operation,
        mut shared: PooledBytes,
        mut bytes: Vec<u8>,
        mut storage: Option<Rc<Storage>>,
    ) -> Option<Held> {
        use Operation as Op;
        let unique = storage.as_ref().is_some_and(|storage| Rc::strong_count(storage) == 1);
        let class = storage.as_ref().map_or(0, |storage| storage.class);
        assert!(if class == 0 { shared.storage_len() >= bytes.len() } else { shared.storage_len() == class });
        match operation {
            Op::SplitTo(_, at) => {
                let at = at.min(bytes.len());
                let head = shared.split_to(at);
                let rest = bytes.split_off(at);
                let theirs =
                    if rest.is_empty() { storage.take() } else { storage.clone().filter(|_| at > 0) };
                self.held.push(Held { handle: Handle::Shared(head), bytes, storage: theirs });
                bytes = rest;
            }
            Op::Advance(_, count) => {
                let count = count.min(bytes.len());
                shared.advance(count);
                bytes.drain(..count);
                storage = storage.filter(|_| !bytes.is_empty());
            }
            Op::Truncate(_, len) => {
                shared.truncate(len);
                bytes.truncate(len);
                storage = storage.filter(|_| len > 0);
            }
            Op::CopyToBytes(_, len) if unique && len >= bytes.len() => {
                let given = self.frozen(|| shared.copy_to_bytes(bytes.len()), bytes.clone(), storage.take());
                self.held.push(given);
                bytes.clear();
            }
            Op::CopyToBytes(_, len) => {
                let len = len.min(bytes.len());
                let head = shared.copy_to_bytes(len);
                let rest = bytes.split_off(len);
                let theirs = storage.clone().filter(|_| len > 0);
                self.held.push(Held { handle: Handle::Plain(head), bytes, storage: theirs });
                bytes = rest;
                storage = storage.filter(|_| !bytes.is_empty());
            }
            Op::Write(_, at, byte) => {
                write(shared.make_mut(), at, byte);
                write(&mut bytes, at, byte);
                if !unique && !bytes.is_empty() {
                    storage = Some(self.made_shared(bytes.len(), &shared));
                }
            }
            Op::Detach(_, ratio) => {
                let smaller = class_for(bytes.len()).is_some_and(|class| class < shared.storage_len());
                let detaches = ratio > 0 && bytes.len() * ratio <= shared.storage_len() && smaller;
                assert_eq!(shared.detach(ratio), detaches);
                if detaches {
                    storage = Some(self.made_shared(bytes.len(), &shared));
                }
            }
            Op::Unique(_) => match shared.try_into_mut() {
                Ok(buffer) => {
                    assert!(unique);
                    return Some(Held { handle: Handle::Buffer(buffer), bytes, storage });
                }
                Err(same) => {
                    assert!(!unique);
                    shared = same;
                }
            },
            Op::IntoBytes(_) if unique => return Some(self.frozen(|| shared.into(), bytes, storage)),
            Op::IntoBytes(_) => {
                storage = storage.filter(|_| !bytes.is_empty());
                return Some(Held { handle: Handle::Plain(shared.into()), bytes, storage });
            }
            _ => {}
        }
        Some(Held { handle: Handle::Shared(shared), bytes, storage })
    }

    /// The result of `freeze` on the only handle. Whether the pool tracks it is up to the pool, so that is read from the
    /// statistics; it must be one or the other.
    fn frozen(
        &mut self,
        freeze: impl FnOnce() -> Bytes,
        bytes: Vec<u8>,
        storage: Option<Rc<Storage>>,
    ) -> Held {
        // Without the frozen ones: freezing one may discover that others are free.
        let used_now = |world: &Self| world.pool.as_ref().map(|pool| pool.stats().in_use - world.granted());
        let before = used_now(self);
        let handle = Handle::Plain(freeze());
        let loss = before.zip(used_now(self)).map(|(before, after)| before - after);
        if bytes.is_empty() {
            assert!(loss.is_none_or(|loss| loss == 1));
            return Held { handle, bytes, storage: None };
        }
        let Some(1) = loss else {
            assert_eq!(loss.unwrap_or(0), 0);
            return Held { handle, bytes, storage };
        };
        self.frozen += 1;
        let class = storage.map_or(0, |storage| storage.class);
        assert_ne!(class, 0, "a buffer from the heap is not tracked");
        let storage = Rc::new(Storage { class, frozen: true });
        self.storages.push(Rc::downgrade(&storage));
        Held { handle, bytes, storage: Some(storage) }
    }

    fn with_pool(&self, act: impl Fn(&BufferPool)) {
        self.pool.iter().for_each(act);
    }

    fn acquire(&mut self, size: usize) {
        let Some(pool) = &self.pool else { return };
        let buffer = pool.acquire(size);
        self.hold(size, buffer);
    }

    fn acquire_elsewhere(&mut self, size: usize) {
        let Some(theirs) = self.pool.clone() else { return };
        let acquire = move || {
            let kept = theirs.acquire(size);
            let buffer = theirs.acquire(size);
            drop(kept);
            buffer
        };
        let buffer = thread::spawn(acquire).join().unwrap();
        self.acquires += 1;
        // The other thread's second buffer may have forced it to the heap, so `assert_spent` does not apply.
        let class = self.class_of(&buffer);
        self.acquires += 1;
        let storage = Some(self.remember(class));
        self.held.push(Held { handle: Handle::Buffer(buffer), bytes: Vec::new(), storage });
    }

    fn try_acquire(&mut self, size: usize) {
        let Some(pool) = &self.pool else { return };
        match pool.try_acquire(size) {
            Ok(buffer) => {
                assert!(pool.owns(&buffer));
                self.hold(size, buffer);
            }
            Err(error) => self.assert_refusal(size, error),
        }
    }

    fn acquire_async(&mut self, size: usize) {
        let Some(pool) = &self.pool else { return };
        let mut waiting = Waiting { future: pool.acquire_async(size), size, wakes: Arc::default() };
        match waiting.poll() {
            Poll::Ready(Ok(buffer)) => {
                assert!(pool.owns(&buffer));
                self.hold(size, buffer);
            }
            Poll::Ready(Err(error)) => {
                assert_eq!(error, AcquireError::TooLarge { requested: size, largest: LARGEST });
                assert!(size > LARGEST);
            }
            Poll::Pending => {
                let class = class_for(size).expect("a size that is too large waits for no buffer");
                self.assert_spent(class);
                self.waiting.push(waiting);
            }
        }
    }

    /// Polls the waiters in order: none is served before an older one of its class or a smaller one, and none without a wake.
    fn poll_waiting(&mut self) {
        let (mut served, mut least_refused) = (Vec::new(), usize::MAX);
        self.waiting.retain_mut(|waiting| match waiting.poll() {
            Poll::Ready(result) => {
                assert!(waiting.woken(), "served without a wake");
                assert!(class_for(waiting.size) < Some(least_refused), "served out of order");
                served.push((waiting.size, result.unwrap()));
                false
            }
            Poll::Pending => {
                least_refused = least_refused.min(class_for(waiting.size).unwrap_or(0));
                true
            }
        });
        for (size, buffer) in served {
            assert!(self.pool.as_ref().unwrap().owns(&buffer));
            self.hold(size, buffer);
        }
    }

    fn trim(&mut self) {
        let Some(pool) = &self.pool else { return };
        pool.trim();
        let stats = pool.stats();
        self.frozen = self.count(|storage| storage.frozen);
        assert_eq!((stats.idle_bytes, stats.frozen), (0, self.frozen), "{stats:#}");
    }

    fn hold(&mut self, size: usize, buffer: PooledBuffer) {
        assert!(buffer.is_empty());
        let storage = Some(self.made(size, &buffer));
        self.held.push(Held { handle: Handle::Buffer(buffer), bytes: Vec::new(), storage });
    }

    /// Records an acquire of `size` bytes that returned this buffer.
    fn made(&mut self, size: usize, buffer: &PooledBuffer) -> Rc<Storage> {
        assert!(buffer.capacity() >= size);
        let class = self.class_of(buffer);
        self.made_of(size, class)
    }

    fn made_shared(&mut self, size: usize, shared: &PooledBytes) -> Rc<Storage> {
        let owned = self.pool.as_ref().is_some_and(|pool| pool.owns_bytes(shared));
        self.made_of(size, if owned { shared.storage_len() } else { 0 })
    }

    fn made_of(&mut self, size: usize, class: usize) -> Rc<Storage> {
        self.acquires += 1;
        match class_for(size) {
            _ if self.pool.is_none() => {}
            Some(smallest) if class == 0 => self.assert_spent(smallest),
            Some(smallest) => assert!(class == smallest || self.setup.next_class && class > smallest),
            None => assert_eq!(class, 0),
        }
        self.remember(class)
    }

    fn remember(&mut self, class: usize) -> Rc<Storage> {
        let storage = Rc::new(Storage { class, frozen: false });
        self.storages.push(Rc::downgrade(&storage));
        storage
    }

    fn class_of(&self, buffer: &PooledBuffer) -> usize {
        let owned = self.pool.as_ref().is_some_and(|pool| pool.owns(buffer));
        let class = if owned { buffer.capacity() } else { 0 };
        assert!(class == 0 || CLASSES.iter().any(|&(size, _)| size == class));
        class
    }

    fn assert_refusal(&self, size: usize, error: AcquireError) {
        let limit = self.setup.limit;
        match class_for(size) {
            None => assert_eq!(error, AcquireError::TooLarge { requested: size, largest: LARGEST }),
            Some(class) => {
                assert_eq!(error, AcquireError::Exhausted { requested: size, limit });
                self.assert_spent(class);
            }
        }
    }

    /// The pool refuses only under a limit, and only if there is no room even without idle memory, or others wait or were
    /// just served.
    fn assert_spent(&self, class: usize) {
        let held = |size| self.count(|storage| storage.class == size) as usize * size;
        assert!(
            self.setup.limit != usize::MAX && (!self.waiting.is_empty() || !self.fits(class, held)),
            "{class} bytes refused while {} are held",
            self.live().map(|storage| storage.class).sum::<usize>()
        );
    }

    /// Whether the shares of the limit allow one more buffer of the class, if `used` says what each class uses: a class and
    /// all larger ones leave a reserve to smaller requests, up to half of the limit, but no more than leaves room for a
    /// buffer of the largest class.
    fn fits(&self, class: usize, used: impl Fn(usize) -> usize) -> bool {
        let limit = self.setup.limit;
        let smaller_or_same = CLASSES.iter().enumerate().filter(|&(_, &(size, _))| size <= class);
        let mut bounds = smaller_or_same.map(|(at, &(from, _))| {
            let reserve = (limit / 2 * at / (CLASSES.len() - 1)).min(limit - LARGEST);
            (from, limit - reserve)
        });
        bounds.all(|(from, bound)| {
            let larger = CLASSES.iter().filter(|&&(size, _)| size >= from);
            class + larger.map(|&(size, _)| used(size)).sum::<usize>() <= bound
        })
    }

    /// Buffers that were granted to waiters that have not taken them.
    fn granted(&self) -> u64 {
        self.waiting.iter().filter(|waiting| waiting.woken()).count() as u64
    }

    /// Acquires that the pool should have counted.
    fn counted(&self) -> u64 {
        self.acquires + self.granted() + self.unused_grants
    }

    fn live(&self) -> impl Iterator<Item = Rc<Storage>> {
        self.storages.iter().filter_map(Weak::upgrade)
    }

    fn count(&self, of: impl Fn(&Storage) -> bool) -> u64 {
        self.live().filter(|storage| of(storage)).count() as u64
    }

    pub(super) fn assert_bytes(&self) {
        for held in &self.held {
            assert_eq!(held.seen(), held.bytes);
        }
    }

    pub(super) fn assert_books(&mut self) {
        self.storages.retain(|storage| storage.strong_count() > 0);
        let Some(pool) = &self.pool else { return };
        let stats = pool.stats();
        let in_use = self.count(|storage| !storage.frozen);
        let frozen = self.count(|storage| storage.frozen);
        let granted = self.granted();
        assert_eq!(stats.in_use, in_use + granted, "{stats:#}");
        assert!((frozen..=self.frozen).contains(&stats.frozen), "{frozen}: {stats:#}");
        self.frozen = stats.frozen;
        assert_eq!(stats.acquires, self.counted(), "{stats:#}");
        assert_eq!(stats.acquires, stats.returns + stats.in_use + stats.frozen, "{stats:#}");

        let mut accounted = 0;
        for (class, (size, capacity)) in stats.classes.iter().zip(CLASSES) {
            assert_eq!((class.size, class.capacity), (size, capacity));
            let held = self.count(|storage| storage.class == size && !storage.frozen);
            assert!((held..=held + granted).contains(&class.in_use), "{held}: {stats:#}");
            accounted += (class.in_use + class.frozen + class.idle) * size as u64;
        }
        assert!(stats.live_bytes <= self.setup.limit as u64, "{stats:#}");
        assert!(stats.high_water_bytes <= self.setup.limit as u64, "{stats:#}");
        assert_eq!(stats.waiting, self.waiting.iter().filter(|waiting| !waiting.woken()).count() as u64);
        // No waiter waits while its memory is available. A frozen buffer counts as used until the pool finds it free.
        if let Some(head) = self.waiting.iter().find(|waiting| !waiting.woken()) {
            let used = |size| {
                let class = stats.classes.iter().find(|class| class.size == size);
                class.map_or(0, |class| (class.in_use + class.frozen) as usize * size)
            };
            let class = class_for(head.size).expect("a size that is too large waits for no buffer");
            assert!(!self.fits(class, used), "{} waits: {stats:#}", head.size);
        }
        assert_eq!(stats.live_bytes, accounted, "{stats:#}");
        let queues: usize = CLASSES.iter().map(|(size, capacity)| size * capacity).sum();
        if self.waiting.is_empty() {
            assert!(stats.idle_bytes <= (queues + self.setup.cache.min(queues)) as u64, "{stats:#}");
            if self.setup.sample {
                let tracked: u64 = pool.holders().unwrap().holders.iter().map(|site| site.samples).sum();
                assert_eq!(tracked, in_use + stats.frozen, "{stats:#}");
            }
        }
        if self.setup.record {
            assert_eq!(stats.requested.iter().map(|size| size.acquires).sum::<u64>(), self.acquires);
        }
    }

    /// When all buffers have been returned, every waiter is served, and no memory is left.
    pub(super) fn end(mut self) {
        self.held.clear();
        while !self.waiting.is_empty() {
            // A waiter that was passed waits until the others have returned what they got.
            let before = self.waiting.len();
            self.waiting.retain_mut(|waiting| waiting.poll().is_pending());
            let served = before - self.waiting.len();
            assert!(served > 0, "they wait for free memory");
            self.acquires += served as u64;
        }
        self.assert_books();
        if let Some(pool) = &self.pool {
            pool.trim();
            let stats = pool.stats();
            assert_eq!((stats.live_bytes, stats.idle_bytes, stats.waiting), (0, 0, 0), "{stats:#}");
            assert_eq!((stats.in_use, stats.frozen), (0, 0), "{stats:#}");
            assert_eq!(stats.acquires, stats.returns, "{stats:#}");
        }
    }
}

fn write(bytes: &mut [u8], at: usize, byte: u8) {
    if let Some(at) = at.checked_rem(bytes.len()) {
        bytes[at] = byte;
    }
}

/// The size of the smallest class that fits, in bytes.
fn class_for(size: usize) -> Option<usize> {
    CLASSES.iter().map(|&(class, _)| class).find(|&class| class >= size)
}
