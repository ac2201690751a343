//! What the program wants to hear of freed memory.

use alloc::boxed::Box;
use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};

use crate::sync::Arc;

/// A function for [`on_decay`](super::BufferPoolConfigBuilder::on_decay), or none. Equal to its clones only.
#[derive(Clone, Default)]
pub(in crate::pool) struct OnDecay(Option<Arc<Hook>>);

// In a box, as `Arc` is triomphe's, which holds no `dyn` by itself.
type Hook = Box<dyn Fn(usize) + Send + Sync>;

impl OnDecay {
    pub(super) fn new(hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Box::new(hook))))
    }

    pub(in crate::pool) fn call(&self, freed: usize) {
        if let Some(hook) = &self.0 {
            hook(freed);
        }
    }
}

// A panic of the hook leaves the pool whole: it runs between two operations. What it leaves of the hook's own state is
// the affair of who wrote it, so a pool stays as unwind safe as it is without a hook.
impl UnwindSafe for OnDecay {}
impl RefUnwindSafe for OnDecay {}

impl PartialEq for OnDecay {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(hook), Some(other)) => Arc::ptr_eq(hook, other),
            (hook, other) => hook.is_none() && other.is_none(),
        }
    }
}

impl Eq for OnDecay {}

impl fmt::Debug for OnDecay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Some(Fn)" } else { "None" })
    }
}
