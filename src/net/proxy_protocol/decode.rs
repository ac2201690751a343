//! A PROXY header out of bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use memchr::memmem;

use super::{
    CRC32C, ProxyHeader, ProxyHeaderError as Error, TCP_OVER_IPV4, TCP_OVER_IPV6, UNIX_LENGTH, UNIX_STREAM,
    V1_MAX_LENGTH, V1_PREFIX, V2_LOCAL, V2_PREFIX_LENGTH, V2_PROXY, V2_SIGNATURE,
};

impl ProxyHeader {
    /// Decodes the header at the start of `bytes`, and says how many bytes it has. `None` if more bytes are needed.
    ///
    /// A header for datagrams or without addresses is [`Local`](Self::Local): as with haproxy and nginx, the addresses of the
    /// connection count. Extensions (TLVs) are skipped, but for a CRC32c, which must match.
    ///
    /// # Errors
    ///
    /// If no more bytes can make a header of them.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        if begins_like(bytes, V2_SIGNATURE) {
            decode_v2(bytes)
        } else if begins_like(bytes, V1_PREFIX) {
            decode_v1(bytes)
        } else {
            Err(Error::Missing)
        }
    }
}

/// Whether `bytes` may become what begins with `prefix`.
fn begins_like(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.iter().zip(prefix).all(|(byte, expected)| byte == expected)
}

fn decode_v1(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Error> {
    let bounded = bytes.get(..V1_MAX_LENGTH).unwrap_or(bytes);
    let Some(end) = memmem::find(bounded, b"\r\n") else {
        return if bounded.len() < V1_MAX_LENGTH { Ok(None) } else { Err(Error::TooLong) };
    };
    let line = bounded.get(V1_PREFIX.len()..end).and_then(|line| str::from_utf8(line).ok());
    let header = line.and_then(decode_line).ok_or(Error::Malformed)?;
    Ok(Some((header, end + b"\r\n".len())))
}

fn decode_line(line: &str) -> Option<ProxyHeader> {
    let mut words = line.split(' ');
    let ip: fn(&str) -> Option<IpAddr> = match words.next()? {
        "TCP4" => |word| Some(IpAddr::V4(word.parse().ok()?)),
        "TCP6" => |word| Some(IpAddr::V6(word.parse().ok()?)),
        // Whatever follows is to be ignored.
        "UNKNOWN" => return Some(ProxyHeader::Local),
        _ => return None,
    };
    let (source, destination) = (ip(words.next()?)?, ip(words.next()?)?);
    let (from, to) = (port(words.next()?)?, port(words.next()?)?);
    let header = ProxyHeader::Tcp {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
    };
    words.next().is_none().then_some(header)
}

/// As the format has it: digits, without leading zeros.
fn port(word: &str) -> Option<u16> {
    let is_plain = word == "0" || word.starts_with(|first: char| ('1'..='9').contains(&first));
    if is_plain { word.parse().ok() } else { None }
}

fn decode_v2(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Error> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<V2_PREFIX_LENGTH>() else { return Ok(None) };
    let [.., command, family, high, low] = *prefix;
    if !matches!(command, V2_LOCAL | V2_PROXY) {
        return Err(Error::Malformed);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    let total = V2_PREFIX_LENGTH + length;
    if total > ProxyHeader::MAX_LENGTH {
        return Err(Error::TooLong);
    }
    let Some(rest) = rest.get(..length) else { return Ok(None) };
    // The family and what follows are to be ignored.
    if command == V2_LOCAL {
        return Ok(Some((ProxyHeader::Local, total)));
    }
    let (header, tlvs) = decode_addresses(family, rest).ok_or(Error::Malformed)?;
    check_tlvs(tlvs, bytes.get(..total).unwrap_or_default())?;
    Ok(Some((header, total)))
}

/// The addresses, and the bytes after them.
fn decode_addresses(family: u8, bytes: &[u8]) -> Option<(ProxyHeader, &[u8])> {
    match family {
        TCP_OVER_IPV4 => {
            let (source, bytes) = take::<4>(bytes)?;
            let (destination, bytes) = take::<4>(bytes)?;
            tcp(Ipv4Addr::from(source).into(), Ipv4Addr::from(destination).into(), bytes)
        }
        TCP_OVER_IPV6 => {
            let (source, bytes) = take::<16>(bytes)?;
            let (destination, bytes) = take::<16>(bytes)?;
            tcp(Ipv6Addr::from(source).into(), Ipv6Addr::from(destination).into(), bytes)
        }
        UNIX_STREAM => Some((ProxyHeader::Unix, bytes.get(UNIX_LENGTH..)?)),
        // Unspecified families and transports, and datagrams.
        _ => {
            let length = match family >> 4 {
                0 => return (family & 0xf <= 2).then_some((ProxyHeader::Local, &[])),
                1 => 12,
                2 => 36,
                3 => UNIX_LENGTH,
                _ => return None,
            };
            (family & 0xf <= 2).then_some((ProxyHeader::Local, bytes.get(length..)?))
        }
    }
}

fn tcp(source: IpAddr, destination: IpAddr, bytes: &[u8]) -> Option<(ProxyHeader, &[u8])> {
    let (from, bytes) = take::<2>(bytes)?;
    let (to, bytes) = take::<2>(bytes)?;
    let source = SocketAddr::new(source, u16::from_be_bytes(from));
    let destination = SocketAddr::new(destination, u16::from_be_bytes(to));
    Some((ProxyHeader::Tcp { source, destination }, bytes))
}

fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    let (taken, rest) = bytes.split_first_chunk()?;
    Some((*taken, rest))
}

/// Checks that the TLVs at the end of `header` fill it, and its checksum, if it has one.
fn check_tlvs(mut tlvs: &[u8], header: &[u8]) -> Result<(), Error> {
    while !tlvs.is_empty() {
        let ([kind, high, low], rest) = take::<3>(tlvs).ok_or(Error::Malformed)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(Error::Malformed)?;
        if kind == CRC32C {
            let expected = <[u8; 4]>::try_from(value).map_err(|_| Error::Malformed)?;
            // It was computed with zeros in its own place.
            let start = header.len() - rest.len() - length;
            let zeroed = header
                .iter()
                .enumerate()
                .map(|(at, byte)| if (start..start + length).contains(&at) { 0 } else { *byte });
            if crc32c(zeroed) != u32::from_be_bytes(expected) {
                return Err(Error::Checksum);
            }
        }
        tlvs = rest;
    }
    Ok(())
}

/// Of RFC 4960, appendix B. Bit by bit: a header is short.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c() {
        // The check value of the catalogue of CRCs (CRC-32/ISCSI).
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
    }
}
