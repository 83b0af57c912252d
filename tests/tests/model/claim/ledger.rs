//! All records of the server that ever left, by their place in the stream as the client sees it.

use super::list::List;
use super::message::Message;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Entry {
    at: u16,
    message: Message,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ledger(List<Entry, 20>);

impl Ledger {
    /// Bytes of a record leave that begins at `at`. No number has ever two records, and no place two
    /// contents. The exception is what the client has: TCP may repeat that after an answer, shifted by the
    /// answer, and the client discards it (`is_old`).
    pub(super) fn leaves(&mut self, at: u16, message: Message, is_old: bool) -> Result<(), String> {
        for entry in self.0.as_slice() {
            let same_number =
                (entry.message.epoch, entry.message.number) == (message.epoch, message.number);
            if same_number && entry.message != message {
                return Err(format!("{message:?} leaves, and {:?} left before", entry.message));
            }
            if is_old {
                continue;
            }
            if same_number && entry.at != at {
                return Err(format!("{message:?} leaves at {at}, and left at {} before", entry.at));
            }
            let apart = entry.at + entry.message.bytes() <= at || at + message.bytes() <= entry.at;
            if !same_number && !apart {
                return Err(format!("{message:?} leaves at {at}, where {entry:?} left before"));
            }
        }
        let entry = Entry { at, message };
        if !is_old && !self.0.as_slice().contains(&entry) {
            self.0.put(entry);
        }
        Ok(())
    }
}
