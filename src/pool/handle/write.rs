//! Writing to the exclusive handle with the traits of std. All of it appends, and grows as
//! [`reserve`](PooledBuffer::reserve) does.

use core::fmt;

use bytes::{BufMut, Bytes};

use super::buffer::PooledBuffer;

impl fmt::Write for PooledBuffer {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Takes all bytes, and never fails. (Feature `std`.)
#[cfg(feature = "std")]
impl std::io::Write for PooledBuffer {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn write_vectored(&mut self, slices: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
        let count = slices.iter().map(|slice| slice.len()).sum();
        self.reserve(count); // one move at most
        slices.iter().for_each(|slice| self.extend_from_slice(slice));
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Extend<u8> for PooledBuffer {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        let bytes = bytes.into_iter();
        self.reserve(bytes.size_hint().0);
        bytes.for_each(|byte| self.put_u8(byte));
    }
}

impl<'a> Extend<&'a u8> for PooledBuffer {
    fn extend<I: IntoIterator<Item = &'a u8>>(&mut self, bytes: I) {
        self.extend(bytes.into_iter().copied());
    }
}

impl Extend<Bytes> for PooledBuffer {
    fn extend<I: IntoIterator<Item = Bytes>>(&mut self, pieces: I) {
        pieces.into_iter().for_each(|piece| self.extend_from_slice(&piece));
    }
}
