//! A short list without memory of its own, so that a state of the world is copied as one piece. What is
//! beyond its end is always the same, so that equal lists are equal as a whole.

use std::hash::{Hash, Hasher};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct List<T, const N: usize> {
    items: [T; N],
    len: u8,
}

impl<T: Copy + Default, const N: usize> List<T, N> {
    pub(super) fn push(&mut self, item: T) {
        self.insert(self.len(), item);
    }

    /// Puts it where it belongs in a sorted list.
    pub(super) fn put(&mut self, item: T)
    where
        T: Ord,
    {
        let at = self.as_slice().partition_point(|before| *before < item);
        self.insert(at, item);
    }

    fn insert(&mut self, at: usize, item: T) {
        assert!(self.len() < N, "a scenario for a longer list than {N}");
        let len = self.len();
        self.items.copy_within(at..len, at + 1);
        self.items[at] = item;
        self.len += 1;
    }

    pub(super) fn remove(&mut self, at: usize) -> T {
        let item = self.as_slice()[at];
        let len = self.len();
        self.items.copy_within(at + 1..len, at);
        self.items[len - 1] = T::default();
        self.len -= 1;
        item
    }

    pub(super) fn as_slice(&self) -> &[T] {
        &self.items[..self.len()]
    }

    pub(super) fn len(&self) -> usize {
        self.len.into()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T: Copy + Default, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self { items: [T::default(); N], len: 0 }
    }
}

impl<T: Copy + Default + Hash, const N: usize> Hash for List<T, N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}
