//! When messages at a rate are due, whatever the server does. It reads no clock.

/// Messages at even distances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    from_ns: u64,
    interval_ns: f64,
    /// Messages sent so far.
    taken: u64,
}

impl Schedule {
    /// One thread's part of `per_s` messages a second; the threads' messages are due in turn.
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
        // Computed from the number, so that rounding does not add up.
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
mod tests;
