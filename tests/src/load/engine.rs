//! One thread of clients: an epoll instance, a pacer, a connector. It obeys `Command`s and reports
//! by `Event`s.
//!
//! The client's CPU is part of the measurement, so a ping costs a write, a read, two readings of
//! the clock and its share of a wake: no allocation, no timer of its own, and no second read to
//! find the socket empty (epoll's edges allow that, see `read`).

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use super::client::{Client, Fault, Heard, Stage};
use super::command::{Command, Event, Plan, Settings};
use super::connector::{self, Connector};
use super::demo::Roles;
use super::pacer::Pacer;
use super::tally::Tally;
use super::transport::Transport;
use super::wire::{self, Malformed};

/// Events taken by one wake.
const EVENTS_PER_WAKE_MAX: usize = 1_024;
/// Pings sent before sockets are looked at again.
const TURNS_PER_WAKE_MAX: usize = 1_024;
/// Connections begun before sockets are looked at again.
const CONNECTS_PER_WAKE_MAX: usize = 64;
/// Bytes read at a time.
const READ_BYTES: usize = 16 * 1_024;
/// How long to wait for answers after the last ping.
const DRAIN_NS_MAX: u64 = 2_000_000_000;
/// How long to wait for the server to close after DISCONNECT. If the server closes first, our ports
/// are free for the next run at once.
const LEAVE_NS_MAX: u64 = 1_000_000_000;
/// How long a client waits before connecting again, if it does.
const RETRY_NS: u64 = 2_000_000_000;
/// Longest sleep.
const SLEEP_NS_MAX: u64 = 3_600_000_000_000;
/// The token of the waker; clients have their index.
pub(super) const WAKER: Token = Token(usize::MAX);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Connections are made and kept alive.
    Holding,
    /// Pings by plan.
    Measuring { until_ns: u64 },
    /// No more pings; waits for answers.
    Draining { until_ns: u64 },
    /// DISCONNECT is sent; waits for closes.
    Leaving { until_ns: u64 },
    /// Nothing to do.
    Done,
}

/// A thread's clients.
#[derive(Debug)]
pub(super) struct Engine {
    settings: Arc<Settings>,
    thread: usize,
    poll: Poll,
    clients: Vec<Client>,
    clients_of_all: usize,
    connector: Connector,
    pacer: Pacer,
    roles: Roles,
    tally: Tally,
    phase: Phase,
    commands: Receiver<Command>,
    events: Sender<Event>,
    /// Whether `Ready` must be sent.
    owes_ready: bool,
    /// Whether `Ready` was ever sent: from then on losses are reported, not failures.
    was_ready: bool,
    /// Connections lost and not reported yet.
    lost: u64,
    /// Unanswered pings.
    outstanding: u64,
    /// Closed loop: how many pings to have unanswered; else 0.
    inflight: u64,
    /// Closed loop: the clients by when they pinged last; the longest ago is next.
    waiting: VecDeque<usize>,
    /// Connections that wait for the server's close.
    leaving: u64,
    /// Pings count from here on.
    from_ns: u64,
    buffer: Box<[u8]>,
    frame: Vec<u8>,
    /// Bytes of MQTT on their way in and out through layers.
    clear: Vec<u8>,
    wrapped: Vec<u8>,
}

impl Engine {
    /// An engine without clients.
    pub(super) fn new(
        settings: &Arc<Settings>,
        thread: usize,
        poll: Poll,
        commands: Receiver<Command>,
        events: Sender<Event>,
    ) -> Self {
        let threads = settings.threads;
        let concurrency = (settings.connect_concurrency as usize).div_ceil(threads);
        Self {
            settings: Arc::clone(settings),
            thread,
            poll,
            clients: Vec::new(),
            clients_of_all: 0,
            connector: Connector::new(
                f64::from(settings.connect_rate) / threads as f64,
                concurrency,
            ),
            pacer: Pacer::never(),
            roles: Roles::new(settings.demo, thread),
            tally: Tally::default(),
            phase: Phase::Holding,
            commands,
            events,
            owes_ready: false,
            was_ready: false,
            lost: 0,
            outstanding: 0,
            inflight: 0,
            waiting: VecDeque::new(),
            leaving: 0,
            from_ns: if settings.counts_at_once { 0 } else { u64::MAX },
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            frame: Vec::new(),
            clear: Vec::new(),
            wrapped: Vec::new(),
        }
    }

    /// Runs until a command ends it, and reports the tally.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_WAKE_MAX);
        while self.phase != Phase::Done {
            let now_ns = self.now_ns();
            let sleep_ns = self.next_wake_ns().map(|at| at.saturating_sub(now_ns));
            let sleep = sleep_ns.map(|ns| Duration::from_nanos(ns.min(SLEEP_NS_MAX)));
            match self.poll.poll(&mut events, sleep) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                if event.token() == WAKER {
                    self.take_commands();
                } else {
                    self.take_event(event);
                }
            }
            self.advance();
        }
        // Nobody listens any more if the main thread gave up.
        let _ = self.events.send(Event::Finished(Box::new(std::mem::take(&mut self.tally))));
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.settings.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The number of a client among those of all threads.
    fn number(&self, index: usize) -> usize {
        index * self.settings.threads + self.thread
    }

    fn next_wake_ns(&self) -> Option<u64> {
        let phase = match self.phase {
            Phase::Holding | Phase::Done => None,
            Phase::Measuring { until_ns }
            | Phase::Draining { until_ns }
            | Phase::Leaving { until_ns } => Some(until_ns),
        };
        let tick = |at: u64| at.checked_next_multiple_of(self.settings.tick_ns).unwrap_or(at);
        let wakes = [
            phase,
            self.pacer.next_due_ns().map(tick),
            self.connector.next_wake_ns(),
            self.roles.next_publish_ns(),
        ];
        wakes.into_iter().flatten().min()
    }

    fn take_commands(&mut self) {
        loop {
            let command = match self.commands.try_recv() {
                Ok(command) => command,
                Err(std::sync::mpsc::TryRecvError::Empty) => return,
                // The main thread gave up.
                Err(std::sync::mpsc::TryRecvError::Disconnected) => Command::Stop,
            };
            let now_ns = self.now_ns();
            match command {
                Command::Connect { clients } => self.grow(clients, now_ns),
                Command::Measure { plan, from_ns, until_ns } => {
                    self.begin_plan(plan, now_ns);
                    self.from_ns = from_ns;
                    self.phase = Phase::Measuring { until_ns };
                }
                Command::Stop => {
                    if self.is_serving() {
                        self.begin_drain(now_ns);
                    }
                    return;
                }
            }
        }
    }

    fn grow(&mut self, clients_of_all: usize, now_ns: u64) {
        let threads = self.settings.threads;
        let share = (clients_of_all + threads - 1 - self.thread) / threads;
        for index in self.clients.len()..share {
            self.clients.push(Client::default());
            self.connector.enqueue(index, now_ns);
        }
        self.clients_of_all = clients_of_all;
        self.owes_ready = true;
        // Three times a keep alive, so that a round that grows is still in time.
        let interval_ns = u64::from(self.settings.keep_alive_secs) * 1_000_000_000 / 3;
        self.pacer.set(interval_ns, self.clients.len(), now_ns);
    }

    fn begin_plan(&mut self, plan: Plan, now_ns: u64) {
        let threads = self.settings.threads as u64;
        match plan {
            Plan::Interval { interval_ns } => {
                // Threads start out of phase, as their clients do.
                let phase_ns =
                    interval_ns / (self.clients_of_all as u64).max(1) * self.thread as u64;
                self.pacer.set(interval_ns, self.clients.len(), now_ns + phase_ns);
            }
            Plan::Inflight { pings } => {
                self.pacer = Pacer::never();
                let share = (pings + threads - 1 - self.thread as u64) / threads;
                self.inflight = share.min(self.clients.len() as u64);
                self.waiting = (0..self.clients.len()).collect();
            }
        }
    }

    /// Does everything whose time has come.
    fn advance(&mut self) {
        let now_ns = self.now_ns();
        self.advance_connects(now_ns);
        if self.is_serving() {
            self.advance_pings(now_ns);
            self.fill_inflight();
            self.publish(now_ns);
        }
        self.advance_phase(now_ns);
        if self.lost > 0 {
            let _ = self.events.send(Event::Lost(self.lost));
            self.lost = 0;
            self.owes_ready = true;
        }
        if self.owes_ready && self.connector.is_idle() && self.is_serving() {
            self.owes_ready = false;
            self.was_ready = true;
            let (connected, closed) = (self.tally.connected, self.tally.closed);
            let _ = self.events.send(Event::Ready { connected, closed });
        }
    }

    /// Goes from phase to phase as far as it can, since there may be nothing to wait for.
    fn advance_phase(&mut self, now_ns: u64) {
        loop {
            match self.phase {
                Phase::Measuring { until_ns } if now_ns >= until_ns => self.begin_drain(now_ns),
                Phase::Draining { until_ns } if now_ns >= until_ns || self.outstanding == 0 => {
                    self.begin_leave(now_ns);
                }
                Phase::Leaving { until_ns } if now_ns >= until_ns || self.leaving == 0 => {
                    self.phase = Phase::Done;
                }
                _ => return,
            }
        }
    }

    fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Holding | Phase::Measuring { .. })
    }

    fn advance_pings(&mut self, now_ns: u64) {
        let skipped = self.pacer.skip_late(now_ns);
        if now_ns >= self.from_ns {
            self.tally.skipped += skipped;
        }
        for _ in 0..TURNS_PER_WAKE_MAX {
            let Some(index) = self.pacer.take_turn(now_ns) else { break };
            let client = &self.clients[index];
            match (client.stage, client.pinged_at_ns) {
                (Stage::Up, None) => self.ping(index),
                (Stage::Up, Some(_)) if now_ns >= self.from_ns => self.tally.skipped += 1,
                _ => {}
            }
        }
    }

    fn ping(&mut self, index: usize) {
        let now_ns = self.now_ns();
        let client = &mut self.clients[index];
        if let Err(error) = client.write(&wire::PINGREQ, &mut self.wrapped) {
            self.lose(index, || format!("cannot send a ping: {error}"));
            return;
        }
        client.pinged_at_ns = Some(now_ns);
        self.outstanding += 1;
        self.tally.sent += u64::from(now_ns >= self.from_ns);
    }

    /// Closed loop: pings until as many are unanswered as there should be, each client in turn.
    fn fill_inflight(&mut self) {
        while self.outstanding < self.inflight {
            let Some(index) = self.waiting.pop_front() else { return };
            let client = &self.clients[index];
            if client.stage == Stage::Up && client.pinged_at_ns.is_none() {
                self.ping(index);
            }
        }
    }

    fn publish(&mut self, now_ns: u64) {
        let Some(number) = self.roles.take_publish(now_ns, self.clients_of_all) else { return };
        let (topic, version) = (Roles::topic(number), self.settings.version);
        self.frame.clear();
        wire::publish(&mut self.frame, version, &topic, b"hello from the first device");
        if let Some(client) = self.clients.first_mut()
            && client.stage == Stage::Up
            && client.write(&self.frame, &mut self.wrapped).is_ok()
        {
            self.tally.publishes_sent += 1;
        }
    }

    fn advance_connects(&mut self, now_ns: u64) {
        for _ in 0..CONNECTS_PER_WAKE_MAX {
            let Some(index) = self.connector.begin(now_ns) else { break };
            if let Err(error) = self.begin_connect(index, now_ns) {
                self.clients[index].stage = Stage::Connecting;
                self.lose(index, || error.to_string());
            }
        }
        while let Some((since_ns, index)) = self.connector.overdue(now_ns) {
            let client = &self.clients[index];
            let connecting = client.stage.is_connecting();
            if connecting && client.connecting_since_ns == since_ns {
                let seconds = connector::CONNECT_NS_MAX / 1_000_000_000;
                self.lose(index, || format!("no CONNACK within {seconds} s"));
            }
        }
    }

    fn begin_connect(&mut self, index: usize, now_ns: u64) -> io::Result<()> {
        let Settings { sources, target, layers, .. } = &*self.settings;
        let number = self.number(index);
        let transport = Transport::new(layers, number as u64).map_err(io::Error::other)?;
        let source = connector::source_of(number, sources, *target);
        let stream = connector::connect(*target, source)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        self.poll.registry().register(&mut stream, Token(index), Interest::WRITABLE)?;
        self.clients[index] = Client {
            stream: Some(stream),
            stage: Stage::Connecting,
            transport,
            connecting_since_ns: now_ns,
            ..Client::default()
        };
        Ok(())
    }

    fn take_event(&mut self, event: &mio::event::Event) {
        let index = event.token().0;
        match self.clients.get(index).map(|client| client.stage) {
            Some(Stage::Connecting) => {
                if let Err(error) = self.greet(index) {
                    self.lose(index, || format!("cannot connect: {error}"));
                }
            }
            Some(Stage::Opening | Stage::Greeting | Stage::Up | Stage::Leaving) => {
                self.read(index, event.is_read_closed() || event.is_error());
            }
            Some(Stage::Down) | None => {}
        }
    }

    /// TCP is up: begins what comes next.
    fn greet(&mut self, index: usize) -> io::Result<()> {
        let client = &mut self.clients[index];
        let Some(stream) = client.stream.as_mut() else { return Ok(()) };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
            result => result?,
        };
        self.poll.registry().reregister(stream, Token(index), Interest::READABLE)?;
        if client.transport.is_open() {
            return self.say_connect(index);
        }
        client.stage = Stage::Opening;
        client.write(&[], &mut self.wrapped)
    }

    fn say_connect(&mut self, index: usize) -> io::Result<()> {
        let number = self.number(index);
        let Settings { version, keep_alive_secs, client_id_prefix, .. } = &*self.settings;
        self.frame.clear();
        let client_id = format!("{client_id_prefix}{number}");
        wire::connect(&mut self.frame, *version, &client_id, *keep_alive_secs);
        let client = &mut self.clients[index];
        client.stage = Stage::Greeting;
        client.write(&self.frame, &mut self.wrapped)
    }

    /// Reads what is there. A read that does not fill the buffer has emptied the socket, and later
    /// bytes cause a new edge (epoll(7)); but the end may be there too, which only another read
    /// tells.
    fn read(&mut self, index: usize, ends: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(stream) = self.clients[index].stream.as_mut() {
            match stream.read(&mut buffer) {
                Ok(0) => {
                    self.lose(index, || "the server closed the connection".into());
                    break;
                }
                Ok(count) => {
                    let now_ns = self.now_ns();
                    self.unwrap(index, &mut buffer[..count], now_ns);
                    if count < buffer.len() && !ends {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.lose(index, || format!("the connection broke: {error}"));
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    /// Takes received bytes through the layers.
    fn unwrap(&mut self, index: usize, bytes: &mut [u8], now_ns: u64) {
        let client = &mut self.clients[index];
        if client.transport.is_plain() {
            return self.hear(index, bytes, now_ns);
        }
        let mut clear = std::mem::take(&mut self.clear);
        let taken = client.transport.take(bytes, &mut clear).map_err(io::Error::other);
        match taken.and_then(|()| self.answer(index)) {
            Ok(()) => self.hear(index, &clear, now_ns),
            Err(error) => self.lose(index, || error.to_string()),
        }
        clear.clear();
        self.clear = clear;
    }

    /// Goes on once the layers are open, or sends what they owe.
    fn answer(&mut self, index: usize) -> io::Result<()> {
        let client = &mut self.clients[index];
        if client.stage == Stage::Opening && client.transport.is_open() {
            return self.say_connect(index);
        }
        if client.transport.owes() { client.write(&[], &mut self.wrapped) } else { Ok(()) }
    }

    fn hear(&mut self, index: usize, mut bytes: &[u8], now_ns: u64) {
        let version = self.settings.version;
        loop {
            let client = &mut self.clients[index];
            if client.stage == Stage::Down {
                return;
            }
            match client.decoder.next(&mut bytes) {
                Ok(None) => return,
                Ok(Some(packet)) => match client.hear(packet, version) {
                    Ok(heard) => self.act(index, heard, now_ns),
                    Err(fault) => {
                        self.tally.bad += u64::from(!matches!(fault, Fault::Refused(_)));
                        self.lose(index, || fault.to_string());
                    }
                },
                Err(Malformed) => {
                    self.tally.bad += 1;
                    self.lose(index, || "bad packet: a remaining length of five bytes".into());
                }
            }
        }
    }

    fn act(&mut self, index: usize, heard: Heard, now_ns: u64) {
        match heard {
            Heard::Pong { pinged_at_ns } => {
                self.outstanding -= 1;
                if pinged_at_ns >= self.from_ns {
                    self.tally.record_answer(now_ns - pinged_at_ns);
                }
                if self.inflight > 0 {
                    self.waiting.push_back(index);
                }
            }
            Heard::Accepted => {
                self.connector.ended();
                self.tally.connected += 1;
                let number = self.number(index);
                if self.roles.subscribes(number) {
                    self.frame.clear();
                    let filter = Roles::topic(number);
                    wire::subscribe(&mut self.frame, self.settings.version, &filter, 0);
                    let client = &mut self.clients[index];
                    if let Err(error) = client.write(&self.frame, &mut self.wrapped) {
                        self.lose(index, || format!("cannot subscribe: {error}"));
                    }
                }
            }
            Heard::Publish => self.tally.publishes_received += 1,
            Heard::Subscribed => {}
            Heard::Goodbye(reason) => {
                self.lose(index, || format!("the server said DISCONNECT, reason {reason:#04x}"));
            }
        }
    }

    /// A connection has ended without our doing.
    fn lose(&mut self, index: usize, why: impl FnOnce() -> String) {
        let number = self.number(index);
        let client = std::mem::take(&mut self.clients[index]);
        if client.pinged_at_ns.is_some() {
            self.outstanding -= 1;
        }
        let why = || format!("client {number}: {}", why());
        match client.stage {
            Stage::Down => return,
            Stage::Leaving => {
                self.leaving -= 1;
                return;
            }
            Stage::Connecting | Stage::Opening | Stage::Greeting => {
                self.connector.ended();
                if self.is_serving() && !(self.settings.demo && self.was_ready) {
                    let _ = self.events.send(Event::Failed(why()));
                }
            }
            Stage::Up => {
                self.tally.connected -= 1;
                self.tally.closed += 1;
                self.tally.tell(why);
                self.lost += u64::from(self.settings.demo);
            }
        }
        if self.settings.demo && self.is_serving() {
            self.connector.enqueue(index, self.now_ns() + RETRY_NS);
        }
    }

    fn begin_drain(&mut self, now_ns: u64) {
        self.pacer = Pacer::never();
        self.inflight = 0;
        self.roles.stop();
        self.connector.clear();
        self.phase = Phase::Draining { until_ns: now_ns + DRAIN_NS_MAX };
    }

    fn begin_leave(&mut self, now_ns: u64) {
        for client in &mut self.clients {
            if client.stage != Stage::Up {
                continue;
            }
            client.transport.close();
            if client.write(&wire::DISCONNECT_NORMAL, &mut self.wrapped).is_ok() {
                client.stage = Stage::Leaving;
                self.leaving += 1;
            }
        }
        self.phase = Phase::Leaving { until_ns: now_ns + LEAVE_NS_MAX };
    }
}
