//! bb8's own tests, unchanged, on the pool of this crate.
//!
//! `suite.rs` is `tests/test.rs` of bb8 0.9.1, byte for byte; `LICENSE` is bb8's. It says `use bb8::*`, and here `bb8` is
//! this program, which re-exports [`millpond::connection`].

// In the place of the crate of that name, which the dependencies bring along.
extern crate self as bb8;

#[expect(unreachable_pub, unused_qualifications, reason = "the lints of this crate are not those of bb8")]
#[rustfmt::skip]
mod suite;

use sha2::{Digest, Sha256};

pub use millpond::connection::*;

/// Of `tests/test.rs` in the package that crates.io has.
const SUITE: &str = "793af56a987b3af27be34d37505ead64f9f9ea1a5c157cb866b577ddc19541f0";

#[test]
fn the_suite_is_that_of_bb8() {
    let digest = Sha256::digest(include_bytes!("suite.rs"));
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, SUITE);
}

#[test]
fn the_suite_runs_on_this_crates_pool() {
    let pool = std::any::type_name::<Pool<bb8_redis::RedisConnectionManager>>();
    assert!(pool.starts_with("millpond::connection::"), "{pool}");
}
