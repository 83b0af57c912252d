//! Tests of `sessions`.

use super::*;
use crate::broker::SESSION_BYTES;

#[test]
fn a_session_takes_no_more_than_it_counts() {
    let (entry, owned) = (size_of::<(Option<Entry>, u64)>(), 2 * size_of::<Box<str>>());
    // Two tables that are half empty, a timer, and three allocations of at most 31 bytes more.
    let most = 2 * entry + 16 * 5 / 7 + size_of::<[u64; 3]>() + owned;
    assert!(most + Session::OUTBOX_BYTES <= SESSION_BYTES, "{most} bytes beside the texts");
}

#[test]
fn sessions_are_found_by_client_id_until_removed() {
    let memory = MemoryBudget::new(u64::MAX);
    let mut sessions = Sessions::new(0, 7, &memory);
    let keys: Vec<u32> = (0..1_000)
        .map(|n| {
            let session = Session::new(&format!("device-{n}"), 0);
            assert!(sessions.take_memory(&session, false));
            sessions.insert(session, Presence::Connected(n), SessionNumber(0))
        })
        .collect();
    assert_eq!(sessions.find("device-500"), Some(keys[500]));
    assert_eq!(sessions.find("device-1000"), None);
    assert!(sessions.remove(keys[500]).is_some());
    assert!(sessions.remove(keys[500]).is_none());
    assert_eq!(sessions.find("device-500"), None);
    assert_eq!(sessions.find("device-501"), Some(keys[501]));
    assert_eq!(sessions.len(), 1_000, "its key is not free yet");
    sessions.release_key(keys[500]);
    sessions.release_key(keys[501]);
    assert_eq!(sessions.find("device-501"), Some(keys[501]), "it is there");
    for key in keys {
        sessions.remove(key);
        sessions.release_key(key);
    }
    assert_eq!(sessions.len(), 0);
    assert_eq!(memory.used_bytes(), 0);
}

#[test]
fn a_key_is_given_again_when_nothing_knows_the_session_by_it() {
    let memory = MemoryBudget::new(u64::MAX);
    let mut sessions = Sessions::new(0, 7, &memory);
    let begin = |sessions: &mut Sessions| {
        let session = Session::new("device", 0);
        assert!(sessions.take_memory(&session, false));
        sessions.insert(session, Presence::Connected(0), SessionNumber(0))
    };
    let first = begin(&mut sessions);
    assert!(sessions.remove(first).is_some());
    assert!(sessions.entry(first).is_none() && sessions.entry_mut(first).is_none());
    let second = begin(&mut sessions);
    assert_ne!(second, first);
    assert_eq!(sessions.find("device"), Some(second));
    sessions.release_key(first);
    assert!(sessions.remove(second).is_some());
    assert_eq!(begin(&mut sessions), first);
}
