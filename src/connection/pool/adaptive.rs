//! The driver of adaptive size: what the policy sees, and what is done.

use std::mem;

use bb8::ManageConnection;
use tokio::time::Interval;
use tracing::info;

use super::home::interval;
use super::shared::Shared;
use crate::connection::statistics::{State, Statistics};
use crate::policy::{AdaptiveSize, BreakerState, SizeDecision, SizeObservation, SizePolicy};
use crate::sync::Arc;

/// How often the driver looks at what is in use per tick of the policy: gets do not count the peak, as that would cost each.
const LOOKS: u32 = 10;

/// The size of a pool over time. It lives in the task that looks after the pool.
pub(super) struct Adaptive {
    looks: Interval,
    /// Since the last tick.
    looked: u32,
    most_in_use: u32,
    size: AdaptiveSize,
    before: Statistics,
    is_held: bool,
}

impl Adaptive {
    pub(super) fn new(policy: SizePolicy, before: Statistics) -> Self {
        let looks = interval(policy.interval / LOOKS);
        let size = AdaptiveSize::new(policy);
        Self { looks, looked: 0, most_in_use: 0, size, before, is_held: false }
    }

    /// # Cancel safety
    ///
    /// As that of tokio's intervals.
    pub(super) async fn due(&mut self) -> &mut Self {
        self.looks.tick().await;
        self
    }

    /// Looks at the pool, and resizes it at each tick.
    pub(super) fn apply<M: ManageConnection>(&mut self, shared: &Arc<Shared<M>>) {
        let state = shared.state();
        self.most_in_use = self.most_in_use.max(state.in_use());
        self.looked += 1;
        if self.looked < LOOKS {
            return;
        }
        self.looked = 0;
        let seen = observe(&state, &self.before)
            .in_use(mem::take(&mut self.most_in_use))
            .min_idle(shared.config.min_idle.unwrap_or(0));
        let decision = self.size.tick(&seen);
        match decision {
            SizeDecision::Grow(size) | SizeDecision::Shrink(size) => {
                let (from, in_use) = (state.max_size, seen.in_use);
                info!(from, to = size, in_use, mean_wait = ?seen.mean_wait, "the pool is resized");
                shared.resize(size);
            }
            SizeDecision::Hold if !self.is_held => {
                info!(size = state.max_size, "the pool does not grow, because connecting fails");
            }
            SizeDecision::Hold | SizeDecision::Keep => {}
        }
        self.is_held = decision == SizeDecision::Hold;
        self.before = state.statistics;
    }
}

/// What has happened since the statistics `before`.
fn observe(state: &State, before: &Statistics) -> SizeObservation {
    let after = &state.statistics;
    let gets = after.completed_gets().saturating_sub(before.completed_gets());
    let waited = after.get_wait_time.saturating_sub(before.get_wait_time);
    SizeObservation::default()
        .size(state.max_size)
        .connecting(state.connecting)
        .is_broken(state.breaker.is_some_and(|breaker| breaker.state != BreakerState::Closed))
        .connected(after.connections_created.saturating_sub(before.connections_created))
        .connect_failures(after.failed_connects().saturating_sub(before.failed_connects()))
        .mean_wait(waited / u32::try_from(gets).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tokio::task::JoinSet;
    use tokio::time::sleep;

    use super::*;
    use crate::connection::{Builder, Pool};

    const SECOND: Duration = Duration::from_secs(1);

    /// Of a server that may be down.
    #[derive(Clone, Default)]
    struct Manager {
        is_down: Arc<AtomicBool>,
    }

    impl Manager {
        fn set_down(&self, is_down: bool) {
            // Ordering: Relaxed, one thread.
            self.is_down.store(is_down, Ordering::Relaxed);
        }
    }

    impl ManageConnection for Manager {
        type Connection = ();
        type Error = io::Error;

        async fn connect(&self) -> io::Result<()> {
            // Ordering: Relaxed, one thread.
            if self.is_down.load(Ordering::Relaxed) {
                Err(io::ErrorKind::ConnectionRefused.into())
            } else {
                Ok(())
            }
        }

        async fn is_valid(&self, (): &mut ()) -> io::Result<()> {
            Ok(())
        }

        fn has_broken(&self, (): &mut ()) -> bool {
            // Ordering: Relaxed, one thread.
            self.is_down.load(Ordering::Relaxed)
        }
    }

    async fn pool(manager: &Manager) -> Pool<Manager> {
        let pool = Builder::new().max_size(10).min_idle(0).adaptive_size(SizePolicy::default());
        pool.build(manager.clone()).await.unwrap()
    }

    /// Forty users of a connection, each for a second and again.
    fn load(pool: &Pool<Manager>) -> JoinSet<Infallible> {
        let mut users = JoinSet::new();
        for _ in 0..40 {
            let pool = pool.clone();
            users.spawn(async move {
                loop {
                    let connection = pool.get().await;
                    sleep(SECOND).await;
                    drop(connection);
                }
            });
        }
        users
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_grows_while_gets_wait_and_shrinks_when_they_are_gone() {
        let pool = pool(&Manager::default()).await;
        let users = load(&pool);
        sleep(SECOND).await;
        for size in [10, 12, 15, 18, 22, 27, 33] {
            assert_eq!(pool.state().max_size, size);
            sleep(10 * SECOND).await;
        }
        drop(users);
        sleep(200 * SECOND).await;
        assert_eq!(pool.state().max_size, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_whose_server_is_down_does_not_grow_until_it_is_back() {
        let manager = Manager::default();
        let pool = pool(&manager).await;
        manager.set_down(true);
        let _users = load(&pool);
        sleep(105 * SECOND).await;
        assert!(pool.state().statistics.get_timed_out > 0);
        assert_eq!(pool.state().max_size, 10);
        manager.set_down(false);
        sleep(60 * SECOND).await;
        assert!(pool.state().max_size > 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_that_is_busy_between_two_ticks_does_not_shrink() {
        let policy = SizePolicy::default().min(1);
        let pool = Builder::new().max_size(10).min_idle(0).adaptive_size(policy);
        let pool = pool.build(Manager::default()).await.unwrap();
        for _ in 0..4 {
            sleep(4 * SECOND).await;
            let busy: Vec<_> =
                [pool.get().await, pool.get().await, pool.get().await, pool.get().await].into();
            sleep(3 * SECOND).await;
            drop(busy);
            sleep(3 * SECOND).await;
        }
        assert_eq!(pool.state().max_size, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_policy_the_size_stays() {
        let pool = Builder::new().max_size(10).min_idle(0).build(Manager::default()).await.unwrap();
        let _users = load(&pool);
        sleep(100 * SECOND).await;
        assert_eq!(pool.state().max_size, 10);
    }
}
