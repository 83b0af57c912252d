//! Fills up answer tables that run low, by which the kernel answers pings inside TLS. Nothing waits for it: a ping
//! that was not sealed ahead comes to user space, whose PINGRESP has the table filled as well.

use super::Shard;
use crate::shard::ports::Ports;

/// Tables that a turn fills; others wait for the next one, which does not sleep. Each costs some microseconds.
const TABLES_PER_TURN_MAX: usize = 256;

impl<P: Ports> Shard<P> {
    /// Fills tables that run low, after all else of the turn; none while shards rest.
    pub(super) fn fill_tables(&mut self) {
        if self.agenda.is_resting() {
            return;
        }
        for _ in 0..TABLES_PER_TURN_MAX {
            let Some(index) = self.path.next_low(self.agenda.now()) else { return };
            if let Some(client) = self.clients.get_mut(index)
                && let Some(numbers) = client.transport.numbers()
            {
                numbers.fill_up();
                self.here.counters().tables_filled.add(1);
            }
        }
        self.here.counters().cut_tables.add(u64::from(self.path.has_low()));
    }
}
