//! The record numbers of a connection, which user space and the programs of the kernel path share (rules 17 to 22
//! in the docs of push-common), and what seals and opens its records.
//!
//! rustls counts records by itself, and would not know of those that a program has sent or heard. So the
//! cryptography that it is given ([`suites`](super::suites)) hands its encrypter and decrypter to the connection's
//! [`Numbers`], and gives rustls handles without state. A handle asks the `Numbers` of the connection that is at work
//! in this thread ([`Numbers::during`]); where none is, as on a client's side, rustls keeps its own. rustls's encrypter
//! seals every byte that leaves, answers in the table included. What is sealed here with the client's key never leaves:
//! programs compare with it.
//!
//! Before there is a table, rustls's numbers are the right ones. From [`Numbers::begin`] on the words in the table
//! are the only truth:
//! - The claim is taken when the first record is sealed, whoever asked for it: rustls seals while it reads, too
//!   (replies to KeyUpdates, alerts). [`Numbers::publish_tx`] releases it, when TCP has all that was sealed.
//!   rustls gives out its reply to a KeyUpdate only with the next record. Until then one is unsaid and the claim
//!   held, so pings go to user space, whose PINGRESP brings the reply along.
//! - A record that has come is opened with the number of the receive word, and those that follow with the next
//!   ones, until [`Numbers::publish_rx`] stores how far that went. One that does not open counts for nothing.
//! - When nothing more is taken from the peer, or an alert is sealed ([`Numbers::leave`]), the claim is kept for
//!   good, and the table not touched any more. What is still said has numbers that no program will take.

mod client_key;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::mem;
use std::sync::atomic::AtomicU64;

use push_common::answer_table::{ENTRIES, KernelTable, Record};
use push_common::claim::{Claim, NUMBER_MAX, Reading, RecordNumber};
use push_common::heartbeat::{Heartbeat, PINGRESP};
use push_common::shared_word::SharedWord as _;
use rustls::crypto::cipher::{
    InboundOpaqueMessage, InboundPlainMessage, MessageDecrypter, MessageEncrypter, OutboundChunks,
    OutboundOpaqueMessage, OutboundPlainMessage,
};
use rustls::{ContentType, Error, ProtocolVersion};

pub(crate) use client_key::{Cipher, Seal};
pub(super) use client_key::{Secrets, Suite, WithKey};

/// A connection's table, as user space reaches it.
pub(crate) type Table = KernelTable<AtomicU64>;

/// The epoch that a table begins with: nothing tells how many keys there were before it.
const FIRST_EPOCH: u16 = 1;

/// The numbers of one connection.
pub(crate) struct Numbers {
    /// rustls's own, of the newest key each way. TLS 1.2 has them a little before they are used.
    encrypter: Option<Box<dyn MessageEncrypter>>,
    decrypter: Option<Box<dyn MessageDecrypter>>,
    next: Next,
    /// The suite of the client's key.
    suite: Option<&'static Suite>,
    /// The client's key.
    secrets: Secrets,
    /// Records that are sealed, and that the layer has not given out; `u16::MAX`: nobody knows how many, and the
    /// claim is held for good.
    unsaid: u16,
}

/// Where the next numbers stand.
enum Next {
    /// With rustls. So many records have gone each way under the keys in use; `u32::MAX`: or more.
    Rustls { sent: u32, received: u32 },
    /// In the table, and in what is under way.
    Table { table: &'static Table, under_way: Option<Box<UnderWay>> },
}

/// What user space has of the numbers at the moment.
#[derive(Default)]
struct UnderWay {
    /// `None`: a program may take the next number.
    claim: Option<Claim>,
    /// Its way through records that have come.
    reading: Option<Reading>,
    /// The claim is held for good, and nothing else is under way.
    left: Option<Left>,
}

/// The next numbers, when they are no longer in the table.
#[derive(Clone, Copy)]
struct Left {
    send: u64,
    receive: u64,
}

thread_local! {
    static AT_WORK: RefCell<AtWork> =
        const { RefCell::new(AtWork { is_lent: false, numbers: Numbers::new() }) };
}

/// The connection that this thread works for.
struct AtWork {
    is_lent: bool,
    /// Its numbers, or none. They are swapped with its own, so that none is left behind.
    numbers: Numbers,
}

impl Numbers {
    /// Those of a connection that has no keys yet.
    pub(super) const fn new() -> Self {
        Self {
            encrypter: None,
            decrypter: None,
            next: Next::Rustls { sent: 0, received: 0 },
            suite: None,
            secrets: Secrets::NONE,
            unsaid: 0,
        }
    }

    /// What a heartbeat in one record is. `None`: keys of a side are not known here.
    pub(super) fn heartbeat(&self) -> Option<Heartbeat> {
        let has_keys = self.encrypter.is_some() && self.decrypter.is_some();
        self.suite.filter(|_| has_keys).map(|suite| suite.shape().heartbeat())
    }

    /// Works for the connection: `call` may have rustls seal and open.
    pub(super) fn during<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let _lent = Lent::new(self);
        call()
    }

    /// The layer has given out these records.
    pub(super) fn given_out(&mut self, bytes: &[u8]) {
        if self.unsaid > 0 && self.unsaid < u16::MAX {
            self.unsaid = self.unsaid.saturating_sub(count(bytes));
        }
    }

    /// Takes a table, and wipes it. Call it before a flow names the table. The claim is held until `publish_tx`.
    pub(crate) fn begin(&mut self, table: &'static Table) {
        self.leave();
        let number = |number| RecordNumber::new(FIRST_EPOCH, number);
        let next = match &self.next {
            Next::Rustls { sent: u32::MAX, .. } | Next::Rustls { received: u32::MAX, .. } => None,
            Next::Rustls { sent, received } => Some((u64::from(*sent), u64::from(*received))),
            Next::Table { under_way, .. } => {
                let left = under_way.as_ref().and_then(|under_way| under_way.left);
                left.map(|left| (left.send, left.receive))
            }
        };
        let next = next.and_then(|(send, receive)| Some((number(send)?, number(receive)?)));
        let Some((send, receive)) = next else {
            // Too many to be counted: the table answers nothing.
            let last = number(NUMBER_MAX).unwrap_or_default();
            return drop(table.begin(last, last));
        };
        let claim = Some(table.begin(send, receive));
        let under_way = Some(Box::new(UnderWay { claim, ..UnderWay::default() }));
        self.next = Next::Table { table, under_way };
    }

    /// Whether the next numbers are in a table.
    pub(crate) fn has_table(&self) -> bool {
        match &self.next {
            Next::Rustls { .. } => false,
            Next::Table { under_way, .. } => {
                under_way.as_ref().is_none_or(|under_way| under_way.left.is_none())
            }
        }
    }

    /// All that has come is opened and parsed, up to the end of a whole packet: stores the receive word, and `rx`
    /// behind it.
    pub(crate) fn publish_rx(&mut self, rx: &AtomicU64, bytes: u64) {
        let Some((table, mut under_way)) = self.take_under_way() else {
            return rx.store_release(bytes);
        };
        let reading = under_way.reading.take().unwrap_or_else(|| table.read());
        table.publish(reading).publish_rx(rx, bytes);
        self.put_back(under_way);
    }

    /// TCP has all that the layer has given out, `bytes` in all: stores `tx`, fills the table, and releases the
    /// claim. None of that while a record is sealed and not given out.
    pub(crate) fn publish_tx(&mut self, tx: &AtomicU64, bytes: u64) {
        let Some((table, mut under_way)) = self.take_under_way() else {
            return tx.store_release(bytes);
        };
        match under_way.claim.take() {
            // Nothing was sealed since `tx` was stored last.
            None => tx.store_release(bytes),
            Some(claim) if self.unsaid > 0 => under_way.claim = Some(claim),
            Some(mut claim) => {
                claim.handed(claim.unsent());
                if claim.publish_tx(tx, bytes) {
                    self.fill(table, &claim);
                }
                under_way.claim = table.release(claim).err();
            }
        }
        self.put_back(under_way);
    }

    /// The table runs low: fills it. While the claim is held, that is left to `publish_tx`.
    pub(crate) fn fill_up(&mut self) {
        let Some((table, mut under_way)) = self.take_under_way() else { return };
        if under_way.claim.is_none()
            && let Some(claim) = table.claim()
        {
            self.fill(table, &claim);
            under_way.claim = table.release(claim).err();
        }
        self.put_back(under_way);
    }

    /// Nothing more is taken from the peer, or no flow has come to name the table: keeps the claim for good, and
    /// touches the table no more.
    pub(crate) fn leave(&mut self) {
        let Some((table, mut under_way)) = self.take_under_way() else { return };
        under_way.leave(table);
        self.put_back(under_way);
    }

    /// Takes what is under way, to be put back, unless the numbers are not in a table.
    fn take_under_way(&mut self) -> Option<(&'static Table, UnderWay)> {
        if !self.has_table() {
            return None;
        }
        let Next::Table { table, under_way } = &mut self.next else { return None };
        Some((*table, under_way.take().map_or_else(UnderWay::default, |under_way| *under_way)))
    }

    /// An idle connection has none.
    fn put_back(&mut self, back: UnderWay) {
        if let Next::Table { under_way, .. } = &mut self.next {
            let is_idle = back.claim.is_none() && back.reading.is_none() && back.left.is_none();
            *under_way = (!is_idle).then(|| Box::new(back));
        }
    }

    /// Fills in what the table lacks. Answers only for numbers below half of what the key may seal
    /// ([`suites`](super::suites)).
    fn fill(&mut self, table: &Table, claim: &Claim) {
        let (Some(suite), Some(encrypter)) = (self.suite, &mut self.encrypter) else { return };
        for at in ahead(claim.next()).take_while(|at| at.number() < suite.answers_max) {
            if table.wants_answer(claim, at)
                && let Some(answer) = pingresp(encrypter.as_mut(), at)
            {
                table.fill_answer(claim, at, &answer);
            }
        }
        // If the receive word is still one of the client's last key, `publish_rx` erases all that is filled in.
        let expected = ahead(table.expected());
        let mut wanted = expected.filter(|at| table.wants_request(claim, *at)).peekable();
        if wanted.peek().is_some() {
            suite.requests(&self.secrets, &mut wanted, |at, request| {
                table.fill_request(claim, at, request);
            });
        }
    }

    /// The handle's `encrypt`. rustls counts on success: it fails only without a key, or if ring does.
    fn seal(
        &mut self,
        message: OutboundPlainMessage<'_>,
        rustls_next: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        if message.typ == ContentType::Alert {
            self.leave();
        }
        let number = match &mut self.next {
            Next::Rustls { sent, .. } => {
                *sent = count_after(rustls_next);
                rustls_next
            }
            Next::Table { table, under_way } => {
                under_way.get_or_insert_default().next_to_send(table)
            }
        };
        self.unsaid = self.unsaid.saturating_add(1);
        let encrypter = self.encrypter.as_mut().ok_or(Error::EncryptError)?;
        encrypter.encrypt(message, number)
    }

    /// The handle's `decrypt`. It fails where rustls tries whether a record opens.
    fn open<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        rustls_next: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let number = match &mut self.next {
            Next::Rustls { .. } => rustls_next,
            Next::Table { table, under_way } => {
                under_way.get_or_insert_default().next_to_receive(table)
            }
        };
        let begin = message.payload.first_chunk().copied();
        let decrypter = self.decrypter.as_mut().ok_or(Error::DecryptError)?;
        let opened = decrypter.decrypt(message, number)?;
        if let (Some(suite), Some(begin)) = (self.suite, begin) {
            suite.note_nonce(&mut self.secrets, begin, number);
        }
        match &mut self.next {
            Next::Rustls { received, .. } => *received = count_after(rustls_next),
            Next::Table { under_way: Some(under_way), .. } => under_way.has_received(),
            Next::Table { under_way: None, .. } => {}
        }
        Ok(opened)
    }

    /// A new key to seal with. Behind the first of TLS 1.3's application data, a KeyUpdate has been sealed.
    fn set_encrypter(&mut self, encrypter: Box<dyn MessageEncrypter>) {
        self.encrypter = Some(encrypter);
        match &mut self.next {
            Next::Rustls { sent, .. } => *sent = 0,
            Next::Table { table, under_way } => {
                under_way.get_or_insert_default().update_sending_key(table);
            }
        }
    }

    /// A new key of the client's.
    fn set_decrypter(
        &mut self,
        decrypter: Box<dyn MessageDecrypter>,
        suite: &'static Suite,
        secrets: Secrets,
    ) {
        self.decrypter = Some(decrypter);
        self.suite = Some(suite);
        self.secrets = secrets;
        match &mut self.next {
            Next::Rustls { received, .. } => *received = 0,
            Next::Table { table, under_way } => {
                under_way.get_or_insert_default().update_receiving_key(table);
            }
        }
    }
}

impl UnderWay {
    fn leave(&mut self, table: &Table) -> &mut Left {
        let (claim, reading) = (&mut self.claim, &mut self.reading);
        self.left.get_or_insert_with(|| {
            // First: from now on no program moves the receive word.
            let claim = claim.take().or_else(|| table.claim());
            let receive = reading.take().map_or_else(|| table.expected(), |reading| reading.next());
            // If somebody else holds it, it does not move any more either.
            let send = claim.map_or_else(|| table.look().number(), |claim| claim.next());
            Left { send: send.number(), receive: receive.number() }
        })
    }

    /// Holds the claim. `None`: the numbers are not in the table any more.
    fn claim(&mut self, table: &Table) -> Option<&mut Claim> {
        if self.left.is_none() && self.claim.is_none() {
            self.claim = table.claim();
        }
        self.claim.as_mut()
    }

    fn next_to_send(&mut self, table: &Table) -> u64 {
        if let Some(used) = self.claim(table).and_then(|claim| table.seal(claim)) {
            return used.number();
        }
        // The table has none, or its last one.
        let left = self.leave(table);
        left.send += 1;
        left.send - 1
    }

    fn next_to_receive(&mut self, table: &Table) -> u64 {
        match self.left {
            Some(left) => left.receive,
            None => self.reading.get_or_insert_with(|| table.read()).next().number(),
        }
    }

    fn has_received(&mut self) {
        if let Some(left) = &mut self.left {
            left.receive += 1;
        } else if let Some(reading) = &mut self.reading {
            // If it was the last one, the next does not open, and the connection ends.
            let _ = reading.opened();
        }
    }

    fn update_sending_key(&mut self, table: &Table) {
        let is_counted = self.claim(table).is_some_and(|claim| table.update_key(claim));
        if !is_counted {
            // No epoch is left, or none was needed.
            self.leave(table).send = 0;
        }
    }

    fn update_receiving_key(&mut self, table: &Table) {
        let is_counted =
            self.left.is_none() && self.reading.get_or_insert_with(|| table.read()).update_key();
        if !is_counted {
            self.leave(table).receive = 0;
        }
    }
}

/// Lends a connection's numbers to this thread, until it is dropped.
struct Lent<'a>(&'a mut Numbers);

impl<'a> Lent<'a> {
    fn new(own: &'a mut Numbers) -> Self {
        swap(own, true);
        Self(own)
    }
}

impl Drop for Lent<'_> {
    /// Also when a call panics.
    fn drop(&mut self) {
        swap(self.0, false);
    }
}

fn swap(own: &mut Numbers, is_lent: bool) {
    AT_WORK.with_borrow_mut(|at_work| {
        at_work.is_lent = is_lent;
        mem::swap(&mut at_work.numbers, own);
    });
}

/// Gives an encrypter to the connection at work, and rustls a handle. If there is none, rustls keeps it.
pub(super) fn hand_encrypter(encrypter: Box<dyn MessageEncrypter>) -> Box<dyn MessageEncrypter> {
    AT_WORK.with_borrow_mut(|at_work| {
        if !at_work.is_lent {
            return encrypter;
        }
        at_work.numbers.set_encrypter(encrypter);
        Box::new(Handle)
    })
}

/// The same for a decrypter, and the client's key. Without a key that could be kept, nothing is known of PINGREQs.
pub(super) fn hand_decrypter(
    decrypter: Box<dyn MessageDecrypter>,
    suite: &'static Suite,
    secrets: Option<Secrets>,
) -> Box<dyn MessageDecrypter> {
    AT_WORK.with_borrow_mut(|at_work| {
        let Some(secrets) = secrets.filter(|_| at_work.is_lent) else { return decrypter };
        at_work.numbers.set_decrypter(decrypter, suite, secrets);
        Box::new(Handle)
    })
}

/// What rustls seals and opens by.
struct Handle;

impl MessageEncrypter for Handle {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        rustls_next: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        AT_WORK.with_borrow_mut(|at_work| at_work.numbers.seal(message, rustls_next))
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        AT_WORK.with_borrow(|at_work| {
            let encrypter = at_work.numbers.encrypter.as_ref();
            encrypter.map_or(payload_len, |encrypter| encrypter.encrypted_payload_len(payload_len))
        })
    }
}

impl MessageDecrypter for Handle {
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        rustls_next: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        AT_WORK.with_borrow_mut(|at_work| at_work.numbers.open(message, rustls_next))
    }
}

/// PINGRESP in a record.
fn pingresp(encrypter: &mut dyn MessageEncrypter, at: RecordNumber) -> Option<Record> {
    let message = OutboundPlainMessage {
        typ: ContentType::ApplicationData,
        version: ProtocolVersion::TLSv1_2,
        payload: OutboundChunks::Single(&PINGRESP),
    };
    Record::new(&encrypter.encrypt(message, at.number()).ok()?.encode())
}

/// The numbers that a table has places for.
fn ahead(next: RecordNumber) -> impl Iterator<Item = RecordNumber> {
    (0..ENTRIES as u64).map_while(move |more| next.after(more))
}

/// How many records these are; they are whole.
fn count(mut bytes: &[u8]) -> u16 {
    let mut records = 0_u16;
    while let Some(([_, _, _, high, low], behind)) = bytes.split_first_chunk() {
        bytes = behind.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default();
        records = records.saturating_add(1);
    }
    records
}

/// How many records there were when rustls's next number has been used.
fn count_after(rustls_next: u64) -> u32 {
    u32::try_from(rustls_next.saturating_add(1)).unwrap_or(u32::MAX)
}
