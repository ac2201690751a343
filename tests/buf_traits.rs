//! `Buf` and `BufMut` of the pooled handles, by the kinds of tests that `bytes` has for its own types.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Buf, BufMut, BytesMut};
use millpond::{BufferPool, BufferPoolConfig, PooledBuffer, PooledBytes};

/// Its first bytes are of a negative number, and of a float that is not a NaN.
const INPUT: &[u8; 64] = b"\xffBvQw7Tn0ZkLr3YpXc9MfD5sHjU2aEiO8gR1dWtVqCzN6bKxSyFmPuJhGl4eAoI!";

fn pool() -> BufferPool {
    BufferPool::new(BufferPoolConfig::builder().class(16, 8).class(64, 8).class(256, 8).build().unwrap())
}

fn buffer(bytes: &[u8]) -> PooledBuffer {
    let mut buffer = pool().acquire(bytes.len());
    buffer.extend_from_slice(bytes);
    buffer
}

fn shared(bytes: &[u8]) -> PooledBytes {
    buffer(bytes).into_shared()
}

/// As if something before the bytes had been read.
fn advanced(bytes: &[u8]) -> PooledBuffer {
    let mut buffer = buffer(&[b"read before", bytes].concat());
    buffer.advance(11);
    buffer
}

/// On the heap: no class of the pool is as large.
fn large(bytes: &[u8]) -> PooledBuffer {
    let mut buffer = pool().acquire(257);
    buffer.extend_from_slice(bytes);
    buffer
}

fn panics<T>(act: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(act)).is_err()
}

/// Each kind of reader, by its name.
fn for_each_reader(test: impl Fn(&str, &dyn Fn(&[u8]) -> Box<dyn Buf>)) {
    test("buffer", &|bytes| Box::new(buffer(bytes)));
    test("advanced buffer", &|bytes| Box::new(advanced(bytes)));
    test("buffer of the heap", &|bytes| Box::new(large(bytes)));
    test("shared bytes", &|bytes| Box::new(shared(bytes)));
    test("a slice", &|bytes| Box::new(shared(&[b"ab", bytes, b"cd"].concat()).slice(2..2 + bytes.len())));
    test("a copy on write", &|bytes| {
        let kept = shared(bytes);
        Box::new(kept.clone().into_mut(&pool()))
    });
}

#[test]
fn an_empty_reader_has_nothing() {
    for_each_reader(|name, reader| {
        let empty = reader(b"");
        assert_eq!(empty.remaining(), 0, "{name}");
        assert!(!empty.has_remaining(), "{name}");
        assert_eq!(empty.chunk(), b"", "{name}");
        let mut slices = [std::io::IoSlice::new(b"")];
        assert_eq!(empty.chunks_vectored(&mut slices), 0, "{name}");
    });
}

#[test]
fn a_reader_shows_all_of_its_bytes_in_one_chunk() {
    for_each_reader(|name, reader| {
        let full = reader(INPUT);
        assert_eq!((full.remaining(), full.chunk()), (64, &INPUT[..]), "{name}");
        let mut slices = [std::io::IoSlice::new(b""); 4];
        assert_eq!(full.chunks_vectored(&mut slices), 1, "{name}");
        assert_eq!(&slices[0][..], INPUT, "{name}");
    });
}

#[test]
fn advancing_drops_the_first_bytes_and_panics_past_the_end() {
    for_each_reader(|name, reader| {
        for count in [0, 1, 8, 63, 64] {
            let mut reader = reader(INPUT);
            reader.advance(count);
            assert_eq!((reader.remaining(), reader.chunk()), (64 - count, &INPUT[count..]), "{name}");
            assert!(panics(|| reader.advance(65 - count)), "{name} {count}");
            assert_eq!(reader.chunk(), &INPUT[count..], "{name}: nothing was lost");
        }
        let mut stepwise = reader(INPUT);
        (0..64).for_each(|_| stepwise.advance(1));
        assert!(!stepwise.has_remaining(), "{name}");
        assert!(panics(|| reader(b"").advance(1)), "{name}");
    });
}

#[test]
fn copying_out_takes_the_bytes_and_panics_past_the_end() {
    for_each_reader(|name, reader| {
        for count in [0, 8, 56, 64] {
            let mut from = reader(INPUT);
            let mut to = vec![0; count];
            from.copy_to_slice(&mut to);
            assert_eq!((&to[..], from.chunk()), (&INPUT[..count], &INPUT[count..]), "{name}");
            let mut from = reader(INPUT);
            let bytes = from.copy_to_bytes(count);
            assert_eq!((&bytes[..], from.chunk()), (&INPUT[..count], &INPUT[count..]), "{name}");
        }
        assert!(panics(|| reader(INPUT).copy_to_slice(&mut [0; 65])), "{name}");
        assert!(panics(|| reader(INPUT).copy_to_bytes(65)), "{name}");
    });
}

/// A method of [`Buf`] that reads a number, and its bytes as an integer.
macro_rules! numbers {
    ($reader:expr, $name:expr, $($number:ty: $big:ident $little:ident $native:ident),*) => {$(
        const LEN: usize = size_of::<$number>();
        let bytes = *INPUT.first_chunk::<LEN>().unwrap();
        let mut reader = $reader(INPUT);
        assert_eq!(reader.$big(), <$number>::from_be_bytes(bytes), "{}: {}", $name, stringify!($big));
        assert_eq!(reader.remaining(), 64 - LEN);
        assert_eq!($reader(INPUT).$little(), <$number>::from_le_bytes(bytes), "{}", $name);
        assert_eq!($reader(INPUT).$native(), <$number>::from_ne_bytes(bytes), "{}", $name);
        assert!(panics(|| $reader(&INPUT[..LEN - 1]).$big()), "{}: {}", $name, stringify!($big));
    )*};
}

#[test]
fn numbers_are_read_in_each_byte_order_and_panic_past_the_end() {
    for_each_reader(|name, reader| {
        {
            numbers!(reader, name, u16: get_u16 get_u16_le get_u16_ne);
        }
        {
            numbers!(reader, name, i16: get_i16 get_i16_le get_i16_ne);
        }
        {
            numbers!(reader, name, u32: get_u32 get_u32_le get_u32_ne);
        }
        {
            numbers!(reader, name, i32: get_i32 get_i32_le get_i32_ne);
        }
        {
            numbers!(reader, name, u64: get_u64 get_u64_le get_u64_ne);
        }
        {
            numbers!(reader, name, i64: get_i64 get_i64_le get_i64_ne);
        }
        {
            numbers!(reader, name, u128: get_u128 get_u128_le get_u128_ne);
        }
        {
            numbers!(reader, name, i128: get_i128 get_i128_le get_i128_ne);
        }
        {
            numbers!(reader, name, f32: get_f32 get_f32_le get_f32_ne);
        }
        {
            numbers!(reader, name, f64: get_f64 get_f64_le get_f64_ne);
        }
        assert_eq!((reader(INPUT).get_u8(), reader(INPUT).get_i8()), (0xff, -1), "{name}");
        assert_eq!(reader(INPUT).get_uint(3), 0xff_4276, "{name}");
        assert_eq!(reader(INPUT).get_int(3), 0xff_4276 - (1 << 24), "{name}");
        assert_eq!(reader(INPUT).get_uint_le(3), 0x76_42ff, "{name}");
        assert!(panics(|| reader(&INPUT[..2]).get_uint(3)), "{name}");
        assert!(reader(&INPUT[..3]).try_get_u32().is_err(), "{name}");
    });
}

#[test]
fn readers_work_under_the_adapters_of_bytes() {
    for_each_reader(|name, reader| {
        let mut chained = reader(&INPUT[..40]).chain(reader(&INPUT[40..]));
        assert_eq!(&chained.copy_to_bytes(64)[..], INPUT, "{name}");
        let mut some = reader(INPUT).take(5);
        assert_eq!((&some.copy_to_bytes(5)[..], some.remaining()), (&INPUT[..5], 0), "{name}");
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut reader(INPUT).reader(), &mut read).unwrap();
        assert_eq!(read, INPUT, "{name}");
    });
}

/// Each kind of writer, with two bytes in it.
fn writers() -> [(&'static str, PooledBuffer); 4] {
    [
        ("buffer", buffer(b"ab")),
        ("advanced buffer", advanced(b"ab")),
        ("buffer of the heap", large(b"ab")),
        ("from shared bytes", shared(b"ab").try_into_mut().unwrap()),
    ]
}

/// Writes to a pooled buffer and to a `BytesMut`, which must then have the same bytes.
fn agrees(write: impl Fn(&mut dyn BufMut)) {
    for (name, mut pooled) in writers() {
        let mut plain = BytesMut::from(&b"ab"[..]);
        let before = pooled.remaining_mut();
        write(&mut pooled);
        write(&mut plain);
        assert_eq!(&pooled[..], &plain[..], "{name}");
        assert_eq!(before - pooled.remaining_mut(), plain.len() - 2, "{name}: as many less remain");
    }
}

#[test]
fn every_number_is_written_as_bytes_mut_writes_it() {
    agrees(|out| out.put_u8(0x21));
    agrees(|out| [-1, i8::MIN].iter().for_each(|&value| out.put_i8(value)));
    agrees(|out| {
        out.put_u16(8532);
        out.put_u16_le(8532);
        out.put_u16_ne(8532);
    });
    agrees(|out| {
        out.put_i32(-8532);
        out.put_i32_le(-8532);
        out.put_i32_ne(-8532);
    });
    agrees(|out| {
        out.put_u64(1 << 40);
        out.put_u64_le(1 << 40);
        out.put_i64(-1);
    });
    agrees(|out| {
        out.put_u128(1 << 90);
        out.put_i128_le(-1);
    });
    agrees(|out| {
        out.put_f32(1.5);
        out.put_f64_le(-1.5);
    });
    agrees(|out| {
        out.put_uint(0x10_20_30_40, 3);
        out.put_int_le(-5, 5);
    });
    assert!(panics(|| buffer(b"").put_uint(1, 9)));
    assert!(panics(|| buffer(b"").put_int_le(1, 9)));
}

#[test]
fn slices_bytes_and_readers_of_every_length_are_written_whole() {
    for len in [0, 1, 13, 14, 15, 62, 63, 254, 255, 300, 5000] {
        let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
        agrees(|out| out.put_slice(&bytes));
        agrees(|out| out.put_bytes(7, len));
        agrees(|mut out| (&mut out).put(&bytes[..]));
        // In two chunks.
        agrees(|mut out| (&mut out).put(bytes[..len / 3].chain(&bytes[len / 3..])));
        for (name, mut pooled) in writers() {
            pooled.put(bytes[..len / 3].chain(&bytes[len / 3..]));
            assert_eq!(pooled[2..], bytes, "{name}");
            pooled.clear();
            pooled.put(shared(&bytes));
            assert_eq!(pooled[..], bytes, "{name}");
        }
    }
}

#[test]
fn a_chunk_is_never_empty_and_its_bytes_follow_the_written_ones() {
    for (name, mut pooled) in writers() {
        let mut expected = b"ab".to_vec();
        for round in 0..2000_u32 {
            let chunk = pooled.chunk_mut();
            let count = chunk.len().min(1 + round as usize % 40);
            assert!(count > 0, "{name}");
            chunk[..count].copy_from_slice(&vec![round as u8; count]);
            // SAFETY: the first `count` bytes of the chunk were just written.
            unsafe { pooled.advance_mut(count) };
            expected.resize(expected.len() + count, round as u8);
            assert!(pooled.chunk_mut().len() <= pooled.remaining_mut(), "{name}");
        }
        assert_eq!(pooled[..], expected, "{name}");
    }
}

#[test]
fn a_chunk_changes_no_written_byte_and_advancing_by_nothing_changes_nothing() {
    for (name, mut pooled) in writers() {
        let remaining = pooled.remaining_mut();
        let address = pooled.chunk_mut().as_mut_ptr();
        assert_eq!(pooled.chunk_mut().as_mut_ptr(), address, "{name}: the same room");
        // SAFETY: nothing is promised.
        unsafe { pooled.advance_mut(0) };
        assert_eq!((&pooled[..], pooled.remaining_mut()), (&b"ab"[..], remaining), "{name}");
    }
}

#[test]
fn advancing_past_the_storage_panics_and_keeps_the_bytes() {
    for (name, mut pooled) in writers() {
        let room = pooled.chunk_mut().len();
        // SAFETY: `BytesMut` panics before it believes that more bytes were written than there is room for.
        assert!(panics(|| unsafe { pooled.advance_mut(room + 1) }), "{name}");
        assert_eq!(&pooled[..], b"ab", "{name}");
    }
}

/// A reader that says that it has less, or more, than it has.
struct Liar {
    says: usize,
    bytes: &'static [u8],
}

impl Buf for Liar {
    fn remaining(&self) -> usize {
        if self.bytes.is_empty() { 0 } else { self.says }
    }

    fn chunk(&self) -> &[u8] {
        self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes = &self.bytes[count..];
    }
}

#[test]
fn a_reader_that_lies_about_its_length_is_written_whole_to_a_buffer_of_a_class() {
    for says in [1, 17, 200] {
        let pool = pool();
        let mut pooled = pool.acquire(16);
        pooled.put(Liar { says, bytes: &INPUT[..40] });
        assert_eq!(&pooled[..], &INPUT[..40], "{says}");
        assert!(pool.owns(&pooled), "{says}");
    }
}

#[test]
fn a_limit_keeps_a_writer_within_the_capacity() {
    let mut pooled = buffer(b"ab");
    let room = pooled.capacity() - pooled.len();
    let mut limited = (&mut pooled).limit(room);
    assert_eq!((limited.remaining_mut(), limited.chunk_mut().len()), (14, 14));
    limited.put_bytes(b'c', 14);
    assert!(!limited.has_remaining_mut());
    assert_eq!((pooled.len(), pooled.capacity()), (16, 16));
    assert!(panics(|| (&mut pooled).limit(3).put_slice(b"four")));
}

#[test]
fn a_writer_of_bytes_and_chained_writers_end_where_they_should() {
    let (mut first, mut second) = (buffer(b""), buffer(b""));
    (&mut first).limit(3).chain_mut(&mut second).put_slice(b"abcdef");
    assert_eq!((&first[..], &second[..]), (&b"abc"[..], &b"def"[..]));
    let mut writer = first.writer();
    std::io::Write::write_all(&mut writer, INPUT).unwrap();
    assert_eq!(writer.into_inner()[3..], INPUT[..]);
}

#[tokio::test(flavor = "current_thread")]
async fn reading_into_a_full_buffer_grows_it_instead_of_reporting_the_end() {
    let bytes: Vec<u8> = (0..30_000).map(|at| at as u8).collect();
    let (mut reader, pool) = (&bytes[..], pool());
    let mut pooled = pool.acquire(16);
    while tokio::io::AsyncReadExt::read_buf(&mut reader, &mut pooled).await.unwrap() > 0 {}
    assert_eq!(pooled[..], bytes);
}

/// `BytesMut` would grow by itself, out of its class and past the memory limit.
#[test]
fn a_full_buffer_grows_to_the_next_class_however_it_is_written() {
    type Way = (&'static str, fn(&mut PooledBuffer));
    let ways: [Way; 14] = [
        ("chunk_mut", |out| _ = out.chunk_mut().len()),
        ("put", |out| out.put(&b"x"[..])),
        ("put of two chunks", |out| out.put(b"x".chain(&b"y"[..]))),
        ("put_slice", |out| out.put_slice(b"x")),
        ("put_bytes", |out| out.put_bytes(7, 1)),
        ("put_u8", |out| out.put_u8(7)),
        ("put_u64", |out| out.put_u64(7)),
        ("reserve", |out| out.reserve(1)),
        ("resize", |out| out.resize(17, 7)),
        ("extend_from_slice", |out| out.extend_from_slice(b"x")),
        ("extend_from_within", |out| out.extend_from_within(..1)),
        ("extend", |out| out.extend(b"xyz".iter().filter(|_| true))),
        ("fmt::Write", |out| std::fmt::Write::write_str(out, "x").unwrap()),
        ("io::Write", |out| std::io::Write::write_all(out, b"x").unwrap()),
    ];
    for (name, way) in ways {
        let pool = pool();
        for before in [&b""[..], b"ab"] {
            let mut pooled = pool.acquire(16);
            pooled.extend_from_slice(&[before, &[7; 16][before.len()..]].concat());
            pooled.advance(before.len());
            let address = pooled.as_ptr();
            way(&mut pooled);
            assert!(pool.owns(&pooled), "{name}");
            assert_eq!(pooled.capacity(), 64, "{name}");
            let again = pool.acquire(16);
            assert_eq!(
                again.as_ptr().addr(),
                address.addr() - before.len(),
                "{name}: the old one is returned"
            );
            assert_eq!(again.capacity(), 16, "{name}: as it was made");
        }
    }
}
