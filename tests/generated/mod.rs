//! The code generated from `tests/contracts` in both layouts, and a table of all its messages. The tests and the fuzzer
//! use it.
#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each user takes its part")]

use std::fmt::Debug;

use millpond::frame::{Message, MessageError};

/// A generated message without its type.
pub(crate) struct Entry {
    /// The contract, with `_packed` for the packed layout.
    pub(crate) module: &'static str,
    pub(crate) name: &'static str,
    pub(crate) type_id: u16,
    pub(crate) max_size: usize,
    /// Payload → view → owned struct → payload.
    pub(crate) recode: fn(&[u8]) -> Result<Vec<u8>, MessageError>,
}

impl Entry {
    /// Whether its view refuses bytes that carry no value and are not zero. It is generated like that; others are not.
    pub(crate) fn is_strict(&self) -> bool {
        self.module == "corners"
    }
}

fn recode<M>(payload: &[u8]) -> Result<Vec<u8>, MessageError>
where
    M: Message + Debug + Clone + for<'a> From<<M as Message>::View<'a>>,
    for<'a> M::View<'a>: Copy + Debug,
{
    let view = M::view(payload)?;
    let owned = M::from(view);
    assert_eq!(owned.validate(), Ok(()), "{view:?}");
    let mut encoded = Vec::new();
    owned.encode(&mut encoded);
    assert_eq!((encoded.len(), owned.encoded_len()), (M::MAX_SIZE, M::MAX_SIZE));
    Ok(encoded)
}

macro_rules! generated {
    ($($module:ident $file:literal: $($message:ident)*;)*) => {
        $(
            pub(crate) mod $module {
                include!($file);
            }
        )*

        /// All generated messages.
        pub(crate) const ENTRIES: &[Entry] = &[$($(
            Entry {
                module: stringify!($module),
                name: stringify!($message),
                type_id: <$module::$message as Message>::TYPE_ID,
                max_size: <$module::$message as Message>::MAX_SIZE,
                recode: recode::<$module::$message>,
            },
        )*)*];
    };
}

// `examples_list`, `examples_list_packed`, `keywords_packed` and `primitives_packed` would differ from `examples`,
// `examples_packed`, `keywords` and `primitives` in nothing but their heads.
generated! {
    corners "corners.rs":
        Numbers Lists Constraints Option OptionView Message Result frame __codegen Ok From core snake_case Large
        AMessageWhoseNameIsAsLongAsAnyIs GPS Self_;
    corners_packed "corners_packed.rs":
        Numbers Lists Constraints Option OptionView Message Result frame __codegen Ok From core snake_case Large
        AMessageWhoseNameIsAsLongAsAnyIs GPS Self_;
    defi "defi.rs": InstrumentMeta PoolStateUpdate ArbitrageSignal;
    defi_packed "defi_packed.rs": InstrumentMeta PoolStateUpdate ArbitrageSignal;
    examples "examples.rs": TextMessage CounterUpdate BatchOperation;
    examples_packed "examples_packed.rs": TextMessage CounterUpdate BatchOperation;
    primitives "primitives.rs": u8 str usize;
    game "game.rs": PlayerLogin PlayerPosition GameState ChatMessage ItemTransaction;
    game_packed "game_packed.rs": PlayerLogin PlayerPosition GameState ChatMessage ItemTransaction;
    ledger_list "ledger_list.rs": Transfer Block Heartbeat;
    ledger_list_packed "ledger_list_packed.rs": Transfer Block Heartbeat;
    keywords "keywords.rs": Keywords r#type Self__ Self_ __ crate_ r#enum;
}
