//! Slots: when the kernel answers for one, who has it, and that none is lost.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use push_common::clock::Monotonic;
use push_server::kernel::{ShardPath, SlotRef, Unarmed};

use super::path::{PATIENCE, counted, counter, load_on_private_lo, load_on_private_lo_with, now};
use super::served::{CONNACK, PINGREQ, PINGRESP, armed, register};

#[test]
fn silent_shard_and_closing_slot_are_not_vouched_for() {
    let test = "silent_shard_and_closing_slot_are_not_vouched_for";
    let Some(mut path) = load_on_private_lo(test) else { return };
    let mut shard = path.shard(0);
    let (mut client, mut socket) = connected(&listener());
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let slot = armed(&mut shard, &socket, &client, 0);
    let mut rx = 0;
    let mut ping = |client: &mut TcpStream, shard: &ShardPath, slot: &SlotRef| {
        client.write_all(&PINGREQ).expect("PINGREQ");
        let mut request = [0; 2];
        socket.read_exact(&mut request).expect("the ping reaches user space");
        rx += 2;
        shard.rx_word(slot).store(rx, Ordering::Release);
    };

    shard.stamp_heartbeat(Monotonic(now().0 - 6_000_000_000));
    ping(&mut client, &shard, &slot);
    assert_eq!(counter(&path, "shard_silent"), 1);
    shard.stamp_heartbeat(now());
    shard.closing(&slot);
    ping(&mut client, &shard, &slot);
    assert_eq!(counter(&path, "not_armed"), 1);
    assert_eq!(counter(&path, "answered"), 0);
    assert_eq!(shard.pings(&slot), 0);
}

#[test]
fn a_connection_that_moves_is_answered_on_the_word_of_its_new_shard_which_gives_the_slot_back() {
    let test = "a_connection_that_moves_is_answered_on_the_word_of_its_new_shard_which_gives_the_slot_back";
    let Some(mut path) = load_on_private_lo_with(test, |options| options.shards = 2) else {
        return;
    };
    let (mut first, mut second) = (path.shard(0), path.shard(1));
    let listener = listener();
    let (mut client, mut socket) = connected(&listener);
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("timeout");
    let slot = armed(&mut first, &socket, &client, 0);
    let (mut rx, mut tx) = (0, CONNACK.len() as u64);
    // Returns whether the kernel has answered; else user space does.
    let mut ping = |shard: &ShardPath, slot: &SlotRef| {
        client.write_all(&PINGREQ).expect("PINGREQ");
        let mut bytes = [0; 2];
        let reaches_user_space = socket.read_exact(&mut bytes).is_ok();
        if reaches_user_space {
            rx += 2;
            shard.rx_word(slot).store(rx, Ordering::Release);
            socket.write_all(&PINGRESP).expect("PINGRESP");
            tx += 2;
            shard.tx_word(slot).store(tx, Ordering::Release);
        }
        client.read_exact(&mut bytes).expect("an answer");
        assert_eq!(bytes, PINGRESP);
        !reaches_user_space
    };
    let silent = || Monotonic(now().0 - 6_000_000_000);
    first.stamp_heartbeat(now());
    second.stamp_heartbeat(silent());
    assert!((0..20).any(|_| ping(&first, &slot)), "{:?}", counted(&path));
    let before = first.pings(&slot);

    second.adopt(&slot, 0);
    assert!(!ping(&second, &slot), "its new shard is silent");
    first.stamp_heartbeat(silent());
    second.stamp_heartbeat(now());
    assert!((0..20).any(|_| ping(&second, &slot)), "{:?}", counted(&path));
    assert!(second.pings(&slot) > before, "and the flow's numbers go on");
    let speaks = second.before_close(socket.as_fd(), &slot, false);
    drop(socket);
    second.release(slot, speaks, now());

    let connected: Vec<_> = (0..65).map(|_| connected(&listener)).collect();
    let taken = connected.iter().filter_map(|(_, socket)| {
        register(&mut first, socket, 0).or_else(|_| register(&mut second, socket, 0)).ok()
    });
    assert_eq!(taken.count(), 64, "every slot is somebody's again");
}

#[test]
fn slots_run_out_and_come_back_with_a_new_generation() {
    let test = "slots_run_out_and_come_back_with_a_new_generation";
    let Some(mut path) = load_on_private_lo(test) else { return };
    let mut shard = path.shard(0);
    let listener = listener();
    let connected: Vec<_> = (0..65).map(|_| connected(&listener)).collect();
    let register = |shard: &mut ShardPath, at: usize| register(shard, &connected[at].1, 0);
    let mut slots: Vec<_> = (0..64).map(|at| register(&mut shard, at).expect("a slot")).collect();
    assert_eq!(register(&mut shard, 64).err(), Some(Unarmed::NoSlot));
    let freed = slots.pop().expect("a slot");
    let (index, generation) = (freed.index, freed.generation);
    shard.release(freed, false, now());
    let slot = register(&mut shard, 64).expect("a slot");
    assert_eq!(slot.index, index);
    assert_ne!(slot.generation, generation);
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("listen")
}

/// A connection's two ends, the client's first.
fn connected(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    let (socket, _) = listener.accept().expect("accept");
    for end in [&client, &socket] {
        end.set_nodelay(true).expect("nodelay");
    }
    (client, socket)
}
