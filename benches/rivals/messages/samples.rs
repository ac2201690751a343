//! Generated messages, and some of each.

#[expect(dead_code, unreachable_pub, reason = "all of the contracts is generated; this takes what it needs")]
pub(crate) mod defi {
    include!("../../../tests/generated/defi.rs");
}
#[expect(dead_code, unreachable_pub, reason = "all of the contracts is generated; this takes what it needs")]
pub(crate) mod examples {
    include!("../../../tests/generated/examples.rs");
}

use defi::PoolStateUpdate;
use examples::TextMessage;

pub(crate) fn text(sender: &str, content: &str) -> TextMessage {
    let fits = "it fits its slots";
    TextMessage {
        sender: sender.try_into().expect(fits),
        content: content.try_into().expect(fits),
        timestamp: 1_762_128_000,
    }
}

pub(crate) fn update() -> PoolStateUpdate {
    PoolStateUpdate {
        pool_address: [0x45; 20],
        venue_id: 2,
        reserve0: [3; 32],
        reserve1: [4; 32],
        liquidity: [5; 32],
        sqrt_price_x96: [6; 32],
        tick: -200_123,
        block_number: 78_500_000,
    }
}
