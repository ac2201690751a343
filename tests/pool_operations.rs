//! Random operations in any order: the pool agrees with a plain oracle and loses no buffer.

use proptest::collection::vec;
use proptest::prelude::*;

#[path = "../fuzz/fuzz_targets/pool_model/mod.rs"]
mod pool_model;

fn case() -> impl Strategy<Value = pool_model::Case> {
    let operations = vec(any::<[u8; 4]>(), 1..300);
    let input = (any::<u8>(), operations).prop_map(|(setup, list)| [&[setup], list.as_flattened()].concat());
    input.prop_map(|input| pool_model::Case::parse(&input))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_operations_agree_with_a_plain_oracle(case in case()) {
        case.check();
    }
}
