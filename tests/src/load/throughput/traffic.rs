//! One thread: its publishers, and the subscribers that their messages come to.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use mio::{Events, Interest, Poll, Token};

use super::super::crew::{Post, Span};
use super::super::frames::Frame;
use super::super::link::{Link, State};
use super::super::options::{Shape, Throughput};
use super::super::wire::PUBACK;
use super::alarm::Alarm;
use super::counts::Counts;
use super::flight::{Expected, Flight};
use super::message::{Message, Template};
use super::plan::Plan;
use super::schedule::Schedule;

/// Events taken by one wake.
const EVENTS_PER_WAKE_MAX: usize = 1_024;
/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;
/// Bytes of messages written at a time.
const WRITE_BYTES: usize = 64 << 10;
/// Longest sleep, so that the end of the measured time is noticed in time.
const SLEEP: Duration = Duration::from_millis(20);
/// How long to wait for further messages at the end.
const DRAIN_NS_MAX: u64 = 3_000_000_000;
/// How long goodbyes may take.
const LEAVE: Duration = Duration::from_millis(50);
/// Messages of a publisher that may be on their way at a rate: one for each packet id.
const WINDOW_AT_A_RATE: u16 = u16::MAX;

/// The token of the alarm; those of links are their numbers.
const ALARM: Token = Token(usize::MAX - 1);

/// A publisher, and its messages that are on their way.
#[derive(Debug)]
struct Publisher {
    link: Link,
    template: Template,
    flight: Flight,
}

/// The connections of one thread.
pub(super) struct Traffic {
    plan: Arc<Plan>,
    thread: usize,
    poll: Poll,
    /// Their tokens begin at 0.
    publishers: Vec<Publisher>,
    /// Their tokens begin at the number of publishers.
    subscribers: Vec<Link>,
    counts: Counts,
    buffer: Box<[u8]>,
    frame: Vec<u8>,
    /// When the last bytes came.
    heard_ns: u64,
}

impl Traffic {
    /// Connects this thread's part; blocks.
    pub(super) fn connect(plan: Arc<Plan>, thread: usize) -> anyhow::Result<Self> {
        let mut traffic = Self {
            plan,
            thread,
            poll: Poll::new().context("cannot make an epoll instance")?,
            publishers: Vec::new(),
            subscribers: Vec::new(),
            counts: Counts::default(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            frame: Vec::new(),
            heard_ns: 0,
        };
        traffic.connect_publishers()?;
        traffic.connect_subscribers()?;
        Ok(traffic)
    }

    fn connect_publishers(&mut self) -> anyhow::Result<()> {
        let Throughput { common, qos, payload_bytes, window, rate, .. } = &self.plan.options;
        let deliveries = match self.plan.options.shape {
            Shape::Pairs => 1,
            Shape::FanOut | Shape::FanIn => common.clients,
        };
        let window = if rate.is_some() { WINDOW_AT_A_RATE } else { *window };
        let expected = Expected { deliveries, acknowledgement: *qos > 0 };
        for number in self.share(self.plan.options.publishers) {
            let client_id = format!("{}publisher-{number}", common.client_id_prefix);
            let link = Link::greeted(common.target, &self.plan.layers, &client_id, None);
            let mut link = link.with_context(|| format!("publisher {number}"))?;
            listen(&self.poll, &mut link, self.publishers.len())?;
            let topic = self.topic(number);
            let template = Template::new(&topic, *qos, number, *payload_bytes as usize);
            let flight = Flight::new(window, expected);
            self.publishers.push(Publisher { link, template, flight });
        }
        Ok(())
    }

    fn connect_subscribers(&mut self) -> anyhow::Result<()> {
        let Throughput { common, qos, .. } = &self.plan.options;
        for number in self.share(common.clients) {
            let client_id = format!("{}subscriber-{number}", common.client_id_prefix);
            let filter = match self.plan.options.shape {
                Shape::FanIn => "load/+".to_owned(),
                Shape::FanOut | Shape::Pairs => self.topic(number),
            };
            let link =
                Link::greeted(common.target, &self.plan.layers, &client_id, Some((&filter, *qos)));
            let mut link = link.with_context(|| format!("subscriber {number}"))?;
            listen(&self.poll, &mut link, self.publishers.len() + self.subscribers.len())?;
            self.subscribers.push(link);
        }
        Ok(())
    }

    /// The topic of this number: its publisher publishes there, and its subscriber subscribes.
    fn topic(&self, number: u32) -> String {
        match self.plan.options.shape {
            Shape::FanOut => "load/all".to_owned(),
            Shape::FanIn | Shape::Pairs => format!("load/{number:08}"),
        }
    }

    /// The numbers of this thread among `all`.
    fn share(&self, all: u32) -> impl Iterator<Item = u32> + use<> {
        (0..all).skip(self.thread).step_by(self.plan.options.common.threads.into())
    }

    /// Waits for the start, and publishes until the end.
    pub(super) fn run(mut self, post: &Post<Counts>) -> anyhow::Result<Counts> {
        let span = post.wait_for_span()?;
        self.publish(span)?;
        self.counts.missing = self.publishers.iter().map(|one| one.flight.missing()).sum();
        self.leave();
        Ok(self.counts)
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.plan.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn publish(&mut self, span: Span) -> anyhow::Result<()> {
        let threads = usize::from(self.plan.options.common.threads);
        let now_ns = self.now_ns();
        let mut pace = match self.plan.options.rate {
            None => None,
            Some(per_s) => Some((
                Schedule::new(now_ns, per_s, threads, self.thread),
                Alarm::new(&self.poll, ALARM).context("cannot make a timer")?,
            )),
        };
        let mut events = Events::with_capacity(EVENTS_PER_WAKE_MAX);
        self.heard_ns = now_ns;
        loop {
            let now_ns = self.now_ns();
            let is_sending = now_ns < span.until_ns;
            for publisher in &mut self.publishers {
                publisher.link.flush().context("cannot send")?;
            }
            match &mut pace {
                _ if !is_sending => {}
                None => self.fill_windows(span, now_ns)?,
                Some((schedule, alarm)) => {
                    if self.send_due(schedule, span, now_ns)? {
                        alarm.set(schedule.next_due_ns().saturating_sub(self.now_ns()))?;
                    }
                }
            }
            if is_sending {
                self.heard_ns = now_ns;
            } else if self.is_done(now_ns) {
                return Ok(());
            }
            poll(&mut self.poll, &mut events, SLEEP)?;
            for event in &events {
                let Token(number) = event.token();
                let ends = event.is_read_closed() || event.is_error();
                if number < self.publishers.len() {
                    self.hear(number, ends, span)?;
                } else if event.token() != ALARM {
                    self.receive(number - self.publishers.len(), ends, span)?;
                }
            }
        }
    }

    /// Sends as much as the windows allow.
    fn fill_windows(&mut self, span: Span, now_ns: u64) -> anyhow::Result<()> {
        let Self { publishers, frame, counts, .. } = self;
        for Publisher { link, template, flight } in publishers {
            // A full socket gets nothing more.
            while link.is_flushed() {
                frame.clear();
                while frame.len() < WRITE_BYTES
                    && let Some(message) = flight.depart(now_ns)
                {
                    template.append(frame, message, now_ns);
                    counts.sent += 1;
                    counts.sent_measured += u64::from(span.contains(now_ns));
                }
                if frame.is_empty() {
                    break;
                }
                link.write(frame).context("cannot send")?;
            }
        }
        Ok(())
    }

    /// Sends what is due, the publishers in turn. Returns whether that was all: the rest stays due,
    /// and an event says when there is room again.
    fn send_due(
        &mut self,
        schedule: &mut Schedule,
        span: Span,
        now_ns: u64,
    ) -> anyhow::Result<bool> {
        let Self { publishers, frame, counts, .. } = self;
        while schedule.next_due_ns() <= now_ns {
            let due_ns = schedule.next_due_ns();
            let turn = (schedule.next_number() % publishers.len() as u64) as usize;
            let Publisher { link, template, flight } = &mut publishers[turn];
            if !link.is_flushed() {
                return Ok(false);
            }
            let Some(message) = flight.depart(due_ns) else { return Ok(false) };
            frame.clear();
            template.append(frame, message, due_ns);
            link.write(frame).context("cannot send")?;
            schedule.take();
            counts.sent += 1;
            if span.contains(now_ns) {
                counts.sent_measured += 1;
                counts.late.record(now_ns - due_ns);
            }
        }
        Ok(true)
    }

    /// Acknowledgements to a publisher.
    fn hear(&mut self, index: usize, ends: bool, span: Span) -> anyhow::Result<()> {
        let now_ns = self.now_ns();
        let Self { publishers, counts, buffer, heard_ns, .. } = self;
        let Publisher { link, flight, .. } = &mut publishers[index];
        let state = link.read(buffer, ends, |Frame { first, body }| {
            let stray = || format!("bad packet: first byte {first:#04x}, body {body:02x?}");
            let id = body.try_into().map(u16::from_be_bytes).map_err(|_| stray())?;
            let slot = id.checked_sub(1).filter(|_| first == PUBACK).ok_or_else(stray)?;
            let due_ns = flight.acknowledge(slot).map_err(|_| stray())?;
            *heard_ns = now_ns;
            if span.contains(now_ns) {
                counts.ack.record(now_ns.saturating_sub(due_ns));
            }
            Ok(())
        });
        still_open(state).with_context(|| format!("a publisher of thread {}", self.thread))
    }

    /// Messages to a subscriber, acknowledged by one write.
    fn receive(&mut self, index: usize, ends: bool, span: Span) -> anyhow::Result<()> {
        let now_ns = self.now_ns();
        let threads = u32::from(self.plan.options.common.threads);
        let Self { publishers, subscribers, counts, buffer, frame, heard_ns, .. } = self;
        let Some(link) = subscribers.get_mut(index) else { return Ok(()) };
        frame.clear();
        let state = link.read(buffer, ends, |packet| {
            let stray = || format!("bad packet: first byte {:#04x}", packet.first);
            let message = Message::of(packet).ok_or_else(stray)?;
            let publisher = publishers.get_mut((message.publisher / threads) as usize);
            let flight = &mut publisher.ok_or_else(stray)?.flight;
            flight
                .deliver(message.departure)
                .map_err(|_| format!("a message that is not on its way (any more): {message:?}"))?;
            if let Some([high, low]) = message.packet_id {
                frame.extend([PUBACK, 2, high, low]);
            }
            counts.delivered += 1;
            *heard_ns = now_ns;
            if span.contains(now_ns) {
                counts.delivered_measured += 1;
                counts.delivery.record(now_ns.saturating_sub(message.due_ns));
            }
            Ok(())
        });
        link.flush()?;
        link.write(frame)?;
        still_open(state).with_context(|| format!("a subscriber of thread {}", self.thread))
    }

    /// Whether nothing is on its way, or nothing has come for long.
    fn is_done(&self, now_ns: u64) -> bool {
        self.publishers.iter().all(|publisher| publisher.flight.is_empty())
            || now_ns.saturating_sub(self.heard_ns) > DRAIN_NS_MAX
    }

    /// Disconnects, and lets the server close first.
    fn leave(&mut self) {
        let publishers = self.publishers.iter_mut().map(|publisher| &mut publisher.link);
        for link in publishers.chain(&mut self.subscribers) {
            // One that has gone needs no goodbye.
            let _ = link.say_goodbye();
        }
        std::thread::sleep(LEAVE);
    }
}

fn listen(poll: &Poll, link: &mut Link, number: usize) -> io::Result<()> {
    let interest = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut link.stream, Token(number), interest)
}

fn still_open(state: Result<State, String>) -> anyhow::Result<()> {
    match state {
        Ok(State::Open) => Ok(()),
        Ok(State::Closed) => bail!("the server closed the connection"),
        Err(why) => bail!(why),
    }
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
