//! The macro with which each layer writes the table of its metrics.

use super::{Label, LabelValue, Metric, Value, Visit};

/// Implements `Metrics` for a snapshot by a table, and `Serialize` by these metrics, which are its constant `METRICS`.
///
/// ```text
/// metrics! {
///     "millpond_mill": MillStats as stats {
///         Counter "ground_bytes_total" [grain] "Bytes of grain that were ground." {
///             ["rye"] = stats.rye,
///             ["wheat"] = stats.wheat,
///         }
///         Gauge "stones" [stone] "Turns of each stone." for stone in &stats.stones => { [stone.name] = stone.turns }
///     }
/// }
/// ```
///
/// After `then` there may be snapshots that are a part of this one.
macro_rules! metrics {
    ($prefix:literal: $snapshot:ty as $stats:ident {
        $($kind:ident $name:literal [$($label:ident),*] $help:literal
            $($(for $one:ident in $all:expr =>)? { $([$($value_of:expr),*] = $value:expr),* $(,)? })+
        )*
    } $(then $($part:expr),+)?) => {
        impl $snapshot {
            pub(crate) const METRICS: &'static [$crate::metric::Metric] = &[$(
                $crate::metric::Metric::new(
                    $crate::metric::Kind::$kind,
                    concat!($prefix, "_", $name),
                    $help,
                    &[$(stringify!($label)),*],
                )
            ),*];
        }

        impl $crate::metric::Metrics for $snapshot {
            fn each(&self, visit: &mut $crate::metric::Visit<'_>) {
                let $stats = self;
                let mut rows = Self::METRICS.iter();
                $(if let Some(metric) = rows.next() {
                    $($(for $one in $all)? {
                        $($crate::metric::show(metric, [$($value_of.into()),*], $value.into(), visit);)*
                    })+
                })*
                $($($crate::metric::Metrics::each($part, visit);)+)?
            }
        }

        /// By the names of its metrics; see [`Samples`](crate::metric::Samples).
        #[cfg(feature = "serde")]
        impl serde::Serialize for $snapshot {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(&$crate::metric::Samples(self), serializer)
            }
        }
    };
}
pub(crate) use metrics;

/// Shows a sample to a visitor, with the names of its labels.
pub(crate) fn show<const LABELS: usize>(
    metric: &'static Metric,
    values: [LabelValue<'_>; LABELS],
    value: Value<'_>,
    visit: &mut Visit<'_>,
) {
    debug_assert_eq!(metric.labels.len(), LABELS, "{}", metric.name);
    let mut names = metric.labels.iter();
    let labels = values.map(|value| Label { name: names.next().copied().unwrap_or_default(), value });
    visit(metric, &labels, value);
}
