//! Plans: classes of known messages, shares of known traffic, and what a pool that ran says.

use super::super::{Layout, Plan, PlanError, PlannedClass, Schema};
use crate::pool::{BufferPool, BufferPoolConfig, BufferPoolStats, ClassConfig};

fn schema(file: &str) -> Schema {
    let text = match file {
        "examples" => include_str!("../../../tests/contracts/examples.yaml"),
        "defi" => include_str!("../../../tests/contracts/defi.yaml"),
        _ => include_str!("../../../tests/contracts/game.yaml"),
    };
    Schema::parse(file, text).unwrap()
}

fn of_sizes(sizes: &[usize]) -> Schema {
    let message = |(index, size): (usize, &usize)| {
        format!("{{name: M{index}, fields: [{{name: f, type: '[u8; {size}]'}}]}}")
    };
    let messages: Vec<_> = sizes.iter().enumerate().map(message).collect();
    Schema::parse("sizes", format!("messages: [{}]", messages.join(",\n"))).unwrap()
}

#[test]
fn messages_fall_in_the_classes_of_the_table() {
    for (file, name, class) in [
        ("examples", "TextMessage", 512),
        ("examples", "CounterUpdate", 128),
        ("examples", "BatchOperation", 256),
        ("defi", "InstrumentMeta", 128),
        ("defi", "PoolStateUpdate", 256),
        ("defi", "ArbitrageSignal", 256),
        ("game", "PlayerLogin", 128),
        ("game", "PlayerPosition", 128),
        ("game", "GameState", 128),
        ("game", "ChatMessage", 128),
        ("game", "ItemTransaction", 128),
    ] {
        let plan = Plan::of_schema(&schema(file), Layout::ReprC).unwrap();
        assert_eq!(plan.class_of(name).map(|class| class.size), Some(class), "{name}");
    }
    let plan = Plan::of_schema(&schema("examples"), Layout::ReprC).unwrap();
    assert_eq!(plan.config().classes(), [(128, 512), (256, 256), (512, 128)].map(ClassConfig::from));
}

/// A class of 4 KiB or more has room for the header, and a capacity is never 0.
#[test]
fn large_classes_count_the_header_and_keep_a_buffer() {
    let sizes = [128, 129, 1024, 2048, 2049, 4096, 4097, 65_536, 65_537, 16 << 20];
    let plan = Plan::of_schema(&of_sizes(&sizes), Layout::Packed).unwrap();
    let classes = [
        (128, 512),
        (256, 256),
        (1024, 64),
        (2048, 32),
        (4096 + 6, 16),
        (8192 + 6, 8),
        (65_536 + 6, 1),
        (131_072 + 6, 1),
        ((16 << 20) + 6, 1),
    ];
    assert_eq!(plan.config().classes(), classes.map(ClassConfig::from));
    let names = |class: &PlannedClass| {
        class.messages.iter().map(|message| message.name.clone()).collect::<Vec<_>>().join(" ")
    };
    let messages: Vec<_> = plan.classes().iter().map(names).collect();
    assert_eq!(messages, ["M0", "M1", "M2", "M3", "M4 M5", "M6", "M7", "M8", "M9"]);
}

#[test]
fn a_plan_displays_as_a_table() {
    let plan = Plan::of_schema(&schema("defi"), Layout::ReprC).unwrap();
    let table = "
     class  capacity    idle bytes  unused  messages
       128       512         65536   46.9%  InstrumentMeta 68
       256       256         65536   39.1%  PoolStateUpdate 168
                                              ArbitrageSignal 144
                            131072  in all";
    assert_eq!(format!("\n{plan}"), table);
}

#[test]
fn traffic_decides_on_sizes_and_shares() {
    let count = |name: &str| match name {
        "TextMessage" => 10,
        "CounterUpdate" => 1000,
        _ => 0,
    };
    let plan = Plan::of_traffic(&schema("examples"), Layout::ReprC, 100_000, |message| count(&message.name))
        .unwrap();
    // Three sizes are three classes, none below 128 bytes; one buffer each is set aside, 664 bytes, and the rest
    // is 99336 / (128 x 1000 + 224 + 312 x 10) = 0.756 buffers per message, and then what rounding leaves.
    assert_eq!(plan.config().classes(), [(128, 760), (224, 1), (312, 8)].map(ClassConfig::from));
    assert_eq!(plan.config().memory_limit(), 100_000);
    assert!(plan.config().max_idle_bytes() <= 100_000);
    assert!(plan.classes()[1..].iter().all(|class| class.waste().abs() < 1e-9));
    assert!(plan.to_string().contains("CounterUpdate 16 x 1000"));
}

/// A class at its largest capacity leaves its share to the others.
#[test]
fn no_memory_is_left_while_a_class_has_room() {
    let contracts = of_sizes(&[64, 16_384, 1024]);
    let count = |name: &str| if name == "M0" { 1_000_000 } else { 100 };
    let plan = |limit| {
        let plan = Plan::of_traffic(&contracts, Layout::Packed, limit, |message| count(&message.name));
        plan.unwrap().config().clone()
    };
    for limit in [8 << 20, 64 << 20] {
        let planned = plan(limit);
        assert_eq!(planned.classes()[0], ClassConfig::from((128, 4096)));
        assert!(
            planned.max_idle_bytes() > limit - 17_414 && planned.max_idle_bytes() <= limit,
            "{planned:?}"
        );
    }
    assert_eq!(plan(1 << 30).classes(), [(128, 4096), (1024, 4096), (16_390, 4096)].map(ClassConfig::from));
}

/// A share of less than one buffer goes to nobody.
#[test]
fn the_share_that_a_large_class_cannot_use_does_not_go_to_a_rare_message() {
    let count =
        |name: &str| [("M0", 1000), ("M1", 1), ("M2", 10)].into_iter().find(|it| it.0 == name).unwrap().1;
    let contracts = of_sizes(&[64, 200, 1 << 20]);
    let plan = Plan::of_traffic(&contracts, Layout::Packed, 1_300_000, |message| count(&message.name));
    assert_eq!(
        plan.unwrap().config().classes(),
        [(128, 1962), (200, 1), ((1 << 20) + 6, 1)].map(ClassConfig::from)
    );
}

#[test]
fn small_messages_share_a_class_and_leave_the_others_to_large_ones() {
    let contracts = of_sizes(&[8, 16, 24, 32, 40, 48, 56, 64, 1500, 3000, 4000]);
    let plan = Plan::of_traffic(&contracts, Layout::Packed, 1 << 20, |_| 100).unwrap();
    let sizes: Vec<_> = plan.config().classes().iter().map(|class| class.size).collect();
    assert_eq!(sizes, [128, 1500, 3000, 4000]);
}

#[test]
fn a_limit_below_one_buffer_per_class_is_an_error() {
    let plan = |limit| Plan::of_traffic(&schema("examples"), Layout::ReprC, limit, |_| 1);
    assert_eq!(plan(663), Err(PlanError::LimitTooLow { memory_limit: 663, needed: 664 }));
    assert_eq!(plan(664).unwrap().config().classes(), [(128, 1), (224, 1), (312, 1)].map(ClassConfig::from));
}

/// The pool's own suggestion, with a class for what it never saw.
#[test]
fn a_pool_that_ran_tells_what_it_needs() {
    let config = BufferPoolConfig::builder().class(1024, 64).record_sizes(true).build().unwrap();
    let pool = BufferPool::new(config);
    let held: Vec<_> = (0..20).map(|_| pool.acquire(312)).collect();
    drop(held);
    drop((0..500).map(|_| pool.acquire(700)).collect::<Vec<_>>());
    let stats = pool.stats();
    let plan = |limit| Plan::of_stats(&schema("examples"), Layout::ReprC, limit, &stats);
    let suggested = stats.suggest().unwrap().classes;
    assert_eq!(suggested, [(312, 20), (700, 481)].map(ClassConfig::from));
    assert_eq!(
        plan(1 << 20).unwrap().config().classes(),
        [(128, 1), (224, 1), (312, 20), (700, 479)].map(ClassConfig::from)
    );
    let tight = plan(100_000).unwrap();
    assert_eq!(tight.config().classes(), [(128, 1), (224, 1), (312, 6), (700, 139)].map(ClassConfig::from));
    assert!(tight.config().max_idle_bytes() <= 100_000);
    assert_eq!(tight.class_of("TextMessage").map(|class| class.size), Some(312));
    // What was asked for fits.
    let enough = 128 + 224 + 312 * 20 + 700 * 479;
    assert_eq!(plan(enough).unwrap().config().classes(), plan(1 << 20).unwrap().config().classes());
    let silent = BufferPoolStats::default();
    assert_eq!(Plan::of_stats(&schema("game"), Layout::Packed, 1 << 20, &silent), Err(PlanError::NoSizes));
}
