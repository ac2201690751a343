//! Any manager, with a number on each connection: so a test can tell whether it got the same one again.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its part")]

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use millpond::connection::ManageConnection;

pub(crate) struct Numbered<M> {
    manager: M,
    made: AtomicU64,
    census: Arc<Census>,
}

impl<M> Numbered<M> {
    pub(crate) fn new(manager: M) -> Self {
        Self { manager, made: AtomicU64::new(0), census: Arc::default() }
    }

    pub(crate) fn census(&self) -> Arc<Census> {
        Arc::clone(&self.census)
    }
}

/// How many connections exist, whoever has them.
#[derive(Default)]
pub(crate) struct Census {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Census {
    pub(crate) fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    /// The most that ever existed at once.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

pub(crate) struct Connection<C> {
    pub(crate) number: u64,
    inner: C,
    census: Arc<Census>,
}

impl<C> Drop for Connection<C> {
    fn drop(&mut self) {
        self.census.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<C> Deref for Connection<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.inner
    }
}

impl<C> DerefMut for Connection<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.inner
    }
}

impl<M: ManageConnection> ManageConnection for Numbered<M> {
    type Connection = Connection<M::Connection>;
    type Error = M::Error;

    async fn connect(&self) -> Result<Self::Connection, M::Error> {
        let inner = self.manager.connect().await?;
        let census = Arc::clone(&self.census);
        census.most.fetch_max(census.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Ok(Connection { number: self.made.fetch_add(1, Ordering::Relaxed), inner, census })
    }

    async fn is_valid(&self, connection: &mut Self::Connection) -> Result<(), M::Error> {
        self.manager.is_valid(&mut connection.inner).await
    }

    fn has_broken(&self, connection: &mut Self::Connection) -> bool {
        self.manager.has_broken(&mut connection.inner)
    }
}

/// The numbers of connections that failed in someone's hands.
#[derive(Default)]
pub(crate) struct Graveyard {
    dead: Mutex<BTreeSet<u64>>,
    returned: Mutex<BTreeSet<u64>>,
}

impl Graveyard {
    /// Someone uses the connection: was it dead before?
    pub(crate) fn meet(&self, number: u64) {
        if self.dead.lock().unwrap().contains(&number) {
            self.returned.lock().unwrap().insert(number);
        }
    }

    /// Call it before the connection goes back.
    pub(crate) fn bury(&self, number: u64) {
        self.dead.lock().unwrap().insert(number);
    }

    pub(crate) fn dead(&self) -> usize {
        self.dead.lock().unwrap().len()
    }

    /// Those that the pool handed out although they had failed before.
    pub(crate) fn returned(&self) -> BTreeSet<u64> {
        self.returned.lock().unwrap().clone()
    }
}
