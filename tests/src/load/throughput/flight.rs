//! The messages of a publisher that are on their way, and what each still has to cause. No sockets
//! and no clock.

/// What a message must cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// How many subscribers must get it.
    pub(super) deliveries: u32,
    /// Whether its publisher must get an acknowledgement.
    pub(super) acknowledgement: bool,
}

/// A message that may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Departure {
    /// Its slot; its packet id is one more.
    pub(super) slot: u16,
    /// Distinguishes it from other messages in the same slot.
    pub(super) sequence: u32,
}

/// The server sent something that none of our messages causes (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stray;

/// The messages of one publisher on their way, at most as many as its window.
#[derive(Debug)]
pub(super) struct Flight {
    expected: Expected,
    window: u16,
    slots: Vec<Slot>,
    /// Unused slots.
    free: Vec<u16>,
    next_sequence: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    sequence: u32,
    due_ns: u64,
    /// What it still has to cause.
    left: Expected,
}

impl Flight {
    /// An empty flight; each message must cause the same.
    pub(super) fn new(window: u16, expected: Expected) -> Self {
        Self { expected, window, slots: Vec::new(), free: Vec::new(), next_sequence: 0 }
    }

    /// Takes a slot for a message that was due at `due_ns`; `None`: the window is full.
    pub(super) fn depart(&mut self, due_ns: u64) -> Option<Departure> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u16::try_from(self.slots.len()).ok()?;
                if slot == self.window {
                    return None;
                }
                self.slots.push(Slot { sequence: 0, due_ns: 0, left: self.expected });
                slot
            }
        };
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        self.slots[usize::from(slot)] = Slot { sequence, due_ns, left: self.expected };
        Some(Departure { slot, sequence })
    }

    /// The message came to a subscriber.
    pub(super) fn deliver(&mut self, message: Departure) -> Result<(), Stray> {
        let slot = self.slots.get_mut(usize::from(message.slot)).ok_or(Stray)?;
        if slot.sequence != message.sequence || slot.left.deliveries == 0 {
            return Err(Stray);
        }
        slot.left.deliveries -= 1;
        self.release(message.slot);
        Ok(())
    }

    /// The message in this slot was acknowledged. Returns when it was due.
    pub(super) fn acknowledge(&mut self, slot: u16) -> Result<u64, Stray> {
        let at = self.slots.get_mut(usize::from(slot)).ok_or(Stray)?;
        if !at.left.acknowledgement {
            return Err(Stray);
        }
        at.left.acknowledgement = false;
        let due_ns = at.due_ns;
        self.release(slot);
        Ok(due_ns)
    }

    /// Deliveries and acknowledgements that have not come.
    pub(super) fn missing(&self) -> u64 {
        let left =
            |slot: &Slot| u64::from(slot.left.deliveries) + u64::from(slot.left.acknowledgement);
        self.slots.iter().map(left).sum()
    }

    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Frees a slot whose message has caused everything.
    fn release(&mut self, slot: u16) {
        let left = self.slots[usize::from(slot)].left;
        if left.deliveries == 0 && !left.acknowledgement {
            self.free.push(slot);
        }
    }
}

#[cfg(test)]
mod tests;
