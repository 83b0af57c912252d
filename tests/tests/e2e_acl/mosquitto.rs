//! The same rules in mosquitto and, imported, in the server: both admit and deny the same.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use push_tests::clients::Client;
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::server::{PingPath, Target};
use push_tests::skip::{Skip, TestResult};
use push_tests::wire::{self, Version};

use crate::rig::{Files, NOT_AUTHORIZED, anybody, next, run, user};

/// All that mosquitto's format has, for users and for clients without. Everybody reads `end`.
const ACL: &str = "\
# for clients without a user
topic read public/#
topic write inbox
topic deny public/private
topic read end

user admin
topic #

user alice
topic readwrite alice/#
topic read shared/+/state
topic write commands/#
topic deny commands/reset
topic read end

user bob
topic bob
topic read #
topic deny secret/#

user a+b
topic read end
topic write out/+

user dave
topic read end
topic deny users/dave/locked

pattern readwrite users/%u/#
pattern read devices/%c/in
pattern write devices/%c/out
pattern write log/%u/%c
";

/// Clients, by user and id. Two of them have names that no pattern may take.
const CLIENTS: [(Option<&str>, &str); 5] = [
    (None, "c3"),
    (Some("alice"), "c1"),
    (Some("bob"), "c2"),
    (Some("a+b"), "c4"),
    (Some("dave"), "x#y"),
];

const TOPICS: [&str; 20] = [
    "public/a",
    "public",
    "public/private",
    "inbox",
    "alice/x",
    "alice",
    "shared/1/state",
    "shared/1/2/state",
    "commands/go",
    "commands/reset",
    "bob",
    "secret",
    "secret/a",
    "users/alice/x",
    "users/dave/locked",
    "devices/c1/in",
    "devices/c2/out",
    "log/alice/c1",
    "out/x",
    "other",
];

/// A mosquitto with an ACL file; killed when dropped.
struct Mosquitto {
    child: Child,
    target: Target,
}

impl Mosquitto {
    fn start(directory: &Path, acl: &Path) -> Result<Self, Skip> {
        let address = {
            let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("find a free port");
            held.local_addr().expect("ask for the port")
        };
        let configuration = directory.join("mosquitto.conf");
        let (ip, port) = (address.ip(), address.port());
        let text = format!(
            "listener {port} {ip}\nallow_anonymous true\nuser root\nacl_file {}\n",
            acl.display()
        );
        fs::write(&configuration, text).expect("write its configuration");
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Skip::missing(format!("cannot run mosquitto: {error}")))?;
        let target = Target::at(address);
        let this = Self { child, target };
        wait_for("mosquitto to listen", || this.target.connect(None).ok());
        Ok(this)
    }

    /// A client of this user, who is whom it says: there is no password.
    #[track_caller]
    fn client(&self, user: Option<&str>, client_id: &str) -> Client {
        let text = |text: &str| {
            let len = u16::try_from(text.len()).expect("a short text").to_be_bytes();
            [&len[..], text.as_bytes()].concat()
        };
        let flags = if user.is_some() { 0x82 } else { 0x02 };
        let mut body = [text("MQTT"), vec![5, flags, 0, 60, 0], text(client_id)].concat();
        body.extend(user.map(text).unwrap_or_default());
        let mut client = Client::dial(&self.target, Version::V5, None);
        client.send(&wire::frame(0x10, &body));
        client.read_connack(PATIENCE).expect("a CONNACK");
        assert_eq!(client.connack.code, 0);
        client
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// For each client and topic, whether it publishes and whether it receives. `client` connects one.
fn judged(client: impl Fn(Option<&str>, &str) -> Client) -> Vec<(bool, bool)> {
    let mut admin = client(Some("admin"), "admin");
    assert!(admin.subscribe(&[("#", 1)])[0] < NOT_AUTHORIZED);
    let mut judged = Vec::new();
    for (name, client_id) in CLIENTS {
        let mut one = client(name, client_id);
        assert_eq!(one.subscribe(&[("end", 1)]), [1], "{name:?}");
        for topic in TOPICS {
            let publishes = one.publish(topic, b"published", 1) < NOT_AUTHORIZED;
            one.subscribe(&[(topic, 1)]);
            admin.publish(topic, b"to be received", 1);
            admin.publish("end", b"end", 1);
            let (mut heard, mut seen) = (Vec::new(), Vec::new());
            while heard.last().is_none_or(|payload| payload != "end") {
                heard.push(next(&mut one));
            }
            while seen.last().is_none_or(|payload| payload != "end") {
                seen.push(next(&mut admin));
            }
            let was_seen = seen.iter().any(|payload| payload == "published");
            assert_eq!(was_seen, publishes, "{name:?} {topic}: what it is told is what happens");
            one.unsubscribe(&[topic]);
            judged.push((publishes, heard.iter().any(|payload| payload == "to be received")));
        }
    }
    judged
}

pub(crate) fn mosquitto_admits_and_denies_the_same_200_cases() -> TestResult {
    let files = Files::new("");
    let acl = files.directory().join("mosquitto.acl");
    fs::write(&acl, ACL).expect("write the ACL");
    let mosquitto = Mosquitto::start(files.directory(), &acl)?;
    let theirs = judged(|user, client_id| mosquitto.client(user, client_id));

    let (code, rules, said) = run(&["acl", "import", acl.to_str().expect("a plain path")])?;
    assert_eq!(code, Some(0), "{said}");
    files.write(&rules);
    let users: Vec<&str> = CLIENTS.iter().filter_map(|(user, _)| *user).chain(["admin"]).collect();
    let server = files.server_with(PingPath::User, &users)?.start()?;
    let ours = judged(|name, client_id| match name {
        Some(name) => user(server.target(), name, client_id),
        None => anybody(server.target(), Version::V5, client_id),
    });

    let cases = CLIENTS.iter().flat_map(|client| TOPICS.map(|topic| (client, topic)));
    let different: Vec<_> = cases
        .zip(theirs.iter().zip(&ours))
        .filter(|(_, (theirs, ours))| theirs != ours)
        .map(|((client, topic), (theirs, ours))| {
            format!("{client:?} {topic}: mosquitto {theirs:?}, we {ours:?}")
        })
        .collect();
    assert_eq!(different, Vec::<String>::new(), "(publishes, receives)");
    assert_eq!(2 * ours.len(), 200);
    let admitted = ours.iter().map(|(one, other)| usize::from(*one) + usize::from(*other));
    let admitted: usize = admitted.sum();
    assert!((30..170).contains(&admitted), "{admitted} of 200 were admitted");
    server.finish();
    known_differences(&files, &acl)
}

/// What the import says is different is different.
fn known_differences(files: &Files, acl: &Path) -> TestResult {
    fs::write(
        acl,
        "user admin\ntopic #\nuser a/b\ntopic read end\ntopic override\n\
         pattern write users/%u\npattern deny override\n",
    )
    .expect("write the ACL");
    let mosquitto = Mosquitto::start(files.directory(), acl)?;
    let (code, rules, said) = run(&["acl", "import", acl.to_str().expect("a plain path")])?;
    assert_eq!(code, Some(0));
    for remark in
        [":6: mosquitto lets a user or client id with /", ":7: mosquitto lets a topic line"]
    {
        assert!(said.contains(remark), "{said}");
    }
    files.write(&rules);
    let server = files.server_with(PingPath::User, &["admin", "a/b"])?.start()?;
    let clients = [mosquitto.client(Some("a/b"), "c"), user(server.target(), "a/b", "c")];
    let [theirs, ours] = clients.map(|mut client| {
        let published =
            ["users/a/b", "override"].map(|topic| client.publish(topic, b"x", 1) < NOT_AUTHORIZED);
        (published, client.subscribe(&[("#", 0)])[0] < NOT_AUTHORIZED)
    });
    assert_eq!((theirs, ours), (([true, true], true), ([false, false], false)));
    server.finish();
    Ok(())
}
