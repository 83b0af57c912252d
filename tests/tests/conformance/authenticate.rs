//! Enhanced authentication by SCRAM-SHA-256.

use push_server::access::scram::METHOD;
use push_server::broker::QoS::AtLeastOnce;
use push_server::mqtt::codec::Reason;

use crate::scram::{CONTINUE, Client, REAUTHENTICATE, access, asking, auth, challenge, connect};
use crate::server::{Seen, Server, at_every_split};
use crate::wire::{
    Connect, DISCONNECT, PINGREQ, PINGRESP, PUBACK, ack, disconnected, packet, properties, publish,
    refused, text_property,
};

/// Success, which ends an exchange on a connection.
const SUCCESS: u8 = 0x00;

/// What is wrong with an AUTH, the packet with the client's last message, and the reason code.
type Case = (&'static str, fn(&[u8]) -> Vec<u8>, u8);

/// Connects as `user`, to the end. Returns CONNACK.
fn authenticated(server: &mut Server) -> Vec<u8> {
    let client = Client::user();
    server.access = access();
    server.connect(&connect(&client.first()).bytes());
    let (last, _) = client.last(&challenge(&server.received()));
    server.send(&auth(CONTINUE, METHOD, &last));
    server.received()
}

fn refusal(reason: Reason) -> [Seen; 1] {
    [Seen::Refused(reason)]
}

/// [MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5]: CONNACK has the method and the server's last word.
#[test]
fn client_with_the_password_is_accepted_and_told_that_the_server_knows_it() {
    at_every_split(|server| {
        let client = Client::user();
        server.access = access();
        let bytes = connect(&client.first()).bytes();
        server.connect(&bytes);
        let (last, answer) = client.last(&challenge(&server.received()));
        assert_eq!(server.events(), [], "nothing has happened yet");
        let proof = auth(CONTINUE, METHOD, &last);
        server.send(&[&proof[..], PINGREQ].concat());
        assert_eq!(server.events(), [Seen::Ping]);
        let received = server.received();
        let connack = properties(&[
            &[0x21, 0, 64],
            &[0x27, 1, 0, 0, 0],
            &[0x22, 0, 16],
            &text_property(0x15, METHOD),
            &text_property(0x16, std::str::from_utf8(&answer).expect("text")),
        ]);
        let connack = packet(0x20, &[&[0, 0][..], &connack].concat());
        assert_eq!(received, [&connack[..], PINGRESP].concat());
        let sent = bytes.len() + proof.len() + PINGREQ.len();
        assert_eq!(server.connection().parsed_bytes(), sent as u64, "AUTH included");
    });
}

/// [MQTT5 3.1.2.11.10] data in CONNECT is a client's choice.
#[test]
fn client_that_names_the_method_only_is_asked_to_begin() {
    at_every_split(|server| {
        let client = Client::user();
        server.access = access();
        server.connect(&connect(b"").bytes());
        assert_eq!(server.received(), auth(CONTINUE, METHOD, b""));
        server.send(&auth(CONTINUE, METHOD, &client.first()));
        let (last, _) = client.last(&challenge(&server.received()));
        server.send(&auth(CONTINUE, METHOD, &last));
        assert_eq!(server.received()[3], 0, "accepted");
        server.connect(&connect(b"").bytes());
        server.received();
        server.send(&auth(CONTINUE, METHOD, b""));
        assert_eq!(server.received(), refused(0x87), "asked twice");
    });
}

/// [MQTT-4.12.0-4]
#[test]
fn wrong_password_and_unknown_name_are_refused_alike() {
    at_every_split(|server| {
        server.access = access();
        let mut salts = Vec::new();
        for client in [Client::new("user", "other"), Client::new("nobody", "user")] {
            server.connect(&connect(&client.first()).bytes());
            let said = challenge(&server.received());
            let (last, _) = client.last(&said);
            server.send(&auth(CONTINUE, METHOD, &last));
            assert_eq!(server.events(), refusal(Reason::NotAuthorized));
            assert_eq!(server.received(), refused(0x87));
            let text = String::from_utf8(said).expect("text");
            let salting = text.split_once(",s=").expect("a salt").1.to_owned();
            assert_eq!((salting.len(), salting.ends_with(",i=4096")), (24 + 7, true));
            salts.push(salting);
        }
        assert_ne!(salts[0], salts[1]);
        assert!(server.session.is_none(), "no session was made");
    });
}

/// [MQTT-4.12.0-1]
#[test]
fn method_that_is_not_there_is_refused_by_its_name() {
    let first = Client::user().first();
    for method in ["SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "PLAIN", "", "scram-sha-256"] {
        at_every_split(|server| {
            server.access = access();
            server.connect(&asking(method, &first).bytes());
            assert_eq!(server.events(), refusal(Reason::BadAuthenticationMethod));
            assert_eq!(server.received(), refused(0x8C));
        });
    }
    at_every_split(|server| {
        server.connect(&connect(&first).bytes());
        assert_eq!(server.received(), refused(0x8C), "there are no users");
    });
}

/// Whether or not it asks for a clean start.
#[test]
fn session_of_a_user_is_refused_to_others() {
    for flags in [0x00, 0x02] {
        at_every_split(|server| {
            authenticated(server);
            server.deliver("t", b"x", AtLeastOnce);
            server.hang_up();
            let other = Client::new("other", "other");
            server.connect(&Connect { flags, ..connect(&other.first()) }.bytes());
            let (last, _) = other.last(&challenge(&server.received()));
            server.send(&auth(CONTINUE, METHOD, &last));
            assert_eq!(server.received(), refused(0x87), "it is authenticated, as another user");
            server.connect(&Connect { flags, ..Connect::v5() }.bytes());
            assert_eq!(server.received(), refused(0x87));
            server.connect(&Connect { flags, ..Connect::v311() }.bytes());
            assert_eq!(server.received(), [0x20, 2, 0, 5]);
            let refusal = || Seen::Refused(Reason::NotAuthorized);
            assert_eq!(server.events(), [refusal(), refusal(), refusal()]);
            assert_eq!(server.session.as_ref().expect("the user's").owed(), 1);
        });
    }
}

/// Without a clean start: a user's session is what he made himself.
#[test]
fn session_of_nobody_is_not_resumed_by_a_user() {
    at_every_split(|server| {
        server.open(&Connect::v5().persistent());
        server.deliver("t", b"x", AtLeastOnce);
        server.hang_up();
        server.access = access();
        let client = Client::user();
        let resuming = |client: &Client| Connect { flags: 0, ..connect(&client.first()) };
        for present in [0, 1] {
            server.connect(&resuming(&client).bytes());
            let (last, _) = client.last(&challenge(&server.received()));
            server.send(&auth(CONTINUE, METHOD, &last));
            assert_eq!(server.received()[2..4], [present, 0]);
            assert_eq!(server.session.as_ref().expect("one").owed(), 0);
            server.hang_up();
        }
        assert_eq!(server.session.as_ref().expect("one").user(), Some("user"));
    });
}

#[test]
fn who_is_not_authenticated_is_refused_where_it_is_required() {
    at_every_split(|server| {
        for required in [false, true] {
            server.access = access();
            server.access.scram_required = required;
            server.connect(&Connect::v5().bytes());
            let expected = refused(0x87);
            assert_eq!(server.received() == expected, required);
            server.connect(&Connect::v311().bytes());
            assert_eq!(server.received(), [0x20, 2, 0, if required { 5 } else { 0 }]);
            server.events();
        }
        authenticated(server);
        assert_eq!(server.events(), []);
    });
}

/// [MQTT-3.1.2-30]
#[test]
fn nothing_but_auth_may_come_before_connack() {
    let first = Client::user().first();
    let others: [Vec<u8>; 4] = [
        PINGREQ.to_vec(),
        publish(5, "t", b"", AtLeastOnce, 1),
        Connect::v5().bytes(),
        vec![0x00, 0],
    ];
    for other in others {
        at_every_split(|server| {
            server.access = access();
            server.connect(&[connect(&first).bytes(), other.clone()].concat());
            assert_eq!(server.events(), refusal(Reason::ProtocolError));
            assert!(server.received().ends_with(&refused(0x82)), "{other:02x?}");
        });
    }
    at_every_split(|server| {
        server.access = access();
        server.connect(&connect(&first).bytes());
        challenge(&server.received());
        server.send(DISCONNECT);
        assert_eq!(server.events(), refusal(Reason::Success));
        assert_eq!(server.received(), [0; 0], "it has gone by itself");
    });
}

/// [MQTT-4.12.0-3] [MQTT-4.12.0-5] [MQTT-3.15.2-1] [MQTT-3.15.1-1]
#[test]
fn auth_that_does_not_go_on_with_the_exchange_is_refused() {
    let client = Client::user();
    let last = |server: &mut Server| client.last(&challenge(&server.received())).0;
    let cases: [Case; 9] = [
        ("begins another", |last| auth(REAUTHENTICATE, METHOD, last), 0x82),
        ("says success", |last| auth(SUCCESS, METHOD, last), 0x82),
        ("another method", |last| auth(CONTINUE, "SCRAM-SHA-1", last), 0x82),
        ("no method", |_| packet(0xF0, &[CONTINUE, 0]), 0x82),
        ("nothing at all", |_| vec![0xF0, 0], 0x82),
        ("no data", |_| auth(CONTINUE, METHOD, b""), 0x87),
        ("reserved flags", |last| [&[0xF1][..], &auth(CONTINUE, METHOD, last)[1..]].concat(), 0x81),
        ("bytes behind", |_| packet(0xF0, &[CONTINUE, 0, 0]), 0x81),
        (
            "a property twice",
            |_| packet(0xF0, &[CONTINUE, 8, 0x15, 0, 1, b'm', 0x15, 0, 1, b'm']),
            0x82,
        ),
    ];
    for (name, bytes, reason) in cases {
        at_every_split(|server| {
            server.access = access();
            server.connect(&connect(&client.first()).bytes());
            let last = last(server);
            server.send(&bytes(&last));
            assert_eq!(server.received(), refused(reason), "{name}");
            assert_eq!(server.events().len(), 1);
        });
    }
}

#[test]
fn auth_before_connect_is_not_answered() {
    at_every_split(|server| {
        server.access = access();
        server.connect(&auth(CONTINUE, METHOD, &Client::user().first()));
        assert_eq!(server.events(), refusal(Reason::ProtocolError));
        assert_eq!(server.received(), [0; 0]);
    });
}

#[test]
fn proof_of_one_exchange_is_worth_nothing_in_the_next() {
    at_every_split(|server| {
        let client = Client::user();
        server.access = access();
        server.connect(&connect(&client.first()).bytes());
        let (last, _) = client.last(&challenge(&server.received()));
        server.connect(&connect(&client.first()).bytes());
        challenge(&server.received());
        server.send(&auth(CONTINUE, METHOD, &last));
        assert_eq!(server.received(), refused(0x87));
    });
}

/// What comes before the client is known ends somewhere.
#[test]
fn auth_before_connack_is_limited() {
    at_every_split(|server| {
        let client = Client::user();
        server.access = access();
        server.connect(&connect(&client.first()).bytes());
        challenge(&server.received());
        // 4,097 bytes in all, of which the header is enough.
        server.send(&[0xF0, 0xFE, 0x1F]);
        assert_eq!(server.events(), refusal(Reason::PacketTooLarge));
        assert_eq!(server.received(), refused(0x95));
        let long = Client::new(&"x".repeat(1_000), "user");
        server.connect(&connect(&long.first()).bytes());
        assert_eq!(server.received(), refused(0x87), "a message over 1,024 bytes");
    });
}

/// [MQTT-3.1.2-24]
#[test]
fn client_that_does_not_take_the_challenge_is_refused() {
    at_every_split(|server| {
        server.access = access();
        let connect = connect(&Client::user().first());
        server.connect(&connect.property(&[0x27, 0, 0, 0, 60]).bytes());
        assert_eq!(server.events(), refusal(Reason::PacketTooLarge));
        assert_eq!(server.received(), refused(0x95));
    });
}

/// [MQTT5 4.12.1]: messages go on meanwhile.
#[test]
fn client_may_be_authenticated_again_while_it_is_served() {
    at_every_split(|server| {
        authenticated(server);
        for _ in 0..2 {
            let client = Client::user();
            server.send(&auth(REAUTHENTICATE, METHOD, &client.first()));
            let (last, answer) = client.last(&challenge(&server.received()));
            server.deliver("t", b"x", AtLeastOnce);
            let message = server.received();
            assert_eq!(message[0], 0x32);
            server.send(&ack(PUBACK, u16::from_be_bytes([message[5], message[6]])));
            server.send(PINGREQ);
            assert_eq!(server.events(), [Seen::Ping]);
            assert_eq!(server.received(), PINGRESP);
            server.send(&auth(CONTINUE, METHOD, &last));
            assert_eq!(server.received(), auth(SUCCESS, METHOD, &answer));
            assert_eq!(server.events(), [Seen::Authenticated]);
        }
        // It may leave its first message to the second AUTH, too.
        let client = Client::user();
        server.send(&auth(REAUTHENTICATE, METHOD, b""));
        assert_eq!(server.received(), auth(CONTINUE, METHOD, b""));
        server.send(&auth(CONTINUE, METHOD, &client.first()));
        let (last, _) = client.last(&challenge(&server.received()));
        server.send(&auth(CONTINUE, METHOD, &last));
        assert_eq!(server.events(), [Seen::Authenticated]);
    });
}

/// [MQTT-4.12.1-2]
#[test]
fn who_is_not_himself_any_more_is_disconnected() {
    for client in [Client::new("user", "other"), Client::new("other", "other")] {
        at_every_split(|server| {
            authenticated(server);
            server.send(&auth(REAUTHENTICATE, METHOD, &client.first()));
            let (last, _) = client.last(&challenge(&server.received()));
            server.send(&auth(CONTINUE, METHOD, &last));
            assert_eq!(server.events(), [Seen::Failed(Reason::NotAuthorized)]);
            assert_eq!(server.received(), disconnected(0x87));
        });
    }
}

/// [MQTT-4.12.1-1] the same method; and in order.
#[test]
fn reauthentication_out_of_order_or_by_another_method_is_a_protocol_error() {
    let first = Client::user().first();
    let cases: [&[(u8, &str, &[u8])]; 5] = [
        &[(REAUTHENTICATE, "SCRAM-SHA-1", &first)],
        &[(CONTINUE, METHOD, &first)],
        &[(SUCCESS, METHOD, &first)],
        &[(REAUTHENTICATE, METHOD, &first), (REAUTHENTICATE, METHOD, &first)],
        &[(REAUTHENTICATE, METHOD, b""), (CONTINUE, "other", &first)],
    ];
    for packets in cases {
        at_every_split(|server| {
            authenticated(server);
            for (reason, method, data) in packets {
                server.send(&auth(*reason, method, data));
            }
            assert_eq!(server.events(), [Seen::Failed(Reason::ProtocolError)]);
            assert!(server.received().ends_with(&disconnected(0x82)));
        });
    }
}

/// [MQTT-4.12.0-6] [MQTT-4.12.0-7]
#[test]
fn client_that_connected_without_a_method_must_not_send_auth() {
    at_every_split(|server| {
        server.access = access();
        server.open(&Connect::v5());
        server.send(&auth(REAUTHENTICATE, METHOD, &Client::user().first()));
        assert_eq!(server.events(), [Seen::Failed(Reason::ProtocolError)]);
        assert_eq!(server.received(), disconnected(0x82), "and no AUTH before it");
    });
}
