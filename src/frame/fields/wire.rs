//! The values of fields on the wire: numbers, bools, and arrays of them.

use bytes::BufMut;

/// Bytes before the slots of text and lists: a `u16` count and 6 bytes that are written as zeros.
pub(super) const SLOTS_OFFSET: usize = 8;

/// A value of fixed size, little-endian: a number, a `bool`, or an array of them.
pub trait Wire: Copy {
    /// Its size in bytes, at least 1.
    const SIZE: usize;
    /// The value whose bytes are all zero.
    const ZERO: Self;

    /// Reads exactly [`SIZE`](Self::SIZE) bytes; `None` if they are no valid value.
    fn read(bytes: &[u8]) -> Option<Self>;

    /// Whether [`read`](Self::read) returns a value. It needs no stack for a large array.
    fn is_valid(bytes: &[u8]) -> bool;

    /// Writes the values in their order.
    fn put_all(values: &[Self], out: &mut impl BufMut);

    /// Whether all of its bytes are zero.
    fn is_zero(&self) -> bool;
}

/// Bytes, and arrays of bytes: values that can be borrowed from a payload.
pub trait InPlace: Wire {
    /// These bytes as values; `None` if the last value is incomplete.
    fn of(bytes: &[u8]) -> Option<&[Self]>;
}

/// Whether all of a value's bytes are zero.
#[inline]
#[must_use]
pub fn is_zero<T: Wire>(value: &T) -> bool {
    value.is_zero()
}

/// A 256-bit number, little-endian, as 128 bits; `u128::MAX` if it is larger.
#[must_use]
pub fn saturating_u128(value: &[u8; 32]) -> u128 {
    match value.as_chunks() {
        ([low, high], []) if *high == [0; 16] => u128::from_le_bytes(*low),
        _ => u128::MAX,
    }
}

/// Whether all bytes are zero. Word by word, because there can be many: slots that are not used, for example.
pub(super) fn are_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks();
    // The last 8 bytes cover the bytes after the last whole word.
    let last = match bytes.last_chunk() {
        Some(last) => u64::from_ne_bytes(*last),
        None => rest.iter().fold(0, |any, byte| any | byte).into(),
    };
    words.iter().fold(last, |any, word| any | u64::from_ne_bytes(*word)) == 0
}

macro_rules! numbers {
    ($($number:ty, $put:ident;)*) => {$(
        impl Wire for $number {
            const SIZE: usize = size_of::<Self>();
            const ZERO: Self = 0 as Self;

            #[inline]
            fn read(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_le_bytes)
            }

            #[inline]
            fn is_valid(bytes: &[u8]) -> bool {
                bytes.len() == Self::SIZE
            }

            #[inline]
            fn put_all(values: &[Self], out: &mut impl BufMut) {
                values.iter().for_each(|value| out.$put(*value));
            }

            #[inline]
            fn is_zero(&self) -> bool {
                self.to_le_bytes() == [0; Self::SIZE]
            }
        }
    )*};
}

numbers! {
    u16, put_u16_le;
    u32, put_u32_le;
    u64, put_u64_le;
    u128, put_u128_le;
    i8, put_i8;
    i16, put_i16_le;
    i32, put_i32_le;
    i64, put_i64_le;
    i128, put_i128_le;
    f32, put_f32_le;
    f64, put_f64_le;
}

impl Wire for u8 {
    const SIZE: usize = 1;
    const ZERO: Self = 0;

    #[inline]
    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [byte] => Some(*byte),
            _ => None,
        }
    }

    #[inline]
    fn is_valid(bytes: &[u8]) -> bool {
        bytes.len() == Self::SIZE
    }

    #[inline]
    fn put_all(values: &[Self], out: &mut impl BufMut) {
        out.put_slice(values);
    }

    #[inline]
    fn is_zero(&self) -> bool {
        *self == 0
    }
}

impl Wire for bool {
    const SIZE: usize = 1;
    const ZERO: Self = false;

    #[inline]
    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    #[inline]
    fn is_valid(bytes: &[u8]) -> bool {
        matches!(bytes, [0 | 1])
    }

    #[inline]
    fn put_all(values: &[Self], out: &mut impl BufMut) {
        values.iter().for_each(|value| out.put_u8((*value).into()));
    }

    #[inline]
    fn is_zero(&self) -> bool {
        !*self
    }
}

impl<T: Wire, const N: usize> Wire for [T; N] {
    const SIZE: usize = {
        assert!(N > 0, "an array without elements cannot be a field");
        N * T::SIZE
    };
    const ZERO: Self = [T::ZERO; N];

    #[inline]
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut values = Self::ZERO;
        let chunks = bytes.chunks_exact(T::SIZE);
        (chunks.len() == N && chunks.remainder().is_empty()).then_some(())?;
        for (value, bytes) in values.iter_mut().zip(chunks) {
            *value = T::read(bytes)?;
        }
        Some(values)
    }

    #[inline]
    fn is_valid(bytes: &[u8]) -> bool {
        bytes.len() == Self::SIZE && bytes.chunks_exact(T::SIZE).all(T::is_valid)
    }

    #[inline]
    fn put_all(values: &[Self], out: &mut impl BufMut) {
        T::put_all(values.as_flattened(), out);
    }

    #[inline]
    fn is_zero(&self) -> bool {
        self.iter().all(T::is_zero)
    }
}

impl InPlace for u8 {
    #[inline]
    fn of(bytes: &[u8]) -> Option<&[Self]> {
        Some(bytes)
    }
}

impl<T: InPlace, const N: usize> InPlace for [T; N] {
    #[inline]
    fn of(bytes: &[u8]) -> Option<&[Self]> {
        let (whole, rest) = T::of(bytes)?.as_chunks();
        rest.is_empty().then_some(whole)
    }
}
