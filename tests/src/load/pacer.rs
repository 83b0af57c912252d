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
    /// The client of the next turn.
    cursor: u64,
}

impl Pacer {
    /// A pace without turns.
    pub(super) fn never() -> Self {
        Self { interval_ns: 0, clients: 0, start_ns: 0, turns: 0, cursor: 0 }
    }

    /// A pace for `clients` that begins at `now_ns`. The order of turns continues where it was.
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

    /// The client whose turn it is at `now_ns`, if any.
    pub(super) fn take_turn(&mut self, now_ns: u64) -> Option<usize> {
        if self.next_due_ns()? > now_ns {
            return None;
        }
        self.turns += 1;
        let client = self.cursor;
        self.cursor = (self.cursor + 1) % self.clients;
        Some(client as usize)
    }

    /// Skips turns that are a whole interval late, so that a stall is not made up for by pings that
    /// no client's interval asks for. Returns how many.
    pub(super) fn skip_late(&mut self, now_ns: u64) -> u64 {
        let Some(due_ns) = self.next_due_ns() else { return 0 };
        let late_ns = now_ns.saturating_sub(due_ns);
        let rounds = late_ns / self.interval_ns;
        self.turns += rounds * self.clients;
        rounds * self.clients
    }
}

#[cfg(test)]
mod tests;
