//! Connections whose segments pass by interfaces without our programs. Two links between the same
//! hosts; the programs are on the first one of the server alone.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use push_server::kernel::{KernelPath, Unarmed};
use push_tests::skip::{Skip, report};

use super::namespace::{Veth, ip};
use super::path::{PATIENCE, counted, counter, load, now};
use super::served::{CONNACK, PINGREQ, PINGRESP, Served, register, said_connack};

/// The server's end of the first link and of the second.
const COVERED: &str = "10.88.0.1";
const UNCOVERED: &str = "10.89.0.1";

/// How long a client is seen to get nothing.
const SILENCE: Duration = Duration::from_millis(500);

#[test]
fn connection_over_an_interface_without_programs_is_left_to_user_space() {
    two_links("u", |path, links| {
        let (socket, _client) = accepted(links, UNCOVERED);
        let refused = register(&mut path.shard(0), &socket, 0);
        assert_eq!(refused.err(), Some(Unarmed::Interface));
    });
}

#[test]
fn connection_that_leaves_by_another_interface_than_it_comes_is_left_to_user_space() {
    two_links("a", |path, links| {
        ip(&format!("-n {} route add 10.88.0.2/32 dev pushs1", links.server));
        let (socket, client) = accepted(links, COVERED);
        let mut shard = path.shard(0);
        let mut slot = said_connack(&mut shard, &socket, 0);
        assert_eq!(shard.arm(socket.as_fd(), &mut slot, now()), Err(Unarmed::Interface));
        assert!(!slot.is_armed());
        let mut connack = [0; CONNACK.len()];
        (&client).read_exact(&mut connack).expect("CONNACK");
        assert_eq!(counter(path, "anchored"), 0, "its CONNACK passed none of our programs");
    });
}

#[test]
fn segments_that_leave_the_route_of_an_armed_connection_change_no_stream() {
    two_links("r", |path, links| {
        let (space, listen) = (links.client.clone(), COVERED.parse().expect("address"));
        let connect = move |address| Veth::inside(&space, move || TcpStream::connect(address));
        let mut served = Served::open(path.shard(0), listen, connect);
        for _ in 0..3 {
            served.ping_until_kernel_answers(path);
        }
        let answered = counter(path, "answered");

        // The client's next ping goes another way and would reach the socket untranslated.
        ip(&format!("-n {} route add 10.88.0.1/32 dev pushc1", links.client));
        let client = served.client.try_clone().expect("clone");
        client.set_read_timeout(Some(SILENCE)).expect("timeout");
        (&client).write_all(&PINGREQ).expect("PINGREQ");
        let read = (&client).read(&mut [0; 64]);
        assert_eq!(read.ok(), None, "something answered it");
        assert_eq!(served.pings_seen(), 0, "the server's socket took it");

        // Back on its route, TCP repeats what was lost, and both streams go on.
        ip(&format!("-n {} route del 10.88.0.1/32 dev pushc1", links.client));
        client.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let mut answer = [0; 2];
        (&client).read_exact(&mut answer).expect("PINGRESP");
        assert_eq!(answer, PINGRESP);
        served.client_sends(10_000);
        served.server_sends(10_000);
        served.ping_until_kernel_answers(path);
        assert!(counter(path, "answered") > answered, "{:?}", counted(path));
        served.close();
    });
}

/// Runs a test where two links join client and server; says so and does not without root.
fn two_links(tag: &'static str, test: impl FnOnce(&mut KernelPath, &Veth) + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        let skip = Skip::kernel_path("not root");
        return report(&format!("two links ({tag})"), Err(skip));
    }
    let links = Veth::new(tag);
    let Veth { server, client } = &links;
    ip(&format!("-n {server} link add pushs1 type veth peer name pushc1 netns {client}"));
    for (space, iface, last) in [(server, "pushs1", 1), (client, "pushc1", 2)] {
        ip(&format!("-n {space} addr add 10.89.0.{last}/24 dev {iface}"));
        ip(&format!("-n {space} link set {iface} up"));
    }
    Veth::inside(&server.clone(), move || {
        if let Some(mut path) = load("two links", Veth::SERVER_IFACE) {
            test(&mut path, &links);
        }
    });
}

/// A connection of the client to `address`: the server's end and the client's.
fn accepted(links: &Veth, address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((address, 0)).expect("listen");
    let address = listener.local_addr().expect("address");
    let client = Veth::inside(&links.client, move || TcpStream::connect(address));
    let client = client.expect("connect");
    client.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let (socket, _) = listener.accept().expect("accept");
    (socket, client)
}
