//! Publishes of one connection that are not acknowledged yet, in order.

use std::collections::VecDeque;

use crate::mqtt::PublishReceipt;
use crate::mqtt::codec::Reason;

/// A client's publishes whose acknowledgement waits, in the order they came: so they are answered
/// [MQTT-4.6.0-2, MQTT-4.6.0-3]. Bounded by `--answers-bytes-max`, which counts what is owed.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    /// The number of the first one.
    first: u64,
    queue: VecDeque<(PublishReceipt, Option<Reason>)>,
}

impl Receipts {
    pub(crate) fn push(&mut self, receipt: PublishReceipt) -> u64 {
        self.queue.push_back((receipt, None));
        self.first + self.queue.len() as u64 - 1
    }

    pub(crate) fn settle(&mut self, number: u64, reason: Reason) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some((_, settled)) = index.and_then(|index| self.queue.get_mut(index)) {
            *settled = Some(reason);
        }
    }

    pub(crate) fn pop_settled(&mut self) -> Option<(PublishReceipt, Reason)> {
        let reason = self.queue.front()?.1?;
        let (receipt, _) = self.queue.pop_front()?;
        self.first += 1;
        Some((receipt, reason))
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The receipts that are settled, and waited for earlier ones to be answered.
    pub(crate) fn into_settled(self) -> impl Iterator<Item = (PublishReceipt, Reason)> {
        self.queue.into_iter().filter_map(|(receipt, reason)| Some((receipt, reason?)))
    }
}

#[cfg(test)]
mod tests;
