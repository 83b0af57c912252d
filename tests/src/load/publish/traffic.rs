//! One thread of publishers and sessions.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use mio::{Events, Interest, Poll, Token};

use super::super::connector::{self, Connector};
use super::super::crew::{Post, Span};
use super::super::frames::Frame;
use super::super::link::{Link, State};
use super::super::wire::{self, CONNACK, PUBACK, SUBACK, Version};
use super::counts::Counts;
use super::message::{Message, Template, topic};
use super::plan::Plan;

/// Events taken by one wake.
const EVENTS_PER_WAKE_MAX: usize = 1_024;
/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;
/// Bytes of messages written at a time.
const WRITE_BYTES: usize = 64 << 10;
/// The longest sleep while there may be something to do.
const SLEEP: Duration = Duration::from_millis(50);
/// How long to wait for further messages at the end.
const DRAIN_NS_MAX: u64 = 10_000_000_000;
/// How long goodbyes may take.
const LEAVE: Duration = Duration::from_millis(200);
/// Time whose messages a rate may save up.
const SAVED_NS_MAX: u64 = 20_000_000;

const GRANTED_QOS: u8 = 1;

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It waits for its turn to connect.
    Waiting,
    Connecting,
    /// CONNECT is sent.
    Greeting,
    /// SUBSCRIBE is sent.
    Subscribing,
    /// Subscribed and there.
    There,
    /// Subscribed; DISCONNECT is sent, the server's close awaited.
    Leaving,
    /// Subscribed and away.
    Away,
}

/// A session and its connection.
#[derive(Debug)]
struct Session {
    stage: Stage,
    since_ns: u64,
    link: Option<Link>,
}

/// A publisher with the times of its unacknowledged messages by packet id.
#[derive(Debug)]
struct Publisher {
    link: Link,
    sent_ns: Box<[u64]>,
    /// Free packet ids, less one.
    free: Vec<u16>,
    /// Messages left to send.
    quota: u64,
    /// The next message's session.
    session: usize,
}

/// The publishers and sessions of one thread.
pub(super) struct Traffic {
    plan: Arc<Plan>,
    thread: usize,
    /// Sessions have a poll of their own, which is read once in a tick.
    sessions_poll: Poll,
    publishers_poll: Poll,
    sessions: Vec<Session>,
    publishers: Vec<Publisher>,
    counts: Counts,
    buffer: Box<[u8]>,
    frame: Vec<u8>,
}

impl Traffic {
    /// With no connections yet.
    pub(super) fn new(plan: Arc<Plan>, thread: usize) -> anyhow::Result<Self> {
        let threads = usize::from(plan.options.common.threads);
        let share = share(plan.options.common.clients as usize, threads, thread);
        let session = || Session { stage: Stage::Waiting, since_ns: 0, link: None };
        Ok(Self {
            plan,
            thread,
            sessions_poll: Poll::new().context("cannot make an epoll instance")?,
            publishers_poll: Poll::new().context("cannot make an epoll instance")?,
            sessions: (0..share).map(|_| session()).collect(),
            publishers: Vec::new(),
            counts: Counts::default(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            frame: Vec::new(),
        })
    }

    /// Makes the sessions, waits for the start, publishes.
    pub(super) fn run(mut self, post: &Post<Counts>) -> anyhow::Result<Counts> {
        self.make_sessions()?;
        self.connect_publishers()?;
        let span = post.wait_for_span()?;
        self.publish(span)?;
        self.leave();
        Ok(self.counts)
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.plan.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The number of a session among those of all threads.
    fn number(&self, index: usize) -> usize {
        index * usize::from(self.plan.options.common.threads) + self.thread
    }

    fn make_sessions(&mut self) -> anyhow::Result<()> {
        let common = &self.plan.options.common;
        let threads = usize::from(common.threads);
        let concurrency = (common.connect_concurrency as usize).div_ceil(threads);
        let rate = f64::from(common.connect_rate) / threads as f64;
        let mut connector = Connector::new(rate, concurrency);
        (0..self.sessions.len()).for_each(|index| connector.enqueue(index, 0));
        let mut events = Events::with_capacity(EVENTS_PER_WAKE_MAX);
        while !connector.is_idle() {
            let now_ns = self.now_ns();
            while let Some(index) = connector.begin(now_ns) {
                self.begin_session(index, now_ns)?;
            }
            if let Some((since_ns, index)) = connector.overdue(now_ns) {
                let Session { stage, since_ns: since, .. } = self.sessions[index];
                let done = matches!(stage, Stage::There | Stage::Away);
                if !done && since == since_ns {
                    bail!("session {}: not made in time, {stage:?}", self.number(index));
                }
            }
            let wake_ns = connector.next_wake_ns().map(|at| at.saturating_sub(now_ns));
            let sleep = wake_ns.map_or(SLEEP, Duration::from_nanos).min(SLEEP);
            poll(&mut self.sessions_poll, &mut events, sleep)?;
            for event in &events {
                let index = event.token().0;
                let ended = self.advance_session(index, event.is_read_closed() || event.is_error());
                let ended =
                    ended.map_err(|why| anyhow!("session {}: {why}", self.number(index)))?;
                if ended {
                    connector.ended();
                }
            }
        }
        Ok(())
    }

    fn begin_session(&mut self, index: usize, now_ns: u64) -> anyhow::Result<()> {
        let common = &self.plan.options.common;
        let number = self.number(index);
        let source = connector::source_of(number, &common.source, common.target);
        let mut link = Link::begin(common.target, source, &self.plan.layers, number)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.sessions_poll.registry().register(&mut link.stream, Token(index), interest)?;
        self.sessions[index] =
            Session { stage: Stage::Connecting, since_ns: now_ns, link: Some(link) };
        Ok(())
    }

    /// Continues a session. Returns whether it is ready.
    fn advance_session(&mut self, index: usize, ends: bool) -> Result<bool, String> {
        let number = self.number(index);
        let options = &self.plan.options;
        let Session { stage, link: Some(link), .. } = &mut self.sessions[index] else {
            return Ok(false);
        };
        if *stage == Stage::Connecting {
            if !link.is_ready(&mut self.buffer, ends)? {
                return Ok(false);
            }
            self.frame.clear();
            let client_id = format!("{}{number}", options.common.client_id_prefix);
            let keep_alive_secs = options.common.keep_alive_secs.unwrap_or(0);
            let version = Version::V311;
            wire::connect_as(&mut self.frame, version, &client_id, keep_alive_secs, false);
            write(link, &self.frame)?;
            *stage = Stage::Greeting;
            return Ok(false);
        }
        let frame = &mut self.frame;
        let absent = options.absent;
        let mut made = false;
        let before = *stage;
        frame.clear();
        let state = link.read(&mut self.buffer, ends, |packet| match (*stage, packet.first) {
            (Stage::Greeting, CONNACK) if packet.body.get(1) == Some(&0) => {
                wire::subscribe(frame, Version::V311, &topic(number), GRANTED_QOS);
                *stage = Stage::Subscribing;
                Ok(())
            }
            (Stage::Subscribing, SUBACK) if packet.body == [0, 1, GRANTED_QOS] => {
                made = !absent;
                *stage = if absent { Stage::Leaving } else { Stage::There };
                if absent {
                    frame.extend(wire::DISCONNECT_NORMAL);
                }
                Ok(())
            }
            // Messages that an earlier run has left are taken, and not counted.
            (Stage::Subscribing | Stage::Leaving | Stage::There, _) => {
                let [high, low] = Message::of(packet).ok_or("no message of ours")?.packet_id;
                if *stage != Stage::Leaving {
                    frame.extend([PUBACK, 2, high, low]);
                }
                Ok(())
            }
            _ => Err(format!("bad packet: first byte {:#04x}, {before:?}", packet.first)),
        })?;
        if !frame.is_empty() {
            write(link, frame)?;
        }
        if state == State::Closed {
            if *stage != Stage::Leaving {
                return Err(format!("the server closed the connection, {stage:?}"));
            }
            self.sessions[index].stage = Stage::Away;
            self.sessions[index].link = None;
            return Ok(true);
        }
        Ok(made)
    }

    /// Blocks, since there are few.
    fn connect_publishers(&mut self) -> anyhow::Result<()> {
        let options = &self.plan.options;
        let (common, threads) = (&options.common, usize::from(options.common.threads));
        let (all, clients) = (options.publishers as usize, common.clients as usize);
        for index in 0..share(all, threads, self.thread) {
            let number = index * threads + self.thread;
            let quota = options.messages.map_or(u64::MAX, |messages| {
                (messages + all as u64 - 1 - number as u64) / all as u64
            });
            let client_id = format!("{}publisher-{number}", common.client_id_prefix);
            let link = Link::greeted(common.target, &self.plan.layers, &client_id, None);
            let mut link = link.with_context(|| format!("publisher {number}"))?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.publishers_poll.registry().register(&mut link.stream, Token(index), interest)?;
            self.publishers.push(Publisher {
                link,
                sent_ns: vec![0; usize::from(options.window)].into_boxed_slice(),
                free: (0..options.window).rev().collect(),
                quota,
                // Publishers start at different sessions.
                session: clients * number / all,
            });
        }
        Ok(())
    }

    fn publish(&mut self, span: Span) -> anyhow::Result<()> {
        let options = &self.plan.options;
        let template = Template::new(options.payload_bytes as usize);
        let tick = Duration::from_millis(options.common.tick_ms);
        let rate = options.rate.map(|rate| rate as f64 / f64::from(options.common.threads) / 1e9);
        let mut events = Events::with_capacity(EVENTS_PER_WAKE_MAX);
        let (mut allowed_from_ns, mut allowed) = (self.now_ns(), 0.0);
        let mut next_tick_ns = 0;
        let mut progress = (0, self.now_ns());
        loop {
            let now_ns = self.now_ns();
            let sending = now_ns < span.until_ns;
            if sending {
                let mut budget = u64::MAX;
                if let Some(rate) = rate {
                    let since_ns = now_ns.saturating_sub(allowed_from_ns).min(SAVED_NS_MAX);
                    allowed += since_ns as f64 * rate;
                    allowed_from_ns = now_ns;
                    budget = allowed as u64;
                }
                allowed -= self.fill_all(&template, budget, now_ns)? as f64;
            }
            if now_ns >= next_tick_ns {
                next_tick_ns = now_ns + tick.as_nanos() as u64;
                poll(&mut self.sessions_poll, &mut events, Duration::ZERO)?;
                for event in &events {
                    let ends = event.is_read_closed() || event.is_error();
                    self.receive(event.token().0, ends, span)?;
                }
            }
            if self.is_done(span, &mut progress) {
                return Ok(());
            }
            poll(&mut self.publishers_poll, &mut events, tick)?;
            for event in &events {
                let ends = event.is_read_closed() || event.is_error();
                self.hear(event.token().0, ends, span)?;
            }
        }
    }

    /// Sends as much as windows, quotas and the budget allow. Returns how many.
    fn fill_all(&mut self, template: &Template, budget: u64, now_ns: u64) -> anyhow::Result<u64> {
        let mut left = budget;
        let clients = self.plan.options.common.clients as usize;
        let Self { publishers, frame, counts, .. } = self;
        for publisher in publishers {
            if !publisher.link.is_flushed() {
                publisher.link.flush()?;
            }
            // A full socket gets nothing more.
            while publisher.link.is_flushed() && publisher.quota > 0 && left > 0 {
                frame.clear();
                while frame.len() < WRITE_BYTES && publisher.quota > 0 && left > 0 {
                    let Some(slot) = publisher.free.pop() else { break };
                    publisher.sent_ns[usize::from(slot)] = now_ns;
                    template.append(frame, publisher.session, slot + 1, now_ns);
                    publisher.session = (publisher.session + 1) % clients;
                    publisher.quota -= 1;
                    left -= 1;
                    counts.sent += 1;
                }
                if frame.is_empty() {
                    break;
                }
                publisher.link.write(frame)?;
            }
        }
        self.plan.sent.fetch_add(budget - left, Relaxed);
        Ok(budget - left)
    }

    /// Acknowledgements to a publisher.
    fn hear(&mut self, index: usize, ends: bool, span: Span) -> anyhow::Result<()> {
        let now_ns = self.now_ns();
        let measures = span.contains(now_ns);
        let Self { publishers, counts, buffer, .. } = self;
        let Publisher { link, sent_ns, free, .. } = &mut publishers[index];
        let before = counts.acknowledged;
        let state = link.read(buffer, ends, |Frame { first, body }| {
            let id = body.try_into().map(u16::from_be_bytes).unwrap_or(0);
            let slot = usize::from(id).checked_sub(1).filter(|slot| *slot < sent_ns.len());
            let Some(slot) = slot.filter(|_| first == PUBACK) else {
                return Err(format!("bad packet: first byte {first:#04x}, {} bytes", body.len()));
            };
            let sent_at_ns = std::mem::take(&mut sent_ns[slot]);
            if sent_at_ns == 0 {
                return Err(format!("PUBACK for packet id {id}, which is not in use"));
            }
            free.push(id - 1);
            counts.acknowledged += 1;
            if measures {
                counts.measured += 1;
                counts.ack.record(now_ns - sent_at_ns);
            }
            Ok(())
        });
        self.plan.acknowledged.fetch_add(counts.acknowledged - before, Relaxed);
        match state {
            Ok(State::Open) => Ok(()),
            Ok(State::Closed) => bail!("publisher {index}: the server closed the connection"),
            Err(why) => bail!("publisher {index}: {why}"),
        }
    }

    /// Messages to a session, acknowledged by one write.
    fn receive(&mut self, index: usize, ends: bool, span: Span) -> anyhow::Result<()> {
        let now_ns = self.now_ns();
        let number = self.number(index);
        let measures = span.contains(now_ns);
        let Self { sessions, counts, buffer, frame, .. } = self;
        let Some(link) = &mut sessions[index].link else { return Ok(()) };
        let (before, repeated) = (counts.delivered, counts.repeated);
        frame.clear();
        let state = link.read(buffer, ends, |packet| {
            let Some(message) = Message::of(packet) else {
                return Err(format!("bad packet: first byte {:#04x}", packet.first));
            };
            let [high, low] = message.packet_id;
            frame.extend([PUBACK, 2, high, low]);
            counts.delivered += 1;
            counts.repeated += u64::from(message.dup);
            if measures {
                counts.delivered_measured += 1;
                counts.delivery.record(now_ns.saturating_sub(message.time_ns));
            }
            Ok(())
        });
        link.flush()?;
        link.write(frame)?;
        let new = counts.delivered - before - (counts.repeated - repeated);
        self.plan.delivered.fetch_add(new, Relaxed);
        match state {
            Ok(State::Open) => Ok(()),
            Ok(State::Closed) => bail!("session {number}: the server closed the connection"),
            Err(why) => bail!("session {number}: {why}"),
        }
    }

    /// Whether everything is sent, acknowledged and delivered, or nothing has come for long.
    fn is_done(&self, span: Span, progress: &mut (u64, u64)) -> bool {
        let now_ns = self.now_ns();
        let sending = now_ns < span.until_ns && self.publishers.iter().any(|one| one.quota > 0);
        let acknowledged = self.plan.acknowledged.load(Relaxed);
        let delivered = self.plan.delivered.load(Relaxed);
        if sending || acknowledged + delivered != progress.0 {
            *progress = (acknowledged + delivered, now_ns);
            return false;
        }
        let all_delivered = self.plan.options.absent || delivered >= acknowledged;
        (acknowledged == self.plan.sent.load(Relaxed) && all_delivered)
            || now_ns - progress.1 > DRAIN_NS_MAX
    }

    /// Disconnects, and lets the server close first.
    fn leave(&mut self) {
        for publisher in &mut self.publishers {
            // An error means that it has gone, as it should.
            let _ = publisher.link.say_goodbye();
        }
        for session in &mut self.sessions {
            if let Some(link) = &mut session.link {
                let _ = link.say_goodbye();
            }
        }
        std::thread::sleep(LEAVE);
    }
}

/// How many of `all` belong to a thread.
fn share(all: usize, threads: usize, thread: usize) -> usize {
    (all + threads - 1 - thread) / threads
}

fn write(link: &mut Link, bytes: &[u8]) -> Result<(), String> {
    link.write(bytes).map_err(|error| format!("cannot send: {error}"))
}

fn poll(poll: &mut Poll, events: &mut Events, sleep: Duration) -> io::Result<()> {
    match poll.poll(events, Some(sleep)) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            events.clear();
            Ok(())
        }
        result => result,
    }
}
