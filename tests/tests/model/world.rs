//! One run: the event loop, and what must hold at every step and at the end.
//!
//! A client's segment passes `wire[0]`, the ingress hook and `host[0]`; the server's stack sends by
//! `host[1]`, the egress hook and `wire[1]`. A slow CPU may sit between its look at the slot and the
//! lock while others go on.

use std::collections::{BTreeMap, VecDeque};

use push_common::slot::SlotView;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::apps::{Packet, Parser, Todo, todos};
use crate::hooks::{Hooks, Ingress, Tally};
use crate::hops::Hops;
use crate::link::{Harm, Link, hit};
use crate::reassembly::Reassembly;
use crate::replay::Replayer;
use crate::scenario::{Ending, Faults, Scenario};
use crate::segment::{Fragment, Seg};
use crate::streams::{CONNACK, CONNECT, Pings, Streams};
use crate::tcp::Tcp;

const WIRE_LATENCY_US: u64 = 5_000;
const HOST_LATENCY_US: u64 = 10;
/// Once the adversary has left, everything must be done within so long.
const PROGRESS_US_MAX: u64 = 120_000_000;
/// A survivor of a lost RST finds out by a keep-alive probe.
const PROBE_EVERY_US: u64 = 5_000_000;
const STEPS_MAX: u64 = 5_000_000;
/// Chances in a thousand that a hook, or user space, is slow.
const SLOW: u32 = 150;

/// What a run has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) runs: u64,
    pub(crate) steps: u64,
    pub(crate) pings: u64,
    pub(crate) tally: Tally,
    pub(crate) harm: Harm,
}

impl Report {
    pub(crate) fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.pings += other.pings;
        self.tally.add(&other.tally);
        self.harm.add(&other.harm);
    }
}

/// What waits for its time besides segments and timers.
enum Later {
    /// A CPU that has looked at the slot takes the lock.
    Decide(Seg, SlotView),
    PublishRx(u64),
    PublishTx(u64),
    /// The handshake is over.
    Register,
    /// An ICMP error reaches the server's host: the number quoted, and the payload that fits.
    TooBig(u32, usize),
}

/// An application and its plan.
struct Side {
    tcp: Tcp,
    reassembly: Reassembly,
    todos: VecDeque<Todo>,
    next: u64,
    deaf_until: u64,
}

impl Side {
    /// When the plan goes on, or its last pause ends.
    fn wants(&self, now: u64) -> Option<u64> {
        (!self.todos.is_empty() || self.next > now).then_some(self.next)
    }

    fn on_segment(&mut self, now: u64, segment: Seg) {
        if let Some(segment) = self.reassembly.take(segment) {
            self.tcp.on_segment(now, &segment);
        }
    }
}

struct World {
    rng: SmallRng,
    now: u64,
    client: Side,
    server: Side,
    pings: Pings,
    /// What the server says before CONNACK, as a handshake of a layer around MQTT does.
    handshake_bytes: usize,
    hooks: Hooks,
    hops: Hops,
    wire: [Link; 2],
    host: [Link; 2],
    replayer: Replayer,
    /// Chances in a thousand for each segment of the client.
    replay: u32,
    later: BTreeMap<(u64, u64), Later>,
    serial: u64,
    streams: Streams,
    parser: Parser,
    answers: Vec<u8>,
    in_frame: bool,
    path_mtu: Option<(u64, usize)>,
    /// Chances in a thousand that an ICMP error is lost.
    icmp_loss: u32,
    /// When the stack has last sent something, by which connection tracking knows the connection.
    stack_heard_at: u64,
    ending: Ending,
    ended: bool,
    heal_at: Option<u64>,
    healed_at: Option<u64>,
    iss: [u32; 2],
    /// What has happened, where somebody wants to know.
    trace: Option<Vec<String>>,
}

/// Runs a scenario to its end; an error tells what broke, and when.
pub(crate) fn run(scenario: &Scenario) -> Result<Report, String> {
    run_in(&mut World::new(scenario))
}

/// The same, for what happened on the way.
pub(crate) fn trace(scenario: &Scenario) -> Vec<String> {
    let mut world = World { trace: Some(Vec::new()), ..World::new(scenario) };
    let _ = run_in(&mut world);
    world.trace.unwrap_or_default()
}

fn run_in(world: &mut World) -> Result<Report, String> {
    let mut steps = 0;
    let result = loop {
        match world.step() {
            Ok(true) => steps += 1,
            Ok(false) => break Ok(()),
            Err(fault) => break Err(format!("after {steps} steps, {} us: {fault}", world.now)),
        }
        if steps > STEPS_MAX {
            break Err(format!("no end after {steps} steps"));
        }
    };
    let mut harm = Harm::default();
    world.wire.iter().chain(&world.host).for_each(|link| harm.add(&link.harm));
    harm.replayed += world.replayer.replayed;
    let pings = world.streams.pings.len() as u64;
    result.map(|()| Report { runs: 1, steps, pings, tally: world.hooks.tally, harm })
}

impl World {
    fn new(scenario: &Scenario) -> Self {
        let mut rng = SmallRng::seed_from_u64(scenario.seed);
        let [a, b] = scenario.before_wrap;
        let iss = [0_u32.wrapping_sub(a), 0_u32.wrapping_sub(b)];
        let room = [3_000, 20_000, 60_000, 1 << 20];
        let mut side = |iss, irs, acts: &[_]| Side {
            tcp: Tcp::new(iss, irs, room[rng.random_range(0..room.len())], scenario.timestamps),
            reassembly: Reassembly::default(),
            todos: todos(acts, scenario.pings, || rng.random_range(0..300_000)),
            next: 0,
            deaf_until: 0,
        };
        let client = side(iss[0], iss[1], &scenario.client);
        let server = side(iss[1], iss[0], &scenario.server);
        let link = |faults, latency| [Link::new(faults, latency), Link::new(faults, latency)];
        // Nothing flips bits between a stack and its own hooks.
        let host = Faults { corrupt: 0, stale: 0, ..scenario.host };
        let mut world = Self {
            rng,
            now: 0,
            client,
            server,
            pings: scenario.pings,
            handshake_bytes: scenario.handshake_bytes,
            hooks: Hooks::new(scenario.silence_secs_max, scenario.pings),
            hops: Hops::new(scenario.seed),
            wire: link(scenario.wire, WIRE_LATENCY_US),
            host: [
                // Between its hook and a stack nothing is cut.
                Link::new(Faults { fragment: 0, ..host }, HOST_LATENCY_US),
                Link::new(host, HOST_LATENCY_US),
            ],
            replayer: Replayer::new(iss[0], scenario.pings),
            replay: scenario.wire.replay,
            later: BTreeMap::new(),
            serial: 0,
            streams: Streams::new(scenario.pings),
            parser: Parser::new(scenario.pings),
            answers: Vec::new(),
            in_frame: false,
            path_mtu: scenario.path_mtu,
            icmp_loss: scenario.wire.drop,
            stack_heard_at: 0,
            ending: scenario.ending,
            ended: false,
            heal_at: None,
            healed_at: None,
            iss,
            trace: None,
        };
        world.client_writes(&CONNECT);
        world
    }

    /// The next event and all that follows from it at once; whether the run goes on.
    fn step(&mut self) -> Result<bool, String> {
        self.settle()?;
        if self.is_done() {
            return Ok(false);
        }
        let Some(at) = self.next_event() else { return self.nothing_left() };
        self.now = self.now.max(at);
        if self.healed_at.is_some_and(|healed| self.now > healed + PROGRESS_US_MAX) {
            self.streams.check_complete()?;
            return Err("no end, though the network is good".into());
        }
        self.happen(at)?;
        // Not the server's: bytes that it sends right behind an answer of the programs may be acknowledged together with
        // that, which bears the stack's last timestamp.
        self.client.tcp.false_echo.take().map_or(Ok(true), Err)
    }

    fn next_event(&self) -> Option<u64> {
        let links = self.wire.iter().chain(&self.host).filter_map(Link::next);
        let later = self.later.keys().next().map(|(at, _)| *at);
        let plans =
            [self.client.wants(self.now), self.server.wants(self.now).filter(|_| self.may_serve())];
        let timers = [self.client.tcp.next_timer(), self.server.tcp.next_timer()];
        let deaf = [self.client.deaf_until, self.server.deaf_until];
        let deaf = deaf.into_iter().filter(|until| *until > self.now);
        let heal = self.heal_at.filter(|_| self.healed_at.is_none());
        let others = [later, heal].into_iter().chain(plans).chain(timers).flatten();
        links.chain(others).chain(deaf).min()
    }

    fn happen(&mut self, at: u64) -> Result<(), String> {
        let is_due = |time: Option<u64>| time.is_some_and(|time| time <= at);
        if is_due(self.later.keys().next().map(|(at, _)| *at)) {
            return match self.later.pop_first().map(|(_, later)| later) {
                Some(Later::Decide(segment, view)) => self.decide(&view, segment),
                Some(Later::PublishRx(rx)) => {
                    self.hooks.rx = self.hooks.rx.max(rx);
                    Ok(())
                }
                Some(Later::PublishTx(tx)) => {
                    self.hooks.tx = self.hooks.tx.max(tx);
                    Ok(())
                }
                Some(Later::Register) => {
                    self.register();
                    Ok(())
                }
                Some(Later::TooBig(seq, payload_bytes)) => {
                    let seq = self.hooks.quoted(seq);
                    self.server.tcp.on_too_big(self.now, seq, payload_bytes);
                    Ok(())
                }
                None => Ok(()),
            };
        }
        if is_due(self.host[0].next()) {
            if let Some(segment) = self.host[0].take() {
                self.note("stack gets", &segment);
                self.server.on_segment(self.now, segment);
            }
        } else if is_due(self.host[1].next()) {
            if let Some(segment) = self.host[1].take() {
                if is_headless(&segment) {
                    self.wire[1].send(&mut self.rng, self.now, segment);
                    return Ok(());
                }
                self.note("egress sees", &segment);
                self.stack_heard_at = self.now;
                let (facts, neighbour) = (self.server.tcp.facts(), self.hops.outward());
                let passed = self.hooks.egress(self.now, &facts, segment, neighbour);
                self.note_flow();
                if let Some(segment) = passed {
                    self.replayer.hear_taken(segment.ts_ecr);
                    self.forward(segment);
                }
            }
        } else if is_due(self.wire[0].next()) {
            if let Some(segment) = self.wire[0].take() {
                if is_headless(&segment) {
                    self.host[0].send(&mut self.rng, self.now, segment);
                    return Ok(());
                }
                let view = self.hooks.view(self.now);
                if hit(&mut self.rng, SLOW) {
                    let nap = self.rng.random_range(0..10_000);
                    self.do_later(nap, Later::Decide(segment, view));
                } else {
                    self.decide(&view, segment)?;
                }
            }
        } else if is_due(self.wire[1].next()) {
            if let Some(segment) = self.wire[1].take() {
                self.note("client gets", &segment);
                self.client.on_segment(self.now, segment);
            }
        } else if is_due(self.client.tcp.next_timer()) {
            self.client.tcp.on_timer(self.now);
        } else if is_due(self.server.tcp.next_timer()) {
            self.server.tcp.on_timer(self.now);
        } else if is_due(self.client.wants(self.now)) {
            self.client_acts();
        } else if self.may_serve() && is_due(self.server.wants(self.now)) {
            self.server_acts();
        } else if is_due(self.heal_at) && self.healed_at.is_none() {
            self.healed_at = Some(self.now);
            self.wire.iter_mut().chain(&mut self.host).for_each(Link::heal);
            (self.replay, self.icmp_loss) = (0, 0);
        }
        Ok(())
    }

    /// Rule 12: connection tracking on the server's host sees nothing of a ping that is answered.
    fn check_silence(&self, view: &SlotView) -> Result<(), String> {
        // The splice counts whole seconds.
        let most_us = u64::from(view.silence_secs_max + 1) * 1_000_000;
        let silence_us = self.now - self.stack_heard_at;
        if view.silence_secs_max > 0 && silence_us > most_us {
            return Err(format!(
                "a ping was answered when the stack had been silent for {silence_us} us"
            ));
        }
        Ok(())
    }

    /// A router on the way to the client drops what is too large, and says so.
    fn forward(&mut self, segment: Seg) {
        match self.path_mtu {
            Some((from, payload_bytes_max))
                if from <= self.now && segment.payload.len() > payload_bytes_max =>
            {
                self.note("too big", &segment);
                if !hit(&mut self.rng, self.icmp_loss) {
                    self.do_later(WIRE_LATENCY_US, Later::TooBig(segment.seq, payload_bytes_max));
                }
            }
            _ => self.wire[1].send(&mut self.rng, self.now, segment),
        }
    }

    /// The ingress program, from the lock on.
    fn decide(&mut self, view: &SlotView, segment: Seg) -> Result<(), String> {
        self.note("ingress sees", &segment);
        let ts_val = segment.ts_val;
        let (to, answer) = self.hooks.ingress(self.now, view, segment, self.hops.inward());
        self.note_flow();
        if let Some(answer) = answer {
            self.replayer.hear_taken(ts_val);
            let request = answer.request.wrapping_sub(self.iss[0]);
            let response = answer.response.wrapping_sub(self.iss[1]);
            self.streams.answer(request.into(), response.into())?;
            self.check_silence(view)?;
        }
        match to {
            Ingress::ToStack(segment) => self.host[0].send(&mut self.rng, self.now, segment),
            Ingress::ToClient(segment, next_hop) => {
                self.hops.check(next_hop)?;
                self.wire[1].send(&mut self.rng, self.now, segment);
            }
            Ingress::Gone => {}
        }
        Ok(())
    }

    /// Applications read and answer what there is; what the stacks want sent goes out.
    fn settle(&mut self) -> Result<(), String> {
        if self.client.deaf_until <= self.now {
            let read = self.client.tcp.read(self.now, usize::MAX);
            self.streams.client_read(&read)?;
        }
        if self.server.deaf_until <= self.now {
            let read = self.server.tcp.read(self.now, usize::MAX);
            self.streams.server_read(&read)?;
            self.server_parses(&read)?;
        }
        if !self.in_frame && !self.answers.is_empty() && self.hooks.is_registered() {
            let answers = std::mem::take(&mut self.answers);
            self.server_writes(&answers, true);
        }
        self.end();
        if self.hooks.is_registered() {
            self.hooks.arm(self.now, self.server.tcp.out_of_order);
        }
        for segment in self.client.tcp.take_outgoing() {
            self.replayer.hear(&segment);
            self.wire[0].send(&mut self.rng, self.now, segment);
            if hit(&mut self.rng, self.replay)
                && let Some(segment) = self.replayer.replay(&mut self.rng)
            {
                self.wire[0].send(&mut self.rng, self.now, segment);
            }
        }
        for segment in self.server.tcp.take_outgoing() {
            self.host[1].send(&mut self.rng, self.now, segment);
        }
        Ok(())
    }

    fn server_parses(&mut self, read: &[u8]) -> Result<(), String> {
        self.parser.push(read);
        let before = self.parser.parsed;
        while let Some(packet) = self.parser.next()? {
            match packet {
                Packet::Connect if self.handshake_bytes > 0 => {
                    let handshake = vec![b'h'; self.handshake_bytes];
                    self.server_writes(&handshake, true);
                    let nap = self.nap();
                    self.do_later(nap, Later::Register);
                }
                Packet::Connect => self.register(),
                Packet::Ping => self.answers.extend(self.pings.response()),
                Packet::Frame => {}
            }
        }
        if self.parser.parsed > before && self.hooks.is_registered() {
            let nap = self.nap();
            self.do_later(nap, Later::PublishRx(self.parser.parsed));
        }
        Ok(())
    }

    fn register(&mut self) {
        self.hooks.register(self.parser.parsed, self.server.tcp.written());
        self.hooks.tx = self.server.tcp.written();
        // Ahead of answers to what came behind CONNECT.
        self.answers.splice(0..0, CONNACK);
    }

    fn client_writes(&mut self, bytes: &[u8]) {
        self.streams.client.extend_from_slice(bytes);
        self.client.tcp.write(self.now, bytes);
    }

    fn server_writes(&mut self, bytes: &[u8], ends_frame: bool) {
        // What comes after our end is not answered.
        if !self.server.tcp.can_write() {
            return;
        }
        self.streams.server_writes(bytes, ends_frame);
        self.server.tcp.write(self.now, bytes);
        self.in_frame = !ends_frame;
        if ends_frame {
            let nap = self.nap();
            self.do_later(nap, Later::PublishTx(self.server.tcp.written()));
        }
    }

    fn client_acts(&mut self) {
        let now = self.now;
        let side = &mut self.client;
        match side.todos.pop_front() {
            Some(Todo::Wait { micros }) => side.next = now + micros,
            Some(Todo::Probe) => side.tcp.probe(now),
            Some(Todo::Deaf { micros }) => side.deaf_until = now + micros,
            Some(Todo::Write { bytes, is_ping, .. }) if side.tcp.can_write() => {
                if is_ping {
                    self.streams.pings.insert(side.tcp.written());
                }
                self.client_writes(&bytes);
            }
            Some(Todo::Write { .. }) | None => {}
        }
    }

    fn server_acts(&mut self) {
        let now = self.now;
        let side = &mut self.server;
        match side.todos.pop_front() {
            Some(Todo::Wait { micros }) => side.next = now + micros,
            Some(Todo::Probe) => side.tcp.probe(now),
            Some(Todo::Deaf { micros }) => side.deaf_until = now + micros,
            Some(Todo::Write { bytes, ends_frame, .. }) => self.server_writes(&bytes, ends_frame),
            None => {}
        }
    }

    /// The server publishes to clients that it has accepted.
    fn may_serve(&self) -> bool {
        self.hooks.is_registered()
    }

    /// Both plans are done: ends the connection as the scenario says, and soon after the adversary
    /// goes. Then each side closes when it has read the other's end.
    fn end(&mut self) {
        let (now, ending) = (self.now, self.ending);
        let client_done = self.client.todos.is_empty() && self.client.next <= now;
        let server_done = self.server.todos.is_empty() && self.server.next <= now;
        if ending == Ending::HalfClose && client_done && self.may_serve() {
            self.client.tcp.shutdown(now);
        }
        if !self.ended && client_done && server_done && self.may_serve() && self.answers.is_empty()
        {
            self.ended = true;
            self.heal_at = Some(now + self.rng.random_range(0..2_000_000));
            match ending {
                Ending::Open | Ending::HalfClose => {}
                Ending::ClientCloses => self.client.tcp.shutdown(now),
                Ending::ServerCloses => self.server_closes(),
                Ending::BothClose => {
                    self.client.tcp.shutdown(now);
                    self.server_closes();
                }
                Ending::ClientResets => self.client.tcp.abort(now),
                Ending::ServerResets => {
                    self.hooks.close();
                    self.server.tcp.abort(now);
                }
            }
        }
        if self.ended && self.client.tcp.at_end() {
            self.client.tcp.shutdown(now);
        }
        if self.ended && self.server.tcp.at_end() && self.answers.is_empty() {
            self.server_closes();
        }
        if self.server.tcp.reset.is_some() {
            self.hooks.close();
        }
    }

    fn server_closes(&mut self) {
        self.hooks.close();
        self.server.tcp.shutdown(self.now);
    }

    fn is_done(&self) -> bool {
        let (client, server) = (&self.client.tcp, &self.server.tcp);
        self.healed_at.is_some()
            && match self.ending {
                Ending::Open => {
                    client.is_drained()
                        && server.is_drained()
                        && self.streams.check_complete().is_ok()
                }
                Ending::ClientResets | Ending::ServerResets => {
                    client.reset.is_some() && server.reset.is_some()
                }
                // A side that closes drops what it has not read or answered.
                _ => client.is_over() && server.is_over() && self.is_lawful_end(),
            }
    }

    /// After a close by both sides everything written before it has been read.
    fn is_lawful_end(&self) -> bool {
        let both = [&self.client.tcp, &self.server.tcp];
        both.iter().all(|tcp| tcp.reset.is_none()) && self.streams.check_complete().is_ok()
    }

    /// No event is left: only a survivor of a lost RST may be waiting.
    fn nothing_left(&mut self) -> Result<bool, String> {
        let resets = matches!(self.ending, Ending::ClientResets | Ending::ServerResets);
        if !resets || self.healed_at.is_none() {
            self.streams.check_complete()?;
            return Err(format!("nothing goes on, and it is not over: {:?}", self.ending));
        }
        self.now += PROBE_EVERY_US;
        self.client.tcp.probe(self.now);
        self.server.tcp.probe(self.now);
        Ok(true)
    }

    fn note(&mut self, what: &str, segment: &Seg) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {what} {segment}", self.now));
        }
    }

    fn note_flow(&mut self) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("    {}", self.hooks.flow_in_words()));
        }
    }

    fn nap(&mut self) -> u64 {
        if hit(&mut self.rng, SLOW) { self.rng.random_range(0..20_000) } else { 0 }
    }

    fn do_later(&mut self, nap: u64, later: Later) {
        self.serial += 1;
        self.later.insert((self.now + nap, self.serial), later);
    }
}

/// No ports: the programs cannot tell whose it is.
fn is_headless(segment: &Seg) -> bool {
    matches!(segment.fragment, Some(Fragment::Last { .. }))
}
