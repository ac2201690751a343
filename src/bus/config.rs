//! The limits of a transport, and the reason for each default.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::role::Role;
use crate::frame::ReadMode;
use crate::frame::tlv::{DEFAULT_MAX_PAYLOAD, HEADER_LEN};
use crate::net::{Backoff, Keepalive, setters};
use crate::pool::BufferPoolConfig;
use crate::size::ReadSize;

/// The limits of a [`Transport`](super::Transport) or [`Hub`](super::Hub). Each field gives the reason for its default.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use millpond::bus::TransportConfig;
///
/// let config = TransportConfig::default().max_payload(64 * 1024).idle_timeout(Some(Duration::from_secs(60)));
/// assert_eq!(config.max_payload, 65_536);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TransportConfig {
    /// Classes and limits of the pool.
    ///
    /// Default: powers of two from 128 B to 16 MiB plus the header's 6 bytes, so that a payload of a power of two is
    /// read in one piece with its header, and every allowed payload has a class. The memory limit is 256 MiB; a thousand
    /// busy connections use a hundredth of it.
    ///
    /// If there is no class for the [`read_sizes`](field@Self::read_sizes) and the limit has room, classes of these sizes
    /// are added, which keep 1 MiB each: for reads ahead, and for small frames that are written together. Classes that keep
    /// fewer buffers than a queue of [`channel_capacity`](Self::channel_capacity) holds keep that many, up to 1 MiB and a
    /// quarter of the memory limit, so that bursts reuse their buffers. What stays idle decays.
    pub buffer_pool: BufferPoolConfig,
    /// Whether buffers are pooled. Default: true. With false the same code takes every buffer from the heap, to
    /// measure what the pool is worth.
    pub buffer_pool_enabled: bool,
    /// How reads become frames. Default: one buffer per frame, so that a slow subscriber keeps frames and not whole
    /// reads.
    pub read_mode: ReadMode,
    /// Bytes that are read at once, from a peer that sends little and from one that fills its reads. Default: 8 KiB and
    /// 64 KiB, which hold hundreds of small frames and save most system calls of large ones.
    pub read_sizes: RangeInclusive<usize>,
    /// The longest payload, sent or received, in bytes. Default: 16 MiB, as in the protocol's reference.
    pub max_payload: usize,
    /// Messages that are kept for a slow subscriber before it loses the oldest, and messages that are queued for one
    /// peer. Default: 1024.
    pub channel_capacity: usize,
    /// Bytes of storage that a type or a topic keeps for slow subscribers before they lose the oldest frames, and that
    /// are queued for one peer.
    ///
    /// One frame is kept in any case. A slice counts as the whole buffer that it keeps from the pool; for subscribers,
    /// consecutive slices of one buffer count once. Default: `None`, which means two of the longest payloads, but at
    /// most a quarter of the pool's memory limit, so that a subscriber that never receives does not use it up, and at
    /// least a sixteenth.
    pub channel_bytes: Option<usize>,
    /// SHA-256 of the contract file's text. A client sends it first, and a server requires it. Default: `None`, no
    /// handshake.
    ///
    /// The server does not reply. If the digests differ, what the client publishes is lost, although publishing succeeds.
    /// The client learns of it from a [`ConnectionEvent`](super::ConnectionEvent) with
    /// [`HandshakeRefused`](super::ConnectionErrorKind::HandshakeRefused), from
    /// [`handshake_failures`](super::TransportStats::handshake_failures), and from a warning in the log.
    pub schema_digest: Option<[u8; 32]>,
    /// What to do with a frame of an unknown type, one that the hub was never told of.
    ///
    /// Default: `None`, which depends on the side. A server rejects, to protect itself from its clients. A client skips,
    /// because its server may publish more than this client wants. A stream that a hub serves counts as accepted by a
    /// server.
    pub unknown_types: Option<UnknownTypes>,
    /// The most connections of a server at once. The system's accept queue holds the next ones. Default: 10 000,
    /// below the 20 480 descriptors that many systems allow.
    pub max_connections: usize,
    /// Time for a connection to be made. Default: 10 s, enough for three SYN retries (1 s, 2 s, 4 s).
    pub connect_timeout: Duration,
    /// Time for a client's first byte to arrive; 15 s if `None` and a handshake is required. Default: `None`, because a
    /// client that only subscribes never sends. Set it if every client publishes.
    pub first_byte_timeout: Option<Duration>,
    /// A connection without a byte in either direction for this long is closed. Default: `None`: TCP keepalive detects
    /// dead peers.
    pub idle_timeout: Option<Duration>,
    /// Time from the first byte of a frame to its last, plus one second per 64 KiB of it. Default: 30 s, because a peer
    /// that sends one byte per second is not a slow network.
    pub frame_timeout: Duration,
    /// While others wait for memory, a connection that holds some is closed if it makes no progress for this long.
    ///
    /// It holds memory for an unfinished frame or for what waits to be sent. Progress is a rate: what it holds must pass
    /// within 16 times this long. A peer that sends a byte now and then makes no progress. Without memory pressure
    /// nothing is closed. Default: 1 s, several times what a retransmission takes, and as long as others may wait for
    /// a peer that has gone. See [`Stalled`](super::ConnectionErrorKind::Stalled).
    pub stall_timeout: Duration,
    /// Time for a peer to take any byte while bytes wait for it. Default: 20 s.
    pub write_timeout: Duration,
    /// Time for connections to end at a shutdown before they are aborted. Default: 8 s, below the 10 s after which
    /// container runtimes kill.
    pub drain_timeout: Duration,
    /// Whether and how a client reconnects. Default: after 100 ms, then twice as long each time up to 5 s, for as many
    /// tries as it takes, with jitter.
    pub reconnect: Option<Backoff>,
    /// TCP keepalive. Default: 5 s of silence, then 12 probes 2 s apart. `None` leaves the system's settings.
    pub keepalive: Option<Keepalive>,
}

/// What to do with a frame of an unknown type: one without a publisher, a subscriber or a
/// [declaration](crate::bus::Hub::declare).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownTypes {
    /// The connection is closed.
    Reject,
    /// The frame is dropped, and counted.
    Skip,
    /// [Opaque subscribers](crate::bus::Hub::opaque_subscriber) receive it.
    PassThrough,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            buffer_pool: default_pool(),
            buffer_pool_enabled: true,
            read_mode: ReadMode::PerFrame,
            read_sizes: ReadSize::SMALL..=ReadSize::LARGE,
            max_payload: DEFAULT_MAX_PAYLOAD,
            channel_capacity: 1024,
            channel_bytes: None,
            schema_digest: None,
            unknown_types: None,
            max_connections: 10_000,
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: None,
            idle_timeout: None,
            frame_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(8),
            reconnect: Some(Backoff::default()),
            keepalive: Some(Keepalive::default()),
        }
    }
}

impl TransportConfig {
    setters! {
        buffer_pool: BufferPoolConfig,
        buffer_pool_enabled: bool,
        read_mode: ReadMode,
        read_sizes: RangeInclusive<usize>,
        max_payload: usize,
        channel_capacity: usize,
        channel_bytes: Option<usize>,
        schema_digest: Option<[u8; 32]>,
        unknown_types: Option<UnknownTypes>,
        max_connections: usize,
        connect_timeout: Duration,
        first_byte_timeout: Option<Duration>,
        idle_timeout: Option<Duration>,
        frame_timeout: Duration,
        stall_timeout: Duration,
        write_timeout: Duration,
        drain_timeout: Duration,
        reconnect: Option<Backoff>,
        keepalive: Option<Keepalive>,
    }

    /// What to do with frames of unknown types on that side of a connection.
    pub(super) fn unknown_types_of(&self, role: Role) -> UnknownTypes {
        self.unknown_types.unwrap_or(match role {
            Role::Server => UnknownTypes::Reject,
            Role::Client => UnknownTypes::Skip,
        })
    }

    /// The most that a channel keeps, in bytes of storage.
    pub(super) fn channel_byte_limit(&self) -> usize {
        let two_frames = self.max_payload.saturating_add(HEADER_LEN).saturating_mul(2);
        let of_the_pool = match self.buffer_pool.memory_limit() {
            usize::MAX => two_frames.max(16 << 20),
            limit => two_frames.min(limit / 4).max(limit / 16),
        };
        self.channel_bytes.unwrap_or(of_the_pool)
    }
}

fn default_pool() -> BufferPoolConfig {
    let classes = BufferPoolConfig::powers_of_two_and(HEADER_LEN, 128..=256 * 1024);
    // Each of the large classes keeps one idle buffer, 31.5 MiB in all, until they decay.
    let large = (19..=24).map(|exponent| ((1 << exponent) + HEADER_LEN, 1));
    let all = classes.and_then(|classes| classes.to_builder().classes(large).memory_limit(256 << 20).build());
    match all {
        Ok(config) => config,
        Err(error) => unreachable!("{error}"),
    }
}
