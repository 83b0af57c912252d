//! What the embedded store's handle and its thread share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::queue::Queue;
use crate::broker::Retained;
use crate::store::StoreCounters;

/// State that the store's handle and its thread share.
#[derive(Debug)]
pub(super) struct Shared<T> {
    pub(super) queue: Queue<T>,
    pub(super) counters: StoreCounters,
    pub(super) is_serving: AtomicBool,
    pub(super) retained: Arc<Retained>,
}
