//! Who a client is may be answered later. Until then its handshake waits, and so does what it sends.

use push_server::access::scram::METHOD;
use push_server::access::{Denial, Identity, Verdict};
use push_server::mqtt::codec::Reason;

use crate::scram::{self, CONTINUE, Client, REAUTHENTICATE, access, auth, challenge};
use crate::server::{Seen, Server, at_every_split};
use crate::wire::{Connect, PINGREQ, PINGRESP, disconnected, refused, text};

fn allowed() -> Verdict {
    Verdict::Allowed(Identity::default(), None)
}

fn allowed_as(user: &str) -> Verdict {
    Verdict::Allowed(Identity::of_user(user.into()), None)
}

/// CONNECT with a user name and a password, as level 4 and 5 have it.
fn with_password(level: u8) -> Connect {
    let mut connect = if level == 5 { Connect::v5() } else { Connect::v311() };
    connect.flags |= 0xC0;
    connect.rest = [text("ada"), text("pencil")].concat();
    connect
}

#[test]
fn what_a_client_offers_is_handed_on_once() {
    for level in [4, 5] {
        at_every_split(|server| {
            server.answers_late = true;
            server.connect(&with_password(level).bytes());
            let asked = server.asked.take().expect("a question");
            assert_eq!(asked.user_name.as_deref(), Some("ada"));
            assert_eq!(asked.password.as_ref().map(|word| word.bytes()), Some(&b"pencil"[..]));
            assert!(asked.proof.is_none());
            assert_eq!(server.received(), [0; 0], "it waits");
            server.answer(allowed_as("ada"));
            assert_eq!(server.received()[3], 0, "accepted");
            assert_eq!(server.session.as_ref().expect("a session").user(), Some("ada"));
        });
    }
}

#[test]
fn what_a_client_sends_meanwhile_waits_for_the_answer() {
    at_every_split(|server| {
        server.answers_late = true;
        server.connect(&[&Connect::v311().bytes()[..], PINGREQ].concat());
        server.send(PINGREQ);
        assert_eq!((server.received(), server.events()), (vec![], vec![]));
        server.answer(allowed());
        assert_eq!(server.received(), [&[0x20, 2, 0, 0][..], PINGRESP, PINGRESP].concat());
        assert_eq!(server.events(), [Seen::Ping, Seen::Ping]);
    });
}

#[test]
fn a_denial_is_told_by_the_code_of_the_protocol_and_no_other() {
    for (denial, reason, code) in [
        (Denial::NoProof, Reason::NotAuthorized, 5),
        (Denial::UnknownUser, Reason::NotAuthorized, 5),
        (Denial::WrongPassword, Reason::NotAuthorized, 5),
        (Denial::Busy, Reason::ServerBusy, 3),
        (Denial::Unanswered, Reason::ServerUnavailable, 3),
    ] {
        at_every_split(|server| {
            server.answers_late = true;
            for level in [4, 5] {
                server.connect(&with_password(level).bytes());
                server.answer(Verdict::Refused(denial));
                let told = if level == 5 { refused(reason as u8) } else { vec![0x20, 2, 0, code] };
                assert_eq!(server.received(), told);
                assert_eq!(server.events(), [Seen::Refused(reason)]);
                assert!(server.session.is_none());
            }
        });
    }
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    at_every_split(|server| {
        server.answers_late = true;
        let client = Client::user();
        server.connect(&scram::connect(&client.first()).bytes());
        let asked = server.asked.take().expect("a question");
        let verdict = access().verdict(&asked);
        server.answer(verdict);
        let (last, _) = client.last(&challenge(&server.received()));
        // The client is to go on, not the answerer.
        server.answer(allowed_as("user"));
        assert_eq!((server.received(), server.events()), (vec![], vec![]));
        server.send(&auth(CONTINUE, METHOD, &last));
        let asked = server.asked.take().expect("a question");
        server.answer(access().verdict(&asked));
        assert_eq!(server.received()[3], 0, "accepted");
        server.answer(Verdict::Refused(Denial::WrongPassword));
        server.send(PINGREQ);
        assert_eq!(server.received(), PINGRESP);
    });
}

#[test]
fn an_exchange_with_late_answers_goes_as_one_with_early_ones() {
    at_every_split(|server| {
        server.answers_late = true;
        let client = Client::user();
        let answer = |server: &mut Server| {
            let asked = server.asked.take().expect("a question");
            server.answer(access().verdict(&asked));
        };
        server.connect(&scram::connect(b"").bytes());
        answer(server);
        assert_eq!(server.received(), auth(CONTINUE, METHOD, b""));
        server.send(&auth(CONTINUE, METHOD, &client.first()));
        answer(server);
        let (last, _) = client.last(&challenge(&server.received()));
        server.send(&auth(CONTINUE, METHOD, &last));
        answer(server);
        assert_eq!(server.received()[3], 0, "accepted");
        // Once more, while everything else goes on.
        let again = Client::user();
        server.send(&auth(REAUTHENTICATE, METHOD, &again.first()));
        server.send(PINGREQ);
        assert_eq!(server.received(), PINGRESP);
        answer(server);
        let (last, _) = again.last(&challenge(&server.received()));
        server.send(&auth(CONTINUE, METHOD, &last));
        assert_eq!(server.received(), [0; 0]);
        answer(server);
        assert!(server.events().contains(&Seen::Authenticated));
        // As somebody else, whatever the answerer thinks of that.
        server.send(&auth(REAUTHENTICATE, METHOD, &again.first()));
        server.received();
        server.answer(allowed_as("other"));
        assert!(server.received().ends_with(&disconnected(0x87)));
    });
}

#[test]
fn a_client_that_sends_auth_while_its_answer_is_awaited_breaks_the_protocol() {
    at_every_split(|server| {
        let client = Client::user();
        server.access = access();
        server.connect(&scram::connect(&client.first()).bytes());
        let (last, _) = client.last(&challenge(&server.received()));
        server.send(&auth(CONTINUE, METHOD, &last));
        server.received();
        server.answers_late = true;
        server.send(&auth(REAUTHENTICATE, METHOD, &client.first()));
        server.send(&auth(REAUTHENTICATE, METHOD, &client.first()));
        assert_eq!(server.received(), disconnected(0x82));
    });
}
