//! The pools of a program, by name.

use std::any::TypeId;
use std::fmt;

use crate::metric::{Label, Metrics, Report, Row, Source, Visit, VisitRow, each_labelled};
use crate::sync::{Arc, Mutex};

/// Pools, relays and hubs, of which snapshots are taken at each scrape. Clones share them.
///
/// It keeps none of them alive.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Vec<Arc<Entry>>>>);

struct Entry {
    name: String,
    /// Of one name there is one pool of each type.
    snapshot: TypeId,
    show: Box<Show>,
    reports: Box<Reports>,
}

/// Shows a snapshot under a name. False if there is none any more.
type Show = dyn Fn(&str, &mut Visit<'_>) -> bool + Send + Sync;

/// What [`Source::reports`] returns.
type Reports = dyn Fn(Report, &mut VisitRow<'_>) -> bool + Send + Sync;

impl Registry {
    /// No pool yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pool, a relay or a hub. One of the same type that has this name already is replaced.
    ///
    /// The name becomes the label `name` of its samples, and of the rows of its reports.
    pub fn add<S: Source>(&self, name: impl Into<String>, source: &S) {
        self.add_entry(name.into(), source.watch(), source.reports());
    }

    /// Adds what takes a snapshot, such as one of [`Metrics`] of your own. After it has returned `None`, it is forgotten.
    ///
    /// It should not keep a pool alive that the program drops otherwise.
    pub fn add_by<M: Metrics + 'static>(
        &self,
        name: impl Into<String>,
        snapshot: impl Fn() -> Option<M> + Send + Sync + 'static,
    ) {
        self.add_entry(name.into(), snapshot, |_, _| true);
    }

    fn add_entry<M: Metrics + 'static>(
        &self,
        name: String,
        snapshot: impl Fn() -> Option<M> + Send + Sync + 'static,
        reports: impl Fn(Report, &mut VisitRow<'_>) -> bool + Send + Sync + 'static,
    ) {
        let show = move |name: &str, visit: &mut Visit<'_>| {
            let Some(metrics) = snapshot() else { return false };
            each_labelled(Label::new("name", name), &metrics, visit);
            true
        };
        let (show, reports) = (Box::new(show), Box::new(reports));
        let entry = Entry { name, snapshot: TypeId::of::<M>(), show, reports };
        let mut entries = self.0.lock();
        entries.retain(|other| (&other.name, other.snapshot) != (&entry.name, entry.snapshot));
        entries.push(Arc::new(entry));
    }

    /// Makes a report: calls `visit` with the name of each source, and each of its rows. Returns the names of the sources that
    /// could make it and are configured not to, such as pools that do not
    /// [sample](crate::BufferPoolConfigBuilder::sample_one_in).
    ///
    /// # Examples
    ///
    /// ```
    /// use millpond::metric::Report;
    /// use millpond::observe::Registry;
    /// use millpond::{BufferPool, BufferPoolConfig};
    ///
    /// let config = BufferPoolConfig::proxy().to_builder().sample_one_in(std::num::NonZeroU32::MIN);
    /// let pool = BufferPool::new(config.build()?);
    /// let registry = Registry::new();
    /// registry.add("clients", &pool);
    ///
    /// let buffer = pool.acquire(8192);
    /// let mut pinned = 0.0;
    /// registry.report(Report::Holders, &mut |_name, row| pinned += row.number("storage_bytes"));
    /// assert_eq!(pinned, 8192.0);
    /// # drop(buffer);
    /// # Ok::<(), millpond::ConfigError>(())
    /// ```
    pub fn report(&self, report: Report, visit: &mut dyn FnMut(&str, Row<'_>)) -> Vec<String> {
        let mut off = self.0.lock().clone();
        off.retain(|entry| !(entry.reports)(report, &mut |row| visit(&entry.name, row)));
        off.iter().map(|entry| entry.name.clone()).collect()
    }
}

/// Takes a snapshot of each pool, one after another, and forgets those that are gone.
impl Metrics for Registry {
    fn each(&self, visit: &mut Visit<'_>) {
        // A visitor, or the snapshot of a source, may use the registry.
        let mut gone = self.0.lock().clone();
        gone.retain(|entry| !(entry.show)(&entry.name, visit));
        if !gone.is_empty() {
            self.0.lock().retain(|entry| !gone.iter().any(|gone| Arc::ptr_eq(gone, entry)));
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.0.lock();
        f.debug_list().entries(entries.iter().map(|entry| &entry.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Kind, Metric, Value};

    struct Mill(u64);

    static STONES: Metric = Metric::new(Kind::Gauge, "mill_stones", "Stones.", &[]);

    impl Metrics for Mill {
        fn each(&self, visit: &mut Visit<'_>) {
            visit(&STONES, &[], Value::Integer(self.0));
        }
    }

    fn values(registry: &Registry) -> Vec<(String, Value<'static>)> {
        let mut values = Vec::new();
        registry.each(&mut |_, labels, value| {
            let Value::Integer(number) = value else { panic!("{value:?}") };
            values.push((labels[0].value.to_string(), Value::Integer(number)));
        });
        values
    }

    #[test]
    fn a_source_of_the_same_name_and_type_is_replaced() {
        let registry = Registry::new();
        registry.add_by("a", || Some(Mill(1)));
        registry.add_by("b", || Some(Mill(2)));
        registry.add_by("a", || Some(Mill(3)));
        let expected = [("b", 2), ("a", 3)].map(|(name, value)| (name.to_owned(), Value::Integer(value)));
        assert_eq!(values(&registry), expected);
    }

    #[test]
    fn a_source_that_is_gone_is_forgotten() {
        let registry = Registry::new();
        registry.add_by("a", || None::<Mill>);
        registry.add_by("b", || Some(Mill(2)));
        assert_eq!(values(&registry).len(), 1);
        assert_eq!(format!("{registry:?}"), r#"["b"]"#);
    }

    #[test]
    fn a_source_may_use_the_registry() {
        let registry = Registry::new();
        let inner = registry.clone();
        registry.add_by("a", move || {
            inner.add_by("b", || Some(Mill(2)));
            Some(Mill(1))
        });
        assert_eq!(values(&registry).len(), 1);
        assert_eq!(values(&registry).len(), 2);
    }
}
