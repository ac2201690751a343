//! A real Redis as the upstream of `millpond proxy`: `redis-benchmark` sees no error, and every value is read as it was
//! written.

mod proxy;
mod servers;

use std::process::Command;

use proxy::Proxy;
use servers::redis::{Client, Redis, field};

#[test]
fn redis_benchmark_reports_no_error() {
    const REQUESTS: usize = 20_000;
    let redis = Redis::start();
    let proxy = Proxy::start("tcp://127.0.0.1:0", &format!("tcp://{}", redis.address), &[]);
    let (_, port) = proxy.address().rsplit_once(':').unwrap();
    let runs = [("1", "64"), ("1", "4096"), ("16", "64"), ("16", "4096")];
    for (pipeline, size) in runs {
        let output = Command::new("redis-benchmark")
            .args(["-h", "127.0.0.1", "-p", port, "-t", "set,get", "-c", "50", "-r", "1000", "--csv"])
            .args(["-n", &REQUESTS.to_string(), "-P", pipeline, "-d", size])
            .output()
            .unwrap_or_else(|error| {
                panic!("redis-benchmark is missing, and this test needs it: run tests/install ({error})")
            });
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(output.status.success(), "{}: {said:?}", output.status);
        for word in ["error", "err ", "fail", "warn", "refused", "closed"] {
            assert!(!said.join("\n").to_lowercase().contains(word), "{said:?}");
        }
        for command in ["\"SET\",", "\"GET\","] {
            assert!(said[0].lines().any(|line| line.starts_with(command)), "{said:?}");
        }
    }

    // By the counters of Redis itself, every request arrived and none was refused.
    let mut direct = Client::connect(&redis.address).unwrap();
    let stats = direct.info("commandstats").unwrap();
    for command in ["set", "get"] {
        let calls = field(&stats, &format!("cmdstat_{command}:calls="));
        assert!(calls >= runs.len() * REQUESTS, "{calls} {command}");
    }
    assert_eq!(field(&direct.info("stats").unwrap(), "total_error_replies:"), 0);

    proxy.interrupt();
    proxy.wait();
}

#[test]
fn a_thousand_values_are_read_as_they_were_written() {
    let redis = Redis::start();
    let proxy = Proxy::start("tcp://127.0.0.1:0", &format!("tcp://{}", redis.address), &[]);

    let mut writer = Client::connect(proxy.address()).unwrap();
    for number in 0..1000 {
        writer.send(&[b"SET", key(number).as_bytes(), &value(number)]).unwrap();
        assert_eq!(writer.reply().unwrap(), b"OK");
    }
    for reader in [proxy.address(), &redis.address] {
        let mut reader = Client::connect(reader).unwrap();
        // All requests before the first reply, so that the proxy's buffers hold several replies.
        for number in 0..1000 {
            reader.send(&[b"GET", key(number).as_bytes()]).unwrap();
        }
        for number in 0..1000 {
            assert!(reader.reply().unwrap() == value(number), "value {number} is altered");
        }
    }

    drop(writer);
    proxy.interrupt();
    proxy.wait();
}

fn key(number: usize) -> String {
    format!("millpond:{number}")
}

/// A unique value whose length is near a buffer's size.
fn value(number: usize) -> Vec<u8> {
    const LENGTHS: [usize; 8] = [0, 1, 64, 4096, 8 * 1024 - 20, 8 * 1024, 64 * 1024 - 20, 100_000];
    let length = LENGTHS[number % LENGTHS.len()] + number / LENGTHS.len();
    let pattern = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    pattern.into_iter().cycle().take(length).collect()
}
