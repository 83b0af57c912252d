use super::super::provider;
use super::*;

const NOW: u64 = 1_700_000_000;

fn connection(keys: &Arc<dyn ProducesTickets>) -> DatedTickets {
    DatedTickets::new(Arc::clone(keys))
}

#[test]
fn a_ticket_opens_on_any_connection_until_the_proof_is_old() {
    let keys = provider::ticket_keys().expect("randomness");
    let ticket = connection(&keys).encrypt_at(b"session", NOW).expect("a ticket");
    for (later, opens) in [(0, true), (PROOF_SECS_MAX - 1, true), (PROOF_SECS_MAX, false)] {
        let session = connection(&keys).decrypt_at(&ticket, NOW + later);
        assert_eq!(session, opens.then(|| b"session".to_vec()), "{later} s later");
    }
    assert_eq!(connection(&keys).decrypt_at(&ticket, NOW - 1), None, "the clock was set back");
}

#[test]
fn tickets_of_resumed_sessions_are_as_old_as_the_proof() {
    let keys = provider::ticket_keys().expect("randomness");
    let first = connection(&keys).encrypt_at(b"session", NOW).expect("a ticket");
    let resumed = connection(&keys);
    let half = NOW + PROOF_SECS_MAX / 2;
    assert!(resumed.decrypt_at(&first, half).is_some());
    let second = resumed.encrypt_at(b"session", half).expect("a ticket");
    assert!(connection(&keys).decrypt_at(&second, NOW + PROOF_SECS_MAX - 1).is_some());
    assert!(connection(&keys).decrypt_at(&second, NOW + PROOF_SECS_MAX).is_none());
}

#[test]
fn what_is_no_ticket_opens_nothing() {
    let keys = provider::ticket_keys().expect("randomness");
    let mut ticket = connection(&keys).encrypt_at(b"session", NOW).expect("a ticket");
    let last = ticket.len() - 1;
    ticket[last] ^= 1;
    assert_eq!(connection(&keys).decrypt_at(&ticket, NOW), None);
    let undated = keys.encrypt(b"short").expect("a ticket");
    assert_eq!(connection(&keys).decrypt_at(&undated, NOW), None);
    assert_eq!(connection(&keys).decrypt_at(&[], NOW), None);
}
