//! The witness: subscribes to all wills, and passes on which ones came.

use std::collections::BTreeSet;

use push_tests::ledger::Ledger;
use push_tests::ledger::message::{self, MessageId};
use push_tests::wire::{self, PUBACK, PUBCOMP, PUBREC, PUBREL, Packet};

use crate::link::Link;

/// Its state, which outlives its connections.
#[derive(Default)]
pub(crate) struct Witness {
    pub(crate) is_subscribed: bool,
    pub(crate) unreleased: BTreeSet<u16>,
    pub(crate) seen: Vec<MessageId>,
}

impl Witness {
    pub(crate) fn hear(&mut self, ledger: &mut Ledger, link: &mut Link, packet: Packet) {
        match packet {
            Packet::Suback { codes, .. } if codes == [2] => self.is_subscribed = true,
            Packet::Publish(publish) => {
                match publish.qos {
                    2 => link.say(&wire::ack(PUBREC, publish.packet_id)),
                    _ => link.say(&wire::ack(PUBACK, publish.packet_id)),
                }
                if publish.qos == 2 && !self.unreleased.insert(publish.packet_id) {
                    return;
                }
                match message::read(&publish.payload) {
                    Ok(id) => self.seen.push(id),
                    Err(text) => ledger.fault(format_args!("witness: {text}")),
                }
            }
            Packet::Ack { kind: PUBREL, packet_id, .. } => {
                self.unreleased.remove(&packet_id);
                link.say(&wire::ack(PUBCOMP, packet_id));
            }
            Packet::Disconnect { .. } => {}
            other => ledger.fault(format_args!("witness: what is {other:?}?")),
        }
    }
}
