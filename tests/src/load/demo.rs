//! What the devices of `push-load demo` do beside pinging: every tenth subscribes to a topic of
//! its own, and the first one publishes to one of those each second, so that counters move.

/// One of so many devices subscribes.
const SUBSCRIBER_EVERY: usize = 10;
/// The first that subscribes.
const FIRST_SUBSCRIBER: usize = 1;
/// Time between two publishes.
const PUBLISH_INTERVAL_NS: u64 = 1_000_000_000;

/// Who does what, and when.
#[derive(Debug)]
pub(super) struct Roles {
    demo: bool,
    /// When to publish next; `None` where there is no publisher.
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

    /// When `take_publish` has something next.
    pub(super) fn next_publish_ns(&self) -> Option<u64> {
        self.next_publish_ns
    }

    /// The number of the device to publish to now, if it is time, of `devices` in all.
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
mod tests {
    use super::*;

    #[test]
    fn publishes_go_to_devices_that_subscribe_and_exist() {
        for devices in [0, 1, 2, 11, 12, 100] {
            let mut roles = Roles::new(true, 0);
            let subscribers = (0..devices).filter(|&number| roles.subscribes(number)).count();
            for second in 0..20 {
                let now_ns = second * PUBLISH_INTERVAL_NS;
                let number = roles.take_publish(now_ns, devices);
                assert_eq!(number.is_some(), subscribers > 0, "of {devices}");
                assert!(number.is_none_or(|number| number < devices && roles.subscribes(number)));
                assert_eq!(roles.take_publish(now_ns, devices), None, "one a second");
            }
        }
    }

    #[test]
    fn without_demo_and_on_other_threads_nobody_publishes() {
        assert_eq!(Roles::new(false, 0).next_publish_ns(), None);
        assert_eq!(Roles::new(true, 1).next_publish_ns(), None);
        assert!(!Roles::new(false, 0).subscribes(1));
        assert!(Roles::new(true, 1).subscribes(1));
    }
}
