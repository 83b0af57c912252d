//! A bridge of mosquitto.

use std::process::{Child, Command, Stdio};

use push_tests::expectations::SILENCE;
use push_tests::server::Target;
use push_tests::skip::{Skip, TestResult};

use super::rig::{NEVER_RETAINED, RETAIN_AS_PUBLISHED, client, retained, server};

/// mosquitto as a bridge. In MQTT 5 it subscribes with No Local and Retain As Published; in older
/// versions the highest bit of its protocol level asks for both.
pub(crate) fn a_bridge_keeps_retained_messages_retained() -> TestResult {
    for (protocol, version, bridges) in
        [("mqttv50", "5", 0), ("mqttv311", "3.1.1", 1), ("mqttv31", "3.1", 1)]
    {
        bridge_keeps_retained(protocol, version, bridges)?;
    }
    Ok(())
}

fn bridge_keeps_retained(protocol: &str, version: &str, bridges: u64) -> TestResult {
    let server = server()?;
    let target = server.target();
    client(target, "publisher").publish_packet(retained("to-bridge/before", b"1", 1));
    let bridge = Bridge::start(target, protocol)?;
    let mut there = client(&bridge.target, "there");
    there.subscribe(&[("#", 1 | RETAIN_AS_PUBLISHED)]);
    assert_eq!(there.message().topic, "to-bridge/before");
    let mut here = client(target, "here");
    here.subscribe(&[("#", 1 | RETAIN_AS_PUBLISHED | NEVER_RETAINED)]);
    // Through the bridge, either way, live and then as what is retained beyond it.
    client(target, "publisher").publish_packet(retained("to-bridge/now", b"2", 1));
    let seen = there.message();
    assert_eq!((seen.topic.as_str(), seen.retain), ("to-bridge/now", true));
    client(&bridge.target, "publisher").publish_packet(retained("from-bridge/now", b"3", 1));
    let topics = [here.message(), here.message()].map(|seen| (seen.topic, seen.retain));
    let expected = ["to-bridge/now", "from-bridge/now"].map(|topic| (topic.to_owned(), true));
    assert_eq!(topics, expected);
    let mut late = client(&bridge.target, "late");
    late.subscribe(&[("to-bridge/now", 1)]);
    assert!(late.message().retain);
    let mut late = client(target, "late");
    late.subscribe(&[("from-bridge/now", 1)]);
    assert!(late.message().retain);
    // Nothing goes round in circles.
    here.expect_no_message(SILENCE);
    let metrics = server.metrics();
    let accepted = format!("push_connects_accepted_total{{version=\"{version}\"}}");
    assert!(metrics.value(&accepted) >= 1, "{accepted}: it did not fall back to another version");
    assert_eq!(metrics.value("push_connects_bridge_total"), bridges, "{protocol}");
    drop(bridge);
    server.finish();
    Ok(())
}

/// mosquitto on a port of its own, bridged to the server.
struct Bridge {
    child: Child,
    target: Target,
    _directory: tempfile::TempDir,
}

impl Bridge {
    fn start(to: &Target, protocol: &str) -> Result<Self, Skip> {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let directory = tempfile::TempDir::new().expect("a directory for mosquitto");
        let path = directory.path().join("mosquitto.conf");
        let (port, server) = (address.port(), to.address);
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n\
             connection bridge\naddress {server}\nbridge_protocol_version {protocol}\n\
             cleansession true\nnotifications false\nrestart_timeout 1\ntopic # both 1\n"
        );
        std::fs::write(&path, text).expect("write mosquitto's configuration");
        let child = Command::new("/usr/sbin/mosquitto")
            .args(["-c".as_ref(), path.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Skip::missing(format!("cannot run mosquitto: {error}")))?;
        let mut target = to.from_here();
        target.address = address;
        let bridge = Self { child, target, _directory: directory };
        push_tests::expectations::wait_for("mosquitto to listen", || {
            std::net::TcpStream::connect(address).ok()
        });
        Ok(bridge)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
