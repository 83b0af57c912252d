//! Groups of the file of rules that have limits of their own.

use std::fs;

use push_tests::claims;
use push_tests::clients::Client;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{self, Publish, Version};

use super::{QUOTA_EXCEEDED, as_user, limit_hit, users_file};

claims! {
    a_group_has_limits_of_its_own,
}

const RULES: &str = "
[groups.fleet]
users = [\"truck\"]

[groups.fleet.limits]
publish-rate = 50
publish-burst = 2
subscribe-burst = 2
user-connections-max = 1

[[allow]]
publish = [\"#\"]
subscribe = [\"#\"]
";

fn a_group_has_limits_of_its_own() -> TestResult {
    stand_in::not_for("has no users of ours")?;
    let directory = tempfile::tempdir().expect("a directory");
    let users = users_file(directory.path(), &["truck", "boss"]);
    let rules = directory.path().join("rules.toml");
    fs::write(&rules, RULES).expect("write the rules");
    let server = Server::with(PingPath::User)
        .flag("--users", &*users)
        .flag("--acl", rules.to_str().expect("a plain path"))
        .start()?;
    let login = |id: &str, user: &str| as_user(Version::V5, id, user, "pencil");
    let filters = [("a", 0), ("b", 0), ("c", 0)];
    let mut boss = Client::connect(server.target(), &login("boss-1", "boss"));
    assert_eq!(boss.subscribe(&filters), [0, 0, 0]);
    drop(Client::connect(server.target(), &login("boss-2", "boss")));
    let mut truck = Client::connect(server.target(), &login("truck-1", "truck"));
    assert_eq!(truck.subscribe(&filters), [0, 0, QUOTA_EXCEEDED]);
    assert_eq!(limit_hit(&server, "subscribe_rate"), 1);
    let second = Client::open(server.target(), &login("truck-2", "truck")).expect("a CONNACK");
    assert_eq!(second.connack.code, QUOTA_EXCEEDED);
    assert_eq!(limit_hit(&server, "user_connections"), 1);
    for (client, pauses) in [(&mut boss, 0), (&mut truck, 1)] {
        let publish = |packet_id| {
            let topic = "x".to_owned();
            wire::publish(Version::V5, &Publish { topic, qos: 1, packet_id, ..Publish::default() })
        };
        client.send(&(1..=10).map(publish).collect::<Vec<_>>().concat());
        for _ in 1..=10 {
            client.expect("a PUBACK", |packet| {
                matches!(packet, wire::Packet::Ack { .. }).then_some(())
            });
        }
        assert!(limit_hit(&server, "publish_rate") >= pauses);
        assert_eq!(limit_hit(&server, "publish_rate") > 0, pauses > 0);
    }
    Ok(())
}
