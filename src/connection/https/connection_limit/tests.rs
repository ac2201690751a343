//! Who gets which permit, in virtual time.

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::sync::OnceLock;

const SECOND: Duration = Duration::from_secs(1);

/// A limit, and the idle connections, which are closed at once.
struct Mill {
    limit: Arc<ConnectionLimit>,
    idle: Arc<Mutex<Vec<ConnectionPermit>>>,
}

fn mill(max: usize) -> Mill {
    let idle = Arc::<Mutex<Vec<ConnectionPermit>>>::default();
    let spare = Arc::clone(&idle);
    let limit = Arc::new(ConnectionLimit::new(Some(max), move || spare.lock().pop().is_some()));
    Mill { limit, idle }
}

impl Mill {
    async fn connection(&self) -> ConnectionPermit {
        self.limit.acquire(SECOND).await.unwrap()
    }

    fn spawn(&self, patience: Duration) -> JoinHandle<Result<ConnectionPermit, HttpsError>> {
        let limit = Arc::clone(&self.limit);
        tokio::spawn(async move { limit.acquire(patience).await })
    }

    fn waiting(&self) -> usize {
        self.limit.waiting.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_else_gets_the_permit_of_a_connection_that_makes_room() {
    let idle = Arc::<Mutex<Option<ConnectionPermit>>>::default();
    let (all, was_taken) = (Arc::new(OnceLock::<Arc<ConnectionLimit>>::new()), Arc::new(Mutex::new(false)));
    let (spare, newcomer, takes) = (Arc::clone(&idle), Arc::clone(&all), Arc::clone(&was_taken));
    let limit = all.get_or_init(|| {
        Arc::new(ConnectionLimit::new(Some(1), move || {
            let had_spare = spare.lock().take().is_some();
            let permits = Arc::clone(&newcomer.get().unwrap().permits);
            *takes.lock() |= permits.try_acquire_owned().is_ok();
            had_spare
        }))
    });
    let only = limit.acquire(SECOND).await.unwrap();
    *idle.lock() = Some(only);
    limit.acquire(SECOND).await.unwrap();
    assert!(!*was_taken.lock());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_being_made_is_waited_for_until_it_is_idle() {
    let mill = mill(1);
    let only = mill.connection().await;
    let connecting = only.connecting();
    let waits = mill.spawn(10 * SECOND);
    sleep(5 * SECOND).await;
    assert!(!waits.is_finished());
    mill.idle.lock().push(only);
    drop(connecting);
    let begun = Instant::now();
    assert!(waits.await.unwrap().is_ok());
    assert!(begun.elapsed() <= LONGEST_PAUSE, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn while_all_are_in_use_a_waiter_is_refused_soon() {
    let mill = mill(1);
    let _held = mill.connection().await;
    let begun = Instant::now();
    assert!(mill.limit.acquire(10 * SECOND).await.is_err());
    assert!((GRACE..GRACE + LONGEST_PAUSE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(mill.limit.state().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_longer_than_its_patience() {
    let mill = mill(1);
    let held = mill.connection().await;
    let _connecting = held.connecting();
    let begun = Instant::now();
    assert!(mill.limit.acquire(10 * SECOND).await.is_err());
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn waiters_take_turns_and_one_that_leaves_is_passed_over() {
    let mill = mill(1);
    let held = mill.connection().await;
    let connecting = held.connecting();
    let [first, second, third] = [(); 3].map(|()| mill.spawn(60 * SECOND));
    sleep(SECOND).await;
    second.abort();
    sleep(SECOND).await;
    assert_eq!(mill.waiting(), 2);
    drop(held);
    let held = first.await.unwrap().unwrap();
    assert!(!third.is_finished());
    drop(held);
    let held = third.await.unwrap().unwrap();
    drop(connecting);
    assert_eq!((mill.waiting(), mill.limit.state().connections), (0, 1));
    drop(held);
    assert_eq!(mill.limit.state().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn one_connection_is_closed_for_each_waiter_however_long_that_takes() {
    let limit = Arc::new(ConnectionLimit::new(Some(2), || true));
    let held = [limit.acquire(SECOND).await.unwrap(), limit.acquire(SECOND).await.unwrap()];
    let waits = tokio::spawn({
        let limit = Arc::clone(&limit);
        async move { limit.acquire(10 * SECOND).await }
    });
    sleep(5 * SECOND).await;
    assert_eq!(limit.state().evicted, 1);
    drop(held);
    assert!(waits.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn many_waiters_look_no_more_often_than_one() {
    let looks = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&looks);
    let limit = Arc::new(ConnectionLimit::new(Some(1), move || {
        add(&seen);
        false
    }));
    let _held = limit.acquire(SECOND).await.unwrap();
    let waiters = [(); 100].map(|()| limit.acquire(SECOND));
    let refused = join_all(waiters).await;
    assert!(refused.iter().all(Result::is_err));
    // As long as the pauses get longer, and then one per pause.
    assert!(looks.load(Ordering::Relaxed) < 10, "{looks:?}");
}
