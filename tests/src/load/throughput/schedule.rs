//! When messages are due that are sent at a rate, whatever the server does. No clock of its own.

/// Messages at even distances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    from_ns: u64,
    interval_ns: f64,
    /// Messages taken so far.
    taken: u64,
}

impl Schedule {
    /// The share of one of so many threads in `per_s` messages a second; the threads' messages are
    /// due in turn.
    pub(super) fn new(from_ns: u64, per_s: u64, threads: usize, thread: usize) -> Self {
        let of_all_ns = 1e9 / per_s as f64;
        Self {
            from_ns: from_ns + (of_all_ns * thread as f64) as u64,
            interval_ns: of_all_ns * threads as f64,
            taken: 0,
        }
    }

    /// When the next message is due.
    pub(super) fn next_due_ns(&self) -> u64 {
        // From the number, so that no rounding adds up.
        self.from_ns + (self.taken as f64 * self.interval_ns) as u64
    }

    /// The number of the next message.
    pub(super) fn next_number(&self) -> u64 {
        self.taken
    }

    /// The next message is sent.
    pub(super) fn take(&mut self) {
        self.taken += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_all_threads_are_due_at_even_distances() {
        let mut schedules = [0, 1].map(|thread| Schedule::new(1_000, 10_000, 2, thread));
        let mut due = Vec::new();
        for number in 0..4 {
            for schedule in &mut schedules {
                assert_eq!(schedule.next_number(), number);
                due.push(schedule.next_due_ns());
                schedule.take();
            }
        }
        let expected: Vec<u64> = (0..8).map(|number| 1_000 + number * 100_000).collect();
        assert_eq!(due, expected);
    }

    #[test]
    fn an_hour_of_messages_does_not_drift() {
        let mut schedule = Schedule::new(0, 3, 1, 0);
        (0..3 * 3_600).for_each(|_| schedule.take());
        assert!(schedule.next_due_ns().abs_diff(3_600_000_000_000) <= 1_000);
    }
}
