//! Checks of contract files: a valid file has consistent layouts and plans, every other file has errors.
//!
//! The fuzzer and the replay of the checked-in corpus (`tests/fuzz_corpus.rs`) both run [`check`].

use millpond::frame::tlv::DEFAULT_MAX_PAYLOAD;
use millpond::schema::{Diagnostics, Layout, MessageDef, Options, Plan, Schema, Severity, generate};

/// Planning from traffic takes time quadratic in the number of sizes.
const MAX_PLANNED: usize = 64;

pub(crate) fn check(input: &[u8]) {
    match Schema::parse("fuzz.yaml", input) {
        Err(errors) => {
            assert!(errors.iter().any(|error| error.severity() == Severity::Error));
            check_places(&errors, input);
        }
        Ok(schema) => {
            assert!(schema.warnings().iter().all(|warning| warning.severity() == Severity::Warning));
            check_places(schema.warnings(), input);
            let again = Schema::parse_as(schema.dialect(), "fuzz.yaml", input);
            assert_eq!(again.as_ref(), Ok(&schema));
            check_names(schema.messages());
            schema.messages().iter().for_each(check_layouts);
            check_plans(&schema);
        }
    }
}

fn check_places(diagnostics: &Diagnostics, input: &[u8]) {
    let lines = input.iter().filter(|&&byte| byte == b'\n').count() + 1;
    for one in diagnostics.iter() {
        assert!(!one.message().is_empty());
        assert!(one.line().is_none_or(|line| (1..=lines).contains(&line)), "{one:?}");
        assert!(one.column().is_none_or(|column| (1..=input.len() + 1).contains(&column)), "{one:?}");
    }
    let plain = diagnostics.to_string();
    assert_eq!(plain.is_empty(), diagnostics.is_empty());
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    assert!(diagnostics.to_string_colored().len() >= plain.len());
}

fn check_names(messages: &[MessageDef]) {
    assert!(!messages.is_empty());
    for (index, one) in messages.iter().enumerate() {
        for other in &messages[index + 1..] {
            assert!(one.type_id != other.type_id && one.constant_name() != other.constant_name());
        }
    }
}

fn check_layouts(message: &MessageDef) {
    let size = |layout: Layout| message.layout(layout).size;
    assert!(size(Layout::Packed) <= size(Layout::ReprC) && size(Layout::ReprC) <= DEFAULT_MAX_PAYLOAD);
    for layout in [Layout::Packed, Layout::ReprC] {
        let laid_out = message.layout(layout);
        assert_eq!(laid_out.fields.len(), message.fields.len());
        let mut end = 0;
        for (field, place) in message.fields.iter().zip(&laid_out.fields) {
            assert_eq!(field.ty.size(), Some(place.size));
            assert!(place.size > 0, "{field:?}");
            assert_eq!(place.offset, end + place.padding);
            assert!(place.padding < place.align && place.offset.is_multiple_of(place.align));
            end = place.offset + place.size;
        }
        assert_eq!(laid_out.size, end + laid_out.tail_padding);
        assert!(laid_out.tail_padding < laid_out.align && laid_out.size.is_multiple_of(laid_out.align));
    }
}

fn check_plans(schema: &Schema) {
    for layout in [Layout::Packed, Layout::ReprC] {
        let mut plans = vec![Plan::of_schema(schema, layout).unwrap()];
        if schema.messages().len() <= MAX_PLANNED {
            let limit = 256 << 20;
            let plan = Plan::of_traffic(schema, layout, limit, |message| u64::from(message.type_id)).unwrap();
            assert!(plan.config().max_idle_bytes() <= limit);
            plans.push(plan);
        }
        for plan in plans {
            for message in schema.messages() {
                let class = plan.class_of(&message.name).expect("every message has a class");
                assert!(class.size >= message.layout(layout).size && class.capacity > 0);
            }
            assert!(plan.classes().iter().all(|class| (-1e-9..=1.0).contains(&class.waste())));
            assert!(plan.to_string().lines().count() > plan.classes().len());
            if schema.messages().len() <= MAX_PLANNED {
                let options = Options::default().layout(layout).plan(Some(plan));
                let code = generate(schema, &options);
                assert_eq!(code.matches("\n    const TYPE_ID: ").count(), schema.messages().len());
            }
        }
    }
}
