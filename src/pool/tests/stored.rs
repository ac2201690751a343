//! The configuration as text, through serde.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;

fn read(json: &str) -> Result<BufferPoolConfig, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[test]
fn every_setting_survives() {
    let all = BufferPoolConfig::http()
        .to_builder()
        .thread_cache_bytes(0)
        .memory_limit(64 << 20)
        .decay_interval(Some(Duration::from_millis(1500)))
        .serve_from_next_class(true)
        .wipe_on_return(true)
        .sample_one_in(NonZeroU32::new(1000).unwrap())
        .record_sizes(true)
        .build()
        .unwrap();
    let never = BufferPoolConfig::messages().to_builder().decay_interval(None).build().unwrap();
    for config in [all, never, BufferPoolConfig::embedded(), BufferPoolConfig::default()] {
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(read(&json).as_ref(), Ok(&config), "{json}");
    }
}

#[test]
fn what_is_left_out_is_default() {
    let config = read(r#"{ "classes": [{ "size": 1024, "capacity": 64 }] }"#);
    assert_eq!(config, Ok(BufferPoolConfig::from_map([(1024, 64)]).unwrap()));
}

/// No limit and no sampling are `null`, because some formats have no number as large as `usize::MAX`.
#[test]
fn no_number_stands_for_none() {
    let json = serde_json::to_value(BufferPoolConfig::proxy()).unwrap();
    assert_eq!((&json["memory_limit"], &json["sample_one_in"]), (&().into(), &().into()), "{json}");
}

#[test]
fn what_the_builder_refuses_is_refused_with_its_reason() {
    for (json, reason) in [
        (r#"{}"#, "a pool needs at least one size class"),
        (r#"{ "classes": [{ "size": 0, "capacity": 1 }] }"#, "a size class must be at least 1 byte"),
        (
            r#"{ "classes": [{ "size": 1024, "capacity": 4 }], "memory_limit": 1000 }"#,
            "a limit of 1000 bytes is below the largest class of 1024; raise it or drop the class",
        ),
    ] {
        assert_eq!(read(json), Err(reason.to_owned()), "{json}");
    }
}

#[test]
fn a_misspelt_name_is_an_error() {
    for json in [
        r#"{ "classes": [{ "size": 1024, "capacity": 4 }], "memory_limits": 4096 }"#,
        r#"{ "classes": [{ "size": 1024, "capacity": 4, "count": 1 }] }"#,
    ] {
        let error = read(json).unwrap_err();
        assert!(error.starts_with("unknown field"), "{error}");
    }
}
