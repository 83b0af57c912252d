//! Simulation: shards of the real code on ports in memory, in one thread and in virtual time.

use std::sync::Arc;
use std::time::Duration;

use push_server::config::Config;
use push_server::shard::simulation::World;

/// CONNECT of MQTT 3.1.1, clean, with a keep alive of 60 s.
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c";

#[test]
fn shards_in_memory_serve_for_hours_of_virtual_time() {
    const PINGS: u64 = 200;
    let config = Config { shards: 3, ..Config::default() };
    let mut world = World::new(&Arc::new(config), 1);
    let home = world.home_of("c");
    let peer = world.connect((home + 1) % 3);
    peer.send(CONNECT);
    world.settle();
    assert_eq!(peer.take(), [0x20, 2, 0, 0]);
    for _ in 0..PINGS {
        world.advance(Duration::from_secs(89));
        peer.send(&[0xC0, 0]);
        world.settle();
        assert_eq!(peer.take(), [0xD0, 0]);
    }
    assert_eq!(world.counters(home).pings_user.value(), PINGS);
    world.advance(Duration::from_secs(91));
    assert!(peer.is_ended(), "it was silent for more than one and a half keep alives");
}
