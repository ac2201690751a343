//! Framings, free of I/O.
