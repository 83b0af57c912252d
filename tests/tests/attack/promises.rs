//! Promises that the server has to keep for as long as a client likes: exchanges of QoS 2, and wills.

use std::io::ErrorKind;

use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::wire::{self, Publish, Version};

use crate::crowd;
use crate::withstand::Attack;

/// The least that the totals may be, in bytes.
const TOTAL_BYTES: u64 = 8 << 20;

/// Bytes of a PUBREC of 3.1.1.
const PUBREC_BYTES: usize = 4;

/// Clients that use every packet id and release none.
pub(crate) fn publishes_that_are_never_finished() -> TestResult {
    const CLIENTS: usize = 12;
    let server = Server::with(PingPath::User).flag("--inflight-bytes-total", TOTAL_BYTES);
    // All these addresses are one network, which has its share while half of the total is used.
    let counters = [("push_limits_hit_total{limit=\"inflight_share\"}", 1)];
    Attack::on(server, &counters).rehearsed().withstood(
        |server| {
            let mut clients = Vec::new();
            for number in 0..CLIENTS {
                // 3.1.1 has no Receive Maximum.
                let connect = Connect::new(Version::V311, &format!("attacker-{number}"));
                let stream = crowd::dial(number, server.target().address);
                let mut client = Client::accepted_over(stream, &connect);
                let packets: Vec<u8> = (1..=u16::MAX).flat_map(unfinished).collect();
                let reader = client.stream().try_clone().expect("a second handle");
                std::thread::scope(|scope| {
                    scope.spawn(move || swallow(&reader));
                    // The server may close the connection meanwhile.
                    let _ = client.try_send(&packets);
                });
                clients.push(client);
            }
            clients
        },
        |_, clients| drop(clients),
    )
}

fn unfinished(packet_id: u16) -> Vec<u8> {
    let publish = Publish { topic: "bomb".to_owned(), qos: 2, packet_id, ..Publish::default() };
    wire::publish(Version::V311, &publish)
}

/// Reads a PUBREC for each packet id, or to the end.
fn swallow(mut stream: &std::net::TcpStream) {
    use std::io::Read as _;
    let mut buffer = vec![0; 64 << 10];
    let mut left = PUBREC_BYTES * usize::from(u16::MAX);
    while left > 0 {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => left = left.saturating_sub(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Large wills whose time never comes, of sessions that stay.
pub(crate) fn wills_that_are_never_due() -> TestResult {
    const CLIENTS: usize = 400;
    const WILL_BYTES: usize = 60_000;
    let server = Server::with(PingPath::User)
        .flag("--will-bytes-total", TOTAL_BYTES)
        .flag("--durability", "off")
        .flag("--sessions-share-percent", 100);
    let counters = [("push_limits_hit_total{limit=\"will_bytes_total\"}", 1)];
    Attack::on(server, &counters).rehearsed().withstood(
        |server| {
            let mut accepted = Vec::new();
            for number in 0..CLIENTS {
                let connect = Connect::new(Version::V5, &format!("attacker-{number}"))
                    .persistent()
                    .will("bomb", &[7; WILL_BYTES])
                    .will_delay(u32::MAX);
                let stream = crowd::dial(number, server.target().address);
                let mut client = Client::over(stream, Version::V5);
                client.say_connect(&connect);
                client.read_connack(push_tests::expectations::PATIENCE).expect("a CONNACK");
                if client.connack.code == 0 {
                    accepted.push(number);
                }
                // Without a DISCONNECT.
                drop(client);
            }
            assert!(!accepted.is_empty() && accepted.len() < CLIENTS, "{}", accepted.len());
            accepted
        },
        |server, accepted| {
            // Their sessions end, as they would in time.
            for number in accepted {
                let connect = Connect::new(Version::V5, &format!("attacker-{number}"));
                Client::connect(server.target(), &connect).disconnect();
            }
            server.wait_metric("push_sessions", |sessions| sessions == 1);
        },
    )
}
