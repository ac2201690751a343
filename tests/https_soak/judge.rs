//! What must hold when nobody uses the pools any more, and the network is calm.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use millpond::connection::https::{HttpsConnection, UpstreamServer};
use millpond::connection::{RunError, State};
use tokio::time::{sleep, timeout};

use crate::client::Question;
use crate::dice::Dice;
use crate::network::Network;
use crate::upstream::PATIENCE;
use crate::{Exclusive, MAX, Pooled, Run, STREAMS, https};

const LOOK: Duration = Duration::from_millis(20);

pub(crate) async fn judge(run: &Run, network: &Network) {
    let exclusives = [&run.http1, &run.http2];
    for exclusive in exclusives {
        assert_eq!(exclusive.graveyard.returned(), BTreeSet::new(), "handed out again after they had failed");
        assert!(exclusive.census.most() <= MAX as usize, "{} connections at once", exclusive.census.most());
        nobody_waits(&exclusive.pool.state());
        assert_eq!(exclusive.pool.holders().len(), 0, "{:?}", exclusive.pool.holders());
        exclusive.pool.resize(MAX);
    }
    for server in run.upstreams.servers() {
        nobody_waits(&http1(&server));
        assert_eq!(http1(&server).in_use(), 0, "{}", http1(&server));
    }
    eventually("streams are lost", || run.shared.state().streams == 0).await;
    assert_eq!(run.shared.state().waiting, 0);

    // The name moves and comes back, and nothing but their lifetime ends connections now.
    for _ in 0..2 {
        network.change().await;
        for exclusive in exclusives {
            all_permits("exclusive", MAX, || checked(exclusive, network.there())).await;
        }
    }
    let request = || Question::large().request(&run.url);
    all_permits("upstreams", MAX, || run.upstreams.send(request())).await;
    all_permits("shared", MAX * STREAMS, || run.shared.send(request())).await;
    eventually("streams are lost", || run.shared.state().streams == 0).await;
    for connection in run.shared.state().connections {
        assert_eq!(connection.remote_address, Some(network.there()));
    }

    // The server has the connections that the pools have.
    eventually("the server has other connections than the pools", || {
        let exclusives = exclusives.map(|exclusive| exclusive.pool.state().connections);
        let upstreams = run.upstreams.servers().into_iter().map(|server| http1(&server).connections);
        let known = exclusives.into_iter().chain(upstreams).sum::<u32>() as usize;
        network.nginx.open() == known + run.shared.state().connections.len()
    })
    .await;

    for exclusive in exclusives {
        timeout(PATIENCE, exclusive.pool.close()).await.expect("the pool is closed");
        assert!(matches!(exclusive.pool.get().await, Err(RunError::Closed)));
        assert_eq!(exclusive.census.now(), 0);
        all_have_ended(&exclusive.pool.state());
    }
    let closed = timeout(PATIENCE, run.shared.close()).await;
    assert!(closed.is_ok(), "the pool does not close: {:?}", run.shared.state());
    eventually("connections of idle servers stay", || {
        run.upstreams.servers().iter().all(|server| http1(server).connections == 0)
    })
    .await;
    run.upstreams.servers().iter().for_each(|server| all_have_ended(&http1(server)));
    eventually("the server has connections of closed pools", || network.nginx.open() == 0).await;
    eventually("connections of closed pools stay", || network.open() == 0).await;

    let mut posts = network.posts();
    posts.sort_unstable();
    let twice: Vec<_> = posts.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(twice.is_empty(), "sent again after they had been processed: {twice:?}");
}

/// Of a server that was used, and speaks HTTP/1.1.
fn http1(server: &UpstreamServer) -> State {
    server.http1.clone().unwrap()
}

fn nobody_waits(state: &State) {
    assert_eq!(state.waiting, 0, "{state}");
    assert_eq!(state.statistics.pending_gets(), 0, "{state}");
}

/// A connection to this address that answers. A connect that began before the name moved may end afterwards, so the first ones
/// may lead elsewhere, until their lifetime is over.
async fn checked(exclusive: &Exclusive, there: SocketAddr) -> Result<Pooled, String> {
    let mut pooled = exclusive.pool.get_owned().await.map_err(|error| error.to_string())?;
    if pooled.remote_address() != Some(there) {
        return Err(format!("it leads to {:?}", pooled.remote_address()));
    }
    let question = Question::large();
    let answer = async {
        let response = HttpsConnection::send(https(&mut pooled), question.request("")).await?;
        question.check(response, &mut Dice(0)).await
    };
    answer.await.map_err(|error| error.to_string())?;
    Ok(pooled)
}

/// As many as ever can be had at once, and no more. Who waits for another gets one that is given back.
async fn all_permits<T, E: Debug>(of: &str, count: u32, get: impl AsyncFn() -> Result<T, E>) {
    let (mut held, mut last) = (Vec::new(), None);
    let begun = Instant::now();
    while held.len() < count as usize {
        assert!(begun.elapsed() < PATIENCE, "{of}: only {} of {count} can be had: {last:?}", held.len());
        // The last connections and connects of the wild days may end only now.
        match timeout(PATIENCE, get()).await.expect("a request never ends") {
            Ok(one) => held.push(one),
            Err(error) => last = Some(error),
        }
    }
    assert!(timeout(LOOK, get()).await.is_err(), "{of}: one too many");
    let (got, ()) = tokio::join!(get(), async { drop(held.pop()) });
    got.unwrap();
}

fn all_have_ended(state: &State) {
    let statistics = &state.statistics;
    let gone = statistics.connections_closed_broken
        + statistics.connections_closed_invalid
        + statistics.connections_closed_max_lifetime
        + statistics.connections_closed_idle_timeout
        + statistics.connections_closed_surplus
        + statistics.connections_detached;
    assert_eq!(statistics.connections_created, gone, "{statistics:?}");
}

async fn eventually(fault: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "{fault}");
        sleep(LOOK).await;
    }
}
