//! What is taken out of a subscription that was granted.

use push_tests::clients::{Client, Connect};
use push_tests::expectations::SILENCE;
use push_tests::server::PingPath;
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{Publish, Version};

use crate::rig::{Files, OPEN_BUT_SECRETS, anybody, counted, next};

pub(crate) fn denied_messages_of_a_granted_filter_are_taken_out_retained_ones_too(
    path: PingPath,
) -> TestResult {
    stand_in::not_for("has other rules")?;
    let server = Files::new(OPEN_BUT_SECRETS).server(path).start()?;
    let mut owner = anybody(server.target(), Version::V5, "owner");
    for topic in ["secret/kept", "kept"] {
        let payload = topic.as_bytes().to_vec();
        let (topic, retain) = (topic.to_owned(), true);
        owner.publish_packet(Publish { topic, payload, qos: 1, retain, ..Publish::default() });
    }
    for (version, qos) in [(Version::V5, 0), (Version::V5, 1), (Version::V311, 2)] {
        let mut stranger = anybody(server.target(), version, "stranger");
        let mut friend = anybody(server.target(), version, "friend");
        assert_eq!(stranger.subscribe(&[("#", qos)]), [qos]);
        assert_eq!(friend.subscribe(&[("secret/#", qos)]), [qos]);
        assert_eq!(next(&mut stranger), "kept");
        assert_eq!(next(&mut friend), "secret/kept");
        owner.publish("secret/new", b"secret/new", qos);
        owner.publish("new", b"new", qos);
        assert_eq!(next(&mut stranger), "new");
        assert_eq!(next(&mut friend), "secret/new");
        stranger.expect_no_message(SILENCE);
    }
    let metrics = server.metrics();
    assert_eq!(counted(&metrics, "receive", "denied"), 6, "two for each of three strangers");
    assert_eq!(counted(&metrics, "receive", "allowed"), 12);
    server.prove_path();
    server.finish();
    Ok(())
}

/// The session is from before a restart with other rules, and so are its messages.
pub(crate) fn denied_messages_that_waited_on_disk_are_taken_out() -> TestResult {
    stand_in::not_for("has other rules")?;
    let files = Files::new("[[allow]]\npublish = [\"#\"]\nsubscribe = [\"#\"]\n");
    let builder = files.server(PingPath::User).data_dir(files.directory().join("data"));
    let mut server = builder.start()?;
    let connect = Connect::new(Version::V5, "stranger").persistent();
    let mut stranger = Client::connect(server.target(), &connect);
    assert_eq!(stranger.subscribe(&[("#", 1), ("secret/+", 1)]), [1, 1]);
    stranger.disconnect();
    let mut owner = anybody(server.target(), Version::V5, "owner");
    for topic in ["secret/a", "open/b", "secret/c", "open/d"] {
        assert_eq!(owner.publish(topic, topic.as_bytes(), 1), 0);
    }
    server.terminate();
    assert!(server.wait_exit().0.success());
    files.write(OPEN_BUT_SECRETS);
    let server = builder.start()?;
    let mut stranger = Client::connect(server.target(), &connect);
    assert!(stranger.connack.session_present);
    assert_eq!([next(&mut stranger), next(&mut stranger)], ["open/b", "open/d"]);
    // The subscription that it would not get now brings nothing any more.
    let mut owner = anybody(server.target(), Version::V5, "owner");
    assert_eq!(owner.publish("secret/e", b"secret/e", 1), 0);
    assert_eq!(owner.publish("open/f", b"open/f", 1), 0);
    assert_eq!(next(&mut stranger), "open/f");
    stranger.expect_no_message(SILENCE);
    assert_eq!(counted(&server.metrics(), "receive", "denied"), 3);
    server.finish();
    Ok(())
}

pub(crate) fn of_a_group_a_member_gets_the_message_that_may_have_it() -> TestResult {
    let rules = "[[allow]]\npublish = [\"#\"]\nsubscribe = [\"#\"]\n\
                 [[deny]]\nclients = [\"junior*\"]\nsubscribe = [\"jobs/hard\"]\n";
    let server = Files::new(rules).server(PingPath::User).start()?;
    let names = ["junior-1", "junior-2", "junior-3", "senior"];
    let mut members: Vec<_> =
        names.iter().map(|name| anybody(server.target(), Version::V5, name)).collect();
    for member in &mut members {
        assert_eq!(member.subscribe(&[("$share/team/jobs/#", 1)]), [1]);
    }
    let mut boss = anybody(server.target(), Version::V5, "boss");
    for number in 0..8 {
        assert_eq!(boss.publish("jobs/hard", format!("{number}").as_bytes(), 1), 0);
    }
    let mut senior = members.pop().expect("the last one");
    for number in 0..8 {
        assert_eq!(next(&mut senior), number.to_string());
    }
    senior.disconnect();
    server.wait_metric("push_sessions", |sessions| sessions == 4);
    // Now there is nobody who may.
    boss.publish("jobs/hard", b"nobody's", 1);
    for junior in &mut members {
        junior.expect_no_message(SILENCE);
        junior.assert_alive();
    }
    assert_eq!(server.metrics().value("push_publishes_dropped_total{reason=\"denied\"}"), 1);
    server.finish();
    Ok(())
}
