//! How the values of options are read.

use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use millpond::net::Endpoint;
use millpond::net::tls::ServerNames;
use nix::unistd::{Group, User};

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

/// A number that is not too large for a limit per source.
pub(crate) fn count(text: &str) -> Result<u32, String> {
    backlog(text)
}

/// The octal mode of a file.
pub(crate) fn unix_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && !text.starts_with('+'));
    mode.ok_or_else(|| "write an octal mode, as in 660".to_owned())
}

/// The user and group of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        if user.is_empty() && group.is_empty() {
            return Err("write USER, USER:GROUP or :GROUP".to_owned());
        }
        let user_of = |name: &str| Some(User::from_name(name).ok()??.uid.as_raw());
        let group_of = |name: &str| Some(Group::from_name(name).ok()??.gid.as_raw());
        let id = |name: &str, of: &dyn Fn(&str) -> Option<u32>, what| match name {
            "" => Ok(None),
            _ => match name.parse().ok().or_else(|| of(name)) {
                None => Err(format!("this system has no {what} {name}")),
                known => Ok(known),
            },
        };
        Ok(Self { user: id(user, &user_of, "user")?, group: id(group, &group_of, "group")? })
    }
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
