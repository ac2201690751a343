//! Who writes a message and reads it, each as its documentation does it best.

use bincode::config::Config;
use millpond::{BufferPool, PooledBuffer};
use rkyv::api::low::{self, LowSerializer, LowValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Failure;
use rkyv::ser::allocator::SubAllocator;
use rkyv::ser::writer::Buffer;
use rkyv::{Archived, Portable, Serialize};
use zerocopy::{FromBytes, IntoBytes};

use crate::subject::Subject;

/// A message in a form.
pub(crate) trait Form<M: Subject>: 'static {
    /// Writes it to the front of `out`, and says how many bytes it took.
    fn write(&self, out: &mut [u8]) -> usize;

    /// Writes it into a buffer of the pool: as much of it as the message takes, which a slice that is used again tells.
    fn write_pooled(&self, pool: &BufferPool, scratch: &mut [u8]) -> PooledBuffer {
        let bytes = self.write(scratch);
        let mut out = pool.acquire(bytes);
        out.extend_from_slice(&scratch[..bytes]);
        out
    }

    /// Looks at a payload, which is one.
    fn look<T>(&self, payload: &[u8], at: impl FnOnce(M::View<'_>) -> T) -> T;
}

impl<M: Subject> Form<M> for &'static M {
    fn write(&self, mut out: &mut [u8]) -> usize {
        self.encode(&mut out);
        self.encoded_len()
    }

    fn write_pooled(&self, pool: &BufferPool, _: &mut [u8]) -> PooledBuffer {
        self.encode_pooled(pool)
    }

    fn look<T>(&self, payload: &[u8], at: impl FnOnce(M::View<'_>) -> T) -> T {
        at(M::view(payload).expect("it was written so"))
    }
}

pub(crate) struct Bincode<P, C>(pub(crate) P, pub(crate) C);

impl<M: Subject, C: Config + 'static> Form<M> for Bincode<M::Plain<'static>, C> {
    fn write(&self, out: &mut [u8]) -> usize {
        bincode::encode_into_slice(&self.0, out, self.1).expect("it has room")
    }

    fn look<T>(&self, payload: &[u8], at: impl FnOnce(M::View<'_>) -> T) -> T {
        let plain = bincode::borrow_decode_from_slice::<M::Plain<'_>, _>(payload, self.1);
        at(M::of_plain(&plain.expect("it was written so").0).expect("it satisfies the constraints"))
    }
}

pub(crate) struct Postcard<P>(pub(crate) P);

impl<M: Subject> Form<M> for Postcard<M::Plain<'static>> {
    fn write(&self, out: &mut [u8]) -> usize {
        postcard::to_slice(&self.0, out).expect("it has room").len()
    }

    fn look<T>(&self, payload: &[u8], at: impl FnOnce(M::View<'_>) -> T) -> T {
        let plain = postcard::from_bytes::<M::Plain<'_>>(payload);
        at(M::of_plain(&plain.expect("it was written so")).expect("it satisfies the constraints"))
    }
}

pub(crate) struct Rkyv<P>(pub(crate) P);

impl<M: Subject> Form<M> for Rkyv<M::Plain<'static>>
where
    M::Plain<'static>: for<'a> Serialize<LowSerializer<Buffer<'a>, SubAllocator<'a>, Failure>>,
    Archived<M::Plain<'static>>: Portable + for<'a> CheckBytes<LowValidator<'a, Failure>>,
{
    fn write(&self, out: &mut [u8]) -> usize {
        let written = low::to_bytes_in_with_alloc(&self.0, Buffer::from(out), SubAllocator::new(&mut []));
        written.expect("it has room").len()
    }

    fn look<T>(&self, payload: &[u8], at: impl FnOnce(M::View<'_>) -> T) -> T {
        let archived = low::access::<Archived<M::Plain<'static>>, Failure>(payload);
        at(M::of_archived(archived.expect("it was written so")).expect("it satisfies the constraints"))
    }
}

pub(crate) struct Zerocopy<F>(pub(crate) F);

impl<M: Subject> Form<M> for Zerocopy<M::Fixed> {
    fn write(&self, out: &mut [u8]) -> usize {
        self.0.write_to_prefix(out).expect("it has room");
        size_of::<M::Fixed>()
    }

    fn write_pooled(&self, pool: &BufferPool, _: &mut [u8]) -> PooledBuffer {
        let mut out = pool.acquire(size_of::<M::Fixed>());
        out.extend_from_slice(self.0.as_bytes());
        out
    }

    fn look<T>(&self, payload: &[u8], at: impl FnOnce(M::View<'_>) -> T) -> T {
        let fixed = M::Fixed::ref_from_bytes(payload);
        at(M::of_fixed(fixed.unwrap_or_else(|_| panic!("it was written so")))
            .expect("it satisfies the constraints"))
    }
}
