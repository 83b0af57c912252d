//! When to send the next ping. All clients have the same interval and phases spread over it, so
//! the order of turns never changes: a cursor and a clock do what a heap of timers would.

/// Turns at a steady pace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    /// Nanoseconds from one turn of a client to its next; 0: no turns at all.
    interval_ns: u64,
    clients: u64,
    /// When turn 0 was.
    start_ns: u64,
    /// Turns taken since.
    turns: u64,
    /// The client whose turn is next.
    cursor: u64,
}

impl Pacer {
    /// Never anyone's turn.
    pub(super) fn never() -> Self {
        Self { interval_ns: 0, clients: 0, start_ns: 0, turns: 0, cursor: 0 }
    }

    /// A pace for `clients`, that begins at `now_ns`. The order of turns goes on where it was.
    pub(super) fn set(&mut self, interval_ns: u64, clients: usize, now_ns: u64) {
        let clients = clients as u64;
        let cursor = if self.cursor < clients { self.cursor } else { 0 };
        *self = Self { interval_ns, clients, start_ns: now_ns, turns: 0, cursor };
    }

    /// When the next turn is.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        if self.interval_ns == 0 || self.clients == 0 {
            return None;
        }
        // 128 bits: an hour of 10 million turns a second would leave 64.
        let since =
            u128::from(self.turns) * u128::from(self.interval_ns) / u128::from(self.clients);
        Some(self.start_ns.saturating_add(u64::try_from(since).unwrap_or(u64::MAX)))
    }

    /// Whose turn it is at `now_ns`, if anyone's.
    pub(super) fn take_turn(&mut self, now_ns: u64) -> Option<usize> {
        if self.next_due_ns()? > now_ns {
            return None;
        }
        self.turns += 1;
        let client = self.cursor;
        self.cursor = (self.cursor + 1) % self.clients;
        Some(client as usize)
    }

    /// Passes over turns that are a whole interval late, so that a stall is not made up for by
    /// pings that nobody's interval asked for. Returns how many.
    pub(super) fn skip_late(&mut self, now_ns: u64) -> u64 {
        let Some(due_ns) = self.next_due_ns() else { return 0 };
        let late_ns = now_ns.saturating_sub(due_ns);
        let rounds = late_ns / self.interval_ns;
        self.turns += rounds * self.clients;
        rounds * self.clients
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(pacer: &mut Pacer, now_ns: u64) -> Vec<usize> {
        std::iter::from_fn(|| pacer.take_turn(now_ns)).collect()
    }

    #[test]
    fn every_client_has_its_turn_once_an_interval_at_its_own_phase() {
        let mut pacer = Pacer::never();
        pacer.set(100, 4, 1_000);
        assert_eq!(turns(&mut pacer, 999), [0; 0]);
        assert_eq!(turns(&mut pacer, 1_000), [0]);
        assert_eq!(turns(&mut pacer, 1_024), [0; 0]);
        assert_eq!(turns(&mut pacer, 1_050), [1, 2]);
        assert_eq!(turns(&mut pacer, 1_099), [3]);
        assert_eq!(turns(&mut pacer, 1_199), [0, 1, 2, 3]);
        assert_eq!(pacer.next_due_ns(), Some(1_200));
    }

    #[test]
    fn an_interval_that_does_not_divide_does_not_drift() {
        let mut pacer = Pacer::never();
        pacer.set(1_000, 3, 0);
        assert_eq!(turns(&mut pacer, 1_000_000_000 - 1).len(), 3_000_000);
        assert_eq!(pacer.next_due_ns(), Some(1_000_000_000));
    }

    #[test]
    fn whole_intervals_missed_are_passed_over() {
        let mut pacer = Pacer::never();
        pacer.set(100, 2, 0);
        assert_eq!(pacer.skip_late(99), 0);
        assert_eq!(pacer.skip_late(350), 6);
        assert_eq!(turns(&mut pacer, 350), [0, 1]);
        assert_eq!(pacer.next_due_ns(), Some(400));
    }

    #[test]
    fn growing_goes_on_with_the_client_whose_turn_was_next() {
        let mut pacer = Pacer::never();
        pacer.set(100, 4, 0);
        turns(&mut pacer, 30);
        pacer.set(100, 8, 30);
        assert_eq!(pacer.take_turn(30), Some(2));
        pacer.set(100, 2, 30);
        assert_eq!(pacer.take_turn(30), Some(0));
        pacer.set(0, 2, 30);
        assert_eq!(pacer.take_turn(u64::MAX), None);
    }
}
