//! The process that is measured.

use std::fs;
use std::io::BufRead;
use std::time::Duration;

use bytes::BufMut;
use millpond::bus::{RecvError, TcpTransport, TransportConfig};
use millpond::frame::{Message, MessageError};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::time::sleep;

use crate::census::{self, Census};

pub(crate) const TYPE_ID: u16 = 1;
pub(crate) const PAYLOAD: usize = 64 * 1024;

/// Says where it listens, and answers each line of its input.
pub(crate) fn run() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("every process has a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit all may");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("two threads and an epoll are there");
    let server = runtime.block_on(async {
        let config = TransportConfig::default().max_connections(100_000);
        let server = TcpTransport::bind_with("127.0.0.1:0", config).await.expect("a port is free");
        let mut blocks = server.subscriber::<Block>();
        tokio::spawn(async move { while !matches!(blocks.recv().await, Err(RecvError::Closed)) {} });
        server
    });
    println!("{}", server.local_addr());
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("the parent writes text");
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().expect("a number")).collect();
        let [open, received, trim] = numbers[..] else { panic!("three numbers, not {line:?}") };
        runtime.block_on(async {
            let stats = || server.hub().stats();
            while stats().open != open || stats().received_frames < received {
                sleep(Duration::from_millis(20)).await;
            }
            // What was last received is dropped.
            sleep(Duration::from_millis(200)).await;
        });
        if trim == 1 {
            census::trim();
        }
        let (resident, pooled) = (resident(), server.buffer_pool_stats().idle_bytes);
        println!("{resident} {pooled} {}", Census::now());
    }
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("every Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is in there");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

/// 64 KiB of whatever.
struct Block;

impl Message for Block {
    const TYPE_ID: u16 = TYPE_ID;
    const TOPIC: &'static str = "blocks";
    const MAX_SIZE: usize = PAYLOAD;
    type View<'a> = ();

    fn encode(&self, out: &mut impl BufMut) {
        out.put_bytes(7, PAYLOAD);
    }

    fn view(payload: &[u8]) -> Result<(), MessageError> {
        MessageError::check_len(payload, PAYLOAD)
    }
}
