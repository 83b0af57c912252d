//! Bonds, VLAN devices and bridges: the programs on the device that owns the address serve it; on a
//! part of it they leave its connections to user space. The machines of `cargo xtask test vm` have
//! these devices; the kernel that runs this may not.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use push_server::kernel::{KernelPath, Unarmed};
use push_tests::server::server_binary;
use push_tests::skip::{Skip, TestResult, need_kernel_path_kernel, need_root, report};

use super::namespace::{Veth, ip};
use super::path::{PATIENCE, counted, counter, options};
use super::served::{Served, register};

/// The device of the server's end that owns its address.
const DEVICE: &str = "push0";
const SERVER: &str = "10.90.0.1";
const CLIENT: &str = "10.90.0.2";

/// What a change of a bond's port may take to reach both ends; it is announced at once.
const FAILOVER: Duration = Duration::from_millis(500);

#[test]
fn connections_of_a_vlan_device_are_answered_by_the_kernel() {
    on(vlan, "v", |client| serves(&[DEVICE], client));
}

#[test]
fn programs_on_a_vlan_device_and_on_its_parent_disturb_no_stream() {
    // On the parent the segments bear a tag, which the programs there do not read.
    on(vlan, "w", |client| serves(&[DEVICE, Veth::SERVER_IFACE], client));
}

#[test]
fn programs_on_the_parent_alone_leave_a_vlan_to_user_space() {
    on(vlan, "x", |client| is_left_to_user_space(Veth::SERVER_IFACE, client));
}

#[test]
fn connections_of_a_bridge_are_answered_by_the_kernel() {
    on(bridge, "b", |client| serves(&[DEVICE], client));
}

#[test]
fn programs_on_a_port_alone_leave_a_bridge_to_user_space() {
    on(bridge, "p", |client| is_left_to_user_space(Veth::SERVER_IFACE, client));
}

#[test]
fn connections_of_a_bond_are_answered_by_the_kernel() {
    on(bond, "o", |client| serves(&[DEVICE], client));
}

#[test]
fn programs_on_a_port_alone_leave_a_bond_to_user_space() {
    on(bond, "q", |client| is_left_to_user_space(Veth::SERVER_IFACE, client));
}

#[test]
fn connections_of_a_bond_survive_a_failover_and_are_answered_again() {
    on(bond, "f", |client| {
        let mut path = load(&[DEVICE]);
        let mut served = open(&mut path, client);
        served.ping_until_kernel_answers(&path);
        for active in ["pushs1", Veth::SERVER_IFACE] {
            let answered = counter(&path, "answered");
            ip(&format!("link set {DEVICE} type bond active_slave {active}"));
            thread::sleep(FAILOVER);
            served.client_sends(20_000);
            served.server_sends(20_000);
            served.ping_until_kernel_answers(&path);
            assert!(counter(&path, "answered") > answered, "{:?}", counted(&path));
        }
        served.close();
    });
}

#[test]
fn server_takes_a_bridge_and_not_its_ports_by_itself() {
    with(bridge, "d", takes_the_device_alone);
}

#[test]
fn server_takes_a_bond_and_not_its_ports_by_itself() {
    with(bond, "e", takes_the_device_alone);
}

#[test]
fn server_refuses_a_bridge_together_with_its_port() {
    with(bridge, "g", refuses_both);
}

#[test]
fn server_refuses_a_bond_together_with_its_port() {
    with(bond, "h", refuses_both);
}

#[test]
fn server_takes_a_vlan_device_together_with_its_parent() {
    with(vlan, "k", |links| {
        let both = ["--iface", DEVICE, "--iface", Veth::SERVER_IFACE];
        let said = start(links, &[&["--listen", "10.90.0.1:0"][..], &both].concat())?;
        assert!(said.contains("answered by the kernel on"), "{said}");
        Ok(())
    });
}

/// A VLAN on the veth pair.
fn vlan(links: &Veth) -> TestResult {
    let Veth { server, client } = links;
    make(&format!("-n {server} link add link pushs0 name {DEVICE} type vlan id 5"))?;
    make(&format!("-n {client} link add link pushc0 name pushc5 type vlan id 5"))?;
    address(server, DEVICE, SERVER);
    address(client, "pushc5", CLIENT);
    Ok(())
}

/// The server's end of the veth pair is a port of a bridge.
fn bridge(links: &Veth) -> TestResult {
    let Veth { server, client } = links;
    make(&format!("-n {server} link add {DEVICE} type bridge forward_delay 0"))?;
    ip(&format!("-n {server} link set pushs0 master {DEVICE}"));
    address(server, DEVICE, SERVER);
    address(client, "pushc0", CLIENT);
    Ok(())
}

/// Two veth pairs: a bond of the server's ends, and the clients' ends ports of a switch.
fn bond(links: &Veth) -> TestResult {
    let Veth { server, client } = links;
    make(&format!("-n {server} link add {DEVICE} type bond mode active-backup miimon 50"))?;
    make(&format!("-n {client} link add switch0 type bridge forward_delay 0"))?;
    ip(&format!("-n {server} link add pushs1 type veth peer name pushc1 netns {client}"));
    for number in [0, 1] {
        ip(&format!("-n {server} link set pushs{number} down"));
        ip(&format!("-n {server} link set pushs{number} master {DEVICE}"));
        ip(&format!("-n {client} link set pushc{number} master switch0"));
        ip(&format!("-n {client} link set pushc{number} up"));
    }
    address(server, DEVICE, SERVER);
    address(client, "switch0", CLIENT);
    Ok(())
}

/// Makes a device; that this kernel has none of its kind is a reason to skip.
fn make(arguments: &str) -> TestResult {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip runs");
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("Unknown device type") || said.contains("not supported") {
        let why =
            format!("this kernel has no such device: `ip {arguments}`; `cargo xtask test vm`");
        return Err(Skip::missing(why));
    }
    assert!(output.status.success(), "ip {arguments}: {said}");
    Ok(())
}

fn address(space: &str, device: &str, address: &str) {
    ip(&format!("-n {space} addr add {address}/24 dev {device}"));
    ip(&format!("-n {space} link set {device} up"));
}

/// Runs a test inside the server's namespace, which has the device; it is told the client's.
#[track_caller]
fn on(device: fn(&Veth) -> TestResult, tag: &str, test: impl FnOnce(&str) + Send + 'static) {
    with(device, tag, |links| {
        let client = links.client.clone();
        Veth::inside(&links.server, move || test(&client));
        Ok(())
    });
}

/// Runs a test with two namespaces and the device between them, or reports it as skipped.
#[track_caller]
fn with(device: fn(&Veth) -> TestResult, tag: &str, test: impl FnOnce(&Veth) -> TestResult) {
    let ready = || {
        need_root()?;
        need_kernel_path_kernel()?;
        let links = Veth::new(tag);
        device(&links)?;
        Ok(links)
    };
    let name = thread::current().name().unwrap_or("kernel_path::devices").to_owned();
    report(&name, ready().and_then(|links| test(&links)));
}

fn load(interfaces: &[&str]) -> KernelPath {
    KernelPath::load(&options(interfaces)).expect("loads for root")
}

fn open(path: &mut KernelPath, client: &str) -> Served {
    let (shard, client) = (path.shard(0), client.to_owned());
    let connect = move |to| Veth::inside(&client, move || TcpStream::connect(to));
    Served::open(shard, SERVER.parse().expect("address"), connect)
}

/// The tour of a connection whose pings the kernel answers, with the programs on `interfaces`.
fn serves(interfaces: &[&str], client: &str) {
    let mut path = load(interfaces);
    let served = open(&mut path, client);
    served.tour(&path);
}

/// With the programs on `interface`, a connection of the device is refused a slot.
fn is_left_to_user_space(interface: &str, client: &str) {
    let mut path = load(&[interface]);
    let listener = TcpListener::bind((SERVER, 0)).expect("listen");
    let address = listener.local_addr().expect("address");
    let client = Veth::inside(client, move || TcpStream::connect(address)).expect("connect");
    let (socket, _) = listener.accept().expect("accept");
    let refused = register(&mut path.shard(0), &socket, 0);
    assert_eq!(refused.err(), Some(Unarmed::Interface));
    drop(client);
}

/// Told nothing but to listen everywhere, the server finds the device, and not the device's port.
fn takes_the_device_alone(links: &Veth) -> TestResult {
    let said = start(links, &["--listen", "0.0.0.0:0"])?;
    assert!(said.contains("answered by the kernel on"), "{said}");
    let interfaces: Vec<&str> = said.split([' ', ',']).collect();
    assert!(interfaces.contains(&DEVICE), "{said}");
    assert!(!interfaces.contains(&Veth::SERVER_IFACE), "{said}");
    Ok(())
}

/// Both would see the same packet.
fn refuses_both(links: &Veth) -> TestResult {
    let both = ["--iface", DEVICE, "--iface", Veth::SERVER_IFACE];
    let said = start(links, &[&["--listen", "10.90.0.1:0"][..], &both].concat())?;
    let expected = format!("{} is part of {DEVICE}", Veth::SERVER_IFACE);
    assert!(said.contains(&expected), "{said}");
    Ok(())
}

/// Starts the real server in its namespace, with a view of `/sys` of its own, and ends it; the line
/// that tells who answers, or why it did not start.
fn start(links: &Veth, flags: &[&str]) -> Result<String, Skip> {
    let mut command = Command::new("timeout");
    command.args(["-s", "INT", &PATIENCE.as_secs().to_string(), "ip", "netns", "exec"]);
    command.arg(&links.server).arg(server_binary()?);
    command.args(["run", "--http", "10.90.0.1:0", "--kernel-path", "require"]);
    command.args(["--anonymous", "always"]);
    command.args(["--bpf-dir", "/nonexistent/push", "--durability", "off"]).args(flags);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("run the server");
    let lines = BufReader::new(child.stderr.take().expect("its log is piped")).lines();
    let mut said = lines.map(|line| line.expect("a line")).filter(|line| {
        line.contains("answered by the kernel on") || line.contains("--kernel-path require")
    });
    let told = said.next().unwrap_or_default();
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::TERM,
    )
    .expect("stop it");
    child.wait().expect("its end");
    Ok(told)
}
