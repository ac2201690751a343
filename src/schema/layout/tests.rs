//! Layouts: known sizes on the wire, and offsets as a compiler puts them.

use super::super::{Layout, Schema, Type};
use super::{MAX_MESSAGE_SIZE, TooLarge};

fn schema(file: &str) -> Schema {
    let text = match file {
        "examples" => include_str!("../../../tests/contracts/examples.yaml"),
        "defi" => include_str!("../../../tests/contracts/defi.yaml"),
        "game" => include_str!("../../../tests/contracts/game.yaml"),
        _ => include_str!("../../../tests/contracts/ledger-list.yaml"),
    };
    Schema::parse(file, text).unwrap()
}

/// Sizes on the wire of an independent implementation: message | file | packed | `repr(C)`.
const KNOWN: &[(&str, &str, usize, usize)] = &[
    ("TextMessage", "examples", 312, 312),
    ("CounterUpdate", "examples", 16, 16),
    ("BatchOperation", "examples", 220, 224),
    ("InstrumentMeta", "defi", 65, 68),
    ("PoolStateUpdate", "defi", 162, 168),
    ("ArbitrageSignal", "defi", 144, 144),
    ("PlayerLogin", "game", 24, 24),
    ("PlayerPosition", "game", 40, 40),
    ("GameState", "game", 24, 24),
    ("ChatMessage", "game", 28, 32),
    ("ItemTransaction", "game", 32, 32),
];

#[test]
fn sizes_are_those_on_the_wire() {
    for &(name, file, packed, repr_c) in KNOWN {
        let schema = schema(file);
        let message = schema.messages().iter().find(|message| message.name == name).unwrap();
        let sizes = [Layout::Packed, Layout::ReprC].map(|layout| message.layout(layout).size);
        assert_eq!(sizes, [packed, repr_c], "{name}");
    }
}

type Three = (usize, usize, usize);

/// Offset, size and padding before of each field; size, alignment and tail padding of the whole.
fn lines(file: &str, name: &str, layout: Layout) -> (Vec<Three>, Three) {
    let schema = schema(file);
    let message = schema.messages().iter().find(|message| message.name == name).unwrap();
    let layout = message.layout(layout);
    let fields = layout.fields.iter().map(|field| (field.offset, field.size, field.padding)).collect();
    (fields, (layout.size, layout.align, layout.tail_padding))
}

#[test]
fn fields_lie_where_repr_c_puts_them() {
    let (fields, whole) = lines("defi", "InstrumentMeta", Layout::ReprC);
    assert_eq!(fields, [(0, 20, 0), (20, 40, 0), (60, 1, 0), (64, 4, 3)]);
    assert_eq!(whole, (68, 4, 0));
    let (fields, whole) = lines("examples", "BatchOperation", Layout::ReprC);
    assert_eq!((fields, whole), (vec![(0, 8, 0), (8, 208, 0), (216, 4, 0)], (224, 8, 4)));
    let (fields, whole) = lines("examples", "BatchOperation", Layout::Packed);
    assert_eq!((fields, whole), (vec![(0, 8, 0), (8, 208, 0), (216, 4, 0)], (220, 1, 0)));
    let (fields, whole) = lines("ledger", "Transfer", Layout::ReprC);
    let expected =
        [(0, 20, 0), (20, 20, 0), (40, 32, 0), (72, 8, 0), (80, 16, 0), (96, 1, 0), (97, 1, 0), (98, 72, 0)];
    assert_eq!((fields, whole), (expected.to_vec(), (176, 16, 6)));
    let (fields, whole) = lines("ledger", "Block", Layout::ReprC);
    assert_eq!((fields, whole), (vec![(0, 4, 0), (4, 2, 0), (6, 328, 0), (336, 32, 2)], (368, 8, 0)));
    assert_eq!(lines("ledger", "Heartbeat", Layout::ReprC), (vec![], (0, 1, 0)));
}

/// What the compiler makes of the same fields.
#[test]
fn repr_c_is_the_compilers() {
    #[repr(C)]
    struct Slots<T, const N: usize> {
        count: u16,
        zero: [u8; 6],
        slots: [T; N],
    }
    #[repr(C)]
    struct Block {
        number: u32,
        version: u16,
        signers: Slots<[u8; 20], 16>,
        weights: Slots<u64, 3>,
    }
    let (fields, whole) = lines("ledger", "Block", Layout::ReprC);
    assert_eq!(whole.0, size_of::<Block>());
    assert_eq!(
        (fields[2].0, fields[2].1),
        (std::mem::offset_of!(Block, signers), size_of::<Slots<[u8; 20], 16>>())
    );
    assert_eq!(
        (fields[3].0, fields[3].1),
        (std::mem::offset_of!(Block, weights), size_of::<Slots<u64, 3>>())
    );
    let types = [
        (Type::U128, align_of::<u128>()),
        (Type::F64, align_of::<f64>()),
        (Type::FixedStr { slots: 3 }, align_of::<Slots<u8, 3>>()),
        (Type::FixedVec { element: Box::new(Type::U32), slots: 3 }, align_of::<Slots<u32, 3>>()),
        (Type::Array(Box::new(Type::U32), 3), align_of::<[u32; 3]>()),
    ];
    for (ty, align) in types {
        assert_eq!(ty.align(), align, "{ty}");
    }
}

#[test]
fn a_message_of_the_limit_is_one_and_a_byte_more_is_an_error() {
    let with = |count: usize, more: &str| {
        let text = format!(
            "messages: {{M: {{tlv_type: 1, domain: D, fields: {{a: {{type: u32}}, b: {{type: '[u8; {count}]'}}{more}}}}}}}"
        );
        Schema::parse("limit", text).map(|schema| schema.messages()[0].layout(Layout::ReprC).size)
    };
    assert_eq!(with(MAX_MESSAGE_SIZE - 4, ""), Ok(MAX_MESSAGE_SIZE));
    assert_eq!(with(MAX_MESSAGE_SIZE - 7, ""), Ok(MAX_MESSAGE_SIZE));
    assert!(with(MAX_MESSAGE_SIZE - 3, "").is_err());
    assert!(with(MAX_MESSAGE_SIZE - 4, ", c: {type: bool}").is_err());
}

#[test]
fn sizes_beyond_the_address_space_are_none() {
    let huge = Type::Array(Box::new(Type::Array(Box::new(Type::U256), usize::MAX)), 2);
    assert_eq!(huge.size(), None);
    let list =
        Type::FixedVec { element: Box::new(Type::Array(Box::new(Type::U8), usize::MAX - 7)), slots: 1 };
    assert_eq!(list.size(), None);
    let schema = schema("game");
    let mut fields = schema.messages()[0].fields.clone();
    fields[1].ty = huge;
    assert_eq!(Layout::Packed.place(&fields), Err(TooLarge { field: 1 }));
}
