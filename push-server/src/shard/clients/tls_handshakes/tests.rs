use super::*;

const NOW: Monotonic = Monotonic(1_000_000_000_000);

fn token(index: u32) -> Token {
    Token { index, generation: 7 }
}

/// As many clients as `N`, none of which has said anything.
fn clients<const N: usize>() -> [(Token, TlsPending); N] {
    std::array::from_fn(|index| (token(index as u32), TlsPending::default()))
}

#[test]
fn clients_beyond_the_places_wait_and_come_in_by_their_order() {
    let mut handshakes = TlsHandshakes::new(&TlsPlaces::new(1));
    let [mut first, mut second, mut third] = clients();
    assert_eq!(handshakes.push(first.0, &mut first.1), StepWaits::ForTurn);
    assert_eq!(handshakes.push(second.0, &mut second.1), StepWaits::ForPlace);
    assert_eq!(handshakes.push(third.0, &mut third.1), StepWaits::ForPlace);
    assert_eq!(handshakes.push(second.0, &mut second.1), StepWaits::Already);
    assert!(handshakes.next_in().is_none(), "the place is taken");
    assert_eq!(handshakes.next_due(), Some(first.0));
    drop(first);
    let (client, place) = handshakes.next_in().expect("the place is free again");
    assert_eq!(client, second.0);
    handshakes.let_in(client, &mut second.1, place);
    assert_eq!(handshakes.next_due(), Some(second.0));
    assert!(handshakes.next_in().is_none());
    assert!(handshakes.are_places_short());
    drop(third);
    assert!(!handshakes.are_places_short(), "who is gone waits no longer");
}

#[test]
fn a_newcomer_does_not_overtake_who_waits() {
    let mut handshakes = TlsHandshakes::new(&TlsPlaces::new(1));
    let [mut first, mut second, mut third] = clients();
    handshakes.push(first.0, &mut first.1);
    handshakes.push(second.0, &mut second.1);
    drop(first);
    assert_eq!(handshakes.push(third.0, &mut third.1), StepWaits::ForPlace);
    assert_eq!(handshakes.next_in().map(|(client, _)| client), Some(second.0));
}

#[test]
fn a_client_keeps_its_place_through_its_steps_and_its_patience_counts_from_the_last() {
    let mut handshakes = TlsHandshakes::new(&TlsPlaces::new(1));
    let [mut client] = clients();
    assert_eq!(client.1.patience_ends(), None, "it has no place to lose");
    handshakes.push(client.0, &mut client.1);
    assert_eq!(client.1.patience_ends(), None, "it is the server's turn");
    assert_eq!(handshakes.next_due(), Some(client.0));
    client.1.is_done(NOW);
    assert_eq!(client.1.patience_ends(), Some(NOW.after_millis(PATIENCE_MILLIS)));
    assert_eq!(handshakes.push(client.0, &mut client.1), StepWaits::ForTurn);
    assert_eq!(client.1.patience_ends(), None);
    let later = NOW.after_millis(500);
    client.1.is_done(later);
    assert_eq!(client.1.patience_ends(), Some(later.after_millis(PATIENCE_MILLIS)));
    assert!(TlsPlaces::take(&handshakes.places).is_none());
    drop(client);
    assert!(TlsPlaces::take(&handshakes.places).is_some());
}
