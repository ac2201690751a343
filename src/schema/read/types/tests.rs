//! The spelling of types.

use super::{NAMES, Spelled, read};

/// A spelling | the type.
const SPELLINGS: &[(&str, &str)] = &[
    ("u8", "u8"),
    ("uint8", "u8"),
    ("uint16", "u16"),
    ("uint32", "u32"),
    ("uint64", "u64"),
    ("uint128", "u128"),
    ("uint256", "U256"),
    ("U256", "U256"),
    ("i128", "i128"),
    ("f32", "f32"),
    ("bool", "bool"),
    ("Address", "Address"),
    ("[u8; 32]", "[u8; 32]"),
    (" [ [u8;20] ;3 ] ", "[[u8; 20]; 3]"),
    ("FixedStr<65535>", "FixedStr<65535>"),
    ("FixedVec<uint64,3>", "FixedVec<u64, 3>"),
    ("FixedVec< [Address; 2] , 3 >", "FixedVec<[Address; 2], 3>"),
];

#[test]
fn a_type_is_read_from_its_spellings() {
    for (spelling, ty) in SPELLINGS {
        let Ok(Spelled::Whole(read)) = read(spelling) else { panic!("{spelling}") };
        assert_eq!(read.to_string(), *ty, "{spelling}");
    }
    assert_eq!(read("String"), Ok(Spelled::Text));
    let Ok(Spelled::List(element)) = read("Vec<[u8; 20]>") else { panic!("a list") };
    assert_eq!(element.to_string(), "[u8; 20]");
}

/// Every name that can be suggested exists.
#[test]
fn every_name_begins_a_type() {
    for name in NAMES {
        if let Err(error) = read(name) {
            assert_eq!((error.unknown, error.range), (None, name.len()..name.len()), "{name}");
        }
    }
}
