// Generated from game.yaml, layout repr(C). Do not edit: changes are lost.
//
//     MILLPOND_BLESS=1 cargo test --features schema --lib schema::generate

use ::millpond::__codegen;

/// SHA-256 of the contract file's text, which both peers of a handshake must have in common.
pub const SCHEMA_DIGEST: [u8; 32] = [
    0x0e, 0x67, 0xa9, 0x6b, 0xd0, 0x11, 0xc2, 0x52, 0x8d, 0xdf, 0x88, 0x81, 0xe5, 0x23, 0x9c, 0xe9,
    0xec, 0x7d, 0x30, 0x3d, 0xfc, 0xaa, 0xd4, 0x7b, 0xdc, 0x5c, 0x6f, 0xf2, 0x56, 0x15, 0x23, 0x2f,
];

/// The pool of these messages; sizes are in bytes.
///
/// ```text
///      class  capacity    idle bytes  unused  messages
///        128       512         65536   76.2%  PlayerLogin 24
///                                               PlayerPosition 40
///                                               GameState 24
///                                               ChatMessage 32
///                                               ItemTransaction 32
///                              65536  in all
/// ```
#[must_use]
pub fn create_buffer_pool_config() -> __codegen::BufferPoolConfig {
    let classes = [(128, 512)];
    match __codegen::BufferPoolConfig::from_map(classes) {
        Ok(config) => config,
        Err(error) => unreachable!("{error}"),
    }
}

/// Bytes of the payload of `PlayerLogin`.
pub const PLAYER_LOGIN_MAX_SIZE: usize = 24;

/// Bytes of the buffer that a `PlayerLogin` takes.
pub const PLAYER_LOGIN_BUFFER_CLASS: usize = 128;

/// Player login request with credentials
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlayerLogin {
    /// Unique player identifier
    ///
    /// `u64` at byte 0.
    pub player_id: u64,
    /// Authentication session token
    ///
    /// `u64` at byte 8.
    pub session_token: u64,
    /// Login timestamp (Unix epoch)
    ///
    /// `u64` at byte 16.
    pub timestamp: u64,
}

/// `PlayerLogin` borrows nothing from its payload.
pub type PlayerLoginView<'a> = PlayerLogin;

impl __codegen::Message for PlayerLogin {
    const TYPE_ID: u16 = 1000;
    const TOPIC: &'static str = "game";
    const MAX_SIZE: usize = PLAYER_LOGIN_MAX_SIZE;
    type View<'a> = Self;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.player_id);
        __codegen::put(out, &self.session_token);
        __codegen::put(out, &self.timestamp);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(Self {
            player_id: cursor.value("player_id")?,
            session_token: cursor.value("session_token")?,
            timestamp: cursor.value("timestamp")?,
        })
    }
}

/// Bytes of the payload of `PlayerPosition`.
pub const PLAYER_POSITION_MAX_SIZE: usize = 40;

/// Bytes of the buffer that a `PlayerPosition` takes.
pub const PLAYER_POSITION_BUFFER_CLASS: usize = 128;

/// Real-time player position update
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlayerPosition {
    /// Player identifier
    ///
    /// `u64` at byte 0.
    pub player_id: u64,
    /// X coordinate
    ///
    /// `f64` at byte 8.
    pub x: f64,
    /// Y coordinate
    ///
    /// `f64` at byte 16.
    pub y: f64,
    /// Z coordinate
    ///
    /// `f64` at byte 24.
    pub z: f64,
    /// Player rotation in radians
    ///
    /// `f64` at byte 32.
    pub rotation: f64,
}

/// `PlayerPosition` borrows nothing from its payload.
pub type PlayerPositionView<'a> = PlayerPosition;

impl __codegen::Message for PlayerPosition {
    const TYPE_ID: u16 = 1001;
    const TOPIC: &'static str = "game";
    const MAX_SIZE: usize = PLAYER_POSITION_MAX_SIZE;
    type View<'a> = Self;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.player_id);
        __codegen::put(out, &self.x);
        __codegen::put(out, &self.y);
        __codegen::put(out, &self.z);
        __codegen::put(out, &self.rotation);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(Self {
            player_id: cursor.value("player_id")?,
            x: cursor.value("x")?,
            y: cursor.value("y")?,
            z: cursor.value("z")?,
            rotation: cursor.value("rotation")?,
        })
    }
}

/// Bytes of the payload of `GameState`.
pub const GAME_STATE_MAX_SIZE: usize = 24;

/// Bytes of the buffer that a `GameState` takes.
pub const GAME_STATE_BUFFER_CLASS: usize = 128;

/// Complete game state snapshot
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GameState {
    /// Game session identifier
    ///
    /// `u64` at byte 0.
    pub game_id: u64,
    /// Game tick number
    ///
    /// `u64` at byte 8.
    pub tick: u64,
    /// Number of active players
    ///
    /// `u32` at byte 16.
    pub player_count: u32,
    /// Elapsed time in seconds
    ///
    /// `u32` at byte 20.
    pub elapsed_time: u32,
}

/// `GameState` borrows nothing from its payload.
pub type GameStateView<'a> = GameState;

impl __codegen::Message for GameState {
    const TYPE_ID: u16 = 1002;
    const TOPIC: &'static str = "game";
    const MAX_SIZE: usize = GAME_STATE_MAX_SIZE;
    type View<'a> = Self;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.game_id);
        __codegen::put(out, &self.tick);
        __codegen::put(out, &self.player_count);
        __codegen::put(out, &self.elapsed_time);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(Self {
            game_id: cursor.value("game_id")?,
            tick: cursor.value("tick")?,
            player_count: cursor.value("player_count")?,
            elapsed_time: cursor.value("elapsed_time")?,
        })
    }
}

/// Bytes of the payload of `ChatMessage`.
pub const CHAT_MESSAGE_MAX_SIZE: usize = 32;

/// Bytes of the buffer that a `ChatMessage` takes.
pub const CHAT_MESSAGE_BUFFER_CLASS: usize = 128;

/// Player chat message metadata
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChatMessage {
    /// Sender player ID
    ///
    /// `u64` at byte 0.
    pub sender_id: u64,
    /// Chat channel identifier
    ///
    /// `u32` at byte 8.
    pub channel_id: u32,
    /// Hash of message content (for dedup)
    ///
    /// `u64` at byte 16.
    pub message_hash: u64,
    /// Message timestamp
    ///
    /// `u64` at byte 24.
    pub timestamp: u64,
}

/// `ChatMessage` borrows nothing from its payload.
pub type ChatMessageView<'a> = ChatMessage;

impl __codegen::Message for ChatMessage {
    const TYPE_ID: u16 = 1003;
    const TOPIC: &'static str = "game";
    const MAX_SIZE: usize = CHAT_MESSAGE_MAX_SIZE;
    type View<'a> = Self;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.sender_id);
        __codegen::put(out, &self.channel_id);
        out.put_bytes(0, 4);
        __codegen::put(out, &self.message_hash);
        __codegen::put(out, &self.timestamp);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(Self {
            sender_id: cursor.value("sender_id")?,
            channel_id: cursor.value("channel_id")?,
            message_hash: cursor.padding(4)?.value("message_hash")?,
            timestamp: cursor.value("timestamp")?,
        })
    }
}

/// Bytes of the payload of `ItemTransaction`.
pub const ITEM_TRANSACTION_MAX_SIZE: usize = 32;

/// Bytes of the buffer that a `ItemTransaction` takes.
pub const ITEM_TRANSACTION_BUFFER_CLASS: usize = 128;

/// Item transfer between players
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ItemTransaction {
    /// Unique transaction ID
    ///
    /// `u64` at byte 0.
    pub transaction_id: u64,
    /// Source player ID
    ///
    /// `u64` at byte 8.
    pub from_player: u64,
    /// Destination player ID
    ///
    /// `u64` at byte 16.
    pub to_player: u64,
    /// Item identifier
    ///
    /// `u32` at byte 24.
    pub item_id: u32,
    /// Item quantity
    ///
    /// `u32` at byte 28.
    pub quantity: u32,
}

/// `ItemTransaction` borrows nothing from its payload.
pub type ItemTransactionView<'a> = ItemTransaction;

impl __codegen::Message for ItemTransaction {
    const TYPE_ID: u16 = 1004;
    const TOPIC: &'static str = "game";
    const MAX_SIZE: usize = ITEM_TRANSACTION_MAX_SIZE;
    type View<'a> = Self;

    fn encode(&self, out: &mut impl __codegen::BufMut) {
        __codegen::put(out, &self.transaction_id);
        __codegen::put(out, &self.from_player);
        __codegen::put(out, &self.to_player);
        __codegen::put(out, &self.item_id);
        __codegen::put(out, &self.quantity);
    }

    fn view(payload: &[u8]) -> __codegen::Result<Self::View<'_>> {
        let mut cursor = __codegen::Fields::of(payload, Self::MAX_SIZE)?;
        Ok(Self {
            transaction_id: cursor.value("transaction_id")?,
            from_player: cursor.value("from_player")?,
            to_player: cursor.value("to_player")?,
            item_id: cursor.value("item_id")?,
            quantity: cursor.value("quantity")?,
        })
    }
}
