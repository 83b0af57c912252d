//! A word of shared memory for one thread: who comes when is the model's choice.

use std::cell::Cell;
use std::hash::{Hash, Hasher};

use push_common::shared_word::SharedWord;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ModelWord(Cell<u64>);

impl SharedWord for ModelWord {
    fn load(&self) -> u64 {
        self.0.get()
    }

    fn load_acquire(&self) -> u64 {
        self.0.get()
    }

    fn store(&self, value: u64) {
        self.0.set(value);
    }

    fn store_release(&self, value: u64) {
        self.0.set(value);
    }

    fn fetch_or(&self, bits: u64) -> u64 {
        self.0.replace(self.0.get() | bits)
    }

    fn compare_exchange(&self, from: u64, to: u64) -> bool {
        let is_same = self.0.get() == from;
        if is_same {
            self.0.set(to);
        }
        is_same
    }
}

impl Hash for ModelWord {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.get().hash(state);
    }
}
