//! What the devices of `push-load demo` do beside pinging: every tenth subscribes to a topic of
//! its own, and the first one publishes to one of those each second, so that counters move.

/// One of this many devices subscribes.
const SUBSCRIBER_EVERY: usize = 10;
/// The first that subscribes.
const FIRST_SUBSCRIBER: usize = 1;
/// Time between two publishes.
const PUBLISH_INTERVAL_NS: u64 = 1_000_000_000;

/// Which devices subscribe, which one publishes, and when.
#[derive(Debug)]
pub(super) struct Roles {
    demo: bool,
    /// When to publish next; `None`: there is no publisher.
    next_publish_ns: Option<u64>,
    published: usize,
}

impl Roles {
    /// The roles of a thread's devices; the first thread has the publisher. Without `demo` they
    /// have none.
    pub(super) fn new(demo: bool, thread: usize) -> Self {
        Self { demo, next_publish_ns: (demo && thread == 0).then_some(0), published: 0 }
    }

    /// Whether the device with this number subscribes.
    pub(super) fn subscribes(&self, number: usize) -> bool {
        self.demo && number % SUBSCRIBER_EVERY == FIRST_SUBSCRIBER
    }

    /// The topic of the device with this number.
    pub(super) fn topic(number: usize) -> String {
        format!("demo/{number}")
    }

    /// When `take_publish` will return something.
    pub(super) fn next_publish_ns(&self) -> Option<u64> {
        self.next_publish_ns
    }

    /// The device to publish to, of `devices` in all, if it is time.
    pub(super) fn take_publish(&mut self, now_ns: u64, devices: usize) -> Option<usize> {
        self.next_publish_ns.filter(|&at| at <= now_ns)?;
        self.next_publish_ns = Some(now_ns + PUBLISH_INTERVAL_NS);
        let subscribers = (devices + SUBSCRIBER_EVERY - 1 - FIRST_SUBSCRIBER) / SUBSCRIBER_EVERY;
        if subscribers == 0 {
            return None;
        }
        let number = self.published % subscribers * SUBSCRIBER_EVERY + FIRST_SUBSCRIBER;
        self.published += 1;
        Some(number)
    }

    /// Nobody publishes any more.
    pub(super) fn stop(&mut self) {
        self.next_publish_ns = None;
    }
}

#[cfg(test)]
mod tests;
