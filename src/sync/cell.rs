//! [`UnsafeCell`] by loom's interface. Under loom it fails unless one of any two accesses happens before the other.

#[cfg(millpond_loom)]
pub(crate) use loom::cell::UnsafeCell;

#[cfg(not(millpond_loom))]
pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(millpond_loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}
