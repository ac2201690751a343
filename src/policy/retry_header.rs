//! What a `Retry-After` header asks for.

use std::time::{Duration, SystemTime};

/// No server stops a client for longer, by mistake or on purpose.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// How long a server asks to wait: the value of a `Retry-After` header, which is a number of seconds or a date of HTTP
/// ([RFC 9110, 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)). At most [`MAX_RETRY_AFTER`]; 0 for a date in
/// the past; `None` if it is neither.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use millpond::policy::retry_after;
///
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
/// assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
/// assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
/// ```
#[must_use]
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let asked = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // What does not fit is long enough.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(asked.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn seconds_are_read_and_bounded() {
        assert_eq!(retry_after(" 120 ", EPOCH), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("0", EPOCH), Some(Duration::ZERO));
        assert_eq!(retry_after("601", EPOCH), Some(MAX_RETRY_AFTER));
        assert_eq!(retry_after("99999999999999999999999", EPOCH), Some(MAX_RETRY_AFTER));
    }

    #[test]
    fn a_date_is_a_time_from_now() {
        let date = "Thu, 01 Jan 1970 00:01:00 GMT";
        assert_eq!(retry_after(date, EPOCH + Duration::from_secs(20)), Some(Duration::from_secs(40)));
        assert_eq!(retry_after(date, EPOCH + Duration::from_secs(70)), Some(Duration::ZERO));
    }

    #[test]
    fn what_is_neither_is_ignored() {
        for value in ["", " ", "-1", "+1", "1.5", "soon", "Thu, 01 Foo 1970 00:01:00 GMT"] {
            assert_eq!(retry_after(value, EPOCH), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics_or_asks_for_more_than_the_most(value in ".{0,40}|[0-9]{0,30}") {
            prop_assert!(retry_after(&value, EPOCH).is_none_or(|asked| asked <= MAX_RETRY_AFTER));
        }
    }
}
