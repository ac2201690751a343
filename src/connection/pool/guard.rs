//! A connection that is checked out.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};

use bb8::ManageConnection;

use super::shared::{Conn, Shared};
use crate::connection::core::Held;
use crate::sync::Arc;

/// A connection that is checked out of a pool. Dropped, it returns to the pool, or is closed if the manager calls it broken,
/// if its lifetime is over, or if there are too many. It may be dropped outside of a runtime, and after the pool was closed.
pub struct PooledConnection<'a, M: ManageConnection> {
    shared: Cow<'a, Arc<Shared<M>>>,
    /// `None` only while it is dropped.
    held: Option<Held<Conn<M::Connection>>>,
    /// Whether a test of the connection has begun and not ended.
    is_in_doubt: bool,
}

impl<'a, M: ManageConnection> PooledConnection<'a, M> {
    #[inline]
    pub(super) fn new(shared: Cow<'a, Arc<Shared<M>>>, held: Held<Conn<M::Connection>>) -> Self {
        Self { shared, held: Some(held), is_in_doubt: false }
    }

    /// Says for what the connection is checked out, until it returns: the leak report, [`Pool::holders`](super::Pool::holders),
    /// shows it beside the place of the get, which many tasks may share. It takes two stores.
    ///
    /// An associated function, so that it hides no method of the connection: `PooledConnection::set_label(&guard, "login")`.
    pub fn set_label(this: &Self, label: &'static str) {
        if let Some(facts) = this.shared.core.facts(this.held()) {
            facts.set_label(label);
        }
    }

    /// Takes the connection out of the pool for good. The pool may open another one in its place.
    pub fn detach(mut self) -> M::Connection {
        match self.held.take() {
            Some(held) => self.shared.detach(held),
            None => unreachable!("only a drop takes the connection"),
        }
    }

    /// Dropped in this state, the connection is closed.
    pub(super) fn set_in_doubt(&mut self, is_in_doubt: bool) {
        self.is_in_doubt = is_in_doubt;
    }

    /// The connection with what the pool knows of it.
    #[inline]
    pub(super) fn conn(&mut self) -> &mut Conn<M::Connection> {
        match &mut self.held {
            Some(held) => &mut held.item,
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
        let shared = Cow::Owned(Arc::clone(&self.shared));
        PooledConnection { shared, held: self.held.take(), is_in_doubt: self.is_in_doubt }
    }
}

impl<M: ManageConnection> Deref for PooledConnection<'_, M> {
    type Target = M::Connection;

    #[inline]
    fn deref(&self) -> &M::Connection {
        &self.held().item.connection
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
            self.shared.put_back(held, self.is_in_doubt);
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
