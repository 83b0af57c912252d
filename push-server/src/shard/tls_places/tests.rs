use super::*;

#[test]
fn there_are_as_many_places_as_were_said_and_each_comes_back() {
    let places = TlsPlaces::new(2);
    let (first, second) = (places.take(), places.take());
    assert!(first.is_some() && second.is_some());
    assert!(places.take().is_none());
    assert!(places.take().is_none(), "asking in vain takes none");
    drop(first);
    let third = places.take();
    assert!(third.is_some());
    assert!(places.take().is_none());
}

#[test]
fn places_are_short_while_somebody_waits() {
    let places = TlsPlaces::new(1);
    assert!(!places.are_short());
    let waits = [places.wait(), places.wait()];
    assert!(places.are_short());
    drop(waits);
    assert!(!places.are_short());
}
