//! A member of a shared subscription. One of them stays; the others come and go: they unsubscribe, begin their session
//! anew, or let it expire, and leave to the others what they were owed.

use std::collections::BTreeSet;

use push_tests::ledger::{Delivery, Ledger, message};
use push_tests::wire::{self, PUBACK, PUBCOMP, PUBREC, PUBREL, Packet, Publish, Version};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::link::Link;

/// What members subscribe to, and the same without its group.
pub(crate) const SHARED: &str = "$share/members/s/#";
pub(crate) const SHARED_TOPICS: &str = "s/#";

/// From here on a code says that it was not done, and the member asks again: the disk fails.
const REFUSED: u8 = 0x80;

/// How long the sessions of those last that go.
const EXPIRIES_SECS: [u32; 4] = [0, 2, 10, 24 * 3_600];

/// A member's state, which outlives its connections as the server's does.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) version: Version,
    group: usize,
    stay: Stay,
    is_subscribed: bool,
    asked: Option<Asked>,
    packet_id: u16,
    unreleased: BTreeSet<u16>,
    had_session: bool,
    /// No CONNACK has come for its last CONNECT.
    is_unheard: bool,
    /// Its acknowledgements wait for the next flush, or for one after that.
    acks: Vec<Vec<u8>>,
}

/// How long a member is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    /// Always.
    Always,
    /// Its session may end whenever it likes, but not with its connection.
    Durable,
    /// It may end with its connection: what such a session was owed is in no store, and a crash loses it.
    Brief,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    packet_id: u16,
    qos: Option<u8>,
}

impl Member {
    pub(crate) fn new(number: u32, version: Version, group: usize, stay: Stay) -> Self {
        Self {
            name: format!("member-{number}"),
            version,
            group,
            stay,
            is_subscribed: false,
            asked: None,
            packet_id: 0,
            unreleased: BTreeSet::new(),
            had_session: false,
            is_unheard: false,
            acks: Vec::new(),
        }
    }

    fn stays(&self) -> bool {
        self.stay == Stay::Always
    }

    /// It connects: whether its session begins anew, and how long that lasts; `None`: as long as others.
    /// It does begin anew where no CONNACK has come that would have said whether its last session has ended: what it would
    /// find now may be one that it knows nothing of.
    pub(crate) fn choose_session(&mut self, rng: &mut SmallRng) -> (bool, Option<u32>) {
        let is_unheard = std::mem::replace(&mut self.is_unheard, true);
        let expiries = match self.stay {
            Stay::Always => return (false, None),
            Stay::Durable => &EXPIRIES_SECS[1..],
            Stay::Brief => &EXPIRIES_SECS[..],
        };
        let expiry_secs = expiries[rng.random_range(0..expiries.len())];
        // In 3.1.1 a clean session ends with its connection.
        let may_begin_anew = self.version == Version::V5 || self.stay == Stay::Brief;
        (may_begin_anew && (rng.random_bool(0.3) || is_unheard), Some(expiry_secs))
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        let is_there = self.is_subscribed || !self.stays();
        is_there && self.asked.is_none() && self.acks.is_empty() && self.unreleased.is_empty()
    }

    /// CONNACK came.
    pub(crate) fn begin(&mut self, ledger: &mut Ledger, clean: bool, present: bool) {
        self.is_unheard = false;
        if self.stays() {
            ledger.connected(&self.name, clean, present);
        }
        self.asked = None;
        self.acks.clear();
        if !present {
            if std::mem::take(&mut self.had_session) {
                ledger.member_ended(self.group);
            }
            self.is_subscribed = false;
            self.unreleased.clear();
        }
        self.had_session = true;
    }

    /// Asks for what it wants next, and sends acknowledgements; some of them later, while there is `load`.
    pub(crate) fn go_on(&mut self, link: &mut Link, is_load: bool, rng: &mut SmallRng) {
        let said = if is_load && rng.random_bool(0.4) { self.acks.len() / 2 } else { usize::MAX };
        let said = said.min(self.acks.len());
        self.acks.drain(..said).for_each(|ack| link.say(&ack));
        if self.asked.is_some() {
            return;
        }
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        let packet_id = self.packet_id;
        if self.is_subscribed {
            if is_load && !self.stays() && rng.random_bool(0.05) {
                self.asked = Some(Asked { packet_id, qos: None });
                link.say(&wire::unsubscribe(self.version, packet_id, &[SHARED]));
            }
        } else if self.stays() || (is_load && rng.random_bool(0.5)) {
            let qos = rng.random_range(1..=2);
            self.asked = Some(Asked { packet_id, qos: Some(qos) });
            link.say(&wire::subscribe(self.version, packet_id, &[(SHARED, qos)]));
        }
    }

    pub(crate) fn hear(&mut self, ledger: &mut Ledger, link: &Link, packet: &Packet) {
        match packet {
            Packet::Publish(publish) => self.take(ledger, publish),
            Packet::Ack { kind: PUBREL, packet_id, .. } => {
                self.unreleased.remove(packet_id);
                self.acks.push(wire::ack(PUBCOMP, *packet_id));
            }
            Packet::Suback { packet_id, codes } | Packet::Unsuback { packet_id, codes } => {
                let asked = self.asked.take_if(|asked| asked.packet_id == *packet_id);
                self.answered(ledger, asked, codes);
            }
            Packet::Disconnect { .. } if link.is_accepted => {}
            other => self.fault(ledger, &format!("what is {other:?}?")),
        }
    }

    fn answered(&mut self, ledger: &mut Ledger, asked: Option<Asked>, codes: &[u8]) {
        match (asked.map(|asked| asked.qos), codes) {
            (Some(_), [code]) if *code >= REFUSED => {}
            (Some(Some(qos)), [code]) if *code == qos => {
                self.is_subscribed = true;
                if self.stays() {
                    ledger.promised(&self.name);
                    ledger.group_is_served(self.group);
                }
            }
            (Some(None), [] | [0 | 0x11]) => self.is_subscribed = false,
            (asked, codes) => {
                self.fault(ledger, &format!("asked for {asked:?}, and heard {codes:02x?}"));
            }
        }
    }

    fn take(&mut self, ledger: &mut Ledger, publish: &Publish) {
        let id = match message::read(&publish.payload) {
            Ok(id) => id,
            Err(text) => return self.fault(ledger, &format!("{text} ({publish:?})")),
        };
        let Publish { qos, retain, dup, packet_id, .. } = *publish;
        if qos < 2 || self.unreleased.insert(packet_id) {
            let topic = &publish.topic;
            let delivery = Delivery { id: Some(id), topic, qos, retain, dup, packet_id };
            ledger.member_delivered(self.group, &self.name, &delivery);
        }
        match qos {
            0 => {}
            1 => self.acks.push(wire::ack(PUBACK, packet_id)),
            _ => self.acks.push(wire::ack(PUBREC, packet_id)),
        }
    }

    fn fault(&self, ledger: &mut Ledger, text: &str) {
        ledger.fault(format_args!("{}: {text}", self.name));
    }
}
