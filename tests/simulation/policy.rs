//! What serves the peers: a pool, or a model of the strict FIFO that it replaced.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use millpond::{Acquire, BufferPool, BufferPoolConfig, PooledBuffer};

/// Serves peers, which have numbers. A peer waits for one buffer or holds one.
pub(crate) trait Policy {
    /// Returns whether the request is served at once.
    fn request(&mut self, peer: usize, bytes: usize) -> bool;
    fn cancel(&mut self, peer: usize);
    fn give_back(&mut self, peer: usize);
    /// A peer that waited and now holds a buffer; each is returned once.
    fn granted(&mut self) -> Option<usize>;
    /// The most bytes of storage that existed at once.
    fn most_live(&self) -> usize;
}

/// A real pool. Its futures are polled when their wakers ask for it.
pub(crate) struct Pool {
    pool: BufferPool,
    peers: Vec<Peer>,
    woken: Arc<Mutex<VecDeque<usize>>>,
}

struct Peer {
    waker: Waker,
    waits: Option<Acquire>,
    holds: Option<PooledBuffer>,
}

struct Note {
    peer: usize,
    woken: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap().push_back(self.peer);
    }
}

impl Pool {
    /// Without steps of decay, whose time is not virtual.
    pub(crate) fn new(config: &BufferPoolConfig) -> Self {
        let config = config.to_builder().decay_interval(None).build().unwrap();
        Self { pool: BufferPool::new(config), peers: Vec::new(), woken: Arc::default() }
    }

    fn peer(&mut self, peer: usize) -> &mut Peer {
        for next in self.peers.len()..=peer {
            let waker = Waker::from(Arc::new(Note { peer: next, woken: Arc::clone(&self.woken) }));
            self.peers.push(Peer { waker, waits: None, holds: None });
        }
        &mut self.peers[peer]
    }

    /// Returns whether it was served.
    fn poll(&mut self, peer: usize) -> bool {
        let Peer { waker, waits, holds } = &mut self.peers[peer];
        let Some(acquire) = waits else { return false };
        match Pin::new(acquire).poll(&mut Context::from_waker(waker)) {
            Poll::Ready(buffer) => {
                *holds = Some(buffer.unwrap());
                *waits = None;
                true
            }
            Poll::Pending => false,
        }
    }
}

impl Policy for Pool {
    fn request(&mut self, peer: usize, bytes: usize) -> bool {
        let acquire = self.pool.acquire_async(bytes);
        self.peer(peer).waits = Some(acquire);
        self.poll(peer)
    }

    fn cancel(&mut self, peer: usize) {
        self.peer(peer).waits = None;
    }

    fn give_back(&mut self, peer: usize) {
        self.peer(peer).holds = None;
    }

    fn granted(&mut self) -> Option<usize> {
        loop {
            let peer = self.woken.lock().unwrap().pop_front()?;
            if self.poll(peer) {
                return Some(peer);
            }
        }
    }

    fn most_live(&self) -> usize {
        self.pool.stats().high_water_bytes as usize
    }
}

/// A model of a pool that serves strictly in the order of the requests.
pub(crate) struct StrictFifo {
    classes: Vec<usize>,
    limit: usize,
    live: usize,
    most_live: usize,
    /// Bytes that each peer holds.
    held: Vec<usize>,
    queue: VecDeque<(usize, usize)>,
    served: VecDeque<usize>,
}

impl StrictFifo {
    pub(crate) fn new(config: &BufferPoolConfig) -> Self {
        let classes = config.classes().iter().map(|class| class.size).collect();
        let limit = config.memory_limit();
        Self {
            classes,
            limit,
            live: 0,
            most_live: 0,
            held: Vec::new(),
            queue: VecDeque::new(),
            served: VecDeque::new(),
        }
    }

    fn serve(&mut self) {
        while let Some(&(peer, bytes)) = self.queue.front()
            && self.live + bytes <= self.limit
        {
            self.queue.pop_front();
            self.live += bytes;
            self.most_live = self.most_live.max(self.live);
            self.held.resize(self.held.len().max(peer + 1), 0);
            self.held[peer] = bytes;
            self.served.push_back(peer);
        }
    }
}

impl Policy for StrictFifo {
    fn request(&mut self, peer: usize, bytes: usize) -> bool {
        let class = self.classes.iter().find(|&&class| class >= bytes).expect("a class that fits");
        self.queue.push_back((peer, *class));
        self.serve();
        self.served.pop_front().is_some()
    }

    fn cancel(&mut self, peer: usize) {
        self.queue.retain(|&(other, _)| other != peer);
        self.serve();
    }

    fn give_back(&mut self, peer: usize) {
        self.live -= std::mem::take(&mut self.held[peer]);
        self.serve();
    }

    fn granted(&mut self) -> Option<usize> {
        self.served.pop_front()
    }

    fn most_live(&self) -> usize {
        self.most_live
    }
}
