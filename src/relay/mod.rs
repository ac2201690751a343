//! Bytes between any two sockets.
