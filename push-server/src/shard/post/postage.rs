//! How many letters of a session are on their way to other shards. Each session has a bound, so that only a session
//! that sends more than the other shards can handle waits.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::shard::agenda::Flow;

/// Letters of one session that other shards have not handled yet; further publishes of it wait (`limit="letters"`).
pub(crate) const LETTERS_MAX: usize = 256;

/// Bytes of these letters, each counted as large as the next one; one letter of any size always goes.
const LETTERS_BYTES_MAX: usize = 4 << 20;

/// Goes with a letter until it is handled.
#[derive(Debug)]
pub(crate) struct Stamp {
    /// Never read: the number of its owners is the number of letters.
    _sheet: Arc<()>,
}

/// The letters of this shard's sessions.
#[derive(Debug, Default)]
pub(crate) struct Postage(HashMap<Flow, Arc<()>, foldhash::fast::RandomState>);

impl Postage {
    /// A stamp for one more letter, of a message of so many bytes. `None`: too many are under way.
    pub(crate) fn stamp(&mut self, flow: Flow, message_bytes: usize) -> Option<Stamp> {
        let sheet = self.0.entry(flow).or_default();
        let letters = Arc::strong_count(sheet) - 1;
        let letters_max = (LETTERS_BYTES_MAX / message_bytes.max(1)).clamp(1, LETTERS_MAX);
        (letters < letters_max).then(|| Stamp { _sheet: Arc::clone(sheet) })
    }

    /// Forgets sessions without a letter under way. To be called now and then.
    pub(crate) fn tidy(&mut self) {
        self.0.retain(|_, sheet| Arc::strong_count(sheet) > 1);
        if self.0.is_empty() {
            self.0.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests;
