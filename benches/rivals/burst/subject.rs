//! The process that is measured: a burst on the workers of a tokio runtime, then nothing.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read as _};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use millpond::{BufferPool, BufferPoolConfig};
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;
use tokio::time::{interval, sleep, sleep_until};

use crate::allocator::Allocator;
use crate::variant::{Keeper, Variant};

const LARGE: usize = 64 * 1024;
const SMALL: usize = 8 * 1024;
/// 512 MiB of each size: 1 GiB.
const LARGE_COUNT: usize = (512 << 20) / LARGE;
const SMALL_COUNT: usize = (512 << 20) / SMALL;
const THREADS: usize = 4;
/// The pool's own default.
const DECAY: Duration = Duration::from_secs(5);
pub(crate) const LAST_SECOND: u32 = 30;

/// Runs the burst and prints a line for each look at the resident memory: the moment, and KiB.
pub(crate) fn run(&Variant { allocator, keeper, traffic, .. }: &Variant) -> io::Result<()> {
    let pool = pool(keeper, allocator);
    let runtime = runtime(keeper, &pool)?;
    runtime.block_on(async {
        if matches!(keeper, Keeper::Decay | Keeper::DecayAndReturn) {
            pool.spawn_decay();
        }
        // The threads have started by then.
        sleep(Duration::from_secs(1)).await;
        println!("before {}", resident_kib()?);
        let end = match keeper {
            Keeper::Nobody => burst(|size| filled(Vec::with_capacity(size), size)).await?,
            _ => {
                let pool = pool.clone();
                burst(move |size| {
                    let mut buffer = pool.acquire(size);
                    buffer.resize(size, 7);
                    buffer
                })
                .await?
            }
        };
        if traffic {
            tokio::spawn(a_little_traffic());
        }
        for second in 0..=LAST_SECOND {
            sleep_until((end + Duration::from_secs(second.into())).into()).await;
            println!("{second} {}", resident_kib()?);
        }
        println!("pool {}", pool.stats().live_bytes / 1024);
        Ok(())
    })
}

/// Room for all of the burst, so that only decay gives anything back.
fn pool(keeper: Keeper, allocator: Allocator) -> BufferPool {
    let decays = matches!(keeper, Keeper::Decay | Keeper::DecayAndReturn);
    let mut config = BufferPoolConfig::builder()
        .class(SMALL, SMALL_COUNT)
        .class(LARGE, LARGE_COUNT)
        .decay_interval(decays.then_some(DECAY));
    if keeper == Keeper::DecayAndReturn {
        // In a thread that may block: the hook runs in a worker of the runtime.
        config = config.on_decay(move |_| drop(spawn_blocking(move || return_free_pages(allocator))));
    }
    BufferPool::new(config.build().expect("a valid table"))
}

fn return_free_pages(allocator: Allocator) {
    let start = Instant::now();
    allocator.return_free_pages();
    println!("trim {}", start.elapsed().as_millis());
}

fn runtime(keeper: Keeper, pool: &BufferPool) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(THREADS).enable_time();
    if matches!(keeper, Keeper::Decay | Keeper::DecayAndReturn) {
        builder.on_thread_park(pool.flush_on_park());
    }
    builder.build()
}

/// A hundred times a second, tasks that reach all workers and allocate; the pool stays idle.
async fn a_little_traffic() {
    let mut ticks = interval(Duration::from_millis(10));
    loop {
        ticks.tick().await;
        for _ in 0..4 * THREADS {
            tokio::spawn(async { drop(black_box(filled(Vec::new(), 2 * SMALL))) });
        }
    }
}

fn filled(mut buffer: Vec<u8>, size: usize) -> Vec<u8> {
    buffer.resize(size, 7);
    buffer
}

/// Every worker of the runtime takes its share, all hold it at once, all drop it. Returns when they have.
async fn burst<B: 'static>(make: impl Fn(usize) -> B + Clone + Send + 'static) -> io::Result<Instant> {
    // A gate of threads, not of tasks: it keeps a worker from taking the share of another one.
    let gate = Arc::new(Barrier::new(THREADS + 1));
    let shares: Vec<_> = (0..THREADS)
        .map(|_| {
            let (make, gate) = (make.clone(), Arc::clone(&gate));
            tokio::spawn(async move {
                let held: Vec<B> = share().map(make).collect();
                gate.wait();
                gate.wait();
                drop(held);
            })
        })
        .collect();
    gate.wait();
    println!("burst {}", resident_kib()?);
    gate.wait();
    for share in shares {
        share.await.map_err(io::Error::other)?;
    }
    Ok(Instant::now())
}

/// The sizes of one thread's buffers, mixed, as they are in a proxy.
fn share() -> impl Iterator<Item = usize> {
    const SMALL_A_LARGE: usize = SMALL_COUNT / LARGE_COUNT;
    (0..(LARGE_COUNT + SMALL_COUNT) / THREADS)
        .map(|index| if index % (SMALL_A_LARGE + 1) == 0 { LARGE } else { SMALL })
}

/// As the kernel counts it. Allocates nothing: an allocator may take a call as the occasion to clean up.
fn resident_kib() -> io::Result<u64> {
    let mut buffer = [0; 4096];
    let read = File::open("/proc/self/status")?.read(&mut buffer)?;
    let status = str::from_utf8(&buffer[..read]).map_err(io::Error::other)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.ok_or_else(|| io::Error::other("no VmRSS in /proc/self/status"))
}
