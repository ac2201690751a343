//! How both handles are printed and serialized: as their bytes, in the formats of `bytes`.

use core::fmt::{self, Debug, LowerHex, UpperHex, Write};

use super::buffer::PooledBuffer;
use super::bytes::PooledBytes;

macro_rules! shown_as_bytes {
    ($handle:ty) => {
        /// As a byte string literal: `b"GET /\r\n\xff"`. It shows all of the content.
        impl Debug for $handle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                literal(self, f)
            }
        }

        impl LowerHex for $handle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl UpperHex for $handle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
            }
        }

        /// As bytes, not as a sequence. (Feature `serde`.)
        #[cfg(feature = "serde")]
        impl serde::Serialize for $handle {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self)
            }
        }
    };
}

shown_as_bytes!(PooledBytes);
shown_as_bytes!(PooledBuffer);

fn literal(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("b\"")?;
    for &byte in bytes {
        match byte {
            b'\0' => f.write_str("\\0")?,
            b'\'' => f.write_char('\'')?, // which `escape_default` would escape
            _ => write!(f, "{}", byte.escape_ascii())?,
        }
    }
    f.write_char('"')
}
