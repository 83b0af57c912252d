//! Each packet bears only the reason codes that its own table has, whatever reason the server comes
//! to say by it. The tables are copied from the specifications.

use push_server::access::Access;
use push_server::broker::QoS::{AtLeastOnce, ExactlyOnce};
use push_server::mqtt::codec::Reason;
use push_server::mqtt::{Handshake, HandshakeProgress, Limits};

use crate::server::at_every_split;
use crate::wire::{Connect, packet, publish};

/// Everything the server can come to say.
const REASONS: &[Reason] = &[
    Reason::Success,
    Reason::NoMatchingSubscribers,
    Reason::NoSubscriptionExisted,
    Reason::UnspecifiedError,
    Reason::MalformedPacket,
    Reason::ProtocolError,
    Reason::ImplementationSpecificError,
    Reason::UnsupportedProtocolVersion,
    Reason::ClientIdentifierNotValid,
    Reason::NotAuthorized,
    Reason::ServerUnavailable,
    Reason::ServerBusy,
    Reason::ServerShuttingDown,
    Reason::BadAuthenticationMethod,
    Reason::KeepAliveTimeout,
    Reason::SessionTakenOver,
    Reason::TopicFilterInvalid,
    Reason::TopicNameInvalid,
    Reason::PacketIdentifierNotFound,
    Reason::ReceiveMaximumExceeded,
    Reason::TopicAliasInvalid,
    Reason::PacketTooLarge,
    Reason::MessageRateTooHigh,
    Reason::QuotaExceeded,
    Reason::RetainNotSupported,
    Reason::SharedSubscriptionsNotSupported,
    Reason::WildcardSubscriptionsNotSupported,
];

/// CONNACK's that refuse [MQTT5 3.2.2.2].
const CONNACK: &[u8] = &[
    0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99,
    0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
];
/// PUBACK's and PUBREC's [MQTT5 3.4.2.1] [MQTT5 3.5.2.1].
const PUBACK: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
/// SUBACK's [MQTT5 3.9.3].
const SUBACK: &[u8] = &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2];
/// UNSUBACK's [MQTT5 3.11.3].
const UNSUBACK: &[u8] = &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91];
/// DISCONNECT's that a server may send [MQTT5 3.14.2.1].
const DISCONNECT: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
    0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];

/// The reasons that say no.
fn errors() -> impl Iterator<Item = Reason> {
    REASONS.iter().copied().filter(|reason| reason.is_error())
}

/// A reason that the packet has is said, another becomes one that it has.
fn assert_code(code: u8, reason: Reason, table: &[u8]) {
    assert!(table.contains(&code), "{reason:?} became {code:#04x}");
    if table.contains(&(reason as u8)) {
        assert_eq!(code, reason as u8, "{reason:?}");
    } else {
        assert_eq!(code >= 0x80, reason.is_error(), "{reason:?} became {code:#04x}");
    }
}

#[test]
fn refusals_bear_only_reason_codes_of_connack() {
    for reason in errors() {
        for connect in [Connect::v311(), Connect::v5()] {
            let progress = Handshake::new([0; 18]).handle_bytes_judged(
                &Limits::default(),
                &Access::default(),
                &connect.bytes(),
            );
            let HandshakeProgress::Connect(connecting) = progress else { panic!("a good CONNECT") };
            let frame = connecting.refuse(reason).frame;
            if connect.level == 5 {
                // Session present is 0.
                assert_eq!((frame[0], frame[2]), (0x20, 0), "{reason:?}");
                assert_code(frame[3], reason, CONNACK);
            } else if !frame.is_empty() {
                assert_eq!(frame[..3], [0x20, 2, 0], "{reason:?}");
                assert!((1..=5).contains(&frame[3]), "{reason:?} became {}", frame[3]);
            }
        }
    }
}

#[test]
fn acknowledgements_bear_only_reason_codes_of_their_packet() {
    for &reason in REASONS {
        at_every_split(|server| {
            server.routed = reason;
            for (qos, first) in [(AtLeastOnce, 0x40), (ExactlyOnce, 0x50)] {
                server.open(&Connect::v5());
                server.send(&publish(5, "t", b"", qos, 1));
                let answer = server.received();
                assert_eq!((answer[0], &answer[2..4]), (first, &[0, 1][..]));
                assert_code(answer.get(4).copied().unwrap_or(0), reason, PUBACK);
                server.open(&Connect::v311());
                server.send(&publish(4, "t", b"", qos, 1));
                assert_eq!(server.received(), packet(first, &[0, 1]));
            }
        });
    }
}

#[test]
fn subscriptions_are_answered_only_by_reason_codes_of_their_packet() {
    for reason in errors() {
        at_every_split(|server| {
            server.open(&Connect::v5());
            server.connection().subscribed(1, &[Ok(AtLeastOnce), Err(reason)]);
            let answer = server.received();
            assert_eq!(answer[answer.len() - 2], 1);
            assert_code(answer[answer.len() - 1], reason, SUBACK);
            server.open(&Connect::v311());
            server.connection().subscribed(1, &[Ok(AtLeastOnce), Err(reason)]);
            assert_eq!(server.received(), packet(0x90, &[0, 1, 1, 0x80]));
        });
    }
    for reason in errors().chain([Reason::Success, Reason::NoSubscriptionExisted]) {
        at_every_split(|server| {
            server.open(&Connect::v5());
            server.connection().unsubscribed(1, &[reason]);
            let answer = server.received();
            assert_code(answer[answer.len() - 1], reason, UNSUBACK);
            server.open(&Connect::v311());
            server.connection().unsubscribed(1, &[reason]);
            assert_eq!(server.received(), packet(0xB0, &[0, 1]));
        });
    }
}

#[test]
fn goodbyes_bear_only_reason_codes_of_disconnect() {
    const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
    for reason in errors() {
        at_every_split(|server| {
            server.open(&Connect::v5());
            server.connection().close(reason);
            let goodbye = server.received();
            assert_eq!(goodbye[0], 0xE0);
            assert_code(goodbye[2], reason, DISCONNECT);
            assert_ne!(goodbye.get(4), Some(&SESSION_EXPIRY_INTERVAL), "{reason:?}");
            server.open(&Connect::v311());
            server.connection().close(reason);
            assert_eq!(server.received(), [0; 0], "3.1.1 has none");
        });
    }
}
