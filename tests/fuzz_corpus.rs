//! Every input of the checked-in fuzz corpora, through the code that the fuzzer runs.

use std::fs;
use std::path::Path;

#[path = "../fuzz/fuzz_targets/tlv_model.rs"]
mod tlv_model;

#[test]
fn tlv() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/tlv");
    let mut inputs = 0;
    for entry in fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        tlv_model::check(&fs::read(&path).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 10, "{} holds only {inputs} inputs", corpus.display());
}
