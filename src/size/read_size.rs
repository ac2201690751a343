//! The adaptive read size: how much to read at once.

/// How much to read at once, learned from what reads bring: little from a peer that says little, so that
/// it costs little, and much from one that fills what it is given.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReadSize {
    large: bool,
    small_reads: u8,
}

impl ReadSize {
    /// Holds most requests and replies; 64 of them fit into a read of [`LARGE`](Self::LARGE).
    pub(crate) const SMALL: usize = 8 * 1024;
    /// From here on a larger read saves hardly a system call: the kernel's own buffers are not much larger.
    pub(crate) const LARGE: usize = 64 * 1024;
    /// Reads that would have fitted [`SMALL`](Self::SMALL), in a row, before the next one is small again.
    const PATIENCE: u8 = 8;

    /// Bytes of the next read.
    pub(crate) fn size(self) -> usize {
        if self.large { Self::LARGE } else { Self::SMALL }
    }

    /// A read brought `count` bytes where `room` would have fitted.
    pub(crate) fn learn(&mut self, count: usize, room: usize) {
        // What fills the end of a small buffer tells nothing.
        if count >= room && count >= Self::SMALL / 4 {
            self.large = true;
        }
        self.small_reads = if count >= Self::SMALL { 0 } else { self.small_reads.saturating_add(1) };
        if self.small_reads >= Self::PATIENCE {
            self.large = false;
        }
    }
}
