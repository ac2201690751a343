//! What is compared: who allocates, who keeps, and a setting of the environment.

use crate::allocator::Allocator;

/// What becomes of the buffers after the burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// A pool as its documentation sets it up on tokio: `spawn_decay` and `flush_on_park`.
    Decay,
    /// The same, and `on_decay` asks the allocator to return free pages.
    DecayAndReturn,
    /// A pool that nobody asks to give anything back.
    Pool,
    /// `Vec<u8>`, freed at once: what the allocator does by itself.
    Nobody,
}

impl Keeper {
    fn name(self) -> &'static str {
        match self {
            Self::Decay => "pool, decay",
            Self::DecayAndReturn => "pool, decay, on_decay",
            Self::Pool => "pool, no decay",
            Self::Nobody => "no pool, Vec",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    pub(crate) allocator: Allocator,
    pub(crate) keeper: Keeper,
    /// Whether there is a little traffic after the burst. An allocator may need calls to return anything.
    pub(crate) traffic: bool,
    /// A variable that the allocator reads, and its value.
    pub(crate) setting: Option<(&'static str, &'static str)>,
}

impl Variant {
    pub(crate) fn name(&self) -> String {
        let traffic = if self.traffic { ", traffic" } else { "" };
        let setting = self.setting.map(|(variable, value)| format!(", {variable}={value}"));
        format!("{}{traffic}{}", self.keeper.name(), setting.unwrap_or_default())
    }
}

const fn plain(allocator: Allocator, keeper: Keeper) -> Variant {
    Variant { allocator, keeper, traffic: false, setting: None }
}

const fn busy(allocator: Allocator, keeper: Keeper) -> Variant {
    Variant { allocator, keeper, traffic: true, setting: None }
}

const fn set(allocator: Allocator, keeper: Keeper, variable: &'static str, value: &'static str) -> Variant {
    Variant { allocator, keeper, traffic: false, setting: Some((variable, value)) }
}

pub(crate) const VARIANTS: &[Variant] = &[
    plain(Allocator::Glibc, Keeper::Decay),
    busy(Allocator::Glibc, Keeper::Decay),
    plain(Allocator::Glibc, Keeper::DecayAndReturn),
    set(Allocator::Glibc, Keeper::Decay, "MALLOC_ARENA_MAX", "1"),
    set(Allocator::Glibc, Keeper::Decay, "MALLOC_TRIM_THRESHOLD_", "131072"),
    set(Allocator::Glibc, Keeper::Decay, "MALLOC_MMAP_THRESHOLD_", "65536"),
    plain(Allocator::Glibc, Keeper::Pool),
    plain(Allocator::Glibc, Keeper::Nobody),
    busy(Allocator::Glibc, Keeper::Nobody),
    plain(Allocator::Jemalloc, Keeper::Decay),
    busy(Allocator::Jemalloc, Keeper::Decay),
    plain(Allocator::Jemalloc, Keeper::DecayAndReturn),
    set(Allocator::Jemalloc, Keeper::Decay, "_RJEM_MALLOC_CONF", "background_thread:true"),
    plain(Allocator::Jemalloc, Keeper::Pool),
    plain(Allocator::Jemalloc, Keeper::Nobody),
    busy(Allocator::Jemalloc, Keeper::Nobody),
    plain(Allocator::Mimalloc, Keeper::Decay),
    busy(Allocator::Mimalloc, Keeper::Decay),
    plain(Allocator::Mimalloc, Keeper::DecayAndReturn),
    set(Allocator::Mimalloc, Keeper::Decay, "MIMALLOC_PURGE_DELAY", "0"),
    plain(Allocator::Mimalloc, Keeper::Pool),
    plain(Allocator::Mimalloc, Keeper::Nobody),
    busy(Allocator::Mimalloc, Keeper::Nobody),
];
