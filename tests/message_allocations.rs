//! In steady state a generated message is encoded into a pooled buffer, viewed and converted without a heap allocation.
//!
//! This runs without the test harness, because the harness's own thread allocates at any time.

use dhat::HeapStats;
use millpond::BufferPool;
use millpond::frame::Message;

mod generated;

use generated::defi::{ArbitrageSignal, PoolStateUpdate};
use generated::examples::{self, TextMessage};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const TIMES: usize = 1000;

fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let pool = BufferPool::new(examples::create_buffer_pool_config());
    let text = TextMessage {
        sender: "alice".try_into().unwrap(),
        content: "Hello, World!".try_into().unwrap(),
        timestamp: 1,
    };
    let update = PoolStateUpdate {
        pool_address: [1; 20],
        venue_id: 2,
        reserve0: [3; 32],
        reserve1: [4; 32],
        liquidity: [5; 32],
        sqrt_price_x96: [6; 32],
        tick: -7,
        block_number: 8,
    };
    let signal = ArbitrageSignal {
        opportunity_id: 1,
        path: [[2; 20]; 4].into(),
        estimated_profit_usd: 3.5,
        gas_estimate_wei: [4; 32],
        deadline_block: 5,
    };
    let round = || {
        encode_and_view(&pool, &text);
        encode_and_view(&pool, &update);
        encode_and_view(&pool, &signal);
    };
    round();
    let before = HeapStats::get();
    (0..TIMES).for_each(|_| round());
    assert_eq!(HeapStats::get().total_blocks, before.total_blocks);
    println!("test result: ok. {} messages", 3 * TIMES);
}

fn encode_and_view<M>(pool: &BufferPool, message: &M)
where
    M: Message + PartialEq + for<'a> From<<M as Message>::View<'a>>,
{
    message.validate().unwrap();
    let payload = message.encode_pooled(pool).into_shared();
    assert!(M::view(&payload).map(M::from).as_ref() == Ok(message));
}
