//! How retained messages on disk follow those in memory.
//!
//! Their order is made in memory, by whoever comes first to [`Retained`]. The store hears of a
//! change later, and not in that order: a change may wait for other shards' parts of its write, and
//! two shards may queue theirs either way round. So a change does not say what to write, only where
//! (`Write::SaveRetained`), and the thread writes what memory holds when it puts the group together.
//! That is enough, without numbers to remember:
//!
//! - A change is queued when memory has it. What its group finds there is this change or a later
//!   one: what was reported as committed is on disk, or its successor is.
//! - Groups are put together and written one after the other, and each looks at memory anew: a topic
//!   on disk never goes back to an earlier state.
//! - The request of a topic's last change comes behind that change. The group that it is in, and
//!   any later one, finds that last state: in the end disk and memory have the same.
//!
//! Hence a message can be on disk as its topic's retained one before the rest of its publish is, and
//! before it is acknowledged. Until then it may be found or not, as ever.
//!
//! Nothing that memory has may be forgotten here, or an older state would come back with the next
//! start. So changes that are refused for the backlog leave their topics in the queue, and after a
//! failure of the disk, in which memory went on alone, [`catch_up`] makes all of it good before
//! anything else is written.

use hashbrown::HashMap;

use super::database::{Database, DatabaseError, Tree};
use super::encode;
use super::group::{GROUP_BYTES_MAX, Group};
use crate::broker::{Kept, Retained, TopicName};

/// Topics that are written as one, if they have not too many bytes.
const TOPICS_AT_A_TIME: usize = 1_000;

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
    let mut differing = Vec::new();
    for found in database.scan(Tree::Retained, &[], &[]) {
        let (key, value) = found?;
        match missing.remove(&*key) {
            Some(held) if group.is_record_of(held, &value) => {}
            Some(held) => differing.push(held.message.topic.clone()),
            // What names no topic is left alone here as at a start.
            None => differing.extend(encode::decode_retained_key(&key).ok()),
        }
    }
    differing.extend(missing.values().map(|kept| kept.message.topic.clone()));
    for topics in differing.chunks(TOPICS_AT_A_TIME) {
        save(topics, database, group, retained)?;
    }
    Ok(())
}

fn save(
    topics: &[TopicName],
    database: &Database,
    group: &mut Group,
    retained: &Retained,
) -> Result<(), DatabaseError> {
    let mut bytes = 0;
    for topic in topics {
        bytes += group.save_retained(topic, retained);
        if bytes >= GROUP_BYTES_MAX {
            group.write(database)?;
            bytes = 0;
        }
    }
    group.write(database)?;
    Ok(())
}
