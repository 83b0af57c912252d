//! The ends of a run, and what is judged there: everything under way is brought to its end, and in the very end
//! everybody leaves.

use std::collections::BTreeMap;

use push_server::shard::simulation::World;
use push_tests::ledger::message;
use push_tests::wire::{self, PUBACK, Packet, Properties, Publish, Version};
use rand::rngs::SmallRng;

use super::{DRAIN_STEP, Run, hash};
use crate::actors::caller::Caller;
use crate::actors::device::PENDING_MAX;
use crate::actors::seat::{Client, Phase, Seat};
use crate::link::Link;
use crate::plan::Plan;

/// How often, before what is missing then is lost.
const DRAIN_STEPS_MAX: u32 = 400;

impl Run {
    /// Nothing new is begun, everything under way comes to an end, and is judged.
    pub(super) fn drain(&mut self) {
        self.heal_disk();
        self.abandoned.drain(..).for_each(|peer| peer.end());
        let until = self.world.now().after(PENDING_MAX);
        let mut rng = Plan::new(0, 0).rng();
        for _ in 0..DRAIN_STEPS_MAX {
            let moment = self.ledger.moment();
            for at in 0..self.seats.len() {
                self.act(at, Phase::Drain, &mut rng);
            }
            self.settle_all();
            let now = self.world.now();
            for device in &mut self.devices {
                device.all_is_written(now);
                device.listen(now, &mut self.ledger);
            }
            self.strangers.listen(&self.world, &mut self.ledger);
            self.strangers.answer_all();
            self.hear_caller();
            let rests = self.seats.iter().all(Seat::is_at_rest)
                && self.caller.is_at_rest()
                && self.strangers.is_at_rest()
                && self.ledger.missing() == 0
                // What came by a subscription that was just being made is not missing, and may still come.
                && self.ledger.moment() == moment;
            if rests && now > until {
                break;
            }
            self.world.advance(DRAIN_STEP);
        }
        self.settle_all();
        self.watch();
        for seat in self.seats.iter().filter(|seat| !seat.is_at_rest()) {
            let name = seat.client.name();
            self.ledger.fault(format_args!("{name}: it does not come to rest"));
        }
        self.hear_caller();
        self.caller.judge(&mut self.ledger);
        self.strangers.judge(&mut self.ledger);
        self.ledger.settle();
        self.devices.iter().for_each(|device| device.judge(&mut self.ledger));
        self.judge_retained();
        self.judge_owners();
    }

    /// Each client that is there has one connection, and no session is nobody's.
    fn judge_owners(&mut self) {
        let served = self.seats.iter().filter(|seat| seat.link.is_some()).count();
        let strangers = self.strangers.links().count();
        let served = (served + strangers) as u64;
        let sum = |gauge: fn(&World, u16) -> u64| -> u64 {
            (0..self.shards).map(|shard| gauge(&self.world, shard)).sum()
        };
        let open = sum(|world, shard| world.counters(shard).connections.value());
        if open != served {
            self.ledger.fault(format_args!("{served} clients have {open} connections"));
        }
        let sessions = sum(|world, shard| world.counters(shard).sessions.value());
        let clients = (self.seats.len() + self.devices.len() + strangers) as u64;
        if sessions > clients {
            self.ledger.fault(format_args!("{clients} clients have {sessions} sessions"));
        }
    }

    /// A new subscriber is sent what is retained.
    fn judge_retained(&mut self) {
        let mut rng = Plan::new(0, 0).rng();
        let mut found = BTreeMap::new();
        let Some(mut link) = self.visit("reader-of-retained", &mut rng) else { return };
        link.say(&wire::subscribe(Version::V311, 1, &[("r/#", 1)]));
        for _ in 0..DRAIN_STEPS_MAX {
            link.flush();
            self.settle_all();
            let mut is_quiet = true;
            while let Some(packet) = link.receive() {
                is_quiet = false;
                hash(&mut self.digest, &packet);
                let Packet::Publish(publish) = packet else { continue };
                link.say(&wire::ack(PUBACK, publish.packet_id));
                match message::read(&publish.payload) {
                    Ok(id) if publish.retain => {
                        found.insert(publish.topic, id);
                    }
                    _ => self.ledger.fault("a retained message that is none"),
                }
            }
            if is_quiet {
                break;
            }
        }
        self.ledger.judge_retained(&found);
        self.leave(link);
    }

    /// A client whose session ends with its connection.
    fn visit(&mut self, name: &str, rng: &mut SmallRng) -> Option<Link> {
        let connect = wire::connect(Version::V311, name, 0, true, None, &Properties::default());
        let mut link = Link::open(&mut self.world, self.shards, Version::V311, connect, rng);
        link.flush();
        self.settle_all();
        if let Some(Packet::Connack { code: 0, .. }) = link.receive() {
            return Some(link);
        }
        self.ledger.fault(format_args!("{name} could not connect"));
        None
    }

    fn leave(&mut self, mut link: Link) {
        link.say(&wire::disconnect());
        link.flush();
        link.peer.end();
        self.settle_all();
    }

    /// Every client goes for good; then nothing is left of them.
    pub(super) fn end(&mut self) {
        let mut rng = Plan::new(0, 0).rng();
        let mut names: Vec<String> =
            self.seats.iter().map(|seat| seat.client.name().to_owned()).collect();
        names.extend(self.devices.iter().map(|device| device.name.clone()));
        if let Some(mut link) = self.visit("janitor", &mut rng) {
            let topics = self.seats.iter().filter_map(|seat| match &seat.client {
                Client::Publisher(publisher) => Some(publisher.retained_topics()),
                _ => None,
            });
            for topic in topics.flatten().chain(Caller::retained_topics()) {
                let nothing = Publish { topic, retain: true, ..Publish::default() };
                link.say(&wire::publish(Version::V311, &nothing));
            }
            self.leave(link);
        }
        for seat in &mut self.seats {
            if let Some(link) = seat.link.take() {
                link.peer.end();
            }
        }
        self.strangers.leave();
        self.settle_all();
        for name in names {
            if let Some(link) = self.visit(&name, &mut rng) {
                self.leave(link);
            }
        }
        // What is tidied up now and then is, by then.
        for _ in 0..20 {
            self.world.advance(DRAIN_STEP);
            self.settle_all();
        }
        let leftovers = self.world.leftovers();
        if !leftovers.is_empty() {
            self.ledger.fault(format_args!("every client has gone, and left {leftovers:?}"));
        }
    }
}
