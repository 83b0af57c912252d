//! A client's MQTT state, which outlives connections.

use std::sync::Arc;

use push_common::clock::Monotonic;

use super::codec::Reason;
use super::connect::Connect;
use super::delivery::Delivery;
use super::inflight::{PubrecOutcome, ReceivedPublish, Retry};
use super::outbox::{Extent, Fetched, Left, Outbox, Room};
use super::owed::{Filing, Owed, SessionChange, packet_id};
use super::subscription_list::SubscriptionList;
use super::{Limits, OutboxFull};
use crate::access::Subject;
use crate::broker::{Fate, Holder, MemoryBudget, QoS, Slip, TopicFilter};

/// A session.
///
/// A durable one is also kept on disk, by the shard: `Filing` says how far each message is on its
/// way there, and `take_changes` what is to be done.
#[derive(Debug)]
pub struct Session {
    name: SessionName,
    /// The client's subscriptions, for resumption and clean-up.
    pub subscriptions: SubscriptionList,
    /// Nothing while the session is owed nothing, as with nearly every session nearly always.
    outbox: Option<Box<Outbox>>,
    /// The place of the next message.
    next_position: u64,
    /// How long it outlives its connection, in seconds; `u32::MAX`: for ever.
    pub expiry_secs: u32,
    is_durable: bool,
    keeps_will: bool,
    /// Its outbox may hold messages of groups that it has left.
    has_left_groups: bool,
}

/// Whose a session is. A session that nobody was authenticated for pays nothing for that.
#[derive(Debug)]
enum SessionName {
    Anybodys(Box<str>),
    Owned(Box<Owned>),
}

#[derive(Debug)]
struct Owned {
    client_id: Box<str>,
    user: Box<str>,
}

impl SessionName {
    fn subject(&self) -> Subject<'_> {
        match self {
            Self::Anybodys(client_id) => Subject { user: None, client_id },
            Self::Owned(owned) => Subject { user: Some(&owned.user), client_id: &owned.client_id },
        }
    }

    fn user(&self) -> Option<&str> {
        self.subject().user
    }
}

/// What a CONNECT with a session's client id makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It goes on.
    Resumed,
    /// It ends, and another one begins.
    Replaced,
    /// It belongs to another user: the CONNECT is refused, and the session stays as it is.
    Refused,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It is in the outbox.
    Queued,
    /// In the outbox, and that many messages were dropped for it: queued ones of QoS 0, or the
    /// oldest.
    QueuedDropping(u32),
    /// Dropped, the outbox being full: a QoS 0 message, or any for a session without connection.
    /// Without connection QoS 0 messages are never queued.
    Dropped,
    /// The same, and its publisher is to be told (0x97).
    Refused,
    /// Not taken: QoS 1 or 2 for a connected client that does not keep up. Close with 0x97.
    Overflow,
}

impl Delivered {
    /// Whether the message is in the outbox.
    pub fn is_queued(self) -> bool {
        matches!(self, Self::Queued | Self::QueuedDropping(_))
    }
}

/// What a session forgets with its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Messages of QoS 0.
    pub at_most_once: u32,
    /// Others whose expiry interval had passed before they were sent.
    pub expired: u32,
}

/// What becomes of a message whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendOutcome {
    /// It is sent.
    Sent,
    /// It is dropped.
    Dropped,
    /// It is left to other members of its group.
    Left,
}

/// What a session sends next.
#[derive(Debug)]
pub(super) enum Next {
    /// A PUBLISH; packet id 0 with QoS 0.
    Publish { delivery: Delivery, packet_id: u16, dup: bool },
    /// A PUBREL.
    Release(u16),
}

impl Session {
    /// What a session takes in memory as soon as it is owed anything, beside the first step of what is counted.
    pub const OUTBOX_BYTES: usize = size_of::<Outbox>();

    /// A new session.
    pub fn new(client_id: &str, expiry_secs: u32) -> Self {
        Self {
            name: SessionName::Anybodys(client_id.into()),
            subscriptions: SubscriptionList::default(),
            outbox: None,
            next_position: 0,
            expiry_secs,
            is_durable: false,
            keeps_will: false,
            has_left_groups: false,
        }
    }

    /// The same, to be kept on disk.
    pub fn durable(client_id: &str, expiry_secs: u32) -> Self {
        Self { is_durable: true, ..Self::new(client_id, expiry_secs) }
    }

    /// The same, of which nothing is kept on disk but a record with the will of its connection.
    pub fn keeping_will(client_id: &str) -> Self {
        Self { keeps_will: true, ..Self::new(client_id, 0) }
    }

    /// The same, made by a client that was authenticated as `user`; `None`: by one that was not.
    #[must_use]
    pub fn of_user(mut self, user: Option<&str>) -> Self {
        if let Some(user) = user {
            let (client_id, user) = (self.client_id().into(), user.into());
            self.name = SessionName::Owned(Box::new(Owned { client_id, user }));
        }
        self
    }

    /// Takes up what a restart of the server found on disk. `sent_to`: what lies before that place was
    /// sent already, or may have been.
    pub fn recover(&mut self, disk: Option<Extent>, sent_to: u64, exactly_once: &[u16]) {
        self.next_position = disk.map_or(sent_to, |disk| disk.next.max(sent_to));
        // Nobody has noted which groups it was in.
        self.has_left_groups = disk.is_some();
        let mut outbox = Outbox::recovered(disk, sent_to);
        for &packet_id in exactly_once {
            outbox.exactly.recover(packet_id);
        }
        self.outbox = Some(Box::new(outbox));
        self.tidy();
    }

    /// Its client's identifier.
    pub fn client_id(&self) -> &str {
        self.name.subject().client_id
    }

    /// Whom a policy is asked about for it.
    pub fn subject(&self) -> Subject<'_> {
        self.name.subject()
    }

    /// Whose it is: the user that its client was authenticated as.
    pub fn user(&self) -> Option<&str> {
        self.name.user()
    }

    /// What becomes of it by a CONNECT with its client id.
    ///
    /// Only its user may resume a user's session. A session without a user does not keep a user out,
    /// but the user does not resume it either: a stranger could have chosen the subscriptions in it,
    /// and which messages are taken for duplicates.
    pub fn claimed_by(&self, connect: &Connect) -> Claim {
        match (self.user(), connect.user()) {
            (Some(owner), user) if user != Some(owner) => Claim::Refused,
            (None, Some(_)) => Claim::Replaced,
            _ if connect.clean_start => Claim::Replaced,
            _ => Claim::Resumed,
        }
    }

    /// Whether nobody would miss it: it has no subscription, and was never owed anything.
    pub fn is_unused(&self) -> bool {
        self.next_position == 0
            && self.outbox.is_none()
            && self.subscriptions.iter().next().is_none()
    }

    /// Whether it is kept on disk.
    pub fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// Whether nothing of it is kept on disk but a record with the will of its connection.
    pub fn keeps_will(&self) -> bool {
        self.keeps_will
    }

    /// Puts a message into the outbox. `filing`: how it is on its way to the disk, if the session is
    /// durable.
    ///
    /// Messages unacknowledged count against its limits. A session that is owed nothing takes any
    /// message, even one larger than `outbox_bytes_max`. Where room is missing, queued QoS 0
    /// messages make it for the others, the oldest first, if that is enough. If it is not,
    /// `Limits::outbox_full` decides for a client that is away; one that is here does not keep up.
    ///
    /// `memory`: what all outboxes together may hold. Where it is short, room is missing just so, but for
    /// messages that are kept on disk: these need not stay in memory.
    pub fn deliver(
        &mut self,
        mut delivery: Delivery,
        connected: bool,
        filing: Filing,
        limits: &Limits,
        memory: &Arc<MemoryBudget>,
    ) -> Delivered {
        let at_most_once = delivery.qos == QoS::AtMostOnce;
        if !connected && at_most_once {
            return Delivered::Dropped;
        }
        let is_written = self.is_durable && !at_most_once;
        let filing = if is_written || filing == Filing::Held { filing } else { Filing::Never };
        let size = delivery.size();
        let in_memory = Room::in_memory(memory);
        // Without a durable part all of it is in memory.
        let room = Room::own(limits);
        let room = if self.is_durable { room } else { room.and(in_memory) };
        let outbox = self.outbox.get_or_insert_default();
        let is_short = !outbox.in_memory().takes(size, in_memory);
        let mut delivered = Delivered::Queued;
        if !outbox.total().takes(size, room) || (is_short && at_most_once) {
            let dropped = if at_most_once { None } else { outbox.make_room(size, room) };
            delivered = match dropped {
                Some(dropped) => Delivered::QueuedDropping(dropped),
                None if at_most_once => Delivered::Dropped,
                // A client that reconnects before the oldest were dropped has done nothing wrong, nor has
                // one that is owed nothing while others hold all the memory.
                None if connected && outbox.total().messages > 0 && !outbox.is_over(limits) => {
                    Delivered::Overflow
                }
                None => match limits.outbox_full {
                    OutboxFull::DropOldest => match outbox.drop_oldest(size, room) {
                        Some(dropped) => Delivered::QueuedDropping(dropped),
                        None => Delivered::Dropped,
                    },
                    OutboxFull::DropNewest => Delivered::Dropped,
                    OutboxFull::Refuse => Delivered::Refused,
                },
            };
        }
        if !delivered.is_queued() {
            self.tidy();
            return delivered;
        }
        outbox.share_ids(&mut delivery);
        let owed = Owed::new(self.next_position, filing, delivery, memory);
        outbox.push(owed, connected, is_short);
        self.next_position += u64::from(!at_most_once || filing == Filing::Held);
        delivered
    }

    /// Counts what it has unacknowledged and queued, messages not counted, against `memory`, for its
    /// `holder`. To be called when that has changed.
    pub fn charge_inflight(
        &mut self,
        memory: &Arc<MemoryBudget>,
        holder: impl FnOnce(Option<&str>) -> Holder,
    ) {
        let Self { outbox, name, .. } = self;
        if let Some(outbox) = outbox.as_deref_mut() {
            outbox.charge(memory, || holder(name.user()));
        }
    }

    /// Counts it for this holder from now on: its client has connected from another network.
    pub fn hand_over(&mut self, holder: Holder) {
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.hand_over(holder);
        }
    }

    /// Whether that is more than a session may have where the total of all is reached.
    pub fn is_charged(&self) -> bool {
        self.outbox.as_deref().is_some_and(Outbox::is_charged)
    }

    /// The message that was put into the outbox last, of QoS 1 or 2, has this slip. It comes back when the
    /// client has acknowledged the message, on whatever connection, or the session owes it no longer.
    pub fn follow(&mut self, slip: Slip) {
        let position = self.last_position();
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.follow(position, slip);
        }
    }

    /// The place that was given to a message last.
    pub fn last_position(&self) -> u64 {
        self.next_position.saturating_sub(1)
    }

    /// What lies before this place was sent already, or may have been, for all that is owed.
    pub fn sent_to(&self) -> u64 {
        self.outbox.as_deref().map_or(self.next_position, |outbox| outbox.sent_to)
    }

    /// Where the part of its outbox that lies on disk begins.
    pub fn on_disk(&self) -> Option<u64> {
        self.outbox.as_deref()?.on_disk()
    }

    /// The message in this place is on disk; `filed`: what was said of it when it was delivered.
    pub fn written(&mut self, position: u64, filed: Filing, connected: bool) {
        self.outbox.get_or_insert_default().written(position, filed, connected);
        self.tidy();
    }

    /// The message in this place will not be on disk, and its publisher knows. Returns whether it was
    /// dropped: it may have left already.
    pub fn not_written(&mut self, position: u64) -> bool {
        let dropped = self.outbox.as_deref_mut().is_some_and(|p| p.not_written(position));
        self.tidy_left();
        dropped
    }

    /// Takes the messages of a durable session that could not be written and had left by then, to
    /// have them written now: they count as queued. Until they are on disk, or acknowledged, all
    /// behind them is kept in memory.
    pub fn take_unwritten(&mut self) -> Vec<(u64, Delivery)> {
        let outbox = self.outbox.as_deref_mut().filter(|_| self.is_durable);
        outbox.map(Outbox::take_unwritten).unwrap_or_default()
    }

    /// Where the next page is to be read from disk, if one is due. The client is here.
    pub fn begin_page(&mut self, memory: &MemoryBudget) -> Option<u64> {
        self.outbox.as_deref_mut()?.begin_page(memory)
    }

    /// Where the oldest messages on disk are to be read from, because some of them have to be dropped.
    pub fn begin_trim(&mut self, limits: &Limits) -> Option<u64> {
        self.outbox.as_deref_mut()?.begin_trim(limits)
    }

    /// What `begin_trim` asked for: places and sizes, in order, and where to read on. Returns how many
    /// messages were dropped.
    pub fn trimmed(
        &mut self,
        found: &[(u64, u64)],
        behind: Option<u64>,
        limits: &Limits,
        connected: bool,
    ) -> u32 {
        let Some(outbox) = self.outbox.as_deref_mut() else { return 0 };
        let dropped = outbox.trimmed(found, behind, limits, connected);
        self.tidy();
        dropped
    }

    /// The page that `begin_page` asked for: what was found in order, and where to read on. What there is
    /// no memory for stays on disk, but for the first message. Returns how many messages that should be
    /// there are not.
    pub fn page_loaded(
        &mut self,
        found: Vec<(u64, Fetched)>,
        next: Option<u64>,
        connected: bool,
        memory: &Arc<MemoryBudget>,
    ) -> u32 {
        let Some(outbox) = self.outbox.as_deref_mut() else { return 0 };
        let lost = outbox.page_loaded(found, next, connected, memory);
        self.tidy();
        lost
    }

    /// The page could not be read.
    pub fn page_failed(&mut self, connected: bool) {
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.page_failed(connected);
        }
    }

    /// Whether it waits for a page, or for what it left to others to be safe.
    pub fn awaits_disk(&self) -> bool {
        self.outbox.as_deref().is_some_and(Outbox::awaits_disk)
    }

    /// Takes what is to be done on disk, in order.
    pub fn take_changes(&mut self) -> Vec<SessionChange> {
        let Some(outbox) = self.outbox.as_deref_mut() else { return Vec::new() };
        let changes = std::mem::take(&mut outbox.changes);
        if !changes.is_empty() {
            self.tidy();
        }
        changes
    }

    /// The disk has noted that the message in this place was received: PUBREL may leave.
    pub fn released(&mut self, position: u64) {
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.inflight.released(position);
        }
    }

    /// Whether a change that the disk has refused is still to be made.
    pub fn needs(&self, change: SessionChange) -> bool {
        let outbox = self.outbox.as_deref();
        match change {
            SessionChange::Settle(_) => true,
            SessionChange::Release(position) => outbox.is_some_and(|outbox| {
                outbox.inflight.unreleased().any(|unreleased| unreleased == position)
            }),
            // What has the id now asks for its removal itself.
            SessionChange::EndExactlyOnce(packet_id) => self.exactly_once(packet_id).is_none(),
        }
    }

    /// Whether a message finds room without another, or the client, being dropped for it.
    pub fn has_room(
        &self,
        delivery: &Delivery,
        connected: bool,
        limits: &Limits,
        memory: &MemoryBudget,
    ) -> bool {
        let at_most_once = delivery.qos == QoS::AtMostOnce;
        if at_most_once && !connected {
            return false;
        }
        let own = Room::own(limits);
        let in_memory = Room::in_memory(memory);
        let room = if self.is_durable && !at_most_once { own } else { own.and(in_memory) };
        self.takes(delivery, room)
    }

    /// The same, whatever other sessions hold.
    pub fn has_room_of_its_own(&self, delivery: &Delivery, limits: &Limits) -> bool {
        self.takes(delivery, Room::own(limits))
    }

    fn takes(&self, delivery: &Delivery, room: Room) -> bool {
        let in_the_way = self.outbox.as_deref().map(|outbox| match delivery.qos {
            QoS::AtMostOnce => outbox.total(),
            QoS::AtLeastOnce | QoS::ExactlyOnce => outbox.total_to_keep(),
        });
        in_the_way.unwrap_or_default().takes(delivery.size(), room)
    }

    /// Leaves to others, in their order, the messages of QoS 1 and 2 that came by a shared subscription
    /// which `which` names, as far as another member may have them: those never sent, and, if the
    /// session `ends`, those of QoS 1 sent and not acknowledged. What was sent at QoS 2 no other
    /// member may have [MQTT-4.8.2-5].
    pub fn leave_shared(&mut self, ends: bool, mut which: impl FnMut(&TopicFilter) -> bool) {
        let Some(outbox) = self.outbox.as_deref_mut() else { return };
        let mut is_left =
            |delivery: &Delivery| delivery.via.group().is_some_and(|group| which(group.filter()));
        if ends {
            for owed in outbox.inflight.take_unacknowledged(&mut is_left) {
                outbox.leave(owed);
            }
        }
        let unsent =
            outbox.take_unsent(|delivery| delivery.qos != QoS::AtMostOnce && is_left(delivery));
        for owed in unsent {
            outbox.leave(owed);
        }
        self.tidy();
    }

    /// It has unsubscribed from a group. Messages of that which are on disk alone stay there until the
    /// session ends, or sends them.
    pub fn leaves_group(&mut self) {
        self.has_left_groups |= self.outbox.is_some();
    }

    /// Whether its outbox may hold messages of groups: of those that it is in, or has left.
    pub fn may_owe_groups(&self) -> bool {
        self.has_left_groups || self.subscriptions.has_shared()
    }

    /// What it leaves to other members of its groups, if anything.
    pub fn left_mut(&mut self) -> Option<&mut Left> {
        self.outbox.as_deref_mut()?.left_mut()
    }

    /// Whether any of that waits to be offered to them.
    pub fn has_left(&mut self) -> bool {
        self.left_mut().is_some_and(|left| !left.is_empty())
    }

    /// The same, to outlive the session, which ends; its places count against `memory` from now on.
    pub fn take_left(&mut self, memory: &Arc<MemoryBudget>) -> Left {
        let left = self.outbox.as_deref_mut().and_then(Outbox::take_left);
        let mut left = left.map_or_else(Left::default, |left| *left);
        left.charge(memory);
        self.tidy();
        left
    }

    /// Forgets what it left if all of that is safe elsewhere.
    pub fn tidy_left(&mut self) {
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.tidy_left();
        }
        self.tidy();
    }

    /// Whether anything waits to be sent. It may have to wait longer: see
    /// `Connection::has_transmit`.
    pub fn has_outbox(&self) -> bool {
        let waits = |outbox: &Outbox| outbox.has_waiting() || outbox.inflight.has_retries();
        self.outbox.as_deref().is_some_and(waits)
    }

    /// Messages owed: outbox and inflight.
    pub fn owed(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.total().messages as usize)
    }

    /// Tells the session that its connection ended at `now`: what was sent and not acknowledged is
    /// to be sent again, QoS 0 messages are forgotten, and so are expired ones that were never
    /// sent. Returns how many were forgotten.
    ///
    /// Receipts of QoS 2 publishes that are still out count as given back, unless the session is
    /// durable: there `routed_exactly_once` is to be told.
    pub fn connection_ended(&mut self, now: Monotonic) -> Forgotten {
        let Some(outbox) = self.outbox.as_deref_mut() else { return Forgotten::default() };
        let at_most_once = outbox.discard(|delivery| delivery.qos == QoS::AtMostOnce);
        let expired = outbox.discard(|delivery| delivery.message.is_expired(now));
        self.restart();
        Forgotten { at_most_once, expired }
    }

    /// A new connection begins, whether or not anybody said that the last one ended: what is
    /// unacknowledged is to be sent again.
    pub(super) fn restart(&mut self) {
        let Some(outbox) = self.outbox.as_deref_mut() else { return };
        outbox.inflight.restart();
        if self.is_durable {
            outbox.exactly.keep();
            outbox.store_away();
            outbox.release_again();
        } else {
            outbox.exactly.restart();
        }
        self.tidy();
    }

    /// Whether `next` would find anything to send within `window`, expired messages included.
    pub(super) fn has_next(&self, window: u16) -> bool {
        self.outbox.as_deref().is_some_and(|outbox| {
            if outbox.inflight.has_retries() {
                return outbox.inflight.has_retry(window);
            }
            let fits = |next: &Owed| {
                next.delivery.qos == QoS::AtMostOnce
                    || outbox.inflight.has_room(window, next.position)
            };
            outbox.peek().is_some_and(fits)
        })
    }

    /// Takes what is to be sent next: first what an earlier connection left unacknowledged, then
    /// the outbox, as long as less than `window` publishes are unacknowledged. `judge` (given whether
    /// the message was sent before, when it cannot be left to others) says what becomes of each.
    pub(super) fn next(
        &mut self,
        window: u16,
        mut judge: impl FnMut(&Delivery, bool, Subject<'_>) -> SendOutcome,
    ) -> Option<Next> {
        let receiver = self.name.subject();
        let outbox = self.outbox.as_deref_mut()?;
        while outbox.inflight.has_retries() {
            match outbox.inflight.retry(window)? {
                Retry::Release(packet_id) => return Some(Next::Release(packet_id)),
                Retry::Publish(packet_id, delivery)
                    if judge(&delivery, true, receiver) == SendOutcome::Sent =>
                {
                    return Some(Next::Publish { delivery, packet_id, dup: true });
                }
                Retry::Publish(packet_id, _) => {
                    if let Some(ended) = outbox.inflight.forget(packet_id) {
                        outbox.end(&ended, self.is_durable);
                    }
                }
            }
        }
        loop {
            let front = outbox.front()?;
            let (position, exact) = (front.position, front.delivery.qos != QoS::AtMostOnce);
            if exact && !outbox.inflight.has_room(window, position) {
                return None;
            }
            let owed = outbox.pop()?;
            match judge(&owed.delivery, false, receiver) {
                SendOutcome::Sent => {}
                SendOutcome::Dropped => {
                    outbox.settle(&owed);
                    continue;
                }
                SendOutcome::Left => {
                    outbox.leave(owed);
                    continue;
                }
            }
            let delivery = owed.delivery.clone();
            if !exact {
                outbox.settle(&owed);
                return Some(Next::Publish { delivery, packet_id: 0, dup: false });
            }
            outbox.sent_to = outbox.sent_to.max(position + 1);
            outbox.inflight.push(owed);
            return Some(Next::Publish { delivery, packet_id: packet_id(position), dup: false });
        }
    }

    /// PUBACK.
    pub(super) fn acknowledge(&mut self, packet_id: u16, is_error: bool) -> Result<(), Reason> {
        let Self { outbox, name, is_durable, .. } = self;
        let Some(outbox) = outbox.as_deref_mut() else { return Ok(()) };
        if let Some(ended) = outbox.inflight.acknowledge(packet_id)? {
            let fate = if is_error { Fate::Refused } else { Fate::Acknowledged };
            outbox.send_slip_back(ended.position, name.subject().client_id, fate);
            outbox.end(&ended, *is_durable);
        }
        self.tidy();
        Ok(())
    }

    /// PUBREC. Returns the reason for the PUBREL to answer with; `None`: none is due.
    pub(super) fn receive(
        &mut self,
        packet_id: u16,
        is_error: bool,
    ) -> Result<Option<Reason>, Reason> {
        let Self { outbox, name, .. } = self;
        let outbox = outbox.get_or_insert_default();
        let received = outbox.inflight.receive(packet_id, is_error);
        let answer = match &received {
            Ok(PubrecOutcome::Release(_, Some(owed))) => {
                outbox.received(owed);
                Some(Reason::Success)
            }
            Ok(PubrecOutcome::Release(position, None)) => {
                // PUBREL leaves behind this, and so behind what the first PUBREC has under way; and
                // if that has failed, this makes up for it.
                if self.is_durable {
                    outbox.changes.push(SessionChange::Release(*position));
                }
                Some(Reason::Success)
            }
            Ok(PubrecOutcome::Refused(ended)) => {
                outbox.send_slip_back(ended.position, name.subject().client_id, Fate::Refused);
                outbox.end(ended, self.is_durable);
                None
            }
            // An error ends the flow, also one that was not there.
            Ok(PubrecOutcome::Unknown) => (!is_error).then_some(Reason::PacketIdentifierNotFound),
            Err(_) => None,
        };
        self.tidy();
        received.map(|_| answer)
    }

    /// PUBCOMP.
    pub(super) fn complete(&mut self, packet_id: u16) -> Result<(), Reason> {
        let Self { outbox, name, is_durable, .. } = self;
        let Some(outbox) = outbox.as_deref_mut() else { return Ok(()) };
        if let Some(ended) = outbox.inflight.complete(packet_id)? {
            outbox.send_slip_back(ended.position, name.subject().client_id, Fate::Acknowledged);
            outbox.end(&ended, *is_durable);
        }
        self.tidy();
        Ok(())
    }

    /// Where a client's QoS 2 publish is, if it came before.
    pub(super) fn exactly_once(&self, packet_id: u16) -> Option<ReceivedPublish> {
        self.outbox.as_deref().and_then(|outbox| outbox.exactly.find(packet_id))
    }

    /// A client's QoS 2 publish came again while its receipt is not back.
    pub(super) fn ask_exactly_once(&mut self, packet_id: u16) {
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.exactly.ask(packet_id);
        }
    }

    /// Whether the client waits for the answer to a QoS 2 publish on another connection than the
    /// one whose receipt is out.
    pub fn has_asked_again(&self, packet_id: u16) -> bool {
        self.exactly_once(packet_id) == Some(ReceivedPublish::Asked)
    }

    /// A client's QoS 2 publish came for the first time.
    pub(super) fn begin_exactly_once(&mut self, packet_id: u16) {
        self.outbox.get_or_insert_default().exactly.begin(packet_id);
    }

    /// A client's QoS 2 publish was routed, or refused, which ends its flow. Returns whether PUBREC
    /// is still owed.
    pub fn routed_exactly_once(&mut self, packet_id: u16, refused: bool) -> bool {
        let is_durable = self.is_durable;
        let Some(outbox) = self.outbox_for_change() else { return false };
        let owed =
            if refused { outbox.exactly.end(packet_id) } else { outbox.exactly.routed(packet_id) };
        // An id that is not known has been released meanwhile, before it was noted on disk.
        if is_durable && (refused || !owed) {
            outbox.changes.push(SessionChange::EndExactlyOnce(packet_id));
        }
        self.tidy();
        owed
    }

    /// PUBREL. Returns whether its packet id was known. On disk it is forgotten in any case: an
    /// earlier attempt may have failed, and this is the client's next one.
    pub(super) fn release(&mut self, packet_id: u16) -> bool {
        let is_durable = self.is_durable;
        let Some(outbox) = self.outbox_for_change() else { return false };
        let known = outbox.exactly.end(packet_id);
        if is_durable {
            outbox.changes.push(SessionChange::EndExactlyOnce(packet_id));
        }
        self.tidy();
        known
    }

    /// The outbox; made anew for a durable session, whose disk may be asked for something.
    fn outbox_for_change(&mut self) -> Option<&mut Outbox> {
        if self.is_durable && self.outbox.is_none() {
            self.outbox = Some(Box::default());
        }
        self.outbox.as_deref_mut()
    }

    #[cfg(test)]
    pub(super) fn outbox(&self) -> Option<&Outbox> {
        self.outbox.as_deref()
    }

    /// Gives the outbox back once it is empty.
    pub fn tidy(&mut self) {
        if self.outbox.as_deref().is_some_and(Outbox::is_empty) {
            self.outbox = None;
        }
    }
}

#[cfg(test)]
mod tests;
