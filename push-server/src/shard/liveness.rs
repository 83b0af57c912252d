//! A shard's side of the kernel path: whether there is one, what the shard tells it of each connection, and what it
//! has seen of them. Nothing else in the shard uses the port. A client keeps its connection's slot, which is an
//! argument here.
//!
//! A connection inside TLS shares more with the programs than boundaries: the numbers of its records, which its layer
//! has ([`Numbers`]).

use std::sync::atomic::Ordering;

use push_common::clock::Monotonic;
use push_common::heartbeat::Heartbeat;

use super::counters::ShardCounters;
use super::ports::{Liveness, Registration, Socket, Unarmed};
use crate::transport::Numbers;

/// The least time between two looks at whose tables run low.
const LOOK_MILLIS: u64 = 100;

/// For how long a shard wakes for that after it has found some. A shard sleeps for a second at most. A client that can
/// use up its table meanwhile uses up a half of it in less than a second, and so keeps the shard looking.
const LOOK_AWAKE_MILLIS: u64 = 1_000;

/// The kernel path, where the shard has one.
#[derive(Debug)]
pub(super) struct HeartbeatPath<L> {
    port: Option<L>,
    /// Clients whose tables run low.
    low: Vec<u32>,
    /// When to look for more of them.
    next_look: Monotonic,
    /// Until when the shard wakes for that.
    awake_until: Monotonic,
}

/// A connection that asks for a slot.
pub(super) struct Applicant<'a, S> {
    pub(super) socket: &'a S,
    /// The client, by the shard's own count.
    pub(super) client: u32,
    /// What its heartbeats are on the wire; `None`: none can come yet.
    pub(super) heartbeat: Option<Heartbeat>,
    /// The numbers of its records, if it is inside TLS.
    pub(super) numbers: Option<&'a mut Numbers>,
    /// The least time between two pings in the long run; 0: no limit.
    pub(super) ping_interval_ns: u32,
    /// Bytes that came on the wire up to the end of the last whole packet.
    pub(super) rx: u64,
    /// Bytes that the socket has accepted; `None`: some are on their way to it.
    pub(super) tx: Option<u64>,
}

impl<L: Liveness<Socket: Socket>> HeartbeatPath<L> {
    /// `None`: user space alone answers pings.
    pub(super) fn new(port: Option<L>) -> Self {
        Self { port, low: Vec::new(), next_look: Monotonic(0), awake_until: Monotonic(0) }
    }

    /// Tells the kernel that this shard lives. At least once a second.
    pub(super) fn stamp(&self, now: Monotonic) {
        if let Some(port) = &self.port {
            port.stamp_heartbeat(now);
        }
    }

    /// Forgets some of the connections that have long been closed. Returns whether there are more.
    pub(super) fn sweep(&mut self, now: Monotonic) -> bool {
        self.port.as_mut().is_some_and(|port| port.sweep(now))
    }

    /// The shard ends, and has closed every socket.
    pub(super) fn leave(&self) {
        if let Some(port) = &self.port {
            port.leave();
        }
    }

    /// Takes a slot for a connection, if it can have one. Before the server's first packet leaves, CONNACK or
    /// AUTH, because its first byte anchors the flow.
    pub(super) fn register(
        &mut self,
        applicant: Applicant<'_, L::Socket>,
        now: Monotonic,
        counters: &ShardCounters,
    ) -> Option<L::Slot> {
        let port = self.port.as_mut()?;
        let Applicant { socket, client, heartbeat, mut numbers, ping_interval_ns, rx, tx } =
            applicant;
        let known = heartbeat.filter(|heartbeat| heartbeat.is_known());
        let (Some(heartbeat), Some(tx)) = (known, tx) else {
            counters.unarmed_layers.add(1);
            return None;
        };
        let (Ok(local), Ok(peer)) = (socket.local_address(), socket.peer_address()) else {
            counters.unarmed_socket.add(1);
            return None;
        };
        let registration =
            Registration { local, peer, client, heartbeat, ping_interval_ns, rx, tx };
        let begin = |table| {
            if let Some(numbers) = &mut numbers {
                numbers.begin(table);
            }
        };
        match port.register(socket, &registration, begin, now) {
            Ok(slot) => Some(slot),
            Err(unarmed) => {
                if let Some(numbers) = numbers {
                    numbers.leave();
                }
                count_unarmed(unarmed, counters);
                None
            }
        }
    }

    /// A connection comes by no network, so no program sees its heartbeats.
    pub(super) fn leave_to_user(&self, counters: &ShardCounters) {
        counters.unarmed_unix.add(u64::from(self.port.is_some()));
    }

    /// The socket has accepted `tx` bytes: tells the kernel. The first time that the client `is_served`, lets the
    /// kernel answer its pings, and takes the slot back if the kernel cannot.
    pub(super) fn sent(
        &mut self,
        slot: &mut Option<L::Slot>,
        (socket, mut numbers): (&L::Socket, Option<&mut Numbers>),
        (tx, is_served): (u64, bool),
        now: Monotonic,
        counters: &ShardCounters,
    ) {
        let (Some(held), Some(port)) = (slot.as_mut(), &mut self.port) else { return };
        port.publish(held, |boundaries| match &mut numbers {
            Some(numbers) => numbers.publish_tx(boundaries.tx, tx),
            None => boundaries.tx.store(tx, Ordering::Release),
        });
        if port.is_armed(held) || !is_served {
            return;
        }
        match port.arm(socket, held, now) {
            Ok(()) => counters.armed.add(1),
            Err(unarmed) => {
                if let Some(numbers) = numbers {
                    numbers.leave();
                }
                if let Some(held) = slot.take() {
                    port.release(held, false, now);
                }
                count_unarmed(unarmed, counters);
            }
        }
    }

    /// Packets of `rx` bytes on the wire, in all, have been parsed.
    pub(super) fn parsed(&self, slot: Option<&L::Slot>, numbers: Option<&mut Numbers>, rx: u64) {
        let (Some(slot), Some(port)) = (slot, &self.port) else { return };
        port.publish(slot, |boundaries| match numbers {
            Some(numbers) => numbers.publish_rx(boundaries.rx, rx),
            None => boundaries.rx.store(rx, Ordering::Release),
        });
    }

    /// The next client whose table runs low, by the shard's own count. It may have gone, and another one may have its
    /// index now.
    pub(super) fn next_low(&mut self, now: Monotonic) -> Option<u32> {
        if self.low.is_empty() && self.next_look <= now {
            self.next_look = now.after_millis(LOOK_MILLIS);
            self.port.as_mut()?.take_low_tables(&mut self.low);
            if !self.low.is_empty() {
                self.awake_until = now.after_millis(LOOK_AWAKE_MILLIS);
            }
        }
        self.low.pop()
    }

    /// When the shard is to look again, if it sleeps until then.
    pub(super) fn wakes_at(&self) -> Option<Monotonic> {
        (self.next_look < self.awake_until).then_some(self.next_look)
    }

    /// Whether tables are known to run low.
    pub(super) fn has_low(&self) -> bool {
        !self.low.is_empty()
    }

    /// When the kernel last answered a ping of this connection; 0: it answers none.
    pub(super) fn last_seen(&self, slot: Option<&L::Slot>) -> Monotonic {
        match (slot, &self.port) {
            (Some(slot), Some(port)) => port.last_seen(slot),
            _ => Monotonic(0),
        }
    }

    /// How many pings of this connection the kernel has answered; `None`: it answers none.
    pub(super) fn pings(&self, slot: Option<&L::Slot>) -> Option<u64> {
        Some(self.port.as_ref()?.pings(slot?))
    }

    /// The connection is being closed: the kernel answers no more pings.
    pub(super) fn closing(&self, slot: Option<&L::Slot>, counters: &ShardCounters) {
        if let (Some(slot), Some(port)) = (slot, &self.port) {
            port.closing(slot);
            counters.armed.sub(u64::from(port.is_armed(slot)));
        }
    }

    /// The connection leaves for another shard, with its slot.
    pub(super) fn leaves(&self, slot: Option<&L::Slot>, counters: &ShardCounters) {
        if let (Some(slot), Some(port)) = (slot, &self.port) {
            counters.armed.sub(u64::from(port.is_armed(slot)));
        }
    }

    /// A connection has come from another shard, with its slot, and is this one's `client`: the kernel takes this shard
    /// for its own from now on.
    pub(super) fn adopt(&self, slot: Option<&L::Slot>, client: u32, counters: &ShardCounters) {
        if let (Some(slot), Some(port)) = (slot, &self.port) {
            port.adopt(slot, client);
            counters.armed.add(u64::from(port.is_armed(slot)));
        }
    }

    /// The socket is about to be closed: gives its slot back.
    pub(super) fn release(
        &mut self,
        slot: Option<L::Slot>,
        socket: &L::Socket,
        is_stopping: bool,
        now: Monotonic,
    ) {
        if let (Some(slot), Some(port)) = (slot, &mut self.port) {
            let speaks = port.before_close(socket, &slot, is_stopping);
            port.release(slot, speaks, now);
        }
    }

    /// The port, for tests that stand in for the kernel.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn port(&self) -> Option<&L> {
        self.port.as_ref()
    }
}

fn count_unarmed(unarmed: Unarmed, counters: &ShardCounters) {
    let counter = match unarmed {
        Unarmed::NoSlot => &counters.unarmed_no_slot,
        Unarmed::NoTable => &counters.unarmed_no_table,
        Unarmed::FlowMap => &counters.unarmed_flow_map,
        Unarmed::OutOfOrder => &counters.unarmed_out_of_order,
        Unarmed::EarlyFragment => &counters.unarmed_early_fragment,
        Unarmed::FineTimestamps => &counters.unarmed_fine_timestamps,
        Unarmed::Interface => &counters.unarmed_interface,
        Unarmed::Socket => &counters.unarmed_socket,
    };
    counter.add(1);
}
