//! The kernel path against a real kernel, without the server: a plain TCP stand-in registers its
//! connections with `push_server::kernel`, and the counters tell who answered. Needs root; says so
//! by name where it cannot run.
mod devices;
mod namespace;
mod path;
mod retention;
mod routes;
mod sealed;
mod served;
mod slots;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use push_server::kernel::{KernelPath, KernelPathError, KernelPathOptions, interfaces_for};
use push_tests::skip::{Skip, need_kernel_path_kernel, need_root, report};

use namespace::{Veth, ip};
use path::{counted, counter, load, load_on_private_lo, now, options};
use served::{Order, PINGREQ, PINGRESP, Served, frame};

fn on_lo(test: &str, address: &str) {
    let Some(mut path) = load_on_private_lo(test) else { return };
    let shard = path.shard(0);
    Served::open(shard, address.parse().expect("address"), TcpStream::connect).tour(&path);
}

/// How segments carry their checksums.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sums {
    /// Left to the device (`CHECKSUM_PARTIAL`), as veth does by itself.
    Partial,
    /// Complete, and checked by the receiving stack, as on a wire.
    Full,
}

fn over_veth(test: &'static str, tag: &str, address: &str, sums: Sums) {
    if !rustix::process::geteuid().is_root() {
        report(test, Err(Skip::kernel_path("network namespaces need root")));
        return;
    }
    let veth = Veth::new(tag);
    if sums == Sums::Full {
        for (space, iface) in [(&veth.server, Veth::SERVER_IFACE), (&veth.client, "pushc0")] {
            ip(&format!("netns exec {space} ethtool -K {iface} tx off"));
        }
    }
    let (client, address) = (veth.client.clone(), address.parse().expect("address"));
    Veth::inside(&veth.server, move || {
        let listen = SocketAddr::new(address, 0);
        assert_eq!(interfaces_for(&[listen]).expect("interfaces"), [Veth::SERVER_IFACE]);
        let Some(mut path) = load(test, Veth::SERVER_IFACE) else { return };
        let shard = path.shard(0);
        let connect = move |to| Veth::inside(&client, move || TcpStream::connect(to));
        Served::open(shard, address, connect).tour(&path);
    });
}

#[test]
fn kernel_answers_and_streams_stay_intact_on_lo_ipv4() {
    on_lo("kernel_answers_and_streams_stay_intact_on_lo_ipv4", "127.0.0.1");
}

#[test]
fn kernel_answers_and_streams_stay_intact_on_lo_ipv6() {
    on_lo("kernel_answers_and_streams_stay_intact_on_lo_ipv6", "::1");
}

#[test]
fn kernel_answers_and_streams_stay_intact_over_veth_ipv4() {
    over_veth(
        "kernel_answers_and_streams_stay_intact_over_veth_ipv4",
        "a",
        "10.88.0.1",
        Sums::Partial,
    );
}

#[test]
fn kernel_answers_and_streams_stay_intact_over_veth_ipv6() {
    over_veth(
        "kernel_answers_and_streams_stay_intact_over_veth_ipv6",
        "b",
        "fd88::1",
        Sums::Partial,
    );
}

#[test]
fn kernel_answers_and_streams_stay_intact_with_full_checksums() {
    let test = "kernel_answers_and_streams_stay_intact_with_full_checksums";
    if Command::new("ethtool").arg("--version").output().is_err() {
        report(test, Err(Skip::missing("no ethtool to turn checksum offload off")));
        return;
    }
    over_veth(test, "c", "10.88.0.1", Sums::Full);
    over_veth(test, "d", "fd88::1", Sums::Full);
}

#[test]
fn ipv4_client_of_an_ipv6_listener_is_served_by_the_kernel() {
    let test = "ipv4_client_of_an_ipv6_listener_is_served_by_the_kernel";
    let Some(mut path) = load_on_private_lo(test) else { return };
    let shard = path.shard(0);
    let connect = |to: SocketAddr| TcpStream::connect(("127.0.0.1", to.port()));
    let mut served = Served::open(shard, "::".parse().expect("address"), connect);
    served.ping_until_kernel_answers(&path);
}

#[test]
fn two_servers_share_an_interface() {
    let test = "two_servers_share_an_interface";
    let Some(mut first) = load_on_private_lo(test) else { return };
    let Some(mut second) = load(test, "lo") else { return };
    let lo: IpAddr = "127.0.0.1".parse().expect("address");
    for path in [&mut first, &mut second] {
        let shard = path.shard(0);
        let mut served = Served::open(shard, lo, TcpStream::connect);
        served.ping_until_kernel_answers(path);
        served.server_sends(1000);
        served.ping_until_kernel_answers(path);
        assert_eq!(counter(path, "resent") + counter(path, "refilled"), 0, "{:?}", counted(path));
        served.close();
    }
}

#[test]
fn half_written_4_mb_frame_is_intact_though_pings_arrive() {
    const BYTES: usize = 4 << 20;
    let test = "half_written_4_mb_frame_is_intact_though_pings_arrive";
    let Some(mut path) = load_on_private_lo(test) else { return };
    let shard = path.shard(0);
    let mut served = Served::open(shard, "127.0.0.1".parse().expect("address"), TcpStream::connect);
    served.ping_until_kernel_answers(&path);
    let answered = counter(&path, "answered");

    // The stand-in blocks in its write: this client does not read until the buffers are full.
    let sent = frame(BYTES);
    served.orders.send(Order::Send(sent.clone())).expect("stand-in lives");
    thread::sleep(Duration::from_millis(200));
    const PINGS: usize = 20;
    for _ in 0..PINGS {
        served.client.write_all(&PINGREQ).expect("PINGREQ");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(counter(&path, "answered"), answered, "answered inside a frame");
    let mut read = vec![0; BYTES + 5];
    served.client.read_exact(&mut read).expect("the frame");
    assert!(read == sent, "the frame arrived changed");
    let mut answers = [0; 2 * PINGS];
    served.client.read_exact(&mut answers).expect("an answer to every ping");
    assert_eq!(answers, PINGRESP.repeat(PINGS)[..]);
    served.ping_until_kernel_answers(&path);
}

#[test]
fn connections_come_and_go_without_any_capability() {
    let test = "connections_come_and_go_without_any_capability";
    let Some(mut path) = load_on_private_lo(test) else { return };
    let shard = path.shard(0);
    // Capabilities are a thread's own.
    let worker = thread::spawn(move || {
        for set in [caps::CapSet::Effective, caps::CapSet::Permitted] {
            caps::clear(None, set).expect("drops capabilities");
        }
        let options = KernelPathOptions { connections_max: 1, ..options(&["lo"]) };
        let error = KernelPath::load(&options).expect_err("loading needs capabilities");
        assert!(matches!(error, KernelPathError::Capabilities { .. }), "{error:?}");
        assert!(error.to_string().contains("CAP_BPF"));

        let mut served =
            Served::open(shard, "127.0.0.1".parse().expect("address"), TcpStream::connect);
        served.ping_until_kernel_answers(&path);
        let (mut shard, pings) = served.close();
        assert!(pings > 0);
        // Two minutes later the flow goes.
        assert_eq!(shard.flows_leaving(), 1);
        shard.sweep(now().after_millis(10_000));
        assert_eq!(shard.flows_leaving(), 1);
        shard.sweep(now().after_millis(130_000));
        assert_eq!(shard.flows_leaving(), 0);
    });
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn missing_interface_is_named_together_with_those_there_are() {
    if let Err(skip) = need_root().and_then(|()| need_kernel_path_kernel()) {
        return report("missing_interface_is_named_together_with_those_there_are", Err(skip));
    }
    let error = KernelPath::load(&options(&["nope0"])).expect_err("there is no nope0");
    assert!(matches!(error, KernelPathError::InterfaceNotFound { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("nope0") && message.contains("lo") && message.contains("--iface"));
}
