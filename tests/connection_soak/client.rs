//! A client of the pool, which does whatever a program may do with a connection.

use bb8_redis::redis::{RedisResult, cmd};
use tokio::time::{sleep, timeout};

use crate::dice::Dice;
use crate::servers::PATIENCE;
use crate::{MAX, Pooled, Redises, Run, add};

/// Longer than half of all checkouts take, and shorter than many.
const CANCELLED_WITHIN: u64 = 30;

pub(crate) async fn life(run: &Run, dice: &mut Dice) {
    match dice.below(1000) {
        0..2 => run.pool.resize((1 + dice.below(MAX.into())) as u32),
        2..6 => run.pool.retain(|_| dice.below(2) == 0),
        6..40 => {
            if let Some(mut redis) = run.pool.try_get() {
                use_it(run, &mut redis, dice).await;
            }
        }
        // Dropped wherever it happens to be: in the queue, in a test, in a query.
        40..300 => _ = timeout(dice.millis(CANCELLED_WITHIN), get_and_use(run, dice)).await,
        _ => get_and_use(run, dice).await,
    }
}

async fn get_and_use(run: &Run, dice: &mut Dice) {
    add(&run.gets);
    let got = timeout(PATIENCE, run.pool.get_owned()).await.expect("a get never ends");
    let Ok(mut redis) = got else {
        add(&run.refused);
        // A full queue refuses at once, and nothing else here would wait.
        return sleep(dice.millis(5)).await;
    };
    use_it(run, &mut redis, dice).await;
    match dice.below(50) {
        // Of a task that was given the connection, and panics with it. No hook prints this one.
        0 => {
            let panics = tokio::spawn(async move {
                let _redis = redis;
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            assert!(panics.await.unwrap_err().is_panic());
        }
        // On a thread without a runtime.
        1 => std::thread::spawn(move || drop(redis)).join().unwrap(),
        2 => {
            // One at a time, so that the number of connections has a limit.
            if let Ok(permit) = run.strangers.try_acquire() {
                let redis = redis.detach();
                sleep(dice.millis(10)).await;
                // The pool may be full by now.
                _ = run.pool.add(redis);
                drop(permit);
            }
        }
        _ => drop(redis),
    }
}

/// The server answers with what was asked, or the connection is dead.
async fn use_it(run: &Run, redis: &mut Pooled<'_>, dice: &mut Dice) {
    run.graveyard.meet(redis.number);
    for _ in 0..=dice.below(8) {
        let asked = dice.next();
        match echo(redis, asked).await {
            Ok(answered) => {
                assert_eq!(answered, asked, "an answer to someone else's question");
                add(&run.answers);
            }
            // A slow answer is no proof: it may still come.
            Err(error) if error.is_timeout() => return add(&run.late),
            Err(error) => {
                assert!(error.is_io_error() || error.is_connection_dropped(), "{error:?}");
                run.graveyard.bury(redis.number);
                return add(&run.failures);
            }
        }
        sleep(dice.millis(3)).await;
    }
}

pub(crate) async fn echo(redis: &mut Redises, asked: u64) -> RedisResult<u64> {
    cmd("ECHO").arg(asked).query_async(&mut **redis).await
}
