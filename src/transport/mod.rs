//! Sockets.

mod tlv;

pub use tlv::{ReadFrameError, ReadFrameErrorKind, read_frame_pooled, read_frame_pooled_with, write_frame};
