//! The presets.

use std::time::Duration;

use super::*;

#[test]
fn each_preset_is_as_documented() {
    assert_eq!(BufferPoolConfig::proxy().classes(), [(8192, 512), (65_536, 64)].map(ClassConfig::from));
    assert_eq!(BufferPoolConfig::messages().max_idle_bytes(), (4 * 64 + 128 + 256 + 1024) * 1024);
    let embedded = BufferPoolConfig::embedded();
    assert_eq!(embedded.classes(), [(64, 512), (256, 8), (512, 8), (1024, 8)].map(ClassConfig::from));
    assert_eq!((embedded.memory_limit(), embedded.thread_cache_bytes()), (46 * 1024, 0));
    assert!(embedded.serves_from_next_class());
    let powers = BufferPoolConfig::powers_of_two(100..=5000).unwrap();
    let sizes: Vec<_> = powers.classes().iter().map(|class| class.size).collect();
    assert_eq!(sizes, [128, 256, 512, 1024, 2048, 4096, 8192]);
    assert_eq!(powers.classes().iter().map(|class| class.capacity).min(), Some(128));
    assert_eq!(powers.classes()[0].capacity, 4096);
    let framed = BufferPoolConfig::powers_of_two_and(16, 1024..=4096).unwrap();
    let sizes: Vec<_> = framed.classes().iter().map(|class| class.size).collect();
    assert_eq!(sizes, [1040, 2064, 4112]);
    #[expect(clippy::reversed_empty_ranges, reason = "that it is empty is the case")]
    let empty = BufferPoolConfig::powers_of_two(9..=8);
    assert_eq!(empty, Err(ConfigError::NoClasses));
    assert_eq!(BufferPoolConfig::powers_of_two(0..=8), Err(ConfigError::ZeroSize));
    let huge = BufferPoolConfig::powers_of_two(1..=usize::MAX);
    assert!(matches!(huge, Err(ConfigError::ClassTooLarge { .. })), "{huge:?}");
    let low = BufferPoolConfig::proxy().to_builder().memory_limit(65_535).build();
    assert_eq!(low, Err(ConfigError::LimitBelowClass { limit: 65_535, largest: 65_536 }));
}

#[test]
fn a_body_of_64_kib_with_its_head_fits_a_buffer_of_the_http_preset() {
    const HEAD: usize = 8 * 1024;
    let http = BufferPoolConfig::http();
    let sizes: Vec<_> = http.classes().iter().map(|class| class.size).collect();
    assert_eq!(sizes, [1024, 4096, 8192, 65_536, HEAD + 65_536]);
    assert_eq!(http.max_idle_bytes(), (512 + 1024 + 2048 + 2048 + 2304) * 1024);
    let pool = BufferPool::new(http);
    assert_eq!(pool.acquire(HEAD + 65_536).capacity(), HEAD + 65_536);
}

#[test]
fn the_default_wastes_at_most_half_of_a_buffer() {
    let default = BufferPoolConfig::default();
    assert_eq!(default, BufferPoolConfig::powers_of_two(128..=65_536).unwrap());
    assert_eq!(default.max_idle_bytes(), 19 << 19);
    let pool = BufferPool::new(default);
    for bytes in [65, 128, 129, 1025, 40_000, 65_536] {
        assert!(pool.acquire(bytes).capacity() <= bytes * 2, "{bytes} bytes");
    }
}

#[test]
fn a_pool_is_shown_without_its_stats() {
    let config = BufferPoolConfig::builder().classes([(1024, 4), (65_536, 2)]);
    let pool = BufferPool::new(config.memory_limit(1 << 20).build().unwrap());
    let _held = pool.acquire(1000);
    assert_eq!(format!("{pool:?}"), "BufferPool { classes: [1024, 65536], memory_limit: Some(1048576), .. }");
}

#[test]
fn an_interval_of_zero_turns_decay_off() {
    let config = BufferPoolConfig::proxy().to_builder().decay_interval(Some(Duration::ZERO)).build();
    assert_eq!(config.unwrap().decay_interval(), None);
}

#[test]
fn long_lived_buffers_fill_the_small_class_and_the_other_classes_still_serve() {
    let pool = BufferPool::new(BufferPoolConfig::embedded());
    let residents: Vec<_> = (0..512).map(|_| pool.try_acquire(32).unwrap()).collect();
    let packets: Vec<_> = (0..8).map(|_| pool.try_acquire(1000).unwrap()).collect();
    drop(pool.try_acquire(500).unwrap());
    assert_eq!(pool.stats().overruns, 0);
    drop((residents, packets));
    let stats = pool.stats();
    assert_eq!((stats.classes[0].acquires, stats.classes[0].high_water), (512, 512));
    let shown = format!("{stats:#}");
    assert_eq!(shown.lines().count(), 5, "{shown}");
    assert!((stats.hit_rate() - stats.hit_ratio() * 100.0).abs() < 1e-9);
}
