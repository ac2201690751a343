//! The queue of shared bytes, against a plain deque of bytes.

use std::io::IoSlice;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Operation {
    Push(usize),
    Advance(usize),
    CopyToBytes(usize),
    Pop,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        3 => (0_usize..40).prop_map(Operation::Push),
        1 => (0_usize..60).prop_map(Operation::Advance),
        1 => (0_usize..60).prop_map(Operation::CopyToBytes),
        1 => Just(Operation::Pop),
    ];
    prop::collection::vec(operation, 1..60)
}

fn piece(pool: &BufferPool, bytes: &[u8]) -> PooledBytes {
    let mut buffer = pool.acquire(bytes.len());
    buffer.extend_from_slice(bytes);
    buffer.into_shared()
}

proptest! {
    #[test]
    fn a_queue_reads_like_all_its_bytes_in_order(operations in operations()) {
        let pool = pool(&[(64, 64)], 4096);
        let mut queue = BytesQueue::new();
        let mut expected: VecDeque<u8> = VecDeque::new();
        let mut next = (0..=u8::MAX).cycle();
        for operation in operations {
            match operation {
                Operation::Push(len) => {
                    let bytes: Vec<u8> = next.by_ref().take(len).collect();
                    queue.push(piece(&pool, &bytes));
                    expected.extend(bytes);
                }
                Operation::Advance(count) => {
                    let count = count.min(expected.len());
                    queue.advance(count);
                    expected.drain(..count);
                }
                Operation::CopyToBytes(count) => {
                    let count = count.min(expected.len());
                    let taken: Vec<u8> = expected.drain(..count).collect();
                    prop_assert_eq!(queue.copy_to_bytes(count), taken);
                }
                Operation::Pop => {
                    let first = queue.pop().map_or_else(Vec::new, |first| first.to_vec());
                    let taken: Vec<u8> = expected.drain(..first.len()).collect();
                    prop_assert_eq!(first, taken);
                }
            }
            prop_assert_eq!(queue.remaining(), expected.len());
            let mut slices = [IoSlice::new(&[]); 64];
            let used = queue.chunks_vectored(&mut slices);
            let gathered: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.iter().copied()).collect();
            prop_assert_eq!(gathered, expected.iter().copied().collect::<Vec<_>>());
        }
        drop(queue);
        pool.flush_thread_cache();
        prop_assert_eq!(pool.stats().in_use, 0);
    }
}

#[test]
fn a_whole_first_piece_is_given_away_in_its_storage() {
    let pool = pool(&[(64, 4)], 4096);
    let first = piece(&pool, b"hello");
    let address = first.as_ptr();
    let mut queue = BytesQueue::from_iter([first, piece(&pool, b"world")]);
    let given = queue.copy_to_bytes(5);
    assert_eq!((given.as_ptr(), queue.chunk()), (address, &b"world"[..]));
}

#[test]
fn a_part_of_the_first_piece_is_not_copied() {
    let pool = pool(&[(64, 4)], 4096);
    let first = piece(&pool, b"hello");
    let address = first.as_ptr();
    let mut queue = BytesQueue::from_iter([first]);
    let part = queue.copy_to_bytes(4);
    assert_eq!((part.as_ptr(), queue.chunk()), (address, &b"o"[..]));
}

#[test]
fn a_piece_that_was_read_is_returned_before_the_next_is() {
    let pool = pool(&[(64, 4)], 4096);
    let mut queue = BytesQueue::from_iter([piece(&pool, b"hello"), piece(&pool, b"world")]);
    queue.advance(4);
    assert_eq!(pool.stats().in_use, 2);
    queue.advance(1);
    assert_eq!(pool.stats().in_use, 1);
}

#[test]
fn only_as_many_pieces_as_there_are_slices_are_gathered() {
    let queue = BytesQueue::from_iter([b"a", b"b", b"c"].map(|byte| &byte[..]));
    let mut two = [IoSlice::new(&[]); 2];
    assert_eq!(queue.chunks_vectored(&mut two), 2);
    assert_eq!(queue.chunks_vectored(&mut []), 0);
}

#[test]
#[should_panic(expected = "cannot advance by 2 of 1 bytes")]
fn a_queue_does_not_advance_past_its_end() {
    BytesQueue::from_iter([&b"a"[..]]).advance(2);
}
