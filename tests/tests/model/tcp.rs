//! A TCP endpoint, from the established state on: cumulative acknowledgement, retransmission with
//! backoff and by duplicate ACKs, SACK, reassembly, delayed ACKs, timestamps with PAWS, windows with
//! probes, half-close, resets with challenge ACKs, Path MTU Discovery by ICMP errors (RFC 9293, 7323,
//! 2018, 5961, 1191, 5927). No congestion
//! control but a constant window: the adversary decides what is lost.
//!
//! Positions are offsets into the streams; numbers of the wire are modulo 2^32. Time is in
//! microseconds.

use std::collections::BTreeMap;

use push_common::segment::{SocketFacts, flags};

use crate::segment::{Block, Seg, WINDOW_SHIFT};

pub(crate) const MSS: usize = 1_460;
const FLIGHT_BYTES_MAX: u64 = 16 * MSS as u64;
const DELAYED_ACK_US: u64 = 40_000;
/// How much older an echo may be than what it acknowledges: delayed acknowledgements and slow links are faster.
const ECHO_LATE_MS_MAX: u32 = 1_000;
const RTO_MIN_US: u64 = 200_000;
/// Small, so that an honest network brings an end soon after the adversary has left.
const RTO_MAX_US: u64 = 3_000_000;

/// The clock of timestamps when a run begins: it wraps soon.
const TS_FIRST: u32 = 0_u32.wrapping_sub(3_000);

/// Why there is no connection any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reset {
    ByPeer,
    ByApplication,
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Tcp {
    /// Sequence number of byte 0, this way and that way.
    iss: u32,
    irs: u32,
    sent: Vec<u8>,
    una: u64,
    nxt: u64,
    /// Behind the furthest byte (or FIN) ever sent.
    max: u64,
    /// Payload bytes that a segment may have; falls with the path MTU.
    mss: usize,
    fin: bool,
    peer_window: u64,
    sacked: BTreeMap<u64, u64>,
    duplicates: u32,
    /// Retransmission goes on at each partial acknowledgement up to here.
    recover: u64,
    rtx_next: u64,
    rto_us: u64,
    rto_at: Option<u64>,
    delivered: u64,
    inbox: Vec<u8>,
    ahead: BTreeMap<u64, Vec<u8>>,
    pub(crate) out_of_order: u32,
    peer_fin: Option<u64>,
    peer_fin_taken: bool,
    room: usize,
    advertised_end: u64,
    last_ack_sent: u64,
    /// Segments have timestamps, the peer's too (RFC 7323).
    timestamps: bool,
    ts_recent: u32,
    /// The timestamps by which bytes left first, by where such a segment ends; those not all acknowledged.
    first_sent: BTreeMap<u64, u32>,
    /// An acknowledgement echoed a timestamp from before what it acknowledges had left: a round trip that never was.
    pub(crate) false_echo: Option<String>,
    unacknowledged: u32,
    ack_at: Option<u64>,
    pub(crate) reset: Option<Reset>,
    outgoing: Vec<Seg>,
}

impl Tcp {
    pub(crate) fn new(iss: u32, irs: u32, room: usize, timestamps: bool) -> Self {
        Self {
            iss,
            irs,
            sent: Vec::new(),
            una: 0,
            nxt: 0,
            max: 0,
            mss: MSS,
            fin: false,
            peer_window: 20_000,
            sacked: BTreeMap::new(),
            duplicates: 0,
            recover: 0,
            rtx_next: 0,
            rto_us: RTO_MIN_US,
            rto_at: None,
            delivered: 0,
            inbox: Vec::new(),
            ahead: BTreeMap::new(),
            out_of_order: 0,
            peer_fin: None,
            peer_fin_taken: false,
            room,
            advertised_end: room as u64,
            last_ack_sent: 0,
            timestamps,
            ts_recent: if timestamps { TS_FIRST } else { 0 },
            first_sent: BTreeMap::new(),
            false_echo: None,
            unacknowledged: 0,
            ack_at: None,
            reset: None,
            outgoing: Vec::new(),
        }
    }

    /// What `bpf_tcp_sock` would say.
    pub(crate) fn facts(&self) -> SocketFacts {
        SocketFacts {
            rcv_nxt: self.irs.wrapping_add(self.delivered as u32),
            bytes_received: self.delivered as u32,
            snd_una: self.iss.wrapping_add(self.una as u32),
            bytes_acked: self.una as u32,
        }
    }

    /// Bytes that the application has written so far.
    pub(crate) fn written(&self) -> u64 {
        self.sent.len() as u64
    }

    /// Everything written, the FIN too if there is one, is acknowledged.
    pub(crate) fn is_drained(&self) -> bool {
        self.una == self.sent.len() as u64 + u64::from(self.fin)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.reset.is_some() || (self.fin && self.is_drained() && self.peer_fin_taken)
    }

    /// The peer's FIN has come, and everything before it.
    pub(crate) fn at_end(&self) -> bool {
        self.peer_fin_taken && self.inbox.is_empty()
    }

    pub(crate) fn can_write(&self) -> bool {
        self.reset.is_none() && !self.fin
    }

    pub(crate) fn write(&mut self, now: u64, bytes: &[u8]) {
        if self.can_write() {
            self.sent.extend_from_slice(bytes);
            self.output(now);
        }
    }

    pub(crate) fn shutdown(&mut self, now: u64) {
        if self.can_write() {
            self.fin = true;
            self.output(now);
        }
    }

    /// Closes at once: RST.
    pub(crate) fn abort(&mut self, now: u64) {
        if self.reset.is_none() {
            let mut reset = self.bare(now);
            reset.flags = flags::RST | flags::ACK;
            self.outgoing.push(reset);
            self.end(Reset::ByApplication);
        }
    }

    /// Takes what has arrived, up to `bytes_max`.
    pub(crate) fn read(&mut self, now: u64, bytes_max: usize) -> Vec<u8> {
        let taken: Vec<u8> = self.inbox.drain(..bytes_max.min(self.inbox.len())).collect();
        let opened = self.window_end().saturating_sub(self.advertised_end);
        if self.reset.is_none() && opened >= (self.room as u64 / 2).min(2 * MSS as u64) {
            self.acknowledge(now);
        }
        taken
    }

    /// A keep-alive probe: one below the next number, no payload.
    pub(crate) fn probe(&mut self, now: u64) {
        if self.reset.is_none() && self.nxt == self.una {
            let mut probe = self.bare(now);
            probe.seq = probe.seq.wrapping_sub(1);
            self.outgoing.push(probe);
        }
    }

    pub(crate) fn take_outgoing(&mut self) -> Vec<Seg> {
        std::mem::take(&mut self.outgoing)
    }

    /// When `on_timer` next has something to do.
    pub(crate) fn next_timer(&self) -> Option<u64> {
        let both = [self.rto_at, self.ack_at];
        both.into_iter().flatten().min().filter(|_| self.reset.is_none())
    }

    pub(crate) fn on_timer(&mut self, now: u64) {
        if self.reset.is_some() {
            return;
        }
        if self.ack_at.is_some_and(|at| at <= now) {
            self.acknowledge(now);
        }
        if self.rto_at.is_some_and(|at| at <= now) {
            self.rto_us = (self.rto_us * 2).min(RTO_MAX_US);
            self.rto_at = Some(now + self.rto_us);
            if self.nxt == self.una {
                self.probe(now);
            } else {
                // Whatever was reported may have been dropped again: begin anew.
                self.sacked.clear();
                self.recover = self.max;
                self.rtx_next = self.una;
                self.retransmit(now);
            }
        }
    }

    pub(crate) fn on_segment(&mut self, now: u64, segment: &Seg) {
        if segment.corrupt || segment.has(flags::SYN) {
            // A SYN within a connection is answered by a challenge ACK (RFC 5961).
            if !segment.corrupt && self.reset.is_none() {
                self.acknowledge(now);
            }
            return;
        }
        if self.reset.is_some() {
            return self.refuse(now, segment);
        }
        let is_reset = segment.has(flags::RST);
        if segment.timestamped && !is_reset && before(segment.ts_val, self.ts_recent) {
            return self.acknowledge(now);
        }
        let first = offset(self.delivered, self.irs, segment.seq);
        let end = first + i64::from(segment.span());
        let next = self.next_expected() as i64;
        if first > self.advertised_end as i64 || end < self.last_ack_sent as i64 {
            if !is_reset {
                self.acknowledge(now);
            }
            return;
        }
        if is_reset {
            return if first == next { self.end(Reset::ByPeer) } else { self.acknowledge(now) };
        }
        let ack = offset(self.una, self.iss, segment.ack);
        if !segment.has(flags::ACK) || ack > self.max as i64 {
            return self.acknowledge(now);
        }
        if segment.timestamped && first <= self.last_ack_sent as i64 {
            self.ts_recent = segment.ts_val;
        }
        self.on_acknowledgement(now, ack, segment);
        self.on_payload(now, first, segment);
        self.output(now);
    }

    /// An ICMP error says that the segment with the number `seq` did not get through, and that
    /// `payload_bytes` would. It must be one that is outstanding (Linux: `tcp_v4_err`).
    pub(crate) fn on_too_big(&mut self, now: u64, seq: u32, payload_bytes: usize) {
        let at = offset(self.una, self.iss, seq);
        let is_outstanding = at >= self.una as i64 && at <= self.max as i64;
        if self.reset.is_some() || !is_outstanding || payload_bytes >= self.mss {
            return;
        }
        self.mss = payload_bytes;
        self.sacked.clear();
        self.recover = self.max;
        self.rtx_next = self.una;
        self.retransmit(now);
    }

    fn on_acknowledgement(&mut self, now: u64, ack: i64, segment: &Seg) {
        let window = u64::from(segment.window) << WINDOW_SHIFT;
        for &(first, end) in &segment.sack {
            let (first, end) = (offset(self.una, self.iss, first), offset(self.una, self.iss, end));
            if first >= self.una as i64 && end <= self.max as i64 && first < end {
                self.sacked.insert(first as u64, end as u64);
            }
        }
        if ack > self.una as i64 {
            self.check_echo(ack as u64, segment);
            self.una = ack as u64;
            self.nxt = self.nxt.max(self.una);
            self.sacked.retain(|_, end| *end > ack as u64);
            self.duplicates = 0;
            self.rto_us = RTO_MIN_US;
            self.rto_at = (self.una < self.max).then_some(now + self.rto_us);
            if self.una < self.recover {
                self.rtx_next = self.rtx_next.max(self.una);
                self.retransmit(now);
            }
        } else if ack == self.una as i64
            && segment.span() == 0
            && window == self.peer_window
            && self.una < self.max
        {
            self.duplicates += 1;
            if self.duplicates >= 3 {
                if self.una >= self.recover {
                    self.recover = self.max;
                    self.rtx_next = self.una;
                }
                self.retransmit(now);
            }
        }
        if ack >= self.una as i64 {
            self.peer_window = window;
        }
    }

    /// An echo tells how long ago the earliest segment left that is acknowledged now (RFC 7323, section 4.1), or one
    /// that a delayed acknowledgement waited for.
    fn check_echo(&mut self, ack: u64, segment: &Seg) {
        let earliest = self.first_sent.first_key_value().map(|(_, ts_val)| *ts_val);
        self.first_sent = self.first_sent.split_off(&(ack + 1));
        if let Some(ts_val) = earliest
            && segment.timestamped
            && before(segment.ts_ecr.wrapping_add(ECHO_LATE_MS_MAX), ts_val)
        {
            let Self { una, .. } = self;
            let echo = segment.ts_ecr;
            self.false_echo = Some(format!(
                "an acknowledgement of {una} to {ack} echoes {echo}, and the earliest byte left at {ts_val}"
            ));
        }
    }

    fn on_payload(&mut self, now: u64, first: i64, segment: &Seg) {
        if segment.span() == 0 {
            // A probe of the peer repeats an old number and wants to hear where we are.
            if first < self.next_expected() as i64 {
                self.acknowledge(now);
            }
            return;
        }
        let end = first + segment.payload.len() as i64;
        if segment.has(flags::FIN) {
            self.peer_fin = Some(end as u64);
        }
        let before_it = self.next_expected();
        let (from, fits) = (first.max(self.delivered as i64), end.min(self.window_end() as i64));
        if from < fits {
            let bytes = &segment.payload[(from - first) as usize..(fits - first) as usize];
            if from as u64 > self.delivered {
                self.out_of_order += 1;
            }
            self.keep(from as u64, bytes);
        }
        self.assemble();
        let in_order = first <= before_it as i64 && self.next_expected() > before_it;
        self.unacknowledged += 1;
        if !in_order || !self.ahead.is_empty() || self.peer_fin_taken || self.unacknowledged >= 2 {
            self.acknowledge(now);
        } else if self.ack_at.is_none() {
            self.ack_at = Some(now + DELAYED_ACK_US);
        }
    }

    /// Keeps bytes that came ahead; what is there already stays.
    fn keep(&mut self, at: u64, bytes: &[u8]) {
        match self.ahead.get_mut(&at) {
            Some(kept) if kept.len() >= bytes.len() => {}
            Some(kept) => *kept = bytes.to_vec(),
            None => {
                self.ahead.insert(at, bytes.to_vec());
            }
        }
    }

    fn assemble(&mut self) {
        while let Some((&at, _)) = self.ahead.first_key_value() {
            if at > self.delivered {
                break;
            }
            let bytes = self.ahead.remove(&at).unwrap_or_default();
            let old = (self.delivered - at) as usize;
            if let Some(new) = bytes.get(old..) {
                self.inbox.extend_from_slice(new);
                self.delivered += new.len() as u64;
            }
        }
        self.peer_fin_taken |= self.peer_fin == Some(self.delivered);
    }

    fn next_expected(&self) -> u64 {
        self.delivered + u64::from(self.peer_fin_taken)
    }

    fn window_end(&self) -> u64 {
        self.delivered + self.room.saturating_sub(self.inbox.len()) as u64
    }

    fn output(&mut self, now: u64) {
        let all = self.sent.len() as u64 + u64::from(self.fin);
        let mut idle = true;
        while self.nxt < all {
            let open = self.peer_window.min(FLIGHT_BYTES_MAX);
            let room = (self.una + open).saturating_sub(self.nxt) as usize;
            let left = (self.sent.len() as u64).saturating_sub(self.nxt) as usize;
            let bytes = left.min(self.mss).min(room);
            if bytes == 0 && left > 0 {
                break;
            }
            idle = false;
            self.transmit(now, self.nxt, bytes);
            self.nxt = self.max.max(self.nxt);
        }
        // Behind a closed window the timer probes.
        if self.rto_at.is_none() && (self.una < self.max || (idle && self.nxt < all)) {
            self.rto_at = Some(now + self.rto_us);
        }
        if self.una == all {
            self.rto_at = None;
        }
    }

    /// Sends `bytes` payload bytes from `at`, and the FIN if they reach it.
    fn transmit(&mut self, now: u64, at: u64, bytes: usize) {
        let mut segment = self.bare(now);
        segment.seq = self.iss.wrapping_add(at as u32);
        segment.payload = self.sent[at as usize..at as usize + bytes].to_vec();
        let end = at + bytes as u64;
        if bytes > 0 {
            segment.flags |= flags::PSH;
        }
        let mut behind = end;
        if self.fin && end == self.sent.len() as u64 {
            segment.flags |= flags::FIN;
            behind += 1;
        }
        if behind > self.max {
            self.first_sent.insert(behind, segment.ts_val);
        }
        self.max = self.max.max(behind);
        self.outgoing.push(segment);
    }

    /// The first hole that was not filled in this recovery.
    fn retransmit(&mut self, now: u64) {
        let mut at = self.rtx_next.max(self.una);
        while let Some((_, &end)) = self.sacked.range(..=at).next_back().filter(|(_, e)| **e > at) {
            at = end;
        }
        if at >= self.max {
            return;
        }
        let next_sacked = self.sacked.range(at..).next().map_or(u64::MAX, |(first, _)| *first);
        let end = (self.sent.len() as u64).min(next_sacked).min(self.max);
        let bytes = (end.saturating_sub(at) as usize).min(self.mss);
        self.transmit(now, at, bytes);
        self.rtx_next = at + bytes.max(1) as u64;
    }

    fn acknowledge(&mut self, now: u64) {
        let segment = self.bare(now);
        self.outgoing.push(segment);
    }

    /// A segment without payload that says where we are; nothing is owed to the peer then.
    fn bare(&mut self, now: u64) -> Seg {
        (self.ack_at, self.unacknowledged) = (None, 0);
        let ack = self.next_expected();
        let window = ((self.window_end() - self.delivered) >> WINDOW_SHIFT).min(0xFFFF);
        self.last_ack_sent = ack;
        self.advertised_end = self.advertised_end.max(self.delivered + (window << WINDOW_SHIFT));
        Seg {
            seq: self.iss.wrapping_add(self.nxt as u32),
            ack: self.irs.wrapping_add(ack as u32),
            flags: flags::ACK,
            window: window as u16,
            sack: self.blocks(),
            timestamped: self.timestamps,
            ts_val: self.timestamp(now),
            ts_ecr: self.ts_recent,
            ..Seg::default()
        }
    }

    fn blocks(&self) -> Vec<Block> {
        let number = |at: u64| self.irs.wrapping_add(at as u32);
        let mut blocks: Vec<(u64, u64)> = Vec::new();
        for (&first, bytes) in &self.ahead {
            let end = first + bytes.len() as u64;
            match blocks.last_mut() {
                Some((_, last)) if *last >= first => *last = end.max(*last),
                _ => blocks.push((first, end)),
            }
        }
        blocks.into_iter().take(3).map(|(first, end)| (number(first), number(end))).collect()
    }

    /// Nobody is here: RST, as RFC 9293 makes it up from the segment.
    fn refuse(&mut self, now: u64, segment: &Seg) {
        if segment.has(flags::RST) {
            return;
        }
        self.outgoing.push(Seg {
            seq: segment.ack,
            flags: flags::RST,
            timestamped: self.timestamps,
            ts_val: self.timestamp(now),
            ..Seg::default()
        });
    }

    /// Milliseconds, as Linux counts.
    fn timestamp(&self, now: u64) -> u32 {
        if self.timestamps { TS_FIRST.wrapping_add((now / 1_000) as u32) } else { 0 }
    }

    fn end(&mut self, reset: Reset) {
        self.reset = Some(reset);
        (self.rto_at, self.ack_at) = (None, None);
    }
}

/// The stream position of `number` that is nearest to `near`, byte 0 having number `base`.
fn offset(near: u64, base: u32, number: u32) -> i64 {
    let difference = number.wrapping_sub(base.wrapping_add(near as u32)) as i32;
    near as i64 + i64::from(difference)
}

pub(crate) fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}
