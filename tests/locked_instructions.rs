//! How many locked instructions each path takes that a thread's own cache serves: what the docs say, most often none.
//!
//! The test starts itself as a child, and runs the operation there one instruction at a time. It needs x86-64, where a
//! locked instruction is known by its bytes, and Linux's ptrace.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() {
    x86_64::main();
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod x86_64 {
    use std::env;
    use std::hint::black_box;
    use std::num::NonZeroU32;
    use std::process::Command;
    use std::sync::atomic::{AtomicU32, Ordering};

    use millpond::{BufferPool, BufferPoolConfig, BufferPoolConfigBuilder, PooledBuffer};
    use nix::sys::ptrace;
    use nix::sys::signal::{Signal, raise};
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::Pid;

    /// Enough to fill the cache, and too few for a look at the clock, which comes once in 1024 returns.
    const WARM_UP: usize = 100;

    const MALLOC: &str = "malloc + free of 32 bytes";

    struct Operation {
        name: &'static str,
        locked: usize,
        mallocs: usize,
        run: Box<dyn Fn()>,
    }

    fn operations() -> Vec<Operation> {
        let operation = |name, locked, run| Operation { name, locked, mallocs: 0, run };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        vec![
            // What the test must see, so that it cannot pass blindly.
            operation("nothing", 0, Box::new(|| {})),
            operation(
                "a load and a store",
                0,
                Box::new(|| COUNT.store(COUNT.load(Ordering::Acquire), Ordering::Release)),
            ),
            operation("fetch_add", 1, Box::new(|| _ = black_box(COUNT.fetch_add(1, Ordering::Relaxed)))),
            operation("swap", 1, Box::new(|| _ = black_box(COUNT.swap(1, Ordering::Relaxed)))),
            operation("acquire + drop", 0, of(plain, drop)),
            operation("acquire + drop, memory_limit", 0, of(|pool| pool.memory_limit(1 << 20), drop)),
            operation("acquire + drop, not sampled", 0, of(|pool| pool.sample_one_in(NonZeroU32::MAX), drop)),
            operation(
                "write + into_shared + drop",
                0,
                of(plain, |buffer| drop(written(buffer).into_shared())),
            ),
            operation("write + freeze + drop", 2, of(plain, |buffer| drop(written(buffer).freeze()))),
            Operation {
                mallocs: 1,
                ..operation(
                    "write + freeze_tracked + drop",
                    1,
                    of(plain, |buffer| drop(written(buffer).freeze_tracked())),
                )
            },
            Operation {
                mallocs: 1,
                ..operation(MALLOC, 0, Box::new(|| drop(black_box(Box::new([0_u64; 4])))))
            },
            #[cfg(feature = "connection")]
            operation("get + put of a connection", 2, connection::get_and_put()),
        ]
    }

    #[cfg(feature = "connection")]
    mod connection {
        use std::convert::Infallible;

        use bb8::ManageConnection;
        use futures_util::FutureExt;
        use millpond::connection::Pool;

        struct Nothing;

        impl ManageConnection for Nothing {
            type Connection = u64;
            type Error = Infallible;

            async fn connect(&self) -> Result<u64, Infallible> {
                Ok(1)
            }

            async fn is_valid(&self, _: &mut u64) -> Result<(), Infallible> {
                Ok(())
            }

            fn has_broken(&self, _: &mut u64) -> bool {
                false
            }
        }

        /// It finds an idle connection, so the runtime has nothing to do.
        pub(super) fn get_and_put() -> Box<dyn Fn()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let pool = runtime.block_on(Pool::builder().max_size(1).min_idle(1).build(Nothing)).unwrap();
            Box::new(move || {
                let _of_the_pool = &runtime;
                drop(pool.get().now_or_never().unwrap().unwrap());
            })
        }
    }

    fn plain(pool: BufferPoolConfigBuilder) -> BufferPoolConfigBuilder {
        pool
    }

    /// An operation on a buffer of 1 KiB of a pool with these options.
    fn of(
        options: fn(BufferPoolConfigBuilder) -> BufferPoolConfigBuilder,
        operation: fn(PooledBuffer),
    ) -> Box<dyn Fn()> {
        let config = options(BufferPoolConfig::messages().to_builder().decay_interval(None)).build();
        let pool = BufferPool::new(config.unwrap());
        Box::new(move || operation(pool.acquire(1000)))
    }

    fn written(mut buffer: PooledBuffer) -> PooledBuffer {
        buffer.extend_from_slice(black_box(b"hello"));
        buffer
    }

    pub(super) fn main() {
        if let Some(name) = env::args().nth(1).filter(|argument| !argument.starts_with('-')) {
            return child(&name);
        }
        let operations = operations();
        let of_malloc = locked_instructions(MALLOC);
        for Operation { name, locked, mallocs, .. } in &operations {
            // The mallocs of a sanitizer take some, too.
            let own = locked_instructions(name) - mallocs * of_malloc;
            assert_eq!(own, *locked, "locked instructions of: {name}");
        }
        println!("test result: ok. {} operations", operations.len());
    }

    /// Runs the operation between two stops.
    fn child(name: &str) {
        let operation = operations().into_iter().find(|operation| operation.name == name).unwrap();
        (0..WARM_UP).for_each(|_| (operation.run)());
        ptrace::traceme().unwrap();
        raise(Signal::SIGSTOP).unwrap();
        (operation.run)();
        raise(Signal::SIGSTOP).unwrap();
    }

    fn locked_instructions(name: &str) -> usize {
        let mut process = Command::new(env::current_exe().unwrap()).arg(name).spawn().unwrap();
        let child = Pid::from_raw(process.id().try_into().unwrap());
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Stopped(child, Signal::SIGSTOP)), "{name}");
        let mut locked = 0;
        loop {
            ptrace::step(child, None).unwrap();
            match waitpid(child, None) {
                Ok(WaitStatus::Stopped(_, Signal::SIGTRAP)) => {}
                Ok(WaitStatus::Stopped(_, Signal::SIGSTOP)) => break,
                other => panic!("{name}: {other:?}"),
            }
            let next = ptrace::getregs(child).unwrap().rip;
            let bytes = ptrace::read(child, next as ptrace::AddressType).unwrap().to_le_bytes();
            locked += usize::from(is_locked(bytes));
        }
        // Not to its end: a leak sanitizer would complain of the tracing there.
        process.kill().unwrap();
        process.wait().unwrap();
        locked
    }

    /// Whether an instruction is locked: it has the prefix, or is an exchange with memory, which needs none.
    fn is_locked(bytes: [u8; 8]) -> bool {
        const PREFIXES: [u8; 10] = [0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF2, 0xF3];
        let mut bytes = bytes.into_iter().skip_while(|byte| PREFIXES.contains(byte));
        let mut first = bytes.next();
        if first == Some(0xF0) {
            return true;
        }
        if matches!(first, Some(0x40..=0x4F)) {
            first = bytes.next(); // after the prefix of 64-bit operands
        }
        let is_exchange = matches!(first, Some(0x86 | 0x87));
        is_exchange && bytes.next().is_some_and(|operands| operands < 0xC0) // 0xC0 and above: two registers
    }
}
