//! How the values of options are read.

use std::time::Duration;

use bytesize::ByteSize;
use millpond::net::Endpoint;
use millpond::net::tls::ServerNames;

/// An endpoint to connect to.
pub(crate) fn upstream(text: &str) -> Result<Endpoint, String> {
    let endpoint = text.parse::<Endpoint>().map_err(|error| error.to_string())?;
    let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if matches!(endpoint, Endpoint::Tcp(_)) && port == Some(0) {
        return Err(
            "write the port at which the server listens: 0 means any free one, and only for --listen"
                .to_owned(),
        );
    }
    Ok(endpoint)
}

/// A server name, and where its clients go.
pub(crate) fn name_route(text: &str) -> Result<(String, Endpoint), String> {
    let (name, endpoint) = text.split_once('=').ok_or("write NAME=ENDPOINT")?;
    ServerNames::new().insert(name, ()).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), upstream(endpoint)?))
}

/// The length of an accept queue.
pub(crate) fn backlog(text: &str) -> Result<u32, String> {
    let length = positive(text)?;
    u32::try_from(length).map_err(|_| format!("write a number up to {}", u32::MAX))
}

/// A number of failures.
pub(crate) fn failures(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| "write a number of 1 or more".to_owned())
}

/// Seconds as a decimal number, up to a year.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    // Timers do not reach much further. For "never" there is 0.
    seconds
        .filter(|seconds| *seconds <= Duration::from_secs(366 * 86_400))
        .ok_or_else(|| "write seconds, as in 5 or 0.5".to_owned())
}

pub(crate) fn positive_seconds(text: &str) -> Result<Duration, String> {
    seconds(text)
        .and_then(|time| if time.is_zero() { Err("write more than 0 seconds".to_owned()) } else { Ok(time) })
}

pub(crate) fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| "write a size, as in 64MiB or 65536".to_owned())
}

pub(crate) fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| "write a number of 1 or more".to_owned())
}

/// At least one of the proxy's largest buffers.
pub(crate) fn memory_limit(text: &str) -> Result<ByteSize, String> {
    let limit = size(text)?;
    if limit < ByteSize::kib(64) {
        Err("write 64KiB or more: the largest buffer takes 64KiB".to_owned())
    } else {
        Ok(limit)
    }
}
