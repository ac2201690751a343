//! The page `src/pool/parity.md`: each line of its tables that says "there" has a fact here.

use std::borrow::{Borrow, BorrowMut};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{IoSlice, Write as _};
use std::panic::{RefUnwindSafe, UnwindSafe, catch_unwind};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use millpond::{BufferPool, BufferPoolConfig, PooledBuffer, PooledBytes};

const PAGE: &str = include_str!("../src/pool/parity.md");

/// The first cell of a line, and what must hold.
type Facts = &'static [(&'static str, fn(&BufferPool))];

fn pool() -> BufferPool {
    BufferPool::new(BufferPoolConfig::builder().class(16, 8).class(64, 8).build().unwrap())
}

fn buffer(pool: &BufferPool, bytes: &[u8]) -> PooledBuffer {
    let mut buffer = pool.acquire(bytes.len());
    buffer.extend_from_slice(bytes);
    buffer
}

fn shared(pool: &BufferPool, bytes: &[u8]) -> PooledBytes {
    buffer(pool, bytes).into_shared()
}

fn in_use(pool: &BufferPool) -> u64 {
    pool.stats().in_use
}

/// That a handle of `abc` compares with every type as its bytes do.
macro_rules! compares {
    ($handle:expr) => {{
        let abc = $handle;
        let (text, list) = ("abc".to_owned(), b"abc".to_vec());
        assert!(abc == b"abc"[..] && b"abc"[..] == abc && abc < b"abd"[..] && b"abd"[..] > abc);
        assert!(abc == &b"abc"[..] && &b"abc"[..] == abc && abc < &b"abd"[..] && &b"abd"[..] > abc);
        assert!(abc == *"abc" && *"abc" == abc && abc < *"abd" && *"abb" < abc);
        assert!(abc == "abc" && "abc" == abc && abc < "abd" && "abb" < abc);
        assert!(abc == text && text == abc && abc <= text && text <= abc);
        assert!(abc == list && list == abc && abc >= list && list >= abc);
        let (bytes, bytes_mut) = (Bytes::from("abc"), BytesMut::from("abc"));
        assert!(abc == b"abc" && abc == bytes && bytes == abc && abc == bytes_mut && bytes_mut == abc);
        assert!(abc != "abcd" && abc < "abcd" && bytes <= abc && bytes_mut >= abc);
    }};
}

/// That a handle of `abc` is printed as `Bytes` is.
macro_rules! shows {
    ($handle:expr) => {{
        let (ours, theirs) = ($handle, Bytes::from((0..=255).collect::<Vec<u8>>()));
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        assert_eq!(format!("{ours:x} {ours:X}"), format!("{theirs:x} {theirs:X}"));
    }};
}

const ALL: fn() -> Vec<u8> = || (0..=255).collect();

fn has_auto_traits<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}

fn hash(value: &impl std::hash::Hash) -> u64 {
    thread_local!(static STATE: RandomState = RandomState::new());
    STATE.with(|state| state.hash_one(value))
}

const BYTES: Facts = &[
    ("`new`, `Default`", |_| {
        const EMPTY: PooledBytes = PooledBytes::new();
        assert_eq!((EMPTY, EMPTY.storage_len()), (PooledBytes::default(), 0));
    }),
    ("`len`, `is_empty`", |pool| {
        assert_eq!((shared(pool, b"ab").len(), shared(pool, b"ab").is_empty()), (2, false));
        assert!(PooledBytes::new().is_empty());
    }),
    ("`is_unique`", |pool| {
        let one = shared(pool, b"ab");
        assert!(one.is_unique());
        let two = one.clone();
        assert!(!one.is_unique() && !two.is_unique());
        assert!(!PooledBytes::new().is_unique());
    }),
    ("`slice`, `slice_ref`", |pool| {
        let bytes = shared(pool, b"key=value");
        let value = bytes.slice_ref(&bytes[4..]);
        assert_eq!((&value[..], value.as_ptr()), (&b"value"[..], bytes[4..].as_ptr()));
        assert_eq!(value.slice_ref(&bytes[5..7]), bytes.slice(5..7));
        assert_eq!(value.slice_ref(&[]).storage_len(), 0);
        for part in [&b"value"[..], &bytes[3..5]] {
            assert!(catch_unwind(|| value.slice_ref(part)).is_err(), "not a part of it");
        }
        drop(bytes);
        let empty = value.slice(2..2);
        drop(value);
        assert_eq!((in_use(pool), empty.len()), (0, 0), "an empty slice holds no storage");
    }),
    ("`split_to`, `split_off`", |pool| {
        let mut rest = shared(pool, b"abcdef");
        assert_eq!((rest.split_to(2), rest.split_off(2)), (shared(pool, b"ab"), shared(pool, b"ef")));
        assert_eq!((rest.split_to(0), rest.split_off(2)), (PooledBytes::new(), PooledBytes::new()));
        assert_eq!((&rest[..], in_use(pool)), (&b"cd"[..], 1));
        let all = rest.split_to(2);
        assert!(all.is_unique(), "the rest is empty and holds no storage");
        let mut rest = all;
        let all = rest.split_off(0);
        assert_eq!((all.is_unique(), rest.storage_len()), (true, 0));
    }),
    ("`truncate`, `clear`", |pool| {
        let mut bytes = shared(pool, b"abc");
        bytes.truncate(5);
        bytes.truncate(2);
        assert_eq!((&bytes[..], in_use(pool)), (&b"ab"[..], 1));
        bytes.truncate(0);
        assert_eq!((bytes.len(), in_use(pool)), (0, 0), "the storage is returned");
        let mut bytes = shared(pool, b"abc");
        bytes.clear();
        assert_eq!((bytes.len(), in_use(pool)), (0, 0), "the storage is returned");
    }),
    ("`try_into_mut`", |pool| {
        let bytes = shared(pool, b"abc");
        let (address, other) = (bytes.as_ptr(), bytes.clone());
        let bytes = bytes.try_into_mut().unwrap_err();
        drop(other);
        assert_eq!(bytes.try_into_mut().unwrap().as_ptr(), address);
        assert_eq!(PooledBytes::new().try_into_mut().unwrap_err(), b"");
    }),
    ("`From<Bytes> for Vec<u8>`", |pool| assert_eq!(Vec::from(shared(pool, b"abc")), b"abc")),
    ("`From<BytesMut>`", |pool| {
        assert_eq!(PooledBytes::from(buffer(pool, b"abc")), b"abc");
        let bytes = shared(pool, b"abc");
        let address = bytes.as_ptr();
        assert_eq!(Bytes::from(bytes).as_ptr(), address);
    }),
    ("`Buf`, with `copy_to_bytes` without a copy", |pool| {
        let mut bytes = shared(pool, b"abcd");
        let address = bytes.as_ptr();
        assert_eq!(bytes.get_u16(), 0x6162);
        let rest = bytes.copy_to_bytes(2);
        assert_eq!((rest.as_ptr(), &rest[..]), (address.wrapping_add(2), &b"cd"[..]));
        let stats = pool.stats();
        assert_eq!((stats.in_use, stats.frozen), (0, 1), "given away, not owned");
        let mut bytes = shared(pool, b"abcd");
        bytes.advance(4);
        assert_eq!(in_use(pool), 0, "an empty rest holds no storage");
    }),
    ("`Clone`, `Deref`, `AsRef<[u8]>`, `Borrow<[u8]>`", |pool| {
        let bytes = shared(pool, b"abc").clone();
        let borrowed: &[u8] = bytes.borrow();
        assert_eq!((borrowed, bytes.as_ref(), &*bytes), (&b"abc"[..], &b"abc"[..], &b"abc"[..]));
    }),
    ("`Eq`, `Ord`, `Hash`", |pool| {
        let set = HashSet::from([shared(pool, b"a"), shared(pool, b"a"), shared(pool, b"b")]);
        assert_eq!((set.len(), set.contains(&b"b"[..])), (2, true));
        let map = HashMap::from([(shared(pool, b"key"), 1)]);
        assert_eq!(map.get(&b"key"[..]), Some(&1));
        let sorted = BTreeSet::from([shared(pool, b"b"), shared(pool, b"ab"), PooledBytes::new()]);
        assert!(sorted.into_iter().eq(["", "ab", "b"]));
        assert_eq!(hash(&shared(pool, b"abc")), hash(&Bytes::from("abc")));
    }),
    (
        "`PartialEq` and `PartialOrd`, both ways, with `[u8]`, `&[u8]`, `str`, `&str`, `Vec<u8>`, `String`",
        |pool| {
            compares!(shared(pool, b"abc"));
            assert!(
                shared(pool, b"abc") == buffer(pool, b"abc") && shared(pool, b"abc") < buffer(pool, b"b")
            );
        },
    ),
    ("`PartialEq<&T>`", |pool| assert_eq!(shared(pool, b"abc"), &shared(pool, b"abc"))),
    ("`PartialEq<BytesMut>`", |pool| assert_eq!(shared(pool, b"abc"), BytesMut::from("abc"))),
    ("`IntoIterator`, by value and by reference", |pool| {
        let bytes = shared(pool, b"abc");
        assert!((&bytes).into_iter().eq(b"abc"));
        assert!(bytes.into_iter().eq(*b"abc"));
        assert_eq!(in_use(pool), 0);
    }),
    ("`Debug`, `LowerHex`, `UpperHex`", |pool| shows!(shared(pool, &ALL()))),
    ("`Serialize` (feature `serde`)", |pool| {
        #[cfg(feature = "serde")]
        assert_eq!(serde_json::to_string(&shared(pool, b"ab")).unwrap(), "[97,98]");
        let _ = pool;
    }),
    ("`Send`, `Sync`, `Unpin`, `UnwindSafe`, `RefUnwindSafe`, `'static`", |_| {
        has_auto_traits::<PooledBytes>();
    }),
];

const BUFFERS: Facts = &[
    ("`len`, `is_empty`, `capacity`", |pool| {
        let buffer = buffer(pool, b"abc");
        assert_eq!((buffer.len(), buffer.is_empty(), buffer.capacity()), (3, false, 16));
    }),
    ("`clear`, `truncate`, `resize`", |pool| {
        let mut buffer = buffer(pool, b"abc");
        buffer.truncate(2);
        buffer.resize(4, b'x');
        assert_eq!(buffer, b"abxx");
        buffer.clear();
        assert_eq!((buffer.len(), buffer.capacity()), (0, 16));
    }),
    ("`reserve`", |pool| {
        let mut buffer = buffer(pool, b"abc");
        buffer.reserve(14);
        assert_eq!((&buffer[..], buffer.capacity()), (&b"abc"[..], 64));
    }),
    ("`extend_from_slice`, `extend_from_within`", |pool| {
        let mut buffer = buffer(pool, b"abc");
        buffer.extend_from_slice(b"def");
        buffer.extend_from_within(1..=2);
        assert_eq!(buffer, b"abcdefbc");
        (0..4).for_each(|_| buffer.extend_from_within(..));
        assert_eq!((buffer.len(), &buffer[120..]), (128, &b"abcdefbc"[..]));
        assert!(catch_unwind(move || buffer.extend_from_within(..129)).is_err());
    }),
    ("`spare_capacity_mut`", |pool| {
        let mut buffer = buffer(pool, b"abc");
        let room = buffer.spare_capacity_mut();
        assert_eq!(room.len(), 13);
        room[0].write(b'd');
        // SAFETY: the first byte of the room was just written.
        unsafe { buffer.advance_mut(1) };
        assert_eq!(buffer, b"abcd");
    }),
    ("`freeze`, `From<BytesMut> for Bytes`", |pool| {
        let bytes: Bytes = buffer(pool, b"abc").into();
        assert_eq!((&bytes[..], pool.stats().frozen), (&b"abc"[..], 1));
        assert!(!bytes.is_unique(), "as the documentation says");
        assert!(buffer(pool, b"abc").freeze().try_into_mut().is_err());
        assert!(buffer(pool, b"abc").freeze_tracked().try_into_mut().is_err());
    }),
    ("`From<BytesMut> for Vec<u8>`", |pool| assert_eq!(Vec::from(buffer(pool, b"abc")), b"abc")),
    ("`Buf`", |pool| {
        let mut buffer = buffer(pool, b"abcdef");
        assert_eq!(
            (buffer.get_u8(), &buffer.copy_to_bytes(2)[..], buffer.remaining()),
            (b'a', &b"bc"[..], 3)
        );
        buffer.advance(3);
        assert_eq!((buffer.len(), buffer.capacity()), (0, 16), "the front is reclaimed");
    }),
    ("`BufMut`", |pool| {
        let mut buffer = buffer(pool, &[7; 16]);
        buffer.put_u16(8);
        assert_eq!((buffer.len(), buffer.capacity()), (18, 64));
    }),
    ("`Clone`", |pool| {
        let buffer = buffer(pool, b"abc");
        let mut clone = buffer.clone();
        clone[0] = b'x';
        assert_eq!((&buffer[..], &clone[..], in_use(pool)), (&b"abc"[..], &b"xbc"[..], 2));
        assert!(pool.owns(&clone));
    }),
    ("`Deref`, `DerefMut`, `AsRef<[u8]>`, `AsMut<[u8]>`, `Borrow<[u8]>`, `BorrowMut<[u8]>`", |pool| {
        let mut buffer = buffer(pool, b"abc");
        buffer[0] = b'x';
        buffer.as_mut()[1] = b'y';
        let bytes: &mut [u8] = buffer.borrow_mut();
        bytes[2] = b'z';
        let borrowed: &[u8] = buffer.borrow();
        assert_eq!((borrowed, buffer.as_ref()), (&b"xyz"[..], &b"xyz"[..]));
    }),
    ("`Eq`, `Ord`, `Hash`", |pool| {
        let sorted = BTreeSet::from([buffer(pool, b"b"), buffer(pool, b"ab")]);
        assert!(sorted.into_iter().eq(["ab", "b"]));
        assert_eq!(hash(&buffer(pool, b"abc")), hash(&BytesMut::from("abc")));
    }),
    (
        "`PartialEq` and `PartialOrd`, both ways, with `[u8]`, `&[u8]`, `str`, `&str`, `Vec<u8>`, `String`",
        |pool| {
            compares!(buffer(pool, b"abc"));
            assert!(
                buffer(pool, b"abc") == shared(pool, b"abc") && buffer(pool, b"abc") < shared(pool, b"b")
            );
        },
    ),
    ("`PartialEq<&T>`", |pool| assert_eq!(buffer(pool, b"abc"), &buffer(pool, b"abc"))),
    ("`PartialEq<Bytes>`", |pool| assert_eq!(buffer(pool, b"abc"), Bytes::from("abc"))),
    ("`IntoIterator`, by value and by reference", |pool| {
        let buffer = buffer(pool, b"abc");
        assert!((&buffer).into_iter().eq(b"abc"));
        assert!(buffer.into_iter().eq(*b"abc"));
    }),
    ("`Extend<u8>`, `Extend<&u8>`, `Extend<Bytes>`", |pool| {
        let mut buffer = buffer(pool, b"");
        buffer.extend(*b"ab");
        buffer.extend(b"cd");
        buffer.extend([Bytes::from("ef"), Bytes::from("gh")]);
        assert_eq!(buffer, b"abcdefgh");
        buffer.extend((0..=255).filter(|byte| byte % 2 == 0));
        assert_eq!(buffer.len(), 8 + 128);
    }),
    ("`fmt::Write`", |pool| {
        let mut buffer = buffer(pool, b"");
        std::fmt::Write::write_fmt(&mut buffer, format_args!("{} and {:?}", 1, "two")).unwrap();
        assert_eq!(buffer, "1 and \"two\"");
        buffer.clear();
        write!(buffer, "{}", 3).unwrap();
        assert_eq!(buffer.write(b"four").unwrap(), 4);
        assert_eq!(buffer.write_vectored(&[IoSlice::new(b"5"), IoSlice::new(&[6; 100])]).unwrap(), 101);
        buffer.flush().unwrap();
        assert_eq!((&buffer[..6], buffer.len()), (&b"3four5"[..], 106));
    }),
    ("`Debug`, `LowerHex`, `UpperHex`", |pool| shows!(buffer(pool, &ALL()))),
    ("`Serialize` (feature `serde`)", |pool| {
        #[cfg(feature = "serde")]
        assert_eq!(serde_json::to_string(&buffer(pool, b"ab")).unwrap(), "[97,98]");
        let _ = pool;
    }),
    ("`Send`, `Sync`, `Unpin`, `UnwindSafe`, `RefUnwindSafe`, `'static`", |_| {
        has_auto_traits::<PooledBuffer>();
    }),
];

/// The first cells of the lines of a table that say "there".
fn there(heading: &str) -> Vec<&'static str> {
    let table = PAGE.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let lines = table.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    lines.filter(|(_, ours)| ours.starts_with("there")).map(|(theirs, _)| theirs).collect()
}

#[test]
fn every_line_of_the_page_that_says_there_has_a_fact() {
    for (heading, facts) in [("`PooledBytes`", BYTES), ("`PooledBuffer`", BUFFERS)] {
        let named: Vec<&str> = facts.iter().map(|(line, _)| *line).collect();
        assert_eq!(there(heading), named);
    }
}

#[test]
fn every_fact_of_the_page_holds() {
    for (line, holds) in BYTES.iter().chain(BUFFERS) {
        let pool = pool();
        println!("{line}"); // shown with a failure
        holds(&pool);
        pool.trim();
        let stats = pool.stats();
        assert_eq!((stats.in_use, stats.frozen), (0, 0), "{line}");
    }
}

#[test]
fn the_handles_are_as_small_as_the_page_says() {
    assert_eq!((size_of::<PooledBuffer>(), size_of::<Option<PooledBuffer>>()), (8, 16));
}
