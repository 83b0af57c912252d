//! How retained messages on disk follow those in memory.
//!
//! Their order is made in memory, by whoever comes first to [`Retained`]. The store hears of a change
//! later, and not in that order. Each change says what its topic keeps from then on, and knows whether
//! the store has taken a later one of its topic ([`RetainedChange::take`]): then it is not made any
//! more. So:
//!
//! - What was reported as committed is on disk, or a later change of its topic is.
//! - The last change of a topic is made, whenever it comes: in the end disk and memory have the same.
//!
//! Nothing that memory has may be forgotten here, or an older state would come back with the next
//! start. So changes that are refused for the backlog stay in the queue, and after a failure of the
//! disk, in which memory went on alone, [`catch_up`] makes all of it good before anything else is
//! written. What failed meanwhile counts as taken ([`give_up`]): what comes behind it and is older must
//! not be made over what [`catch_up`] has written.

use hashbrown::HashMap;

use super::database::{Database, DatabaseError, Tree};
use super::encode;
use super::group::{GROUP_BYTES_MAX, Group};
use crate::broker::{Kept, Retained, TopicName};
use crate::store::Write;

/// Topics that are written as one, if they have not too many bytes.
const TOPICS_AT_A_TIME: usize = 1_000;

/// What a topic keeps, and the disk does not.
type Differing = (TopicName, Option<Kept>);

/// Takes the changes among these writes, which have failed.
pub(super) fn give_up(writes: &[Write]) {
    for write in writes {
        if let Write::SaveRetained { change } = write {
            change.take();
        }
    }
}

/// Writes what memory holds wherever the disk differs; what a start had no room for is removed by
/// that. A change meanwhile is not missed: its request comes behind.
pub(super) fn catch_up(
    database: &Database,
    group: &mut Group,
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
            // What names no topic is left alone here as at a start.
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

fn save(topics: &[Differing], database: &Database, group: &mut Group) -> Result<(), DatabaseError> {
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
