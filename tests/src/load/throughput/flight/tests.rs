use super::*;

fn flight(window: u16, deliveries: u32, acknowledgement: bool) -> Flight {
    Flight::new(window, Expected { deliveries, acknowledgement })
}

#[test]
fn a_place_is_free_once_all_subscribers_have_the_message() {
    let mut flight = flight(1, 3, false);
    let message = flight.depart(7).unwrap();
    for _ in 0..3 {
        assert_eq!(flight.depart(8), None);
        flight.deliver(message).unwrap();
    }
    assert!(flight.is_empty());
    assert_eq!(flight.depart(8), Some(Departure { slot: 0, sequence: 1 }));
}

#[test]
fn a_place_is_free_once_the_message_is_delivered_and_acknowledged_in_any_order() {
    let mut flight = flight(2, 1, true);
    let (one, other) = (flight.depart(7).unwrap(), flight.depart(9).unwrap());
    flight.deliver(one).unwrap();
    assert_eq!(flight.acknowledge(other.slot), Ok(9));
    assert_eq!((flight.missing(), flight.depart(10)), (2, None));
    assert_eq!(flight.acknowledge(one.slot), Ok(7));
    flight.deliver(other).unwrap();
    assert_eq!((flight.missing(), flight.is_empty()), (0, true));
}

#[test]
fn what_comes_twice_or_unasked_is_a_stray() {
    let mut flight = flight(4, 1, true);
    let message = flight.depart(7).unwrap();
    assert_eq!(flight.deliver(Departure { sequence: 1, ..message }), Err(Stray));
    assert_eq!(flight.deliver(Departure { slot: 1, ..message }), Err(Stray));
    flight.deliver(message).unwrap();
    assert_eq!(flight.deliver(message), Err(Stray));
    flight.acknowledge(0).unwrap();
    assert_eq!(flight.acknowledge(0), Err(Stray));
    // The place has a new owner by now.
    flight.depart(8).unwrap();
    assert_eq!(flight.deliver(message), Err(Stray));
}

#[test]
fn every_packet_id_can_be_on_its_way_and_no_more() {
    let mut flight = flight(u16::MAX, 1, true);
    for slot in 0..u16::MAX {
        assert_eq!(flight.depart(0).map(|message| message.slot), Some(slot));
    }
    assert_eq!(flight.depart(0), None);
}
