//! Equality, order and hash of both handles: those of their bytes.

use alloc::string::String;
use alloc::vec::Vec;
use core::borrow::{Borrow, BorrowMut};
use core::cmp::Ordering;
use core::hash::{Hash, Hasher};

use bytes::{Bytes, BytesMut};

use super::buffer::PooledBuffer;
use super::bytes::PooledBytes;

macro_rules! compared_by_bytes {
    ($handle:ty, with $($other:ty),*) => {
        /// Compares the bytes, with those of any type.
        impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for $handle {
            #[inline]
            fn eq(&self, other: &T) -> bool {
                self[..] == *other.as_ref()
            }
        }

        /// Compares the bytes, with those of any type.
        impl<T: AsRef<[u8]> + ?Sized> PartialOrd<T> for $handle {
            #[inline]
            fn partial_cmp(&self, other: &T) -> Option<Ordering> {
                Some(self[..].cmp(other.as_ref()))
            }
        }

        impl Eq for $handle {}

        impl Ord for $handle {
            #[inline]
            fn cmp(&self, other: &Self) -> Ordering {
                self[..].cmp(&other[..])
            }
        }

        /// As a slice of the same bytes, so that a map finds it by one.
        impl Hash for $handle {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self[..].hash(state);
            }
        }

        impl Borrow<[u8]> for $handle {
            fn borrow(&self) -> &[u8] {
                self
            }
        }

        $(
            impl PartialEq<$handle> for $other {
                #[inline]
                fn eq(&self, other: &$handle) -> bool {
                    other == self
                }
            }

            impl PartialOrd<$handle> for $other {
                #[inline]
                fn partial_cmp(&self, other: &$handle) -> Option<Ordering> {
                    other.partial_cmp(self).map(Ordering::reverse)
                }
            }
        )*
    };
}

compared_by_bytes!(PooledBytes, with[u8], &[u8], Vec<u8>, str, &str, String, Bytes, BytesMut);
compared_by_bytes!(PooledBuffer, with[u8], &[u8], Vec<u8>, str, &str, String, Bytes, BytesMut);

impl BorrowMut<[u8]> for PooledBuffer {
    fn borrow_mut(&mut self) -> &mut [u8] {
        self
    }
}
