//! Messages that come in by doors: from here on each is a publish like a client's.
//!
//! A door's messages wait in the door, and go out one after the other when the door's flow has a turn. A door that
//! gets more than there is time for fills up, and refuses the next ones.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Shard;
use super::errand::Errand;
use crate::broker::{Budget, Message};
use crate::mqtt::codec::Reason;
use crate::mutant::{Rule, is_left_out};
use crate::shard::agenda::{Flow, Progress};
use crate::shard::door::{Doorway, Entered};
use crate::shard::journal::{Done, Draft, Part};
use crate::shard::ports::Ports;
use crate::shard::publish::{Author, Fanout};

/// Units that it costs to take a message out of a door, beside its fan-out.
const ENTRY_UNITS: u32 = 8;

impl<P: Ports> Shard<P> {
    /// Messages wait in a door: queues them for the door's turn.
    pub(super) fn on_knock(&mut self, doorway: Arc<Doorway>) {
        let flow = Flow::door(self.here.index(), doorway.number());
        self.agenda.push(flow, Errand::Door(doorway));
    }

    /// Sends a door's messages out until the budget is spent. Returns the errands that are left, and why.
    pub(super) fn go_on_with_door(
        &mut self,
        doorway: Arc<Doorway>,
        budget: &mut Budget,
    ) -> (VecDeque<Errand>, Progress) {
        let flow = Flow::door(self.here.index(), doorway.number());
        loop {
            if budget.is_spent() {
                return (VecDeque::from([Errand::Door(doorway)]), Progress::Spent);
            }
            let Some(waiting) = doorway.next() else { return (VecDeque::new(), Progress::Done) };
            budget.charge(ENTRY_UNITS);
            if self.stop.has_begun() {
                waiting.entered.turn_away();
                continue;
            }
            self.here.counters().door_publishes.add(1);
            let expires_at = waiting.expiry.map(|expiry| self.agenda.now().after(expiry));
            let message = Arc::new(Message { expires_at, ..waiting.message });
            let mut draft = Draft::default();
            self.retain(&message, None, &mut draft);
            let fanout = Fanout::published(flow, message, Author::Door(waiting.entered), draft);
            if let Some((fanout, progress)) = self.begin_fanout(fanout, budget) {
                let left = [Errand::Fanout(fanout), Errand::Door(doorway)];
                return (VecDeque::from(left), progress);
            }
        }
    }

    /// A door's message has gone to all receivers: the door is told when it is safe.
    pub(super) fn answer_door(&self, entered: &Arc<Entered>, reason: Reason, part: &mut Part) {
        if part.has_to_wait() && !is_left_out(Rule::DoorWaits) {
            let done = Done::Entered { entered: Arc::clone(entered), reason };
            part.wait(self.here.index(), done);
        } else {
            entered.settle(reason);
        }
    }
}
