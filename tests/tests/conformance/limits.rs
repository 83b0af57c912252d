//! What a client can make grow ends somewhere.

use push_common::ping_rate::PingRate;
use push_server::broker::QoS::AtMostOnce;
use push_server::mqtt::codec::Reason;

use crate::server::{Seen, at_every_split};
use crate::wire::{
    Connect, PINGREQ, answered, disconnected, packet, properties, publish, refused, subscribe,
    text, user_property,
};

#[test]
fn packet_over_the_limit_fails_by_its_header_alone() {
    at_every_split(|server| {
        server.limits.packet_bytes_max = 100;
        server.open(&Connect::v5());
        let largest = publish(5, "t", &[0; 94], AtMostOnce, 0);
        assert_eq!(largest.len(), 100);
        server.send(&largest);
        assert_eq!(server.events().len(), 1);
        server.send(&publish(5, "t", &[0; 95], AtMostOnce, 0)[..2]);
        assert_eq!(server.events(), [Seen::Failed(Reason::PacketTooLarge)]);
        assert_eq!(server.received(), disconnected(0x95));
    });
}

#[test]
fn answers_that_nobody_reads_end_the_connection() {
    at_every_split(|server| {
        server.limits.answers_bytes_max = 40;
        server.limits.ping_rate = PingRate::OFF;
        server.open(&Connect::v5());
        server.send(&PINGREQ.repeat(25));
        let events = server.events();
        assert_eq!(events.len(), 22, "21 answers are more than 40 bytes");
        assert_eq!(events.last(), Some(&Seen::Failed(Reason::QuotaExceeded)));
        assert!(server.received().ends_with(&disconnected(0x97)));
    });
}

#[test]
fn pings_beyond_the_rate_end_the_connection() {
    at_every_split(|server| {
        server.limits.ping_rate = PingRate { per_sec: 2, burst: 3 };
        server.open(&Connect::v5());
        server.send(&PINGREQ.repeat(3));
        assert_eq!(server.events(), [Seen::Ping, Seen::Ping, Seen::Ping]);
        server.now = server.now.after_millis(500);
        server.send(&PINGREQ.repeat(2));
        assert_eq!(server.events(), [Seen::Ping, Seen::Failed(Reason::MessageRateTooHigh)]);
        assert!(server.received().ends_with(&disconnected(0x96)));
    });
}

#[test]
fn pings_that_the_kernel_answers_use_up_the_rate() {
    at_every_split(|server| {
        server.limits.ping_rate = PingRate { per_sec: 1, burst: 3 };
        server.open(&Connect::v5());
        server.pings_answered_elsewhere(2);
        server.send(PINGREQ);
        assert_eq!(server.events(), [Seen::Ping]);
        // The same two, told again, cost nothing; the pause gives one back.
        server.now = server.now.after_millis(1_000);
        server.pings_answered_elsewhere(2);
        server.send(&PINGREQ.repeat(2));
        assert_eq!(server.events(), [Seen::Ping, Seen::Failed(Reason::MessageRateTooHigh)]);
    });
}

#[test]
fn pings_that_were_held_back_are_charged_by_when_they_were_sent() {
    at_every_split(|server| {
        server.limits.ping_rate = PingRate { per_sec: 1, burst: 3 };
        server.open(&Connect::v5());
        // A ping a second, read half a minute later: while the server stood still, say.
        server.now = server.now.after_millis(30_000);
        server.send(&PINGREQ.repeat(30));
        let events = server.events();
        assert!(events.iter().all(|event| *event == Seen::Ping) && events.len() == 30);
        // The burst is left, and no more.
        server.send(&PINGREQ.repeat(4));
        let failed = Seen::Failed(Reason::MessageRateTooHigh);
        assert_eq!(server.events(), [Seen::Ping, Seen::Ping, Seen::Ping, failed]);
    });
}

#[test]
fn a_short_keep_alive_has_four_pings_in_each() {
    at_every_split(|server| {
        server.limits.ping_rate = PingRate { per_sec: 1, burst: 1 };
        server.open(&Connect { keep_alive_secs: 1, ..Connect::v5() });
        for _ in 0..100 {
            server.send(PINGREQ);
            assert_eq!(server.events(), [Seen::Ping]);
            server.now = server.now.after_millis(250);
        }
        server.send(&PINGREQ.repeat(3));
        let failed = Seen::Failed(Reason::MessageRateTooHigh);
        assert_eq!(server.events(), [Seen::Ping, failed]);
    });
}

#[test]
fn topic_with_too_many_levels_is_invalid() {
    at_every_split(|server| {
        server.limits.topic_levels_max = 2;
        server.open(&Connect::v5());
        server.send(&subscribe(5, 1, &[("a/b/c", 0), ("a/b", 0)]));
        assert_eq!(
            server.received(),
            answered(0x90, 1, "filter 1: topic filter invalid", &[0x8F, 0])
        );
        server.events();
        server.send(&publish(5, "a/b/c", b"", AtMostOnce, 0));
        assert_eq!(server.events(), [Seen::PublishRefused(Reason::TopicNameInvalid)]);
        assert_eq!(server.received(), [0; 0]);
        let rest = [properties(&[]), text("a/b/c"), text("")].concat();
        server.connect(&Connect { flags: 0x06, rest, ..Connect::v5() }.bytes());
        assert_eq!(server.received(), refused(0x90), "a will on it");
    });
}

#[test]
fn answer_larger_than_the_client_takes_ends_the_connection() {
    at_every_split(|server| {
        server.open(&Connect::v5().property(&[0x27, 0, 0, 0, 40]));
        let filters: Vec<_> = (0..40).map(|_| ("t", 0)).collect();
        server.send(&subscribe(5, 1, &filters));
        assert!(matches!(
            server.events()[..],
            [Seen::Subscribe(_), Seen::Failed(Reason::PacketTooLarge)]
        ));
        assert_eq!(server.received(), disconnected(0x95), "and is not sent");
    });
}

#[test]
fn too_many_user_properties_or_filters_in_one_packet_exceed_the_quota() {
    let pairs = user_property("", "").repeat(1_001);
    let crowded = [text("t"), vec![0x8D, 0x27], pairs].concat();
    let filters: Vec<_> = (0..16_385).map(|_| ("t", 0)).collect();
    for bytes in [packet(0x30, &crowded), subscribe(5, 1, &filters)] {
        // Whole and byte by byte would do; every offset of 64 KB takes too long.
        at_every_split(|server| {
            server.limits.packet_bytes_max = 1 << 20;
            server.open(&Connect::v5());
            server.send_whole(&bytes);
            assert_eq!(server.events(), [Seen::Failed(Reason::QuotaExceeded)]);
        });
    }
}
