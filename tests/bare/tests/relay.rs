//! Runs the bare program on a machine with std, by `cargo test -p bare`, which builds the pool without it.
//! `.ci/run` builds it for machines that have no std at all.

#[test]
fn a_bare_program_relays_packets_through_the_embedded_pool() {
    let packets: Vec<Vec<u8>> = [19, 51, 83, 167, 500, 1000].map(|len| vec![7; len]).into();
    let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    let stats = bare::run(&packets).unwrap();
    assert_eq!((stats.acquires, stats.returns), (12, 12), "{stats}");
    assert_eq!((stats.live_bytes, stats.overruns, stats.cache_hits), (0, 0, 0), "{stats}");
    assert!(bare::run(&[&[0; 1025]]).is_err());
}

#[test]
fn a_bare_program_reads_the_metrics_of_its_pool() {
    let pool = millpond::BufferPool::new(millpond::BufferPoolConfig::embedded());
    bare::relay(&pool, &[7; 19]).unwrap();
    assert_eq!(bare::acquires(&pool), pool.stats().acquires);
}
