//! Placeholder with the final public names; the real pool replaces it.
#![allow(missing_docs, clippy::all, clippy::allow_attributes, clippy::allow_attributes_without_reason)]
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::HashMap;
use std::ops::{Deref, DerefMut, RangeBounds};
#[derive(Clone, Debug)]
pub struct BufferPool;
#[derive(Clone, Debug)]
pub struct BufferPoolConfig;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError { NoClasses }
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireError { TooLarge { requested: usize, largest: usize } }
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BufferPoolStats { pub total_acquires: u64, pub total_allocations: u64, pub total_returns: u64, pub currently_in_use: u64 }
impl BufferPoolStats { pub fn hit_rate(&self) -> f64 { 0.0 } }
impl BufferPoolConfig {
    pub fn from_map(_classes: HashMap<usize, usize>) -> Result<Self, ConfigError> { Ok(Self) }
    pub fn builder() -> BufferPoolConfigBuilder { BufferPoolConfigBuilder }
    /// preset for relays: 8 KiB and 64 KiB classes
    pub fn proxy() -> Self { Self }
}
pub struct BufferPoolConfigBuilder;
impl BufferPoolConfigBuilder {
    pub fn class(self, _size: usize, _capacity: usize) -> Self { self }
    pub fn thread_cache_bytes(self, _bytes: usize) -> Self { self }
    pub fn build(self) -> Result<BufferPoolConfig, ConfigError> { Ok(BufferPoolConfig) }
}
impl BufferPool {
    pub fn new(_config: BufferPoolConfig) -> Self { Self }
    pub fn acquire(&self, min_capacity: usize) -> PooledBuffer { PooledBuffer(BytesMut::with_capacity(min_capacity)) }
    pub fn try_acquire(&self, min_capacity: usize) -> Result<PooledBuffer, AcquireError> { Ok(self.acquire(min_capacity)) }
    pub fn stats(&self) -> BufferPoolStats { BufferPoolStats::default() }
    /// Frees idle storage that lies in the shared tier; returns bytes freed.
    pub fn trim(&self) -> usize { 0 }
    /// This thread's cached buffers go to the shared tier.
    pub fn flush_thread_cache(&self) {}
}
#[derive(Debug)]
pub struct PooledBuffer(BytesMut);
impl PooledBuffer {
    pub fn len(&self) -> usize { self.0.len() }
    pub fn is_empty(&self) -> bool { self.0.is_empty() }
    pub fn capacity(&self) -> usize { self.0.capacity() }
    pub fn clear(&mut self) { self.0.clear() }
    pub fn truncate(&mut self, len: usize) { self.0.truncate(len) }
    pub fn resize(&mut self, len: usize, value: u8) { self.0.resize(len, value) }
    pub fn extend_from_slice(&mut self, bytes: &[u8]) { self.0.extend_from_slice(bytes) }
    /// The free room as a `BufMut` (never grows). forbid(unsafe_code) forbids `unsafe impl BufMut`, so this stands in for it.
    pub fn as_buf_mut(&mut self) -> impl BufMut + '_ { let room = self.0.capacity() - self.0.len(); (&mut self.0).limit(room) }
    pub fn freeze(self) -> Bytes { self.0.freeze() }
    pub fn into_shared(self) -> PooledBytes { PooledBytes(self.0.freeze()) }
}
impl Deref for PooledBuffer { type Target = [u8]; fn deref(&self) -> &[u8] { &self.0 } }
impl DerefMut for PooledBuffer { fn deref_mut(&mut self) -> &mut [u8] { &mut self.0 } }
impl AsRef<[u8]> for PooledBuffer { fn as_ref(&self) -> &[u8] { &self.0 } }
#[derive(Debug, Clone)]
pub struct PooledBytes(Bytes);
impl PooledBytes {
    pub fn len(&self) -> usize { self.0.len() }
    pub fn is_empty(&self) -> bool { self.0.is_empty() }
    pub fn slice(&self, range: impl RangeBounds<usize>) -> PooledBytes { PooledBytes(self.0.slice(range)) }
    pub fn split_to(&mut self, at: usize) -> PooledBytes { PooledBytes(self.0.split_to(at)) }
}
impl Deref for PooledBytes { type Target = [u8]; fn deref(&self) -> &[u8] { &self.0 } }
impl AsRef<[u8]> for PooledBytes { fn as_ref(&self) -> &[u8] { &self.0 } }
impl Buf for PooledBytes { fn remaining(&self) -> usize { self.0.remaining() } fn chunk(&self) -> &[u8] { self.0.chunk() } fn advance(&mut self, n: usize) { self.0.advance(n) } }
impl From<PooledBytes> for Bytes { fn from(b: PooledBytes) -> Bytes { b.0 } }
