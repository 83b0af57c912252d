//! What a host does with fragments before TCP sees anything: it keeps them until a datagram is whole,
//! however long that takes. Duplicates make it whole again.

use std::collections::HashMap;

use crate::segment::{Fragment, Seg};

/// The fragments that wait for their other one.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    waiting: HashMap<Fragment, Seg>,
}

impl Reassembly {
    /// The segment that is whole now, if one is.
    pub(crate) fn take(&mut self, segment: Seg) -> Option<Seg> {
        let Some(fragment) = segment.fragment else { return Some(segment) };
        let other = match fragment {
            Fragment::First { datagram } => Fragment::Last { datagram },
            Fragment::Last { datagram } => Fragment::First { datagram },
        };
        match self.waiting.remove(&other) {
            None => {
                self.waiting.insert(fragment, segment);
                None
            }
            Some(last) if matches!(other, Fragment::Last { .. }) => {
                Some(segment.put_together(last))
            }
            Some(first) => Some(first.put_together(segment)),
        }
    }
}
