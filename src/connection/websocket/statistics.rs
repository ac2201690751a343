//! Counters of connections and messages.

use crate::sync::Count;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        #[derive(Debug, Default)]
        pub(super) struct Totals {
            $(pub(super) $name: Count,)+
        }

        /// What happened since the start, of all connections together.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct WebSocketStatistics {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Totals {
            pub(super) fn snapshot(&self) -> WebSocketStatistics {
                WebSocketStatistics { $($name: self.$name.get(),)+ }
            }
        }
    };
}

counters! {
    /// Connections that were opened.
    connects,
    /// Those of them that are streams of HTTP/2 connections.
    http2_connects,
    /// Attempts that failed.
    connect_errors,
    /// Connections that the server closed.
    closed_by_server,
    /// Connections that were closed on this side.
    closed,
    /// Connections that ended without a close handshake.
    lost,
    /// Connections whose server answered no ping.
    no_pong,
    /// Connections that were ended because of what the server sent, by the hook, or because nobody took messages.
    faults,
    /// Messages that were written whole.
    messages_sent,
    /// Messages that were received whole.
    messages_received,
    /// Bytes of frames that were written.
    bytes_sent,
    /// Bytes of frames that were read.
    bytes_received,
    /// Pings that were sent.
    pings_sent,
    /// Answers to pings.
    pongs_received,
    /// Pings of the server, each of which was answered.
    pings_received,
    /// Messages that were dropped for lack of room.
    messages_dropped,
    /// Messages that were not accepted for lack of room.
    messages_rejected,
}
