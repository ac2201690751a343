//! Memory of TLS connections, counted by dhat.
fn main() {}
