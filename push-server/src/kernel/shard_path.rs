//! A shard's handle to the kernel path: its free slots and answer tables, and the flows to remove later. It takes no
//! lock but the flow map's, and moves to the shard's thread.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::time::Duration;

use push_common::answer_table::KernelTable;
use push_common::clock::Monotonic;
use push_common::early_fragment::{self, EarlyFragment};
use push_common::flow::{Flow, FlowKey, NO_TABLE, bits};
use push_common::heartbeat::Heartbeat;
use push_common::low_tables;
use push_common::slot::{ShardLine, Slot, state};

use super::flows::{FLOW_LINGER, Flows, key_of};
use super::free_list::FreeList;
use super::slots::{Lines, Table};
use super::socket_diag::{SocketDiag, SocketState};
use super::unarmed::Unarmed;

/// How long the flow of a connection whose pings were never answered outlives its slot. It needs no
/// translation; 1 s, so that no program run is left that saw the slot armed.
const UNUSED_LINGER: Duration = Duration::from_secs(1);

/// How long an answer table rests once its flow is gone or needs it no more: so that no program run is left that saw
/// the flow before, and may still send the table's answer again.
const TABLE_REST: Duration = UNUSED_LINGER;

/// Flows that one `sweep` looks at; each costs a system call or two.
const SWEEP_MAX: usize = 2048;

/// A connection's slot in the liveness map.
#[derive(Debug)]
pub struct SlotRef {
    /// Index in the map.
    pub index: u32,
    /// Its generation.
    pub generation: u32,
    /// The key of the flow that names the slot.
    key: FlowKey,
    /// The interface that the connection came by, as a place among those that have the programs.
    iface: u16,
    /// The index of its answer table; [`NO_TABLE`] if its heartbeats are in clear.
    table: u32,
    armed: bool,
}

impl SlotRef {
    /// Whether the kernel may answer the connection's pings.
    pub fn is_armed(&self) -> bool {
        self.armed
    }
}

/// One shard's slots and answer tables, and the flow map. Moves to the shard's thread.
#[derive(Debug)]
pub struct ShardPath {
    shard: u16,
    slots: Arc<Lines<Slot>>,
    heartbeats: Arc<Lines<ShardLine>>,
    early_fragments: Arc<Lines<EarlyFragment>>,
    tables: &'static Lines<KernelTable<u64>>,
    low_tables: Arc<Lines<u64>>,
    place_seed: u64,
    flows: Arc<Flows>,
    covered: Arc<[u32]>,
    free_slots: FreeList,
    free_tables: FreeList,
    has_tables: bool,
    /// Answer tables whose flows are gone or need them no more, and since when; oldest first.
    resting_tables: VecDeque<(u32, Monotonic)>,
    /// Closed connections that may turn out never to have been answered; oldest first.
    closed: VecDeque<ClosingConnection>,
    /// Closed connections whose flows linger; oldest first. At most `lingering_max`.
    lingering: VecDeque<ClosingConnection>,
    lingering_max: usize,
    speaking: Arc<AtomicBool>,
    diag: Option<Arc<SocketDiag>>,
    resets_in_crash: bool,
}

#[derive(Debug)]
struct ClosingConnection {
    slot: SlotRef,
    /// When it was closed, or was last seen to go on: its two minutes begin then.
    closed_at: Monotonic,
    /// Its numbers then, and when the stack had last sent; zeros until the first look.
    progress: [u32; 4],
    /// The peer had not acknowledged everything at close: the system goes on sending.
    speaks: bool,
}

/// Everything that a handle is made of.
pub(super) struct Parts {
    pub(super) shard: u16,
    pub(super) slots: Arc<Lines<Slot>>,
    pub(super) heartbeats: Arc<Lines<ShardLine>>,
    pub(super) early_fragments: Arc<Lines<EarlyFragment>>,
    pub(super) tables: &'static Lines<KernelTable<u64>>,
    pub(super) low_tables: Arc<Lines<u64>>,
    pub(super) place_seed: u64,
    pub(super) flows: Arc<Flows>,
    /// Indices of the interfaces that have the programs.
    pub(super) covered: Arc<[u32]>,
    pub(super) free_slots: FreeList,
    pub(super) free_tables: FreeList,
    /// Some connections of any shard may have a table.
    pub(super) has_tables: bool,
    /// Flows that may linger before new connections are refused.
    pub(super) lingering_max: usize,
    /// Set when sockets that still send are left behind.
    pub(super) speaking: Arc<AtomicBool>,
    /// Tells whether a closed socket still sends. `None`: the system cannot tell, so the flows have
    /// to.
    pub(super) diag: Option<Arc<SocketDiag>>,
    /// The programs may end with the process, so the sockets they translate for must not send on
    /// then.
    pub(super) resets_in_crash: bool,
}

/// A connection that is to have a slot.
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    /// The socket's own address (`getsockname`).
    pub local: SocketAddr,
    /// Its peer's (`getpeername`).
    pub peer: SocketAddr,
    /// What its heartbeats are on the wire; with an answer table if they are inside TLS.
    pub heartbeat: Heartbeat,
    /// Nanoseconds between two pings in the long run, at least; 0: no limit.
    pub ping_interval_ns: u32,
    /// Bytes that came on the wire up to the end of the last whole packet.
    pub rx: u64,
    /// Bytes that the socket was given, all of which it has accepted.
    pub tx: u64,
    /// The client, by the caller's own count, for [`ShardPath::take_low_tables`].
    pub client: u32,
}

impl Registration {
    /// Of MQTT in clear, with nothing sent or received, and pings as often as the client likes.
    pub fn new(local: SocketAddr, peer: SocketAddr) -> Self {
        let heartbeat = Heartbeat::PLAIN;
        Self { local, peer, heartbeat, ping_interval_ns: 0, rx: 0, tx: 0, client: 0 }
    }
}

impl ShardPath {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            shard: parts.shard,
            slots: parts.slots,
            heartbeats: parts.heartbeats,
            early_fragments: parts.early_fragments,
            tables: parts.tables,
            low_tables: parts.low_tables,
            place_seed: parts.place_seed,
            flows: parts.flows,
            covered: parts.covered,
            free_slots: parts.free_slots,
            free_tables: parts.free_tables,
            has_tables: parts.has_tables,
            resting_tables: VecDeque::new(),
            closed: VecDeque::new(),
            lingering: VecDeque::new(),
            lingering_max: parts.lingering_max,
            speaking: parts.speaking,
            diag: parts.diag,
            resets_in_crash: parts.resets_in_crash,
        }
    }

    /// The dead man's switch: call it at least once a second. The kernel stops answering for this
    /// shard's connections when the last stamp is older than 5 s.
    pub fn stamp_heartbeat(&self, now: Monotonic) {
        self.heartbeats.heartbeat(self.shard).store(now.0, Ordering::Release);
    }

    /// Takes a slot and inserts the flow; to be called while no send is under way, because the next
    /// byte (of CONNACK, mostly) anchors the flow. On an error nothing is left behind, and the
    /// connection is served by user space alone.
    ///
    /// If the heartbeats are inside TLS, also takes an answer table, and calls `begin` with it right before the flow
    /// is inserted, which may still fail. The table is the connection's until this has failed or [`Self::release`]
    /// is called: whoever goes on with the connection after that uses the table no more.
    pub fn register(
        &mut self,
        socket: BorrowedFd<'_>,
        registration: &Registration,
        begin: impl FnOnce(&'static Table),
        now: Monotonic,
    ) -> Result<SlotRef, Unarmed> {
        let Registration { local, peer, heartbeat, .. } = *registration;
        let iface = super::socket::arrival_interface(socket, local.is_ipv6())
            .map_err(|_| Unarmed::Socket)?;
        let place = self.covered.iter().position(|covered| *covered == iface);
        let iface = place.and_then(|place| u16::try_from(place).ok()).ok_or(Unarmed::Interface)?;
        if self.flows_leaving() >= self.lingering_max {
            return Err(Unarmed::FlowMap);
        }
        let key = key_of(local, peer).ok_or(Unarmed::FlowMap)?;
        let index = self.free_slots.take().ok_or(Unarmed::NoSlot)?;
        let Some(table) = self.take_table(heartbeat) else {
            self.free_slots.give_back(index);
            return Err(Unarmed::NoTable);
        };
        let generation = self.hold(index, registration, now);
        let slot = SlotRef { index, generation, key, iface, table, armed: false };
        if table != NO_TABLE {
            begin(self.tables.table(table));
        }
        // The low half: sequence numbers are modulo 2^32.
        let flow = Flow::new(index, generation, heartbeat, registration.tx as u32);
        match self.flows.insert(&slot.key, flow.with_table(table)) {
            Ok(()) => Ok(slot),
            Err(unarmed) => {
                self.vacate(&slot);
                self.rest_table(&slot, now);
                Err(unarmed)
            }
        }
    }

    /// Lets the kernel answer. Call it once, when CONNACK has been sent. On an error release the
    /// slot; user space alone serves the connection then.
    ///
    /// A segment that passes none of our programs is not translated, so an armed connection must
    /// keep to an interface that has them: the socket is bound to the one that both directions use.
    /// If the route changes later, the connection ends, and the client comes back by the new route.
    pub fn arm(
        &self,
        socket: BorrowedFd<'_>,
        slot: &mut SlotRef,
        now: Monotonic,
    ) -> Result<(), Unarmed> {
        let flow = self.flows.look(&slot.key, slot.index, slot.generation);
        let leaves_by = |flow: Flow| flow.has(bits::ANCHORED).then_some(flow.iface);
        let iface = self.iface(slot);
        if flow.and_then(leaves_by) != Some(iface) {
            return Err(Unarmed::Interface);
        }
        let place = early_fragment::place(&slot.key, self.place_seed);
        let early = self.early_fragments.seen(place);
        if early_fragment::may_be_incomplete(early.load(Ordering::Acquire), now) {
            return Err(Unarmed::EarlyFragment);
        }
        let has_fine_timestamps = super::socket::has_fine_timestamps(socket);
        if has_fine_timestamps.map_err(|_| Unarmed::Socket)? {
            return Err(Unarmed::FineTimestamps);
        }
        // The flow misses bytes that overtook others before it existed, or came by another
        // interface. Checked before binding, which takes a capability to undo, and again after it:
        // from then on the flow sees everything.
        Self::check_order(socket)?;
        super::socket::bind_to_interface(socket, iface).map_err(|_| Unarmed::Socket)?;
        Self::check_order(socket)?;
        if self.resets_in_crash {
            super::socket::set_reset_on_close(socket, true).map_err(|_| Unarmed::Socket)?;
        }
        self.slots.slot(slot.index).state.store(state::ARMED, Ordering::Release);
        slot.armed = true;
        Ok(())
    }

    /// The connection has come from another shard of this process, which does not touch the slot
    /// any more. From now on this shard's heartbeat vouches for it. Both shards are alive while it
    /// moves, so the programs may see either of them; the flow and its numbers know no shard.
    /// `client`: as in [`Registration`], by this shard's count.
    pub fn adopt(&self, slot: &SlotRef, client: u32) {
        let words = self.slots.slot(slot.index);
        words.client.store(client, Ordering::Relaxed);
        words.shard.store(self.shard, Ordering::Release);
    }

    /// The clients of this shard whose answer tables run low, appended to `clients`, each once since the last call.
    /// Some may have gone, or run low no more: filling up a table only fills what it lacks.
    pub fn take_low_tables(&mut self, clients: &mut Vec<u32>) {
        if !self.has_tables {
            return;
        }
        let row_words = low_tables::row_words(self.slots.len());
        for word in 0..row_words {
            let (place, _) = low_tables::place(row_words, self.shard, word * u64::BITS);
            let bits = self.low_tables.word(place);
            // Most are 0. Words that nobody writes to stay in the caches of all CPUs.
            if bits.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let low = low_tables::slots(word, bits.swap(0, Ordering::AcqRel));
            let client = |slot| self.slots.slot(slot).client.load(Ordering::Relaxed);
            clients.extend(low.map(client));
        }
    }

    fn check_order(socket: BorrowedFd<'_>) -> Result<(), Unarmed> {
        match super::socket::out_of_order_packets(socket) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Unarmed::OutOfOrder),
            Err(_) => Err(Unarmed::Socket),
        }
    }

    /// Where to store, with release, how many bytes were parsed, up to the end of a whole packet.
    pub fn rx_word(&self, slot: &SlotRef) -> &AtomicU64 {
        self.slots.slot(slot.index).rx
    }

    /// Where to store, with release, how many bytes the socket has accepted, up to the end of a whole frame and record.
    pub fn tx_word(&self, slot: &SlotRef) -> &AtomicU64 {
        self.slots.slot(slot.index).tx
    }

    /// When the kernel last answered a ping of this connection; if never, when it was registered.
    pub fn last_seen(&self, slot: &SlotRef) -> Monotonic {
        Monotonic(self.slots.slot(slot.index).last_seen.load(Ordering::Acquire))
    }

    /// How many pings of this connection the kernel has answered.
    pub fn pings(&self, slot: &SlotRef) -> u64 {
        self.slots.slot(slot.index).pings.load(Ordering::Acquire)
    }

    /// The connection is about to close: the kernel answers no more pings (state closing).
    pub fn closing(&self, slot: &SlotRef) {
        self.slots.slot(slot.index).state.store(state::CLOSING, Ordering::Release);
    }

    /// Call it before closing the socket. Returns whether the system will send on bytes that the
    /// programs must translate: otherwise a client would miss the length of a PINGRESP for each
    /// ping, or never see the end. If the programs may be gone by then, because the server stops or
    /// a crash takes them along, sets the socket to close with a reset and send nothing more.
    pub fn before_close(&self, socket: BorrowedFd<'_>, slot: &SlotRef, is_stopping: bool) -> bool {
        // A socket that cannot be asked has failed.
        let is_heard_out = super::socket::is_heard_out(socket).unwrap_or(true);
        let speaks = self.pings(slot) > 0 && !is_heard_out;
        let resets = speaks && (is_stopping || self.resets_in_crash);
        if resets || (self.resets_in_crash && slot.armed) {
            // A socket that refuses this has failed, too.
            let _ = super::socket::set_reset_on_close(socket, resets);
        }
        speaks && !resets
    }

    /// The socket is closed, or user space alone goes on with it: frees the slot at once, and leaves the flow (rule 10)
    /// and the answer table to [`Self::sweep`]. `speaks`: what [`Self::before_close`] returned.
    pub fn release(&mut self, slot: SlotRef, speaks: bool, now: Monotonic) {
        self.vacate(&slot);
        self.closed.push_back(ClosingConnection { slot, closed_at: now, progress: [0; 4], speaks });
    }

    /// The shard ends and has closed every socket: notes whether a closed one still sends, as far
    /// as the flows know.
    pub fn leave(&self) {
        let is_unheard = |leaving: &ClosingConnection| {
            let SlotRef { index, generation, key, .. } = &leaving.slot;
            let flow = self.flows.look(key, *index, *generation);
            flow.is_some_and(|flow| flow.n > 0 && flow.acked_nxt != flow.egress_nxt)
        };
        let mut leaving = self.closed.iter().chain(&self.lingering);
        if leaving.any(|leaving| leaving.speaks && is_unheard(leaving)) {
            self.speaking.store(true, Ordering::Release);
        }
    }

    /// Removes flows whose two minutes are over, and those that were never answered, a second after
    /// the close. Frees answer tables a second after their flows are gone, or are found to have no answer
    /// pending. Call it about once a second. It looks at `SWEEP_MAX` flows at most; returns whether there may be more.
    pub fn sweep(&mut self, now: Monotonic) -> bool {
        let mut left = SWEEP_MAX;
        while left > 0 {
            let Some(mut leaving) = take_due(&mut self.closed, UNUSED_LINGER, now) else { break };
            left -= 1;
            let SlotRef { index, generation, key, .. } = &leaving.slot;
            match self.flows.look(key, *index, *generation) {
                Some(Flow { n: 0, .. }) => {
                    self.flows.remove(key, *index, *generation);
                    self.rest_table(&leaving.slot, now);
                }
                Some(flow) => {
                    // Nothing is answered any more, and only a pending answer may have to leave again.
                    if !flow.has(bits::PENDING) {
                        self.rest_table(&leaving.slot, now);
                        leaving.slot.table = NO_TABLE;
                    }
                    self.lingering
                        .push_back(ClosingConnection { progress: progress(&flow), ..leaving });
                }
                // A new connection with the same addresses has replaced it.
                None => self.rest_table(&leaving.slot, now),
            }
        }
        while left > 0 {
            let Some(leaving) = take_due(&mut self.lingering, FLOW_LINGER, now) else { break };
            left -= 1;
            let SlotRef { index, generation, key, .. } = &leaving.slot;
            match self.flows.look(key, *index, *generation).map(|flow| progress(&flow)) {
                // A closed socket may send for long to a client that reads slowly or not at all,
                // and nothing passes the programs while the interface is down.
                Some(progress) if progress != leaving.progress || self.sends(&leaving.slot) => {
                    self.lingering.push_back(ClosingConnection {
                        progress,
                        closed_at: now,
                        ..leaving
                    });
                }
                Some(_) => {
                    self.flows.remove(key, *index, *generation);
                    self.rest_table(&leaving.slot, now);
                }
                None => self.rest_table(&leaving.slot, now),
            }
        }
        self.free_rested_tables(now);
        left == 0
    }

    /// An answer table for such heartbeats, [`NO_TABLE`] if they need none; `None`: they are used up.
    fn take_table(&mut self, heartbeat: Heartbeat) -> Option<u32> {
        if heartbeat.is_sealed() { self.free_tables.take() } else { Some(NO_TABLE) }
    }

    /// The connection's flow is gone, or will not send the table's answer again: frees the table in a second.
    fn rest_table(&mut self, slot: &SlotRef, now: Monotonic) {
        if slot.table != NO_TABLE {
            self.resting_tables.push_back((slot.table, now));
        }
    }

    fn free_rested_tables(&mut self, now: Monotonic) {
        let is_rested = |(_, since): &mut (u32, Monotonic)| now.since(*since) >= TABLE_REST;
        while let Some((table, _)) = self.resting_tables.pop_front_if(is_rested) {
            self.free_tables.give_back(table);
        }
    }

    /// The index of the interface that the connection came by.
    fn iface(&self, slot: &SlotRef) -> u32 {
        self.covered[usize::from(slot.iface)]
    }

    /// Whether the kernel says that the connection's socket still sends.
    fn sends(&self, slot: &SlotRef) -> bool {
        let state = self.diag.as_ref().and_then(|diag| diag.state(&slot.key, self.iface(slot)));
        state == Some(SocketState::Sends)
    }

    /// How many flows of closed connections are still in the map.
    pub fn flows_leaving(&self) -> usize {
        self.closed.len() + self.lingering.len()
    }

    /// Fills a slot; its generation.
    fn hold(&self, index: u32, registration: &Registration, now: Monotonic) -> u32 {
        let words = self.slots.slot(index);
        words.last_seen.store(now.0, Ordering::Relaxed);
        words.pings.store(0, Ordering::Relaxed);
        words.ping_due.store(now.0, Ordering::Relaxed);
        words.rx.store(registration.rx, Ordering::Relaxed);
        words.tx.store(registration.tx, Ordering::Relaxed);
        words.ping_interval_ns.store(registration.ping_interval_ns, Ordering::Relaxed);
        words.client.store(registration.client, Ordering::Relaxed);
        words.shard.store(self.shard, Ordering::Relaxed);
        words.state.store(state::HELD, Ordering::Release);
        words.generation.load(Ordering::Relaxed)
    }

    /// Gives the slot back under a new generation. The old flow sees that before it can see a word
    /// of the next connection.
    fn vacate(&mut self, slot: &SlotRef) {
        let words = self.slots.slot(slot.index);
        words.state.store(state::FREE, Ordering::Release);
        words.generation.store(slot.generation.wrapping_add(1), Ordering::Release);
        fence(Ordering::SeqCst);
        self.free_slots.give_back(slot.index);
    }
}

/// Numbers that change while the two ends still talk.
fn progress(flow: &Flow) -> [u32; 4] {
    [flow.egress_nxt, flow.acked_nxt, flow.ingress_nxt, flow.stack_secs]
}

/// Takes the oldest entry, if it is due.
fn take_due(
    queue: &mut VecDeque<ClosingConnection>,
    linger: Duration,
    now: Monotonic,
) -> Option<ClosingConnection> {
    let due = now.since(queue.front()?.closed_at) >= linger;
    if due { queue.pop_front() } else { None }
}
