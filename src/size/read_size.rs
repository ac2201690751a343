//! The adaptive read size: how much to read at once.

/// How much to read at once: little from a peer that sends little, to save memory, and much from a peer that fills its
/// buffers, to save system calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReadSize {
    large: bool,
    small_reads: u8,
}

impl ReadSize {
    /// 8 KiB holds most requests and replies.
    pub(crate) const SMALL: usize = 8 * 1024;
    /// 64 KiB: larger reads save hardly any system calls, as the kernel's buffers are not much larger.
    pub(crate) const LARGE: usize = 64 * 1024;
    /// The number of reads in a row below [`SMALL`](Self::SMALL) after which the next one is small again.
    const PATIENCE: u8 = 8;

    /// Bytes of the next read.
    pub(crate) fn size(self) -> usize {
        if self.large { Self::LARGE } else { Self::SMALL }
    }

    /// Learns from a read of `count` bytes into `room` bytes.
    pub(crate) fn learn(&mut self, count: usize, room: usize) {
        // A read into a small rest of a buffer tells nothing.
        if count >= room && count >= Self::SMALL / 4 {
            self.large = true;
        }
        self.small_reads = if count >= Self::SMALL { 0 } else { self.small_reads.saturating_add(1) };
        if self.small_reads >= Self::PATIENCE {
            self.large = false;
        }
    }
}
