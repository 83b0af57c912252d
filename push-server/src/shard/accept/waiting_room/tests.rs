use super::*;

fn newcomer(socket: u32, address: Option<u32>) -> Newcomer<u32> {
    Newcomer { socket, listener: 0, key: address.map(AddressKey::V4), place: None }
}

#[test]
fn addresses_take_turns_however_many_sockets_each_has() {
    let mut room = WaitingRoom::new();
    for socket in 0..5 {
        room.push(newcomer(socket, Some(1)));
    }
    room.push(newcomer(20, Some(2)));
    room.push(newcomer(30, None));
    assert_eq!(room.len(), 7);
    let order: Vec<u32> = std::iter::from_fn(|| room.pop()).map(|one| one.socket).collect();
    assert_eq!(order, [0, 20, 30, 1, 2, 3, 4]);
    assert_eq!(room.len(), 0);
}

#[test]
fn an_address_that_comes_again_is_behind_the_others() {
    let mut room = WaitingRoom::new();
    room.push(newcomer(10, Some(1)));
    room.push(newcomer(20, Some(2)));
    assert_eq!(room.pop().map(|one| one.socket), Some(10));
    room.push(newcomer(11, Some(1)));
    assert_eq!(room.pop().map(|one| one.socket), Some(20));
    assert_eq!(room.pop().map(|one| one.socket), Some(11));
}
