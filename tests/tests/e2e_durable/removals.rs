//! What is taken back, or begun, while the disk fails: none of it may come back, or be missing, later.
//!
//! A removal that failed is forgotten in memory and still there on disk, which shows after a restart.

use std::path::PathBuf;

use push_tests::clients::{Client, Connect};
use push_tests::durable::{self, SmallDisk};
use push_tests::expectations::{PATIENCE, SILENCE, wait_for};
use push_tests::server::Server;
use push_tests::skip::{Skip, TestResult};
use push_tests::stand_in;
use push_tests::wire::{self, PUBCOMP, PUBREC, PUBREL, Publish, VERSIONS, Version};

use crate::life::{self, Ending, expect_ack};

/// The size of the disk that is filled: more than the database has made sure of.
const DISK_MIB: u32 = 128;

/// Bytes of a message that fills what room the database still has.
const PAYLOAD_BYTES: usize = 256 << 10;

/// What the server says of a request that its disk has failed.
const FAILED: u8 = 0x83;

/// A server on a disk that can fail.
pub(crate) struct Breakable {
    version: Version,
    pub(crate) server: Server,
    data: PathBuf,
    disk: SmallDisk,
}

impl Breakable {
    pub(crate) fn start(version: Version) -> Result<Self, Skip> {
        durable::need()?;
        stand_in::not_for("goes on in memory when its disk is full")?;
        let disk = SmallDisk::mount(DISK_MIB)?;
        let data = disk.path().join("data");
        let server = life::builder(&data).start()?;
        Ok(Self { version, server, data, disk })
    }

    /// From here on nothing can be written, whatever its size.
    pub(crate) fn break_disk(&self) {
        self.disk.fill();
        let mut filler =
            Client::connect(self.server.target(), &Connect::new(Version::V5, "filler"));
        wait_for("the disk to be full", || {
            let publish = Publish {
                topic: "filler".to_owned(),
                payload: vec![0x5A; PAYLOAD_BYTES],
                qos: 1,
                retain: true,
                ..Publish::default()
            };
            (filler.publish_packet(publish) == FAILED).then_some(())
        });
        assert_eq!(self.server.metrics().value("push_store_serving"), 0);
        filler.disconnect();
    }

    pub(crate) fn heal_disk(&self) {
        self.disk.empty();
        self.server.wait_metric("push_store_serving", |serving| serving == 1);
    }

    pub(crate) fn crash(&mut self) -> TestResult {
        life::end(&mut self.server, Ending::Crash);
        self.server = life::builder(&self.data).start()?;
        Ok(())
    }

    #[track_caller]
    pub(crate) fn persistent(&self, client_id: &str) -> Client {
        Client::connect(self.server.target(), &Connect::new(self.version, client_id).persistent())
    }

    #[track_caller]
    pub(crate) fn passing(&self, client_id: &str) -> Client {
        Client::connect(self.server.target(), &Connect::new(self.version, client_id))
    }
}

fn exactly_once(packet_id: u16, payload: &[u8]) -> Publish {
    let (topic, payload) = ("t".to_owned(), payload.to_vec());
    Publish { topic, payload, qos: 2, packet_id, ..Publish::default() }
}

pub(crate) fn an_id_whose_release_failed_is_free_once_it_is_released_again() -> TestResult {
    const ID: u16 = 7;
    for version in VERSIONS {
        let mut world = Breakable::start(version)?;
        let mut publisher = world.persistent("publisher");
        publisher.send(&wire::publish(version, &exactly_once(ID, b"one")));
        expect_ack(&mut publisher, PUBREC, ID);
        world.break_disk();
        publisher.send(&wire::ack(PUBREL, ID));
        publisher.wait_ending();

        world.heal_disk();
        let mut publisher = world.persistent("publisher");
        assert!(publisher.connack.session_present);
        publisher.send(&wire::ack(PUBREL, ID));
        expect_ack(&mut publisher, PUBCOMP, ID);
        world.crash()?;

        // A new message may use the id.
        let mut subscriber = world.passing("subscriber");
        subscriber.subscribe(&[("t", 2)]);
        let mut publisher = world.persistent("publisher");
        assert!(publisher.connack.session_present);
        publisher.send(&wire::publish(version, &exactly_once(ID, b"two")));
        expect_ack(&mut publisher, PUBREC, ID);
        publisher.send(&wire::ack(PUBREL, ID));
        expect_ack(&mut publisher, PUBCOMP, ID);
        assert_eq!(subscriber.message().payload, b"two", "{version:?}");
        world.server.finish();
    }
    Ok(())
}

pub(crate) fn an_unsubscribe_that_failed_is_told_and_done_when_repeated() -> TestResult {
    for version in VERSIONS {
        let mut world = Breakable::start(version)?;
        let mut subscriber = world.persistent("subscriber");
        subscriber.subscribe(&[("t", 1)]);
        world.break_disk();
        fail_to_unsubscribe(&mut subscriber, version, &["t"]);

        world.heal_disk();
        let mut subscriber = world.persistent("subscriber");
        subscriber.unsubscribe(&["t"]);
        world.crash()?;
        let mut subscriber = world.persistent("subscriber");
        assert!(subscriber.connack.session_present);
        world.passing("publisher").publish("t", b"", 1);
        subscriber.expect_no_message(SILENCE);
        world.server.finish();
    }
    Ok(())
}

/// A client is told that its UNSUBSCRIBE failed.
fn fail_to_unsubscribe(client: &mut Client, version: Version, filters: &[&str]) {
    match version {
        Version::V5 => assert_eq!(client.unsubscribe(filters), vec![FAILED; filters.len()]),
        // Its UNSUBACK cannot say so.
        Version::V31 | Version::V311 => {
            client.send(&wire::unsubscribe(version, 9, filters));
            let told = client.receive(PATIENCE);
            assert!(told.is_err(), "{told:?}");
        }
    }
}

/// Nobody has to ask again; and what is subscribed to again meanwhile stays.
pub(crate) fn an_unsubscribe_that_failed_is_done_when_the_disk_is_back() -> TestResult {
    for version in VERSIONS {
        let mut world = Breakable::start(version)?;
        let mut subscriber = world.persistent("subscriber");
        subscriber.subscribe(&[("gone", 1), ("again", 1)]);
        world.break_disk();
        fail_to_unsubscribe(&mut subscriber, version, &["gone", "again"]);
        drop(subscriber);

        world.heal_disk();
        let mut subscriber = world.persistent("subscriber");
        assert_eq!(subscriber.subscribe(&[("again", 1)]), [1]);
        world.server.wait_metric("push_store_removals_retried_total", |removals| removals > 0);
        world.crash()?;
        let mut subscriber = world.persistent("subscriber");
        assert!(subscriber.connack.session_present);
        let mut publisher = world.passing("publisher");
        publisher.publish("gone", b"gone", 1);
        publisher.publish("again", b"again", 1);
        assert_eq!(subscriber.message().payload, b"again", "{version:?}");
        subscriber.expect_no_message(SILENCE);
        world.server.finish();
    }
    Ok(())
}

pub(crate) fn a_session_whose_end_failed_is_ended_when_the_disk_is_back() -> TestResult {
    for version in VERSIONS {
        let mut world = Breakable::start(version)?;
        let mut subscriber = world.persistent("subscriber");
        subscriber.subscribe(&[("t", 1)]);
        subscriber.disconnect();
        world.passing("publisher").publish("t", b"owed", 1);
        world.break_disk();
        // A clean start ends it, and leaves nothing that would be in its way.
        let clean = world.passing("subscriber");
        assert!(!clean.connack.session_present);
        clean.disconnect();

        world.heal_disk();
        let removed = || world.server.metrics().value("push_store_removals_retried_total");
        wait_for("the removal", || (removed() > 0).then_some(()));
        world.crash()?;
        let mut subscriber = world.persistent("subscriber");
        assert!(!subscriber.connack.session_present, "{version:?}");
        subscriber.expect_no_message(SILENCE);
        world.server.finish();
    }
    Ok(())
}

pub(crate) fn a_session_begun_without_a_disk_is_written_with_its_first_subscription() -> TestResult
{
    for version in VERSIONS {
        // What is written by itself, once a second, may come in between.
        for _ in 0..3 {
            let mut world = Breakable::start(version)?;
            world.break_disk();
            let mut subscriber = world.persistent("subscriber");
            world.disk.empty();
            wait_for("a subscription", || (subscriber.subscribe(&[("t", 1)]) == [1]).then_some(()));
            world.crash()?;
            world.passing("publisher").publish("t", b"owed", 1);
            let mut subscriber = world.persistent("subscriber");
            assert!(subscriber.connack.session_present, "{version:?}");
            assert_eq!(subscriber.message().payload, b"owed", "{version:?}");
            world.server.finish();
        }
    }
    Ok(())
}

pub(crate) fn a_session_begun_without_a_disk_is_written_before_its_first_publish() -> TestResult {
    const ID: u16 = 7;
    let version = Version::V5;
    for _ in 0..3 {
        let mut world = Breakable::start(version)?;
        let mut reader = world.persistent("reader");
        reader.subscribe(&[("t", 2)]);
        reader.disconnect();
        world.break_disk();
        let mut publisher = world.persistent("publisher");
        world.disk.empty();
        let mut refused = 0;
        wait_for("a PUBREC", || {
            publisher.send(&wire::publish(version, &exactly_once(ID, b"once")));
            let reason = expect_ack(&mut publisher, PUBREC, ID);
            refused += usize::from(reason == FAILED);
            (reason == 0).then_some(())
        });
        assert!(refused > 0, "the disk was back before the session was begun");
        world.crash()?;
        let mut publisher = world.persistent("publisher");
        assert!(publisher.connack.session_present);
        let again = Publish { dup: true, ..exactly_once(ID, b"once") };
        publisher.send(&wire::publish(version, &again));
        expect_ack(&mut publisher, PUBREC, ID);
        publisher.send(&wire::ack(PUBREL, ID));
        expect_ack(&mut publisher, PUBCOMP, ID);
        let mut reader = world.persistent("reader");
        assert_eq!(reader.message().payload, b"once");
        reader.expect_no_message(SILENCE);
        world.server.finish();
    }
    Ok(())
}
