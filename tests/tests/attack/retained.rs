//! Retained messages that nobody wants.

use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::wire::{self, Publish, Version};

use crate::crowd;
use crate::withstand::Attack;

/// Messages that may be retained, and those that attackers send.
const RETAINED_MAX: usize = 2_000;
const SENT: usize = 20_000;

pub(crate) fn retained_messages_without_end() -> TestResult {
    let server = Server::with(PingPath::User)
        .flag("--retained-messages-max", RETAINED_MAX)
        .flag("--durability", "off");
    let refused = (SENT - RETAINED_MAX) as u64;
    let counters = [("push_limits_hit_total{limit=\"retained\"}", refused)];
    Attack::on(server, &counters).withstood(
        |server| {
            let connect = Connect::new(Version::V5, "attacker");
            let stream = crowd::dial(0, server.target().address);
            let mut client = Client::accepted_over(stream, &connect);
            for number in 0..SENT {
                client.send(&retained(number, &[7; 200]));
            }
            client.publish("sent", b"all", 1);
            client
        },
        |_, mut client| {
            // Whoever runs the server removes them: that they stay is what retained means.
            let removed: Vec<u8> = (0..SENT).flat_map(|number| retained(number, b"")).collect();
            client.send(&removed);
            client.publish("removed", b"all", 1);
            client.disconnect();
        },
    )
}

fn retained(number: usize, payload: &[u8]) -> Vec<u8> {
    let topic = format!("bomb/{number}");
    let publish = Publish { topic, payload: payload.to_vec(), retain: true, ..Publish::default() };
    wire::publish(Version::V5, &publish)
}
