//! Many requests on few HTTP/2 connections, with real servers.

mod faults;
mod health;
mod readers;
mod rest;
mod server;
mod streams;
#[path = "../upstream/mod.rs"]
mod upstream;
