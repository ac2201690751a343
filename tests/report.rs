//! What an operator sees of a pool: the stats and the leak report as JSON, the leak report as events.

use std::io::{self, Write};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use millpond::{BufferPool, BufferPoolConfig};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn stats_and_holders_are_json_and_holders_are_events() {
    let config = BufferPoolConfig::messages().to_builder().sample_one_in(NonZeroU32::MIN);
    let pool = BufferPool::new(config.build().unwrap());
    let mut held = pool.acquire(1000);
    held.extend_from_slice(b"hello");
    held.set_label("greeting");
    let held = held.into_shared().slice(..1);

    let json = serde_json::to_value(pool.stats()).unwrap();
    let lent = serde_json::json!({ "labels": { "class": "1024", "state": "lent" }, "value": 1 });
    let buffers = json["millpond_buffer_pool_buffers"].as_array().unwrap();
    assert!(buffers.contains(&lent), "{json}");

    let json = serde_json::to_value(pool.holders()).unwrap();
    let holder = &json["holders"][0];
    assert!(holder["caller"].as_str().unwrap().contains("report.rs:"), "{json}");
    assert_eq!(holder["label"], "greeting", "{json}");
    assert_eq!((&json["every"], &holder["pinned_bytes"]), (&1.into(), &1023.into()), "{json}");

    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).finish();
    tracing::subscriber::with_default(subscriber, || pool.holders().unwrap().trace());
    let shown = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    for part in [
        "INFO millpond::pool: buffers held",
        "report.rs:",
        "label=\"greeting\"",
        "samples=1",
        "storage_bytes=1024",
        "pinned_bytes=1023",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    drop(held);
}
