//! Replays every input of the checked-in fuzz corpora through the code that the fuzzer runs.

use std::fs;
use std::path::Path;

#[cfg(feature = "messages")]
mod generated;
#[path = "../fuzz/fuzz_targets/hdlc_model.rs"]
mod hdlc_model;
#[path = "../fuzz/fuzz_targets/kiss_model.rs"]
mod kiss_model;
#[path = "../fuzz/fuzz_targets/lines_model.rs"]
mod lines_model;
#[path = "../fuzz/fuzz_targets/pool_model/mod.rs"]
mod pool_model;
#[cfg(feature = "net")]
#[path = "../fuzz/fuzz_targets/proxy_header_model.rs"]
mod proxy_header_model;
#[cfg(feature = "schema")]
#[path = "../fuzz/fuzz_targets/schema_model.rs"]
mod schema_model;
#[path = "../fuzz/fuzz_targets/sse_model.rs"]
mod sse_model;
#[path = "../fuzz/fuzz_targets/stream.rs"]
mod stream;
#[path = "../fuzz/fuzz_targets/stuffing_model.rs"]
mod stuffing_model;
#[path = "../fuzz/fuzz_targets/tlv_model.rs"]
mod tlv_model;
#[cfg(feature = "messages")]
#[path = "../fuzz/fuzz_targets/view_model.rs"]
mod view_model;

#[test]
fn the_tlv_corpus_passes() {
    replay("tlv", tlv_model::check);
}

#[test]
fn the_hdlc_corpus_passes() {
    replay("hdlc", hdlc_model::check);
}

#[test]
fn the_kiss_corpus_passes() {
    replay("kiss", kiss_model::check);
}

#[test]
fn the_lines_corpus_passes() {
    replay("lines", lines_model::check);
}

#[test]
fn the_sse_corpus_passes() {
    replay("sse", sse_model::check);
}

#[test]
fn the_pool_corpus_passes() {
    replay("pool", |input| pool_model::Case::parse(input).check());
}

#[cfg(feature = "net")]
#[test]
fn the_proxy_header_corpus_passes() {
    replay("proxy_header", proxy_header_model::check);
}

#[cfg(feature = "schema")]
#[test]
fn the_schema_corpus_passes() {
    replay("schema", schema_model::check);
}

#[cfg(feature = "messages")]
#[test]
fn the_view_corpus_passes() {
    replay("view", view_model::check);
}

fn replay(target: &str, check: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        check(&fs::read(&path).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 10, "{} holds only {inputs} inputs", corpus.display());
}
