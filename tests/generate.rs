//! Generated messages do what their contracts say. A test of `src/schema/generate` checks that they are fresh; it can
//! regenerate them even if they do not compile.

#[cfg(feature = "serde")]
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use millpond::__codegen::{BufMut, Fields, any_not_zero};
use millpond::frame::{Constraint, Message, MessageError};
use millpond::schema::{FieldDef, FieldLayout, Layout, MessageDef, Options, Schema, Type, generate};
use millpond::{BufferPool, ClassConfig};
use proptest::prelude::*;

mod generated;
mod messages;
mod payloads;
mod random_contract;

use generated::{ENTRIES, Entry, corners, defi, examples, examples_packed, game, keywords, ledger_list};
use payloads::payload;

const CONTRACTS: &[&str] = &["corners", "defi", "examples", "game", "keywords", "ledger-list", "primitives"];

fn read(name: &str) -> Schema {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/contracts/{name}.yaml"));
    Schema::parse(&format!("{name}.yaml"), fs::read(path).unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

/// Each generated message with its definition.
fn all() -> Vec<(&'static Entry, MessageDef, Layout)> {
    let mut all = Vec::new();
    for contract in CONTRACTS {
        let schema = read(contract);
        for message in schema.messages() {
            for layout in [Layout::ReprC, Layout::Packed] {
                let suffix = if layout == Layout::Packed { "_packed" } else { "" };
                let module = contract.replace('-', "_") + suffix;
                let is_it = |entry: &&Entry| entry.module == module && entry.type_id == message.type_id;
                // Without an entry the code is equal to another contract's.
                all.extend(ENTRIES.iter().find(is_it).map(|entry| (entry, message.clone(), layout)));
            }
        }
    }
    assert_eq!(all.len(), ENTRIES.len());
    all
}

#[test]
fn sizes_are_those_of_the_protocol() {
    assert_eq!((examples::TEXT_MESSAGE_MAX_SIZE, examples::TEXT_MESSAGE_BUFFER_CLASS), (312, 512));
    assert_eq!((examples::COUNTER_UPDATE_MAX_SIZE, examples::COUNTER_UPDATE_BUFFER_CLASS), (16, 128));
    assert_eq!((examples::BATCH_OPERATION_MAX_SIZE, examples::BATCH_OPERATION_BUFFER_CLASS), (224, 256));
    assert_eq!(examples_packed::BATCH_OPERATION_MAX_SIZE, 220);
    assert_eq!((defi::INSTRUMENT_META_MAX_SIZE, generated::defi_packed::INSTRUMENT_META_MAX_SIZE), (68, 65));
    assert_eq!(
        (defi::POOL_STATE_UPDATE_MAX_SIZE, generated::defi_packed::POOL_STATE_UPDATE_MAX_SIZE),
        (168, 162)
    );
    assert_eq!((defi::ARBITRAGE_SIGNAL_MAX_SIZE, defi::ARBITRAGE_SIGNAL_BUFFER_CLASS), (144, 256));
    let sizes = [
        game::PLAYER_LOGIN_MAX_SIZE,
        game::PLAYER_POSITION_MAX_SIZE,
        game::GAME_STATE_MAX_SIZE,
        game::CHAT_MESSAGE_MAX_SIZE,
        game::ITEM_TRANSACTION_MAX_SIZE,
    ];
    assert_eq!(sizes, [24, 40, 24, 32, 32]);
    let classes = [(128, 512), (256, 256), (512, 128)].map(ClassConfig::from);
    assert_eq!(examples::create_buffer_pool_config().classes(), classes);
    assert_eq!(examples::SCHEMA_DIGEST, read("examples").digest());
    for (entry, message, layout) in all() {
        assert_eq!((entry.max_size, entry.type_id), (message.layout(layout).size, message.type_id));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn any_payload_is_the_same_after_view_and_owned_message(
        seed in proptest::collection::vec(any::<u8>(), 1..400)
    ) {
        for (entry, message, layout) in all() {
            let payload = payload(&message, layout, &seed);
            let encoded = (entry.recode)(&payload);
            prop_assert!(encoded.as_ref() == Ok(&payload), "{}: {payload:?} {encoded:?}", entry.name);
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(
        seed in proptest::collection::vec(any::<u8>(), 1..400), at in any::<prop::sample::Index>(), with: u8
    ) {
        for (entry, message, layout) in all() {
            let mut payload = payload(&message, layout, &seed);
            if !payload.is_empty() {
                let at = at.index(payload.len());
                payload[at] = with;
            }
            if let Ok(encoded) = (entry.recode)(&payload) {
                prop_assert_eq!((entry.recode)(&encoded), Ok(encoded.clone()));
                prop_assert!(!entry.is_strict() || encoded == payload, "{}", entry.name);
            }
        }
    }
}

#[test]
fn another_length_is_an_error() {
    for (entry, message, layout) in all() {
        let mut payload = payload(&message, layout, &[1]);
        let expected = payload.len();
        payload.push(0);
        for received in (0..=expected + 1).filter(|len| *len != expected && *len < 4096) {
            let cut = payload.get(..received).unwrap();
            assert_eq!((entry.recode)(cut), Err(MessageError::Length { received, expected }));
        }
    }
}

/// Every byte that has one right value, with every other bit.
#[test]
fn a_wrong_byte_is_an_error_at_its_place() {
    let mut tried = [0; 3];
    for (entry, message, layout) in all() {
        let good = payload(&message, layout, &[3, 0, 5]);
        let mut wrong = |kind: usize, at: usize, byte: u8, error: MessageError| {
            assert_eq!((entry.recode)(&changed(&good, at, byte)), Err(error), "{}, byte {at}", entry.name);
            tried[kind] += 1;
        };
        for (field, place) in message.fields.iter().zip(&message.layout(layout).fields) {
            let (offset, error) = (place.offset, field_error(field, place));
            match &field.ty {
                Type::Bool => (2..=255).for_each(|byte| wrong(0, offset, byte, error)),
                Type::FixedStr { slots } | Type::FixedVec { slots, .. } => {
                    let count = u16::from_le_bytes([good[offset], good[offset + 1]]);
                    if *slots < 0xFF00 {
                        wrong(1, offset + 1, 0xFF, error);
                    }
                    if let (Type::FixedStr { .. }, 1..) = (&field.ty, count) {
                        wrong(2, offset + 8, 0xFF, error);
                    }
                }
                _ => {}
            }
        }
    }
    assert!(tried.iter().all(|&times| times > 10), "{tried:?}");
}

/// Peers may send anything in them, such as what was in their memory before; what is encoded again has zeros there.
#[test]
fn bytes_without_a_value_are_ignored_and_encoded_as_zeros() {
    let mut tried = [0; 2];
    for (entry, message, layout) in all().into_iter().filter(|(entry, ..)| !entry.is_strict()) {
        let good = payload(&message, layout, &[3, 0, 5]);
        let (padding, unused) = without_value(&message, layout, &good);
        let bytes = [padding, unused].map(|kind| kind.into_iter().map(|(at, _)| at).collect::<Vec<_>>());
        for at in bytes.iter().flatten() {
            assert_eq!((entry.recode)(&changed(&good, *at, 0x80)).as_ref(), Ok(&good), "{}", entry.name);
        }
        let mut all_changed = good.clone();
        bytes.iter().flatten().for_each(|at| all_changed[*at] = 0xFF);
        assert_eq!((entry.recode)(&all_changed), Ok(good), "{}", entry.name);
        tried = [tried[0] + bytes[0].len(), tried[1] + bytes[1].len()];
    }
    assert!(tried.iter().all(|&times| times > 10), "{tried:?}");
}

#[test]
fn a_strict_view_refuses_bytes_without_a_value_that_are_not_zero() {
    let mut tried = [0; 2];
    for (entry, message, layout) in all().into_iter().filter(|(entry, ..)| entry.is_strict()) {
        let good = payload(&message, layout, &[3, 0, 5]);
        assert_eq!((entry.recode)(&good).as_ref(), Ok(&good));
        let (padding, unused) = without_value(&message, layout, &good);
        for (kind, bytes) in [padding, unused].into_iter().enumerate() {
            tried[kind] += bytes.len();
            for (at, error) in bytes {
                assert_eq!(
                    (entry.recode)(&changed(&good, at, 0x80)),
                    Err(error),
                    "{}, byte {at}",
                    entry.name
                );
            }
        }
    }
    assert!(tried.iter().all(|&times| times > 10), "{tried:?}");
}

fn changed(payload: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut changed = payload.to_vec();
    changed[at] = byte;
    changed
}

/// Names of generated errors are static; these are leaked, in a test.
fn field_error(field: &FieldDef, place: &FieldLayout) -> MessageError {
    MessageError::Field { field: Box::leak(field.name.clone().into_boxed_str()), offset: place.offset }
}

/// Bytes that carry no value, each with the error of a strict view.
type Without = Vec<(usize, MessageError)>;

/// The padding, and the bytes of text and lists that carry no value; of large ones not all.
fn without_value(message: &MessageDef, layout: Layout, payload: &[u8]) -> (Without, Without) {
    let laid_out = message.layout(layout);
    let tail = (laid_out.size - laid_out.tail_padding, laid_out.tail_padding);
    let gaps = laid_out.fields.iter().map(|place| (place.offset - place.padding, place.padding));
    let of_gap = |(offset, len)| (offset..offset + len).map(move |at| (at, MessageError::Padding { offset }));
    let padding = gaps.chain([tail]).flat_map(of_gap).collect();

    let mut unused = Vec::new();
    for (field, place) in message.fields.iter().zip(&laid_out.fields) {
        let FieldLayout { offset, size, .. } = *place;
        if let Type::FixedStr { slots } | Type::FixedVec { slots, .. } = &field.ty {
            let element = (size - 8) / usize::from(*slots);
            let count = usize::from(u16::from_le_bytes([payload[offset], payload[offset + 1]]));
            let after_values = offset + 8 + count * element..offset + size;
            let places = (offset + 2..offset + 8).chain(after_values.take(300));
            unused.extend(places.map(|at| (at, field_error(field, place))));
        }
    }
    (padding, unused)
}

#[test]
fn golden_frames_are_these_messages() {
    let file: serde_json::Value = serde_json::from_str(include_str!("data/tlv_frames.json")).unwrap();
    let mut seen = 0;
    for frame in file["frames"].as_array().unwrap() {
        let hex = frame["frame_hex"].as_str().unwrap();
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let (payload, fields) = (&bytes[6..], &frame["fields"]);
        let entries = ENTRIES.iter().filter(|entry| frame["message"] == entry.name);
        for entry in entries {
            assert_eq!(entry.type_id.to_le_bytes(), bytes[..2]);
            assert_eq!((entry.recode)(payload).as_deref(), Ok(payload));
            seen += 1;
        }
        if frame["message"] == "CounterUpdate" {
            let view = examples::CounterUpdate::view(payload).unwrap();
            let hand = messages::CounterUpdate::view(payload).unwrap();
            assert_eq!(fields["counter_id"], view.counter_id);
            assert_eq!(
                (fields["value"].as_i64(), fields["delta"].as_i64()),
                (Some(view.value.into()), Some(view.delta.into()))
            );
            assert_eq!((view.counter_id, view.value, view.delta), (hand.counter_id, hand.value, hand.delta));
            assert_eq!(encoded(&view), encoded(&hand));
        } else {
            let view = examples::TextMessage::view(payload).unwrap();
            let hand = messages::TextMessage::view(payload).unwrap();
            assert_eq!(
                (view.sender, view.content, view.timestamp),
                (hand.sender, hand.content, hand.timestamp)
            );
            assert_eq!(fields["timestamp"], view.timestamp);
            let hand = messages::TextMessage {
                sender: hand.sender.to_owned(),
                content: hand.content.to_owned(),
                timestamp: hand.timestamp,
            };
            assert_eq!(encoded(&examples::TextMessage::from(view)), encoded(&hand));
        }
    }
    assert_eq!(seen, 4 * 2);
}

fn encoded(message: &impl Message) -> Vec<u8> {
    let mut payload = Vec::new();
    message.encode(&mut payload);
    payload
}

#[test]
fn fields_lie_where_the_layout_says() {
    let address = |byte| [byte; 20];
    let update = defi::PoolStateUpdate {
        pool_address: address(1),
        venue_id: 0x0302,
        reserve0: [4; 32],
        reserve1: [5; 32],
        liquidity: [6; 32],
        sqrt_price_x96: [7; 32],
        tick: -2,
        block_number: 9,
    };
    let mut expected =
        [[1; 20].as_slice(), &[2, 3], &[4; 32], &[5; 32], &[6; 32], &[7; 32], &[0; 2]].concat();
    expected.extend([0xFE, 0xFF, 0xFF, 0xFF]);
    expected.extend([[0; 4].as_slice(), &9_u64.to_le_bytes()].concat());
    assert_eq!(encoded(&update), expected);
    let view = defi::PoolStateUpdate::view(&expected).unwrap();
    assert_eq!((view.pool_address, view.reserve1, view.tick), (&address(1), &[5; 32], -2));
    assert!(std::ptr::eq(view.reserve0.as_slice(), &expected[22..54]), "borrowed from the payload");

    let block = ledger_list::Block {
        number: 1,
        version: 2,
        signers: [address(3), address(4)].into_iter().collect(),
        weights: [5, 6].into_iter().collect(),
    };
    let payload = encoded(&block);
    let view = ledger_list::Block::view(&payload).unwrap();
    assert_eq!(view.signers, [address(3), address(4)]);
    assert_eq!((view.weights.len(), view.weights.get(1), view.weights.get(2)), (2, Some(6), None));
    assert_eq!(format!("{view:?}"), format!("{block:?}").replace("Block {", "BlockView {"));
    assert_eq!(encoded(&ledger_list::Heartbeat {}).len(), 0);
}

#[test]
fn constraints_hold_for_views_and_before_encoding() {
    let valid = || corners::Constraints {
        text: "ab".try_into().unwrap(),
        short: "".try_into().unwrap(),
        list: [1].into_iter().collect(),
        level: -3,
        ratio: 0.1,
        amount: u256(5),
        owner: [1; 20],
        point: [0.0, 1.0],
        maybe_text: "".try_into().unwrap(),
        maybe_level: 0,
        maybe_amount: u256(0),
    };
    type Change = fn(&mut corners::Constraints);
    let good: &[Change] = &[
        |_| {},
        |message| message.text = "abcde".try_into().unwrap(),
        |message| message.short = "abc".try_into().unwrap(),
        |message| message.list = [1, 2, 3].into_iter().collect(),
        |message| message.level = 7,
        |message| message.ratio = 0.9,
        |message| message.amount = u256(1000),
        |message| message.owner = std::array::from_fn(|at| u8::from(at == 19)),
        |message| message.point = [-0.0, 0.0],
        |message| message.maybe_text = "ab".try_into().unwrap(),
        |message| message.maybe_level = 20,
        |message| message.maybe_amount = [9; 32],
    ];
    for change in good {
        let mut message = valid();
        change(&mut message);
        assert_eq!(message.validate(), Ok(()));
        let payload = encoded(&message);
        assert_eq!(corners::Constraints::view(&payload).map(corners::Constraints::from), Ok(message));
    }
    let bad: &[(&str, Constraint, Change)] = &[
        ("text", Constraint::NotEmpty, |message| message.text.clear()),
        ("text", Constraint::MinLength, |message| message.text = "a".try_into().unwrap()),
        ("short", Constraint::MaxLength, |message| message.short = "abcd".try_into().unwrap()),
        ("list", Constraint::MinLength, |message| message.list.clear()),
        ("list", Constraint::MaxLength, |message| message.list = [1, 2, 3, 4].into_iter().collect()),
        ("level", Constraint::NotZero, |message| message.level = 0),
        ("level", Constraint::Min, |message| message.level = -4),
        ("level", Constraint::Max, |message| message.level = 8),
        ("ratio", Constraint::Min, |message| message.ratio = 0.09),
        ("ratio", Constraint::Min, |message| message.ratio = f32::NAN),
        ("ratio", Constraint::Max, |message| message.ratio = f32::INFINITY),
        ("amount", Constraint::Min, |message| message.amount = u256(4)),
        ("amount", Constraint::Max, |message| message.amount = u256(1001)),
        ("amount", Constraint::Max, |message| message.amount[31] = 1),
        ("owner", Constraint::NotZero, |message| message.owner = [0; 20]),
        ("point", Constraint::NotZero, |message| message.point = [0.0; 2]),
        ("maybe_text", Constraint::MinLength, |message| message.maybe_text = "a".try_into().unwrap()),
        ("maybe_level", Constraint::Min, |message| message.maybe_level = 9),
        ("maybe_level", Constraint::Max, |message| message.maybe_level = 21),
        ("maybe_amount", Constraint::Min, |message| message.maybe_amount = u256(9)),
    ];
    for &(field, constraint, change) in bad {
        let mut message = valid();
        change(&mut message);
        let error = MessageError::Constraint { field, constraint };
        assert_eq!(message.validate(), Err(error));
        assert_eq!(corners::Constraints::view(&encoded(&message)).err(), Some(error));
    }
}

fn u256(value: u128) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&value.to_le_bytes());
    bytes
}

/// A list on the heap can be too long: the message is invalid, and what fits is encoded.
#[test]
fn a_large_message_is_bounded_when_it_is_encoded() {
    let valid = || corners::Large {
        id: [1; 20],
        text: "text".to_owned(),
        keys: vec![[2; 32]],
        values: vec![3],
        image: vec![[4; 128]; 64],
        samples: vec![5.0; 100],
        flags: vec![],
        short: [6; 3],
        spare: vec![],
    };
    type Change = fn(&mut corners::Large);
    let bad: &[(&str, Constraint, Change)] = &[
        ("text", Constraint::MaxLength, |large| large.text = "é".repeat(32768)),
        ("text", Constraint::NotEmpty, |large| large.text.clear()),
        ("keys", Constraint::MaxLength, |large| large.keys = vec![[1; 32]; 91]),
        ("keys", Constraint::MaxLength, |large| large.keys = vec![[1; 32]; 70_000]),
        ("values", Constraint::MaxLength, |large| large.values = vec![1; 21]),
        ("image", Constraint::MinLength, |large| large.image.clear()),
        ("image", Constraint::MaxLength, |large| large.image.push([1; 128])),
        ("image", Constraint::NotZero, |large| large.image.fill([0; 128])),
        ("samples", Constraint::NotZero, |large| large.samples.fill(0.0)),
        ("flags", Constraint::MaxLength, |large| large.flags = vec![true; 4]),
        ("flags", Constraint::MinLength, |large| large.flags = vec![true]),
        ("spare", Constraint::MaxLength, |large| large.spare = vec![1; 101]),
        ("spare", Constraint::MinLength, |large| large.spare = vec![1; 99]),
    ];
    for &(field, constraint, change) in bad {
        let mut large = valid();
        assert_eq!(large.validate(), Ok(()));
        change(&mut large);
        assert_eq!(large.validate(), Err(MessageError::Constraint { field, constraint }));
        assert_eq!(encoded(&large).len(), corners::LARGE_MAX_SIZE);
    }
    assert!(size_of::<corners::Large>() < 512);
}

/// Elements of 2 MB in a thread that has 64 KiB.
#[test]
fn a_list_of_large_elements_is_read_in_place() {
    let payload = [&[2, 0, 0, 0, 0, 0, 0, 0][..], &[1; 4_000_000]].concat();
    let look = move || {
        let mut fields = Fields::of(&payload, payload.len())?;
        let list = fields.list::<[[bool; 1000]; 2000], 2>("list")?;
        assert_eq!(list.len(), 2);
        let error = MessageError::Field { field: "array", offset: 0 };
        let array = Fields::of(&payload, payload.len())?.array::<[[bool; 1000]; 2000], 2>("array");
        assert!(array.is_err_and(|it| it == error), "2 is no bool");
        assert_eq!(any_not_zero("list", &list), Ok(()));
        Ok::<(), MessageError>(())
    };
    std::thread::Builder::new().stack_size(65_536).spawn(look).unwrap().join().unwrap().unwrap();
}

#[test]
fn a_file_of_500_messages_is_generated_and_compiles() {
    let mut text = "messages:\n".to_owned();
    for id in 0..500 {
        writeln!(
            text,
            "  Message{id}:\n    tlv_type: {id}\n    domain: Many\n    description: \"Number {id}\""
        )
        .unwrap();
        text.push_str(
            "    fields:\n      id: {type: u64}\n      name: {type: String, validation: [not_empty: true]}\n",
        );
        writeln!(text, "      keys: {{type: \"FixedVec<[u8; 20], {}>\"}}", id % 50 + 1).unwrap();
        text.push_str("      price: {type: f64, validation: [min: 0.0]}\n      open: {type: bool}\n");
    }
    let start = Instant::now();
    let schema = Schema::parse("many.yaml", text).unwrap_or_else(|error| panic!("{error}"));
    let read = start.elapsed();
    let start = Instant::now();
    let code = generate(&schema, &Options::default());
    let took = start.elapsed();
    println!("500 messages read in {read:?}, and {} lines written in {took:?}", code.lines().count());
    assert_eq!(code.matches("impl __codegen::Message for").count(), 500);

    assert_eq!(error_of_rustc(&code), None);
}

/// Random contracts; a test of `src/schema/generate` checks that their code is formatted.
#[test]
fn any_contract_compiles_without_a_warning() {
    let mut code = String::new();
    for seed in 0..8 {
        let text = random_contract::of(seed);
        let schema = Schema::parse("random.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
        for (layout, suffix) in [(Layout::ReprC, "c"), (Layout::Packed, "packed")] {
            let options = Options::default().layout(layout).serde(true);
            writeln!(
                code,
                "/// Of {seed}.\npub mod of_{seed}_{suffix} {{\n{}\n}}",
                generate(&schema, &options)
            )
            .unwrap();
        }
    }
    assert_eq!(error_of_rustc(&format!("#![allow(unexpected_cfgs)]\n{code}")), None);
}

/// Compiles the code in a crate that denies all warnings; `None` if it compiles.
fn error_of_rustc(code: &str) -> Option<String> {
    // The library that this test links is in the same folder. Others there may lack features.
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let libraries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("libmillpond-") && name.ends_with(".rlib")
    });
    let mut libraries: Vec<_> = libraries.collect();
    libraries.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().modified().unwrap()));
    let temporary = tempfile::tempdir().unwrap();
    let source = temporary.path().join("generated.rs");
    fs::write(&source, format!("//! Generated.\n#![deny(warnings, missing_docs)]\n{code}")).unwrap();
    let mut errors = String::from("no library");
    for library in libraries {
        let mut millpond = std::ffi::OsString::from("millpond=");
        millpond.push(library);
        let output = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
            .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "-o"])
            .arg(temporary.path().join("libgenerated.rmeta"))
            .arg("--extern")
            .arg(millpond)
            .arg("-L")
            .arg(&folder)
            .arg(&source)
            .output()
            .unwrap();
        if output.status.success() {
            return None;
        }
        errors = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    Some(errors)
}

#[test]
fn a_message_is_encoded_into_a_pooled_buffer_of_its_class() {
    let pool = BufferPool::new(examples::create_buffer_pool_config());
    let message = examples::CounterUpdate { counter_id: 42, value: 100, delta: 5 };
    let buffer = message.encode_pooled(&pool);
    assert_eq!(buffer.capacity(), examples::COUNTER_UPDATE_BUFFER_CLASS);
    assert_eq!(examples::CounterUpdate::view(&buffer.into_shared()), Ok(message));
    // A long payload is encoded into a growing buffer, not into a slice.
    let pool = BufferPool::new(corners::create_buffer_pool_config());
    let corners = read("corners");
    let large = corners.messages().iter().find(|message| message.name == "Large").unwrap();
    let payload = payload(large, Layout::ReprC, &[3, 0, 5]);
    let large = corners::Large::view(&payload).map(corners::Large::from).unwrap();
    let buffer = large.encode_pooled(&pool);
    assert_eq!((buffer.capacity(), buffer[..] == payload), (corners::LARGE_BUFFER_CLASS, true));
}

#[test]
fn padding_and_unused_slots_show_nothing_of_an_earlier_message() {
    let pool = BufferPool::new(examples::create_buffer_pool_config());
    let mut earlier = pool.acquire(examples::BATCH_OPERATION_MAX_SIZE);
    earlier.resize(examples::BATCH_OPERATION_BUFFER_CLASS, 0xFF);
    let storage = earlier.as_ptr();
    drop(earlier);

    let items = [[7; 20]].into_iter().collect();
    let payload = examples::BatchOperation { operation_id: 1, items, total_count: 1 }.encode_pooled(&pool);
    assert_eq!(payload.as_ptr(), storage, "the same buffer");
    let zeros = payload.iter().filter(|&&byte| byte == 0).count();
    // All but the id, a count, an item and the total.
    assert_eq!(zeros, examples::BATCH_OPERATION_MAX_SIZE - 1 - 1 - 20 - 1);
}

/// A message that is shorter than its declared length has what was written; a longer one panics.
#[test]
fn a_message_shorter_than_declared_is_cut_and_a_longer_one_panics() {
    struct Liar(usize, usize);
    impl Message for Liar {
        const TYPE_ID: u16 = 1;
        const TOPIC: &'static str = "lies";
        const MAX_SIZE: usize = 3000;
        type View<'a> = ();

        fn encoded_len(&self) -> usize {
            self.0
        }

        fn encode(&self, out: &mut impl BufMut) {
            out.put_slice(&[7; 3001][..self.1]);
        }

        fn view(_: &[u8]) -> Result<(), MessageError> {
            Ok(())
        }
    }
    let pool = BufferPool::new(examples::create_buffer_pool_config());
    for len in [8, 3000] {
        assert_eq!(Liar(len, 3).encode_pooled(&pool)[..], [7; 3]);
        let panicked = std::panic::catch_unwind(|| Liar(len, len + 1).encode_pooled(&pool)).is_err();
        assert_eq!((panicked, pool.stats().in_use), (true, 0), "{len}");
    }
}

#[test]
fn a_keyword_is_the_name_of_a_field_or_message() {
    let three = keywords::r#type { self___: 1, self_: 2, self__: 3 };
    assert_eq!(encoded(&three), [1, 2, 3]);

    let empty = vec![0; keywords::KEYWORDS_MAX_SIZE];
    let error = MessageError::Constraint { field: "type", constraint: Constraint::NotEmpty };
    assert_eq!(keywords::Keywords::view(&empty), Err(error));
}

#[cfg(feature = "serde")]
#[test]
fn a_keyword_is_serialized_as_in_the_contract() {
    let mut payload = vec![0; keywords::KEYWORDS_MAX_SIZE];
    payload[0] = 1; // the length of `type`
    let all = keywords::Keywords::view(&payload).map(keywords::Keywords::from).unwrap();
    let json = serde_json::to_value(&all).unwrap();
    let names: BTreeSet<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let schema = read("keywords");
    assert_eq!(names, schema.messages()[0].fields.iter().map(|field| field.name.as_str()).collect());
    assert_eq!(serde_json::from_value::<keywords::Keywords>(json).unwrap(), all);

    let three = keywords::r#type { self___: 1, self_: 2, self__: 3 };
    assert_eq!(serde_json::to_string(&three).unwrap(), r#"{"self":1,"self_":2,"self__":3}"#);
    // Some formats have the names of structs, too.
    let renamed = "#[cfg_attr(feature = \"serde\", serde(rename = \"Self\"))]\npub struct Self__ {";
    assert!(include_str!("generated/keywords.rs").contains(renamed));
}

#[cfg(feature = "serde")]
#[test]
fn an_owned_message_has_serde_on_request() {
    let signal = defi::ArbitrageSignal {
        opportunity_id: 1,
        path: [[2; 20], [3; 20]].into_iter().collect(),
        estimated_profit_usd: 0.5,
        gas_estimate_wei: [4; 32],
        deadline_block: 5,
    };
    let json = serde_json::to_string(&signal).unwrap();
    assert_eq!(serde_json::from_str::<defi::ArbitrageSignal>(&json).unwrap(), signal);
    let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let path = value["path"].as_array_mut().unwrap();
    path.extend_from_within(..);
    path.extend_from_within(..1);
    let too_long = value.to_string();
    assert!(serde_json::from_str::<defi::ArbitrageSignal>(&too_long).is_err());
}
