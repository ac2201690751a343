//! Iteration over the bytes of both handles.

use core::slice;

use bytes::buf::IntoIter;

use super::buffer::PooledBuffer;
use super::bytes::PooledBytes;

macro_rules! iterated {
    ($handle:ty) => {
        impl IntoIterator for $handle {
            type Item = u8;
            type IntoIter = IntoIter<Self>;

            fn into_iter(self) -> Self::IntoIter {
                IntoIter::new(self)
            }
        }

        impl<'a> IntoIterator for &'a $handle {
            type Item = &'a u8;
            type IntoIter = slice::Iter<'a, u8>;

            fn into_iter(self) -> Self::IntoIter {
                self.iter()
            }
        }
    };
}

iterated!(PooledBytes);
iterated!(PooledBuffer);
