//! A connection with everything around it: rustls's own client, the layer, a shard in a few lines, and a program.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use push_common::answer_table::{Record, RecordShape, runs_low};
use push_common::claim::RecordNumber;
use push_common::counter::Counter;
use push_common::rate::Pace;
use rustls::ClientConfig;

use super::program::{Program, Words};
use crate::transport::tls::pair::{Pair, START};
use crate::transport::{Goodbye, Kind, Numbers, Scratch, ServerTls, Table};

pub(super) const PING: &[u8] = b"\xC0\0";
pub(super) const PONG: &[u8] = b"\xD0\0";

/// How pings ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pings {
    pub(super) by_program: u32,
    pub(super) by_user: u32,
    /// Known as a ping and left to user space: the claim was held; no answer was there.
    pub(super) claimed: u32,
    pub(super) no_answer: u32,
}

pub(super) struct World {
    pub(super) pair: Pair,
    pub(super) table: &'static Table,
    words: Words,
    pub(super) shape: RecordShape,
    program: Program,
    scratch: Scratch,
    /// Segments of the client on their way, and what they complete.
    coming: VecDeque<(Vec<u8>, Vec<u8>)>,
    /// What the layer has given out, and the socket has not accepted.
    going: VecDeque<u8>,
    /// What the server is to say next.
    to_say: Vec<Bytes>,
    expected_by_server: Vec<u8>,
    expected_by_client: Vec<u8>,
    heard_by_client: Vec<u8>,
    /// Of what the server has heard, whole packets.
    parsed: usize,
    /// Bytes that the server's socket has accepted.
    sent: u64,
    pub(super) pings: Pings,
    runs_low: bool,
    last_number: RecordNumber,
    /// The highest number under any key.
    pub(super) number_max: u64,
}

/// As the map has it, for as long as the process lives.
pub(super) fn new_table() -> &'static Table {
    Box::leak(Box::new(Table::new(|| AtomicU64::new(0))))
}

impl World {
    /// With all keys, a table, and the claim released.
    pub(super) fn new(server: &Arc<ServerTls>, client: ClientConfig) -> Self {
        let mut pair = Pair::inside(Kind::Tls, server, &Arc::new(client)).open();
        pair.settle();
        let heartbeat = pair.server.heartbeat().expect("its suite is known");
        let shape = RecordShape::of(heartbeat);
        let table = new_table();
        pair.server.numbers().expect("it has keys").begin(table);
        assert!(!table.look().is_open(), "it begins with a claim");
        let received = pair.server.whole_wire_bytes(0, 0).expect("it rests");
        let mut world = Self {
            pair,
            table,
            words: Words::default(),
            shape,
            program: Program::new(shape, received as u32),
            scratch: Scratch::default(),
            coming: VecDeque::new(),
            going: VecDeque::new(),
            to_say: Vec::new(),
            expected_by_server: Vec::new(),
            expected_by_client: Vec::new(),
            heard_by_client: Vec::new(),
            parsed: 0,
            sent: 0,
            pings: Pings::default(),
            runs_low: false,
            last_number: table.look().number(),
            number_max: 0,
        };
        world.parse();
        world.publish_tx();
        assert!(table.look().is_open(), "nothing was sealed since");
        world
    }

    pub(super) fn numbers(&mut self) -> &mut Numbers {
        self.pair.server.numbers().expect("a heartbeat can come")
    }

    /// What programs know of the bytes that the socket has accepted.
    pub(super) fn tx(&self) -> u64 {
        self.words.tx.load(Ordering::Acquire)
    }

    /// What programs know of the bytes that were parsed.
    pub(super) fn rx(&self) -> u64 {
        self.words.rx.load(Ordering::Acquire)
    }

    /// The next answer that the table has.
    pub(super) fn next_answer(&self) -> Option<Record> {
        let mut record = Record::default();
        let at = self.table.look().number();
        self.table.copy_answer(at, self.shape, &mut record).then_some(record)
    }

    /// Goes on with another table, whose claim is held.
    pub(super) fn begins_again(&mut self, table: &'static Table) {
        self.table = table;
        self.last_number = table.look().number();
        self.publish_tx();
    }

    /// The client says a packet, in segments of at most so many bytes.
    pub(super) fn client_says(&mut self, packet: &[u8], segment_bytes: usize) {
        for part in packet.chunks(16 << 10) {
            self.pair.write(part);
            self.client_sends(segment_bytes, part);
        }
    }

    pub(super) fn client_pings(&mut self) {
        self.client_says(PING, usize::MAX);
    }

    /// The client takes a new key, and asks the server to do the same.
    pub(super) fn client_updates_key(&mut self, segment_bytes: usize) {
        self.pair.client.refresh_traffic_keys().expect("TLS 1.3 can");
        self.client_sends(segment_bytes, &[]);
    }

    fn client_sends(&mut self, segment_bytes: usize, completes: &[u8]) {
        let bytes = self.pair.client_says();
        let pieces = bytes.chunks(segment_bytes).map(|piece| (piece.to_vec(), Vec::new()));
        self.coming.extend(pieces);
        self.coming.back_mut().expect("it sends something").1.extend(completes);
    }

    /// A segment that was made up arrives before all others.
    pub(super) fn comes_first(&mut self, segment: &[u8]) {
        self.coming.push_front((segment.to_vec(), Vec::new()));
    }

    /// The client sends what it has to, which says nothing of the inside.
    pub(super) fn client_sends_all(&mut self) {
        self.client_sends(usize::MAX, &[]);
    }

    /// What the socket has not accepted.
    pub(super) fn going(&self) -> impl Iterator<Item = u8> {
        self.going.iter().copied()
    }

    /// A segment arrives. `false`: none was on its way.
    pub(super) fn arrives(&mut self) -> bool {
        let Some((segment, completes)) = self.coming.pop_front() else { return false };
        match self.program.ingress(self.table, &self.words, &segment) {
            Err(answer) => {
                assert_eq!(completes, PING, "only pings are answered");
                self.pings.by_program += 1;
                let next = self.table.expected();
                let request = RecordNumber::new(next.epoch(), next.number() - 1);
                self.runs_low |= runs_low(request.expect("it fits"));
                self.expected_by_client.extend(PONG);
                self.client_hears(&answer);
            }
            Ok(counter) => {
                self.pings.claimed += u32::from(counter == Some(Counter::Claimed));
                self.pings.no_answer += u32::from(counter == Some(Counter::NoAnswer));
                self.expected_by_server.extend(completes);
                let Pair { server, heard, .. } = &mut self.pair;
                let inside = server.take(&segment, Pace::OFF, START, &mut self.scratch);
                heard.extend_from_slice(inside);
                self.parse();
            }
        }
        self.check_number();
        true
    }

    pub(super) fn all_arrive(&mut self) {
        while self.arrives() {}
    }

    /// Packets of the inside are pings, or begin with their length, four bytes.
    fn parse(&mut self) {
        loop {
            let rest = &self.pair.heard[self.parsed..];
            let len = match (rest, rest.first_chunk()) {
                ([0xC0, 0, ..], _) => 2,
                (_, Some(head)) => u32::from_be_bytes(*head) as usize,
                _ => break,
            };
            if rest.len() < len {
                break;
            }
            self.parsed += len;
            if len == 2 {
                self.pings.by_user += 1;
                self.to_say.push(Bytes::from_static(PONG));
            }
        }
        let pending = self.pair.heard.len() - self.parsed;
        if let Some(rx) = self.pair.server.whole_wire_bytes(0, pending) {
            match self.pair.server.numbers() {
                Some(numbers) => numbers.publish_rx(&self.words.rx, rx),
                None => self.words.rx.store(rx, Ordering::Release),
            }
        }
    }

    pub(super) fn is_to_say(&mut self, packet: &[u8]) {
        self.to_say.push(Bytes::copy_from_slice(packet));
    }

    /// The layer wraps what is to be said, and what it owes.
    pub(super) fn server_says(&mut self, bytes_max: usize) {
        let mut chunks = std::mem::take(&mut self.to_say);
        self.expected_by_client.extend(chunks.iter().flatten());
        while !chunks.is_empty() || self.pair.server.owes() {
            self.pair.server.wrap(&mut chunks, bytes_max);
            self.going.extend(chunks.drain(..).flatten());
        }
        self.check_number();
    }

    /// The socket accepts at most so many bytes. If that is all, the shard says so.
    pub(super) fn socket_accepts(&mut self, bytes_max: usize) {
        let len = self.going.len().min(bytes_max);
        if len == 0 {
            return;
        }
        let bytes: Vec<u8> = self.going.drain(..len).collect();
        self.sent += len as u64;
        self.program.egress(self.table, len);
        self.client_hears(&bytes);
        if self.going.is_empty() {
            self.publish_tx();
        }
    }

    pub(super) fn publish_tx(&mut self) {
        match self.pair.server.numbers() {
            Some(numbers) => numbers.publish_tx(&self.words.tx, self.sent),
            None => self.words.tx.store(self.sent, Ordering::Release),
        }
        self.check_number();
    }

    /// The shard looks which tables run low.
    pub(super) fn fills_up(&mut self) {
        if std::mem::take(&mut self.runs_low) {
            self.numbers().fill_up();
        }
    }

    fn client_hears(&mut self, bytes: &[u8]) {
        let heard = self.pair.client_takes(bytes).expect("it opens");
        self.heard_by_client.extend(heard);
    }

    /// Everything under way arrives, and is answered.
    pub(super) fn settle(&mut self) {
        loop {
            self.all_arrive();
            self.server_says(usize::MAX);
            self.socket_accepts(usize::MAX);
            // Replies to KeyUpdates of the server.
            if self.pair.client.wants_write() {
                self.client_sends_all();
            }
            if self.coming.is_empty() && self.to_say.is_empty() {
                return;
            }
        }
    }

    /// The server says goodbye, and the client hears it.
    pub(super) fn closes(&mut self) {
        self.pair.server.close(Goodbye::Done);
        self.server_says(usize::MAX);
        self.socket_accepts(usize::MAX);
        let state = self.pair.client.process_new_packets().expect("it likes that");
        assert!(state.peer_has_closed());
    }

    /// Each side has heard what it was to hear, in order.
    pub(super) fn check_streams(&self) {
        assert!(self.pair.heard == self.expected_by_server, "what the server hears");
        assert!(self.heard_by_client == self.expected_by_client, "what the client hears");
    }

    /// The number to send by never goes back.
    fn check_number(&mut self) {
        let number = self.table.look().number();
        assert!(number >= self.last_number, "{number:?} after {:?}", self.last_number);
        self.last_number = number;
        self.number_max = self.number_max.max(number.number());
    }
}
