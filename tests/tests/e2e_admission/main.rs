//! Limits of what abuse costs, with the real binary: how fast and from where clients connect, how often they may guess,
//! and how much each may publish and subscribe.

mod connecting;
mod groups;
mod guessing;
mod proxied;
mod rates;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use push_tests::clients::{Client, Connect};
use push_tests::expectations::PATIENCE;
use push_tests::server::{Server, Target};
use push_tests::users::line;
use push_tests::wire::Version;

/// "Quota exceeded" of CONNACK and SUBACK.
const QUOTA_EXCEEDED: u8 = 0x97;
/// "Server unavailable" of a 3.1.1 CONNACK.
const V311_UNAVAILABLE: u8 = 3;

/// A loopback address of its own.
fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// Connects from an address, and returns the client with whatever CONNACK comes.
#[track_caller]
fn connect_from(from: IpAddr, target: &Target, connect: &Connect) -> Client {
    let mut client = Client::dial_from(from, target.address, connect.version);
    client.say_connect(connect);
    client.read_connack(PATIENCE).expect("a CONNACK");
    client
}

fn limit_hit(server: &Server, limit: &str) -> u64 {
    server.metrics().value(&format!("push_limits_hit_total{{limit=\"{limit}\"}}"))
}

/// A file of users with these names, whose passwords are `pencil`. Returns its path.
fn users_file(directory: &Path, names: &[&str]) -> String {
    let path = directory.join("users");
    let lines: String = names.iter().map(|name| line(name, "pencil")).collect();
    fs::write(&path, lines).expect("write the file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("keep it to ourselves");
    path.to_str().expect("a plain path").to_owned()
}

fn as_user(version: Version, client_id: &str, name: &str, password: &str) -> Connect {
    Connect::new(version, client_id).login(name, password.as_bytes())
}
