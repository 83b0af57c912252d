//! How retained messages on disk follow those in memory.
//!
//! Memory decides the order of changes, by who comes first to [`Retained`]. The store gets a change
//! later, perhaps in another order. Each change says what its topic keeps from then on, and knows
//! whether the store has taken a later one of the same topic ([`RetainedChange::take`]); in that
//! case it is skipped. So:
//!
//! - If a change was reported as committed, it or a later change of its topic is on disk.
//! - The last change of a topic is always made, so in the end disk and memory are the same.
//!
//! The store may forget nothing that memory has, or the next start would bring back an older state.
//! So changes that are refused for the backlog stay in the queue. While the disk fails, memory goes
//! on alone; afterwards [`catch_up`] writes the difference before anything else. Changes that
//! failed meanwhile count as taken ([`give_up`]), so that an older one which arrives later is not
//! written over what [`catch_up`] wrote.

use hashbrown::HashMap;

use super::database::{Database, DatabaseError, Tree};
use super::encode;
use super::group::{CommitGroup, GROUP_BYTES_MAX};
use crate::broker::{Kept, Retained, TopicName};
use crate::store::Write;

/// Topics in one write, unless their bytes close it earlier.
const TOPICS_AT_A_TIME: usize = 1_000;

/// What a topic keeps in memory and not on disk.
type Differing = (TopicName, Option<Kept>);

/// Marks the retained changes among these failed writes as taken.
pub(super) fn give_up(writes: &[Write]) {
    for write in writes {
        if let Write::SaveRetained { change } = write {
            change.take();
        }
    }
}

/// Writes what memory holds wherever the disk differs; this removes messages that a start had no
/// room for. Changes made meanwhile are not lost: their requests are queued behind.
pub(super) fn catch_up(
    database: &Database,
    group: &mut CommitGroup,
    retained: &Retained,
) -> Result<(), DatabaseError> {
    let all = retained.all();
    let mut missing: HashMap<&[u8], &Kept, foldhash::fast::RandomState> =
        all.iter().map(|kept| (kept.message.topic.as_str().as_bytes(), kept)).collect();
    let held = |kept: &Kept| (kept.message.topic.clone(), Some(kept.clone()));
    let mut differing: Vec<Differing> = Vec::new();
    for found in database.scan(Tree::Retained, &[], &[]) {
        let (key, value) = found?;
        match missing.remove(&*key) {
            Some(kept) if group.is_record_of(kept, &value) => {}
            Some(kept) => differing.push(held(kept)),
            // A key that is no topic is left alone, as at a start.
            None => {
                let topic = encode::decode_retained_key(&key).ok();
                differing.extend(topic.map(|topic| (topic, None)));
            }
        }
    }
    differing.extend(missing.values().map(|kept| held(kept)));
    for topics in differing.chunks(TOPICS_AT_A_TIME) {
        save(topics, database, group)?;
    }
    Ok(())
}

fn save(
    topics: &[Differing],
    database: &Database,
    group: &mut CommitGroup,
) -> Result<(), DatabaseError> {
    let mut bytes = 0;
    for (topic, kept) in topics {
        bytes += group.save_retained(topic, kept.as_ref());
        if bytes >= GROUP_BYTES_MAX {
            group.write(database)?;
            bytes = 0;
        }
    }
    group.write(database)?;
    Ok(())
}
