// Generated from defi.yaml, layout packed. Do not edit: changes are lost.
//
//     MILLPOND_BLESS=1 cargo test --features schema --lib schema::generate

use ::millpond::__codegen;

/// SHA-256 of the contract file's text, which both peers of a handshake must have in common.
pub const SCHEMA_DIGEST: [u8; 32] = [
    0xf8, 0xf7, 0x3a, 0x58, 0xfd, 0x69, 0x90, 0x6f, 0x61, 0xc7, 0xe8, 0x65, 0x8b, 0xd7, 0xa4, 0xc8,
    0xa9, 0x60, 0x89, 0x39, 0x07, 0x3b, 0xeb, 0x4c, 0x9c, 0x33, 0x70, 0x1c, 0x99, 0x10, 0x6a, 0x31,
];

/// The pool of these messages; sizes are in bytes.
///
/// ```text
///      class  capacity    idle bytes  unused  messages
///        128       512         65536   49.2%  InstrumentMeta 65
///        256       256         65536   40.2%  PoolStateUpdate 162
///                                               ArbitrageSignal 144
///                             131072  in all
/// ```
#[must_use]
pub fn create_buffer_pool_config() -> __codegen::BufferPoolConfig {
    let classes = [(128, 512), (256, 256)];
    match __codegen::BufferPoolConfig::from_map(classes) {
        Ok(config) => config,
        Err(error) => unreachable!("{error}"),
    }
}

/// Bytes of the payload of `InstrumentMeta`.
pub const INSTRUMENT_META_MAX_SIZE: usize = 65;

/// Bytes of the buffer that a `InstrumentMeta` takes.
pub const INSTRUMENT_META_BUFFER_CLASS: usize = 128;

/// Token metadata (symbol, decimals, chain)
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
pub struct InstrumentMeta {
    /// ERC-20 token address
    ///
    /// `[u8; 20]` at byte 0; `not_zero`.
    pub token_address: [u8; 20],
    /// Token symbol (e.g., WETH, USDC)
    ///
    /// `FixedStr<32>` at byte 20; `not_empty`, `max_length: 32`.
    pub symbol: __codegen::ArrayString<32>,
    /// Token decimals (e.g., 18 for WETH, 6 for USDC)
    ///
    /// `u8` at byte 60; `min: 1`, `max: 30`.
    pub decimals: u8,
    /// Chain ID (e.g., 137 for Polygon)
    ///
    /// `u32` at byte 61.
    pub chain_id: u32,
}

/// `InstrumentMeta`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InstrumentMetaView<'a> {
    /// ERC-20 token address
    pub token_address: &'a [u8; 20],
    /// Token symbol (e.g., WETH, USDC)
    pub symbol: &'a str,
    /// Token decimals (e.g., 18 for WETH, 6 for USDC)
    pub decimals: u8,
    /// Chain ID (e.g., 137 for Polygon)
    pub chain_id: u32,
}

impl __codegen::Message for InstrumentMeta {
    const TYPE_ID: u16 = 1018;
    const TOPIC: &'static str = "marketdata";
    const MAX_SIZE: usize = INSTRUMENT_META_MAX_SIZE;
    type View<'a> = InstrumentMetaView<'a>;

    fn validate(&self) -> __codegen::Result<()> {
        __codegen::not_zero("token_address", &self.token_address)?;
        __codegen::not_empty("symbol", self.symbol.len())?;
        __codegen::min("decimals", self.decimals, 1)?;
        __codegen::max("decimals", self.decimals, 30)?;
        Ok(())
    }

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.token_address);
        __codegen::put_text::<32>(out, &self.symbol);
        __codegen::put(out, &self.decimals);
        __codegen::put(out, &self.chain_id);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        let view = InstrumentMetaView {
            token_address: cursor.bytes("token_address")?,
            symbol: cursor.text::<32>("symbol")?,
            decimals: cursor.value("decimals")?,
            chain_id: cursor.value("chain_id")?,
        };
        __codegen::not_zero("token_address", view.token_address)?;
        __codegen::not_empty("symbol", view.symbol.len())?;
        __codegen::min("decimals", view.decimals, 1)?;
        __codegen::max("decimals", view.decimals, 30)?;
        Ok(view)
    }
}

impl ::core::convert::From<InstrumentMetaView<'_>> for InstrumentMeta {
    fn from(view: InstrumentMetaView<'_>) -> Self {
        Self {
            token_address: *view.token_address,
            symbol: __codegen::text(view.symbol),
            decimals: view.decimals,
            chain_id: view.chain_id,
        }
    }
}

/// Bytes of the payload of `PoolStateUpdate`.
pub const POOL_STATE_UPDATE_MAX_SIZE: usize = 162;

/// Bytes of the buffer that a `PoolStateUpdate` takes.
pub const POOL_STATE_UPDATE_BUFFER_CLASS: usize = 256;

/// DEX pool state update (reserves, liquidity, price)
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
pub struct PoolStateUpdate {
    /// Pool contract address
    ///
    /// `[u8; 20]` at byte 0; `not_zero`.
    pub pool_address: [u8; 20],
    /// Protocol identifier (e.g., 1=Uniswap V2, 2=Uniswap V3)
    ///
    /// `u16` at byte 20.
    pub venue_id: u16,
    /// Reserve of token0 (V2 only)
    ///
    /// `U256` at byte 22, optional.
    pub reserve0: [u8; 32],
    /// Reserve of token1 (V2 only)
    ///
    /// `U256` at byte 54, optional.
    pub reserve1: [u8; 32],
    /// Total liquidity (V3 only)
    ///
    /// `U256` at byte 86, optional.
    pub liquidity: [u8; 32],
    /// Square root price in Q96 format (V3 only)
    ///
    /// `U256` at byte 118, optional.
    pub sqrt_price_x96: [u8; 32],
    /// Current tick (V3 only)
    ///
    /// `i32` at byte 150, optional.
    pub tick: i32,
    /// Block number when state was observed
    ///
    /// `u64` at byte 154.
    pub block_number: u64,
}

/// `PoolStateUpdate`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PoolStateUpdateView<'a> {
    /// Pool contract address
    pub pool_address: &'a [u8; 20],
    /// Protocol identifier (e.g., 1=Uniswap V2, 2=Uniswap V3)
    pub venue_id: u16,
    /// Reserve of token0 (V2 only)
    pub reserve0: &'a [u8; 32],
    /// Reserve of token1 (V2 only)
    pub reserve1: &'a [u8; 32],
    /// Total liquidity (V3 only)
    pub liquidity: &'a [u8; 32],
    /// Square root price in Q96 format (V3 only)
    pub sqrt_price_x96: &'a [u8; 32],
    /// Current tick (V3 only)
    pub tick: i32,
    /// Block number when state was observed
    pub block_number: u64,
}

impl __codegen::Message for PoolStateUpdate {
    const TYPE_ID: u16 = 1011;
    const TOPIC: &'static str = "marketdata";
    const MAX_SIZE: usize = POOL_STATE_UPDATE_MAX_SIZE;
    type View<'a> = PoolStateUpdateView<'a>;

    fn validate(&self) -> __codegen::Result<()> {
        __codegen::not_zero("pool_address", &self.pool_address)?;
        Ok(())
    }

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.pool_address);
        __codegen::put(out, &self.venue_id);
        __codegen::put(out, &self.reserve0);
        __codegen::put(out, &self.reserve1);
        __codegen::put(out, &self.liquidity);
        __codegen::put(out, &self.sqrt_price_x96);
        __codegen::put(out, &self.tick);
        __codegen::put(out, &self.block_number);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        let view = PoolStateUpdateView {
            pool_address: cursor.bytes("pool_address")?,
            venue_id: cursor.value("venue_id")?,
            reserve0: cursor.bytes("reserve0")?,
            reserve1: cursor.bytes("reserve1")?,
            liquidity: cursor.bytes("liquidity")?,
            sqrt_price_x96: cursor.bytes("sqrt_price_x96")?,
            tick: cursor.value("tick")?,
            block_number: cursor.value("block_number")?,
        };
        __codegen::not_zero("pool_address", view.pool_address)?;
        Ok(view)
    }
}

impl ::core::convert::From<PoolStateUpdateView<'_>> for PoolStateUpdate {
    fn from(view: PoolStateUpdateView<'_>) -> Self {
        Self {
            pool_address: *view.pool_address,
            venue_id: view.venue_id,
            reserve0: *view.reserve0,
            reserve1: *view.reserve1,
            liquidity: *view.liquidity,
            sqrt_price_x96: *view.sqrt_price_x96,
            tick: view.tick,
            block_number: view.block_number,
        }
    }
}

/// Bytes of the payload of `ArbitrageSignal`.
pub const ARBITRAGE_SIGNAL_MAX_SIZE: usize = 144;

/// Bytes of the buffer that a `ArbitrageSignal` takes.
pub const ARBITRAGE_SIGNAL_BUFFER_CLASS: usize = 256;

/// Profitable arbitrage opportunity detected
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize))]
pub struct ArbitrageSignal {
    /// Unique identifier for this opportunity
    ///
    /// `u64` at byte 0.
    pub opportunity_id: u64,
    /// Sequence of pool addresses for arbitrage path
    ///
    /// `FixedVec<[u8; 20], 4>` at byte 8; `min_length: 2`, `max_length: 4`.
    pub path: __codegen::ArrayVec<[u8; 20], 4>,
    /// Estimated profit in USD
    ///
    /// `f64` at byte 96; `min: 0.0`.
    pub estimated_profit_usd: f64,
    /// Estimated gas cost in wei
    ///
    /// `U256` at byte 104.
    pub gas_estimate_wei: [u8; 32],
    /// Block number after which opportunity expires
    ///
    /// `u64` at byte 136.
    pub deadline_block: u64,
}

/// `ArbitrageSignal`, read from its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArbitrageSignalView<'a> {
    /// Unique identifier for this opportunity
    pub opportunity_id: u64,
    /// Sequence of pool addresses for arbitrage path
    pub path: &'a [[u8; 20]],
    /// Estimated profit in USD
    pub estimated_profit_usd: f64,
    /// Estimated gas cost in wei
    pub gas_estimate_wei: &'a [u8; 32],
    /// Block number after which opportunity expires
    pub deadline_block: u64,
}

impl __codegen::Message for ArbitrageSignal {
    const TYPE_ID: u16 = 1020;
    const TOPIC: &'static str = "signal";
    const MAX_SIZE: usize = ARBITRAGE_SIGNAL_MAX_SIZE;
    type View<'a> = ArbitrageSignalView<'a>;

    fn validate(&self) -> __codegen::Result<()> {
        __codegen::min_length("path", self.path.len(), 2)?;
        __codegen::min("estimated_profit_usd", self.estimated_profit_usd, 0.0)?;
        Ok(())
    }

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.opportunity_id);
        __codegen::put_list::<_, 4>(out, &self.path);
        __codegen::put(out, &self.estimated_profit_usd);
        __codegen::put(out, &self.gas_estimate_wei);
        __codegen::put(out, &self.deadline_block);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        let view = ArbitrageSignalView {
            opportunity_id: cursor.value("opportunity_id")?,
            path: cursor.bytes_list::<_, 4>("path")?,
            estimated_profit_usd: cursor.value("estimated_profit_usd")?,
            gas_estimate_wei: cursor.bytes("gas_estimate_wei")?,
            deadline_block: cursor.value("deadline_block")?,
        };
        __codegen::min_length("path", view.path.len(), 2)?;
        __codegen::min("estimated_profit_usd", view.estimated_profit_usd, 0.0)?;
        Ok(view)
    }
}

impl ::core::convert::From<ArbitrageSignalView<'_>> for ArbitrageSignal {
    fn from(view: ArbitrageSignalView<'_>) -> Self {
        Self {
            opportunity_id: view.opportunity_id,
            path: __codegen::list(view.path.iter().copied()),
            estimated_profit_usd: view.estimated_profit_usd,
            gas_estimate_wei: *view.gas_estimate_wei,
            deadline_block: view.deadline_block,
        }
    }
}
