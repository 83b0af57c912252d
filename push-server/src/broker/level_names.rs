//! The texts of a tree's levels. Each is stored once, however many nodes have it: in half of all
//! filters with wildcards `+` is a level.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::arena::{Arena, Key, SPARSE, SPARSE_CAPACITY_MIN};
use super::message::ALLOCATION_BYTES;

/// Names the text of a level, as long as a node of the tree has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LevelId(Key);

#[derive(Debug)]
struct LevelName {
    text: Box<str>,
    uses: u32,
    /// Stored, so that the table grows without reading texts.
    hash: u32,
}

/// The texts.
#[derive(Debug, Default)]
pub(super) struct LevelNames {
    names: Arena<LevelName>,
    by_text: HashTable<LevelId>,
    hasher: foldhash::fast::RandomState,
}

impl LevelNames {
    /// Bytes that a text takes beside its characters: its entry in the arena and in a table that is
    /// half empty, and its allocation.
    pub(super) const NAME_BYTES: usize =
        Arena::<LevelName>::VALUE_BYTES + 16 * (size_of::<LevelId>() + 1) / 7 + ALLOCATION_BYTES;

    /// The id of `text`, if any node has it.
    pub(super) fn find(&self, text: &str) -> Option<LevelId> {
        let hash = self.hash(text);
        self.by_text.find(spread(hash), |id| self.is_named(*id, hash, text)).copied()
    }

    /// The text of an id.
    pub(super) fn text(&self, id: LevelId) -> &str {
        &self.names.at(id.0).text
    }

    /// The id of `text`, for one node more.
    pub(super) fn take(&mut self, text: &str) -> LevelId {
        if let Some(id) = self.find(text) {
            self.names.at_mut(id.0).uses += 1;
            return id;
        }
        let hash = self.hash(text);
        let id = LevelId(self.names.insert(LevelName { text: text.into(), uses: 1, hash }));
        let Self { names, by_text, .. } = self;
        by_text.insert_unique(spread(hash), id, |id| spread(names.at(id.0).hash));
        id
    }

    /// A node with this text is gone.
    pub(super) fn give_back(&mut self, id: LevelId) {
        let name = self.names.at_mut(id.0);
        name.uses -= 1;
        if name.uses > 0 {
            return;
        }
        let hash = spread(name.hash);
        if let Ok(entry) = self.by_text.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        self.names.remove(id.0);
        let capacity = self.by_text.capacity();
        if capacity > SPARSE_CAPACITY_MIN && self.by_text.len() < capacity / SPARSE {
            let names = &self.names;
            self.by_text.shrink_to(self.by_text.len() * 2, |id| spread(names.at(id.0).hash));
        }
    }

    fn hash(&self, text: &str) -> u32 {
        // The upper half: foldhash folds its last multiplication, so both halves are equally good.
        (self.hasher.hash_one(text) >> 32) as u32
    }

    fn is_named(&self, id: LevelId, hash: u32, text: &str) -> bool {
        let name = self.names.at(id.0);
        name.hash == hash && *name.text == *text
    }

    /// How many texts there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

/// Spreads 32 bits of hash to the 64 that a table wants: it reads the lowest and the highest.
pub(super) fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests;
