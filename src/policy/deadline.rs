//! How much time is left.

use std::time::{Duration, Instant};

/// When a request has to be done: one point in time that is handed on to all that the request waits for, so that nobody
/// works for a client that has left.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use millpond::policy::Deadline;
///
/// let now = Instant::now();
/// let request = Deadline::after(now, Duration::from_secs(5));
/// let connect = request.at_most(now, Duration::from_secs(1));
/// assert_eq!(connect.remaining(now), Some(Duration::from_secs(1)));
/// assert_eq!(request.to_grpc_timeout(now).as_deref(), Some("5000m"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// As long as it takes.
    pub const NEVER: Self = Self(None);

    /// At `when`.
    #[must_use]
    pub fn at(when: Instant) -> Self {
        Self(Some(when))
    }

    /// In `time` from `now`.
    #[must_use]
    pub fn after(now: Instant, time: Duration) -> Self {
        Self(now.checked_add(time))
    }

    /// Reads the value of gRPC's header `grpc-timeout`, such as `100m` for 100 ms. `None` if it is none.
    #[must_use]
    pub fn from_grpc_timeout(now: Instant, value: &str) -> Option<Self> {
        let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
        let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = if is_number { digits.parse().ok()? } else { return None };
        let time = match unit {
            "H" => Duration::from_secs(number * 3600),
            "M" => Duration::from_secs(number * 60),
            "S" => Duration::from_secs(number),
            "m" => Duration::from_millis(number),
            "u" => Duration::from_micros(number),
            "n" => Duration::from_nanos(number),
            _ => return None,
        };
        Some(Self::after(now, time))
    }

    /// The value of gRPC's header `grpc-timeout`, rounded down. The unit is the millisecond, except for times of less than one,
    /// which are in microseconds, and for times of more than a day, which are in seconds. `None` without a deadline.
    #[must_use]
    pub fn to_grpc_timeout(self, now: Instant) -> Option<String> {
        const MOST: u128 = 99_999_999; // eight digits
        let remaining = self.remaining(now)?;
        let millis = remaining.as_millis();
        Some(if millis == 0 {
            format!("{}u", remaining.as_micros())
        } else if millis <= MOST {
            format!("{millis}m")
        } else {
            format!("{}S", (millis / 1000).min(MOST))
        })
    }

    /// The point in time, if there is one.
    #[must_use]
    pub fn instant(self) -> Option<Instant> {
        self.0
    }

    /// The time that is left, 0 if there is none. `None` without a deadline.
    #[must_use]
    pub fn remaining(self, now: Instant) -> Option<Duration> {
        self.0.map(|when| when.saturating_duration_since(now))
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_over(self, now: Instant) -> bool {
        self.remaining(now) == Some(Duration::ZERO)
    }

    /// Whether something is left after `time`.
    #[must_use]
    pub fn allows(self, now: Instant, time: Duration) -> bool {
        self.remaining(now).is_none_or(|remaining| remaining > time)
    }

    /// The deadline of a part that has its own limit: the earlier one.
    #[must_use]
    pub fn at_most(self, now: Instant, limit: Duration) -> Self {
        match (self.0, Self::after(now, limit).0) {
            (Some(whole), Some(part)) => Self(Some(whole.min(part))),
            (whole, part) => Self(whole.or(part)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_over_when_nothing_remains() {
        let now = Instant::now();
        let deadline = Deadline::at(now + SECOND);
        assert!(!deadline.is_over(now));
        assert!(deadline.is_over(now + SECOND));
        assert_eq!(deadline.remaining(now + 2 * SECOND), Some(Duration::ZERO));
        assert_eq!(deadline.instant(), Some(now + SECOND));
    }

    #[test]
    fn it_allows_what_ends_before_it() {
        let now = Instant::now();
        let deadline = Deadline::after(now, SECOND);
        assert!(deadline.allows(now, SECOND / 2));
        assert!(!deadline.allows(now, SECOND));
        assert!(Deadline::NEVER.allows(now, Duration::MAX));
    }

    #[test]
    fn a_part_ends_at_the_earlier_of_both() {
        let now = Instant::now();
        let second = Deadline::after(now, SECOND);
        assert_eq!(second.at_most(now, 2 * SECOND), second);
        assert_eq!(second.at_most(now, SECOND / 2), Deadline::after(now, SECOND / 2));
        assert_eq!(Deadline::NEVER.at_most(now, SECOND), second);
        assert_eq!(second.at_most(now, Duration::MAX), second);
    }

    #[test]
    fn a_time_without_an_end_is_no_deadline() {
        assert_eq!(Deadline::after(Instant::now(), Duration::MAX), Deadline::NEVER);
    }

    #[test]
    fn each_unit_of_grpc_is_read() {
        let now = Instant::now();
        let seconds = |value| {
            let deadline = Deadline::from_grpc_timeout(now, value)?;
            deadline.remaining(now).map(|remaining| remaining.as_secs_f64())
        };
        for (value, expected) in
            [("1H", 3600.0), ("2M", 120.0), ("3S", 3.0), ("4m", 0.004), ("5u", 5e-6), ("6n", 6e-9)]
        {
            assert_eq!(seconds(value), Some(expected), "{value}");
        }
        for value in ["", "S", "1", "1s", "+1S", "123456789S", "1é", "-1S"] {
            assert_eq!(seconds(value), None, "{value}");
        }
    }

    #[test]
    fn a_long_time_is_written_in_seconds_and_none_not_at_all() {
        let now = Instant::now();
        let text = |time| Deadline::after(now, time).to_grpc_timeout(now);
        assert_eq!(text(Duration::from_millis(99_999_999)).as_deref(), Some("99999999m"));
        assert_eq!(text(Duration::from_millis(100_000_000)).as_deref(), Some("100000S"));
        assert_eq!(text(SECOND * 1_000_000_000).as_deref(), Some("99999999S"));
        assert_eq!(text(Duration::from_micros(999)).as_deref(), Some("999u"));
        assert_eq!(Deadline::NEVER.to_grpc_timeout(now), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(millis in 0_u64..99_999_999) {
            let now = Instant::now();
            let deadline = Deadline::after(now, Duration::from_millis(millis));
            let text = deadline.to_grpc_timeout(now).unwrap();
            prop_assert_eq!(Deadline::from_grpc_timeout(now, &text), Some(deadline));
        }

        #[test]
        fn no_value_panics(value in ".{0,12}") {
            let _ = Deadline::from_grpc_timeout(Instant::now(), &value);
        }
    }
}
