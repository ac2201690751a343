//! The global allocator: glibc's malloc, or jemalloc with the feature of that name. One build has one.

#[cfg(feature = "jemalloc")]
#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub(crate) const NAME: &str = if cfg!(feature = "jemalloc") { "jemalloc" } else { "glibc" };

/// The name of a contestant whose memory comes from the global allocator.
pub(crate) fn named(contestant: &str) -> &'static str {
    Box::leak(format!("{contestant}, {NAME}").into_boxed_str())
}
