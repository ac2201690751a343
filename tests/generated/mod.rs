//! What is generated from `tests/contracts`, in both layouts, and all of its messages by name. The tests and the fuzzer
//! use it.
#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each user takes its part")]

use std::fmt::Debug;

use millpond::frame::{Message, MessageError};

/// A generated message without its type.
pub(crate) struct Entry {
    pub(crate) contract: &'static str,
    pub(crate) packed: bool,
    pub(crate) name: &'static str,
    pub(crate) type_id: u16,
    pub(crate) max_size: usize,
    /// Payload → view → owned form → payload.
    pub(crate) recode: fn(&[u8]) -> Result<Vec<u8>, MessageError>,
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
    ($($contract:ident $packed_contract:ident $file:literal $packed_file:literal: $($message:ident)*;)*) => {
        $(
            pub(crate) mod $contract {
                include!($file);
            }
            pub(crate) mod $packed_contract {
                include!($packed_file);
            }
        )*

        /// All of them.
        pub(crate) const ENTRIES: &[Entry] = &[$($(
            Entry {
                contract: stringify!($contract),
                packed: false,
                name: stringify!($message),
                type_id: <$contract::$message as Message>::TYPE_ID,
                max_size: <$contract::$message as Message>::MAX_SIZE,
                recode: recode::<$contract::$message>,
            },
            Entry {
                contract: stringify!($contract),
                packed: true,
                name: stringify!($message),
                type_id: <$packed_contract::$message as Message>::TYPE_ID,
                max_size: <$packed_contract::$message as Message>::MAX_SIZE,
                recode: recode::<$packed_contract::$message>,
            },
        )*)*];
    };
}

generated! {
    corners corners_packed "corners.rs" "corners_packed.rs":
        Numbers Lists Rules Option OptionView Message Result frame fields Ok From core snake_case Large
        AMessageWhoseNameIsAsLongAsAnyIs GPS Self_;
    defi defi_packed "defi.rs" "defi_packed.rs": InstrumentMeta PoolStateUpdate ArbitrageSignal;
    examples examples_packed "examples.rs" "examples_packed.rs": TextMessage CounterUpdate BatchOperation;
    examples_list examples_list_packed "examples_list.rs" "examples_list_packed.rs":
        TextMessage CounterUpdate BatchOperation;
    primitives primitives_packed "primitives.rs" "primitives_packed.rs": u8 str usize;
    game game_packed "game.rs" "game_packed.rs":
        PlayerLogin PlayerPosition GameState ChatMessage ItemTransaction;
    ledger_list ledger_list_packed "ledger_list.rs" "ledger_list_packed.rs": Transfer Block Heartbeat;
}
