use super::super::source::scan;
use super::*;

fn check(file: &str, text: &str) -> Vec<String> {
    violations(file, &scan(text, &module_of(file)))
}

#[test]
fn protocol_core_may_not_import_the_ring() {
    let found = check("push-server/src/mqtt/codec.rs", "\nuse crate::{broker, ring::Ring};");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("push-server/src/mqtt/codec.rs:2: crate::ring::Ring: "));
    assert_eq!(check("push-server/src/mqtt/codec.rs", "use super::super::ring;").len(), 1);
}

#[test]
fn protocol_core_may_not_read_the_clock() {
    let text = "fn f() { Instant::now(); std::time::Instant::now(); }";
    assert_eq!(check("push-server/src/broker/mod.rs", text).len(), 2);
    assert!(check("push-server/src/control/mod.rs", text).is_empty());
}

#[test]
fn of_the_server_only_transport_and_control_know_rustls() {
    let text = "use rustls::ServerConfig;";
    for file in ["shard/turn.rs", "config.rs", "mqtt/mod.rs"] {
        assert_eq!(check(&format!("push-server/src/{file}"), text).len(), 1, "{file}");
    }
    for file in ["transport/tls/mod.rs", "control/tls.rs"] {
        assert!(check(&format!("push-server/src/{file}"), text).is_empty(), "{file}");
    }
}

#[test]
fn shard_may_join_the_rooms() {
    let text = "use crate::{broker, kernel::KernelPath, mqtt::Connection, ring, store};";
    assert!(check("push-server/src/shard/thread.rs", text).is_empty());
    assert_eq!(check("push-server/src/kernel/mod.rs", text).len(), 4);
}

#[test]
fn of_shard_only_its_thread_sees_the_machine() {
    let text = "use crate::{broker, kernel, ring}; use std::time::{Duration, Instant};
                    use std::net::{SocketAddr, TcpStream}; use rustix::io;
                    fn f() { rand::random(); Clocks::now(); crate::shard::thread::wire(); }";
    for file in ["turn.rs", "simulation/wire.rs", "tests/mod.rs", "threads.rs"] {
        assert_eq!(check(&format!("push-server/src/shard/{file}"), text).len(), 8, "{file}");
    }
    for file in ["thread.rs", "thread/wire.rs"] {
        assert!(check(&format!("push-server/src/shard/{file}"), text).is_empty(), "{file}");
    }
}

#[test]
fn transport_knows_no_other_room() {
    let text = "use crate::{broker, kernel, mqtt, ring, shard}; use std::net::TcpStream;";
    assert_eq!(check("push-server/src/transport/mod.rs", text).len(), 6);
    assert_eq!(check("push-server/src/mqtt/mod.rs", "use crate::transport;").len(), 1);
}

#[test]
fn store_knows_messages_and_no_other_room() {
    let text = "use crate::{broker, config, kernel, mqtt, ring, shard};";
    assert_eq!(check("push-server/src/store/mod.rs", text).len(), 5);
}

#[test]
fn who_uses_a_store_does_not_know_which() {
    let text = "use crate::store::{Write, embedded::open}; use std::path::PathBuf;";
    assert_eq!(check("push-server/src/store/api/write.rs", text).len(), 2);
    assert_eq!(check("push-server/src/shard/journal.rs", text).len(), 1);
    assert!(check("push-server/src/shard/thread.rs", text).is_empty());
}

#[test]
fn libraries_have_one_user_each() {
    for (library, user) in [
        ("io_uring", "push-server/src/ring/mod.rs"),
        ("aya", "push-server/src/kernel/load.rs"),
        ("tokio", "push-server/src/main.rs"),
        ("mqttbytes", "push-server/src/mqtt/codec.rs"),
        ("fjall", "push-server/src/store/embedded/database.rs"),
        ("tungstenite", "push-server/src/transport/websocket/frames.rs"),
    ] {
        let text = format!("use {library}::Thing;");
        assert!(check(user, &text).is_empty(), "{library} in {user}");
        assert_eq!(check("push-server/src/shard/mod.rs", &text).len(), 1, "{library}");
    }
}

#[test]
fn shared_crate_imports_core_only() {
    assert!(check("push-common/src/flow.rs", "use core::mem; use crate::slot;").is_empty());
    assert_eq!(check("push-common/src/flow.rs", "use std::mem;").len(), 1);
    assert!(check("push-common/src/flow.rs", "mod tests { use std::mem; }").is_empty());
    assert!(check("push-common/src/flow/tests.rs", "use std::mem;").is_empty());
}

#[test]
fn module_follows_from_the_file() {
    let module = |file| module_of(file).join("::");
    assert_eq!(module("push-server/src/mqtt/codec.rs"), "crate::mqtt::codec");
    assert_eq!(module("push-server/src/mqtt/mod.rs"), "crate::mqtt");
    assert_eq!(module("push-server/src/lib.rs"), "crate");
}
