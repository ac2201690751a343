//! The twin of `switches` without the feature `pool-debug`: there are no switches.

use bytes::BytesMut;

use crate::pool::config::BufferPoolConfig;

pub(in crate::pool) enum Switches {}

impl Switches {
    pub(in crate::pool) fn from_environment(config: &BufferPoolConfig) -> (Option<Self>, BufferPoolConfig) {
        (None, config.clone())
    }

    pub(in crate::pool) fn fill(&self, _storage: &mut BytesMut) {}

    pub(in crate::pool) fn check(&self, _storage: &mut BytesMut) {}

    pub(in crate::pool) fn check_home<T>(&self, _home: *const T, _here: *const T, _whole: bool) {}

    pub(in crate::pool) fn keeps_nothing_shared(&self) -> bool {
        false
    }

    pub(in crate::pool) fn must_fail(&self) -> bool {
        false
    }

    pub(in crate::pool) fn must_drop(&self) -> bool {
        false
    }
}
