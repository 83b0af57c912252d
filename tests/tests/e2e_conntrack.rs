//! A firewall with connection tracking on the server's own host, which sees nothing of the pings that
//! the kernel answers: it must not forget a connection that pings (rule 12).

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use push_tests::both_paths;
use push_tests::clients::{Client, Connect};
use push_tests::netns::{Namespace, Veth};
use push_tests::server::{PingPath, Place, Server};
use push_tests::skip::{Skip, TestResult};
use push_tests::wire::Version;

/// After so long connection tracking forgets a connection; the kernel leaves one ping in three seconds
/// to the stack then.
const TIMEOUT_SECS: u64 = 9;

/// How long the client does nothing but ping.
const ONLY_PINGS: Duration = Duration::from_secs(2 * TIMEOUT_SECS);

const PING_EVERY: Duration = Duration::from_millis(500);

/// Only connections whose SYN was seen: what is forgotten is not picked up again.
const RULES: &str = "table inet firewall {
    chain input {
        type filter hook input priority 0; policy drop;
        iifname lo accept
        meta l4proto ipv6-icmp accept
        ct state established,related accept
        tcp flags & (fin|syn|rst|ack) == syn ct state new accept
    }
}";

both_paths! {
    a_firewall_on_the_servers_host_does_not_forget_who_pings,
    a_timeout_that_is_changed_later_is_noticed,
}

fn a_firewall_on_the_servers_host_does_not_forget_who_pings(path: PingPath) -> TestResult {
    let veth = Arc::new(Veth::create()?);
    set_firewall(&veth.server)?;
    set_timeout(&veth.server, TIMEOUT_SECS)?;
    let server = start(path, &veth, Place::VethV4)?;
    let mut client = connect(&server);
    ping_only(&mut client);
    client.publish("alarm", b"fire", 1);
    assert_eq!(client.message().payload, b"fire");
    // By a rule of its own, not by chance: fewer pings than 256 were sent.
    let metrics = server.metrics();
    assert_eq!(metrics.kernel_pings() > 0, path == PingPath::Kernel);
    assert_eq!(left_to_the_stack(&server) > 0, path == PingPath::Kernel, "{}", metrics.text());
    client.disconnect();
    let said = "one ping in 3 s to the stack";
    match path {
        PingPath::Kernel => drop(server.wait_log(said)),
        PingPath::User => assert!(!server.log().contains(said), "{}", server.log()),
    }
    server.finish();
    Ok(())
}

fn a_timeout_that_is_changed_later_is_noticed(path: PingPath) -> TestResult {
    let veth = Arc::new(Veth::create()?);
    set_timeout(&veth.server, 432_000)?;
    let server = start(path, &veth, Place::VethV6)?;
    let mut client = connect(&server);
    set_timeout(&veth.server, TIMEOUT_SECS)?;
    if path == PingPath::Kernel {
        let begun = Instant::now();
        while left_to_the_stack(&server) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", server.metrics().text());
            ping_for(&mut client, Duration::from_secs(1));
        }
    }
    client.disconnect();
    server.finish();
    Ok(())
}

/// The client pings more often than a device does.
fn start(path: PingPath, veth: &Arc<Veth>, place: Place) -> Result<Server, Skip> {
    Server::with(path).within(Arc::clone(veth), place).flag("--ping-rate", 0).start()
}

fn connect(server: &Server) -> Client {
    let mut client = Client::connect(server.target(), &Connect::new(Version::V5, "device"));
    client.subscribe(&[("alarm", 1)]);
    client
}

fn ping_only(client: &mut Client) {
    ping_for(client, ONLY_PINGS);
}

fn ping_for(client: &mut Client, time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::thread::sleep(PING_EVERY);
        client.ping();
    }
}

fn left_to_the_stack(server: &Server) -> u64 {
    server.metrics().value("push_kernel_path_declined_total{reason=\"stack_silent\"}")
}

fn set_firewall(namespace: &Namespace) -> TestResult {
    let output = namespace.run(|| {
        let mut nft = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Skip::kernel_path(format!("cannot run `nft`: {error}")))?;
        // Whether it took them says its status.
        let _ = nft.stdin.take().map(|mut stdin| stdin.write_all(RULES.as_bytes()));
        nft.wait_with_output().map_err(|error| Skip::kernel_path(format!("`nft`: {error}")))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
    Err(Skip::kernel_path(format!("no nftables with connection tracking: {said}")))
}

fn set_timeout(namespace: &Namespace, secs: u64) -> TestResult {
    const SETTING: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";
    namespace
        .run(|| std::fs::write(SETTING, secs.to_string()))
        .map_err(|error| Skip::kernel_path(format!("no connection tracking: {SETTING}: {error}")))
}
