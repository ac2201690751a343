//! The metrics of a buffer pool.

use super::snapshot::BufferPoolStats;
use crate::metric::metrics;

/// The class of a buffer from the heap, which the pool does not keep.
const NONE: &str = "none";

metrics! {
    "millpond_buffer_pool": BufferPoolStats as stats {
        Counter "acquires_total" [class, source]
            "Buffers handed out, by class in bytes and by where they came from."
            for class in &stats.classes => {
                [class.size, "thread_cache"] = class.cache_hits,
                [class.size, "shared_queue"] = class.shared_hits,
                [class.size, "reclaimed"] = class.reclaimed_hits,
                [class.size, "allocation"] = class.allocations,
                [class.size, "overrun"] = class.overruns,
            }
            { [NONE, "heap"] = stats.heap_fallbacks }
        Counter "returns_total" [class]
            "Buffers returned: dropped, or frozen and found free."
            for class in &stats.classes => { [class.size] = class.returns }
            { [NONE] = stats.heap(stats.returns, |class| class.returns) }
        Gauge "buffers" [class, state]
            "Buffers that exist: lent to the program, frozen into Bytes, or idle."
            for class in &stats.classes => {
                [class.size, "lent"] = class.in_use,
                [class.size, "frozen"] = class.frozen,
                [class.size, "idle"] = class.idle,
            }
            { [NONE, "lent"] = stats.heap(stats.in_use, |class| class.in_use) }
        Gauge "class_bytes" [class, state]
            "Storage of the buffers of each class."
            for class in &stats.classes => {
                [class.size, "lent"] = class.in_use * class.size as u64,
                [class.size, "frozen"] = class.frozen * class.size as u64,
                [class.size, "idle"] = class.idle_bytes(),
            }
        Gauge "high_water_buffers" [class]
            "The most buffers of a class that existed at once."
            for class in &stats.classes => { [class.size] = class.high_water }
        Gauge "queue_capacity_buffers" [class]
            "The most ready buffers that the shared queue of a class keeps."
            for class in &stats.classes => { [class.size] = class.capacity }
        Gauge "live_bytes" []
            "Storage of all classes: idle, lent and frozen."
            { [] = stats.live_bytes }
        Gauge "high_water_bytes" []
            "The most storage that existed at once."
            { [] = stats.high_water_bytes }
        Gauge "waiting" []
            "Tasks that wait for memory."
            { [] = stats.waiting }
        Counter "waits_total" []
            "Waits for memory that ended with a buffer."
            { [] = stats.waits }
        Counter "wait_seconds_total" []
            "The time of these waits."
            { [] = stats.wait_time }
        Gauge "longest_wait_seconds" []
            "The longest of these waits."
            { [] = stats.longest_wait }
    }
}

impl BufferPoolStats {
    /// What a number of the whole pool has beyond its classes.
    fn heap(&self, all: u64, of: impl Fn(&super::ClassStats) -> u64) -> u64 {
        all.saturating_sub(self.classes.iter().map(of).sum())
    }
}

#[cfg(test)]
mod tests {
    use crate::metric::integers;
    use crate::pool::{BufferPool, BufferPoolConfig};

    #[test]
    fn the_samples_of_a_metric_add_up_to_the_number_of_the_pool() {
        let config = BufferPoolConfig::builder().class(128, 4).class(1024, 4).memory_limit(2048).build();
        let pool = BufferPool::new(config.unwrap());
        let from_classes = [pool.acquire(100), pool.acquire(1000)];
        let overrun = pool.acquire(1000);
        let from_the_heap = pool.acquire(5000);
        drop(pool.acquire(100).freeze());
        drop(pool.acquire(5000));
        let stats = pool.stats();
        assert_eq!((stats.overruns, stats.heap_fallbacks), (1, 2));
        for (name, expected) in [
            ("millpond_buffer_pool_acquires_total", stats.acquires),
            ("millpond_buffer_pool_returns_total", stats.returns),
            ("millpond_buffer_pool_buffers", stats.in_use + stats.frozen + stats.idle),
            ("millpond_buffer_pool_class_bytes", stats.live_bytes),
        ] {
            assert_eq!(integers(&stats, name).iter().sum::<u64>(), expected, "{name}");
        }
        drop((from_classes, overrun, from_the_heap));
    }
}
