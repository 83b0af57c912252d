//! One thread: its clients, each somewhere between its SYN and the server's FIN.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use mio::{Events, Interest, Poll, Token};

use super::super::connector::{CONNECT_NS_MAX, source_of};
use super::super::crew::{Post, Span};
use super::super::link::{Link, State};
use super::super::options::Connects;
use super::super::wire::{self, CONNACK, Version};
use super::counts::Counts;
use super::logins::Login;
use super::plan::Plan;

/// Events taken by one wake.
const EVENTS_PER_WAKE_MAX: usize = 1_024;
/// Bytes read at a time: a CONNACK is four, a server's part of a handshake of TLS some 1,000.
const READ_BYTES: usize = 4 << 10;
/// Longest sleep, so that the end of the measured time is noticed in time.
const SLEEP: Duration = Duration::from_millis(20);

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// TCP is shaking hands, or the layers around MQTT are.
    Connecting,
    /// CONNECT is sent, CONNACK awaited.
    Greeting,
    /// DISCONNECT is sent, the server's close awaited.
    Leaving,
}

/// A connection of a client.
#[derive(Debug)]
struct Visit {
    link: Link,
    stage: Stage,
    begun_ns: u64,
    /// Which of all connections it is, in the order in which they began.
    connection: usize,
}

/// The clients of one thread.
pub(super) struct Visits {
    plan: Arc<Plan>,
    thread: usize,
    poll: Poll,
    /// By client; `None`: it has ended for good.
    visits: Vec<Option<Visit>>,
    /// Connections begun.
    begun: usize,
    counts: Counts,
    buffer: Box<[u8]>,
    frame: Vec<u8>,
}

impl Visits {
    /// With no connections yet.
    pub(super) fn new(plan: Arc<Plan>, thread: usize) -> anyhow::Result<Self> {
        let Connects { common, .. } = &plan.options;
        let share = (thread..common.clients as usize).step_by(common.threads.into()).len();
        Ok(Self {
            thread,
            poll: Poll::new().context("cannot make an epoll instance")?,
            visits: (0..share).map(|_| None).collect(),
            begun: 0,
            counts: Counts::default(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            frame: Vec::new(),
            plan,
        })
    }

    /// Waits for the start, and connects until the end.
    pub(super) fn run(mut self, post: &Post<Counts>) -> anyhow::Result<Counts> {
        let span = post.wait_for_span()?;
        let mut events = Events::with_capacity(EVENTS_PER_WAKE_MAX);
        for client in 0..self.visits.len() {
            self.begin(client).context("cannot connect")?;
        }
        while self.visits.iter().any(Option::is_some) {
            match self.poll.poll(&mut events, Some(SLEEP)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                let Token(client) = event.token();
                let ends = event.is_read_closed() || event.is_error();
                let is_over = self.advance(client, ends, span);
                if is_over.map_err(|why| anyhow!("client {}: {why}", self.number(client)))? {
                    self.counts.goodbyes += 1;
                    self.visits[client] = None;
                    if self.now_ns() < span.until_ns {
                        self.begin(client).context("cannot connect")?;
                    }
                }
            }
            if events.is_empty() {
                self.check_none_is_stuck()?;
            }
        }
        Ok(self.counts)
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.plan.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The number of a client among those of all threads.
    fn number(&self, client: usize) -> usize {
        client * usize::from(self.plan.options.common.threads) + self.thread
    }

    fn begin(&mut self, client: usize) -> io::Result<()> {
        let common = &self.plan.options.common;
        // Each connection uses another port for a while, and an address has a limited number.
        let number = self.begun * usize::from(common.threads) + self.thread;
        let begun_ns = self.now_ns();
        let source = source_of(number, &common.source, common.target);
        let mut link = Link::begin(common.target, source, &self.plan.layers, number)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut link.stream, Token(client), interest)?;
        self.visits[client] =
            Some(Visit { link, stage: Stage::Connecting, begun_ns, connection: number });
        self.begun += 1;
        Ok(())
    }

    /// Continues a connection. Returns whether it is over.
    fn advance(&mut self, client: usize, ends: bool, span: Span) -> Result<bool, String> {
        let (number, now_ns) = (self.number(client), self.now_ns());
        let Self { visits, plan, counts, buffer, frame, .. } = self;
        let Some(Visit { link, stage, begun_ns, connection }) = &mut visits[client] else {
            return Ok(false);
        };
        if *stage == Stage::Connecting {
            if !link.is_ready(buffer, ends)? {
                return Ok(false);
            }
            frame.clear();
            let client_id = format!("{}{number}", plan.options.common.client_id_prefix);
            let keep_alive_secs = plan.options.common.keep_alive_secs.unwrap_or(0);
            match plan.logins.get(*connection % plan.logins.len().max(1)) {
                None => wire::connect(frame, Version::V311, &client_id, keep_alive_secs),
                Some(Login { user_name, password }) => {
                    let login = (user_name.as_str(), password.as_bytes());
                    wire::connect_with_login(frame, &client_id, keep_alive_secs, login);
                }
            }
            link.write(frame).map_err(|error| format!("cannot send: {error}"))?;
            *stage = Stage::Greeting;
            return Ok(false);
        }
        let mut is_greeted = false;
        let state =
            link.read(buffer, ends, |packet| match (*stage, packet.first, packet.body) {
                (Stage::Greeting, CONNACK, [_, 0]) => {
                    *stage = Stage::Leaving;
                    is_greeted = true;
                    Ok(())
                }
                (stage, first, body) => {
                    Err(format!("bad packet: first byte {first:#04x}, body {body:02x?}, {stage:?}"))
                }
            })?;
        if is_greeted {
            counts.connects += 1;
            if span.contains(now_ns) {
                counts.connects_measured += 1;
                let is_resumed = link.handshake().is_some_and(|handshake| handshake.is_resumed);
                counts.resumed_measured += u64::from(is_resumed);
                counts.connack.record(now_ns.saturating_sub(*begun_ns));
            }
            link.say_goodbye().map_err(|error| format!("cannot send: {error}"))?;
        }
        match (state, *stage) {
            (State::Open, _) => Ok(false),
            (State::Closed, Stage::Leaving) => Ok(true),
            (State::Closed, stage) => Err(format!("the server closed the connection, {stage:?}")),
        }
    }

    /// Fails when a connection takes too long.
    fn check_none_is_stuck(&self) -> anyhow::Result<()> {
        let now_ns = self.now_ns();
        let is_stuck = |visit: &&Visit| now_ns.saturating_sub(visit.begun_ns) > CONNECT_NS_MAX;
        match self.visits.iter().flatten().find(is_stuck) {
            Some(visit) => Err(anyhow!("a connection does not go on, {:?}", visit.stage)),
            None => Ok(()),
        }
    }
}
