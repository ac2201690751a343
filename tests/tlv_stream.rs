//! TLV frames over tokio readers and writers that transfer any number of bytes per call.
#![cfg(feature = "net")]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use millpond::net::{read_frame_pooled, read_frame_pooled_with, write_frame};
use millpond::{BufferPool, BufferPoolConfig};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn pool() -> BufferPool {
    BufferPool::new(BufferPoolConfig::messages())
}

proptest! {
    #[test]
    fn frames_survive_a_pipe_of_any_capacity(
        messages in vec((any::<u16>(), vec(any::<u8>(), 0..3000)), 0..12),
        capacity in 1_usize..700,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let pool = pool();
        let (mut here, mut there) = tokio::io::duplex(capacity);
        let (write, read) = (
            async {
                for (type_id, payload) in &messages {
                    write_frame(&mut here, *type_id, payload).await.unwrap();
                }
                here.shutdown().await.unwrap();
            },
            async {
                let mut frames = Vec::new();
                while let Some(frame) = read_frame_pooled(&mut there, &pool).await.unwrap() {
                    frames.push((frame.type_id, frame.payload));
                }
                frames
            },
        );
        let ((), frames) = runtime.block_on(async { tokio::join!(write, read) });

        let read: Vec<_> = frames.iter().map(|(type_id, payload)| (*type_id, payload.to_vec())).collect();
        prop_assert_eq!(read, messages);
        drop(frames);
        prop_assert_eq!(pool.stats().in_use, 0);
    }
}

#[tokio::test]
async fn a_connection_needs_two_buffers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut socket, _) = listener.accept().await.unwrap();
    let pool = pool();
    for type_id in 0..1000 {
        write_frame(&mut peer, type_id, &[type_id as u8; 312]).await.unwrap();
        let frame = read_frame_pooled(&mut socket, &pool).await.unwrap().unwrap();
        assert_eq!((frame.type_id, frame.payload.as_ref()), (type_id, [type_id as u8; 312].as_slice()));
    }
    let stats = pool.stats();
    // One buffer for the header, and one of the payload's class.
    assert_eq!((stats.allocations, stats.in_use), (2, 0));
}

#[tokio::test]
async fn payloads_larger_than_every_class_are_read_whole() {
    let pool = pool();
    let payload: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let (mut here, mut there) = tokio::io::duplex(4096);
    let ((), frame) = tokio::try_join!(
        async { write_frame(&mut here, 1, &payload).await.map_err(Into::into) },
        read_frame_pooled_with(&mut there, &pool, payload.len()),
    )
    .unwrap();
    let frame = frame.unwrap();
    assert!(frame.payload.as_ref() == payload);
    drop(frame);
    assert_eq!(pool.stats().in_use, 0);
}

#[tokio::test]
async fn a_vectored_writer_is_called_once_per_frame() {
    let mut writer = Vectored::default();
    write_frame(&mut writer, 7, b"abc").await.unwrap();
    write_frame(&mut writer, 8, b"").await.unwrap();
    assert_eq!(writer.calls, 2);
    assert_eq!(writer.written, b"\x07\0\x03\0\0\0abc\x08\0\0\0\0\0");
}

#[derive(Default)]
struct Vectored {
    calls: usize,
    written: Vec<u8>,
}

impl AsyncWrite for Vectored {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.calls += 1;
        let before = self.written.len();
        self.written.extend(bufs.iter().flat_map(|buf| buf.iter()));
        Poll::Ready(Ok(self.written.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
