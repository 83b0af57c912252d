//! The messages of a publisher that are on their way, and what each of them is still to cause.
//! Decisions only: no sockets and no clock.

/// What a message is to cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// Subscribers that it is to come to.
    pub(super) deliveries: u32,
    /// Whether it is to be acknowledged to its publisher.
    pub(super) acknowledgement: bool,
}

/// A message that may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Departure {
    /// Its place; one more is its packet id.
    pub(super) slot: u16,
    /// Tells it from the others that had the same place.
    pub(super) sequence: u32,
}

/// The server sent something that no message of ours is to cause (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stray;

/// The messages of one publisher on their way, at most as many as its window.
#[derive(Debug)]
pub(super) struct Flight {
    expected: Expected,
    window: u16,
    slots: Vec<Slot>,
    /// Slots of nobody.
    free: Vec<u16>,
    next_sequence: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    sequence: u32,
    due_ns: u64,
    /// What is still to come.
    left: Expected,
}

impl Flight {
    /// Nothing is on its way yet; each message is to cause the same.
    pub(super) fn new(window: u16, expected: Expected) -> Self {
        Self { expected, window, slots: Vec::new(), free: Vec::new(), next_sequence: 0 }
    }

    /// Takes a place for a message that was due then; `None`: the window is full.
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

    /// The message with this place was acknowledged. Returns when it was due.
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

    /// Frees a place that waits for nothing more.
    fn release(&mut self, slot: u16) {
        let left = self.slots[usize::from(slot)].left;
        if left.deliveries == 0 && !left.acknowledgement {
            self.free.push(slot);
        }
    }
}

#[cfg(test)]
mod tests;
