//! A connection that is checked out.

use std::fmt;
use std::ops::{Deref, DerefMut};

use bb8::ManageConnection;

use super::shared::{Conn, Shared};
use crate::connection::core::Held;
use crate::sync::Arc;

/// A connection that is checked out of a pool. Dropped, it returns to the pool, or is closed if the manager calls it broken,
/// if its lifetime is over, or if there are too many. It may be dropped outside of a runtime, and after the pool was closed.
pub struct PooledConnection<'a, M: ManageConnection> {
    /// The pool, if the guard borrows it. Pointers only, no enum: see [`Held`].
    shared: Option<&'a Arc<Shared<M>>>,
    /// The pool, if the guard keeps it alive.
    owner: Option<Arc<Shared<M>>>,
    /// `None` only while it is dropped.
    held: Option<Held<Conn<M::Connection>>>,
}

impl<'a, M: ManageConnection> PooledConnection<'a, M> {
    #[inline]
    pub(super) fn new(shared: &'a Arc<Shared<M>>, held: Held<Conn<M::Connection>>) -> Self {
        const { assert!(size_of::<Self>() == 3 * size_of::<usize>()) };
        Self { shared: Some(shared), owner: None, held: Some(held) }
    }

    /// Says for what the connection is checked out, until it returns: the leak report, [`Pool::holders`](super::Pool::holders),
    /// shows it beside the place of the get, which many tasks may share. It takes two stores.
    ///
    /// An associated function, so that it hides no method of the connection: `PooledConnection::set_label(&guard, "login")`.
    pub fn set_label(this: &Self, label: &'static str) {
        if let Some(facts) = this.shared().core.facts(this.held()) {
            facts.set_label(label);
        }
    }

    /// Takes the connection out of the pool for good. The pool may open another one in its place.
    pub fn detach(mut self) -> M::Connection {
        match self.held.take() {
            Some(held) => self.shared().detach(held),
            None => unreachable!("only a drop takes the connection"),
        }
    }

    #[inline]
    fn shared(&self) -> &Arc<Shared<M>> {
        match (self.shared, &self.owner) {
            (Some(shared), _) | (None, Some(shared)) => shared,
            (None, None) => unreachable!("one of them is there"),
        }
    }

    /// The connection with what the pool knows of it.
    #[inline]
    pub(super) fn conn(&mut self) -> &mut Conn<M::Connection> {
        match &mut self.held {
            Some(held) => held.item_mut(),
            None => unreachable!("only a drop takes the connection"),
        }
    }

    pub(super) fn into_held(mut self) -> Held<Conn<M::Connection>> {
        match self.held.take() {
            Some(held) => held,
            None => unreachable!("only a drop takes the connection"),
        }
    }

    pub(super) fn held(&self) -> &Held<Conn<M::Connection>> {
        match &self.held {
            Some(held) => held,
            None => unreachable!("only a drop takes the connection"),
        }
    }

    pub(super) fn into_owned(mut self) -> PooledConnection<'static, M> {
        let owner = Some(Arc::clone(self.shared()));
        PooledConnection { shared: None, owner, held: self.held.take() }
    }
}

impl<M: ManageConnection> Deref for PooledConnection<'_, M> {
    type Target = M::Connection;

    #[inline]
    fn deref(&self) -> &M::Connection {
        &self.held().item().connection
    }
}

impl<M: ManageConnection> DerefMut for PooledConnection<'_, M> {
    #[inline]
    fn deref_mut(&mut self) -> &mut M::Connection {
        &mut self.conn().connection
    }
}

impl<M: ManageConnection> Drop for PooledConnection<'_, M> {
    #[inline]
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.shared().put_back(held);
        }
    }
}

impl<M: ManageConnection> fmt::Debug for PooledConnection<'_, M>
where
    M::Connection: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
