//! The claim: who may use the next record number of a TLS connection that user space and the programs both
//! send on. One word tells: `HELD | epoch | number`. The functions are the steps of each side, one access
//! to shared memory each; the whole sequences and why they are safe are in the docs of this crate.
//!
//! A record's nonce is its number under its key, so two contents must never leave under one number. Keys
//! are counted as *epochs*: the first of a connection is 1, and each KeyUpdate begins the next.
//!
//! # Which order each access needs
//! - [`Look::at`] acquires: a program must see `tx` and the table as they were when user space released the
//!   word, or newer. An older `tx` would hide records that TCP has and has not sent.
//! - [`Look::take`] releases what was read before it: user space may overwrite an entry as soon as it sees
//!   that the word has passed it.
//! - [`Claim::take`] acquires, for the same reason seen from the other side: user space writes entries
//!   only after it has seen how far programs have come.
//! - [`Claim::publish_tx`] may be in any order before [`Claim::release`], which releases.
//! - [`Reading::publish`] comes before [`Published::publish_rx`], which releases; a program reads `rx` with
//!   acquire before it reads the receive word.
//!
//! No access needs more (`SeqCst`): a program decides by its compare-exchange on the word itself, and all
//! changes of one word are in one order everywhere. What is read before it may be old or torn; then
//! the word has changed too, and the exchange fails.

use crate::mutant::{Part, is_left_out};
use crate::shared_word::SharedWord;

/// The bit of the word by which user space holds it.
const HELD: u64 = 1 << 63;
/// Bits of a number, below the epoch. A connection would need a record a microsecond for nine years.
const NUMBER_BITS: u32 = 48;
/// The last number that fits.
pub const NUMBER_MAX: u64 = (1 << NUMBER_BITS) - 1;
/// The last epoch that fits.
pub const EPOCH_MAX: u16 = i16::MAX as u16;

/// A record of one direction: its epoch, and its number there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct RecordNumber(u64);

impl RecordNumber {
    /// `None`: it does not fit.
    #[must_use]
    pub const fn new(epoch: u16, number: u64) -> Option<Self> {
        if epoch > EPOCH_MAX || number > NUMBER_MAX {
            return None;
        }
        Some(Self((epoch as u64) << NUMBER_BITS | number))
    }

    #[inline(always)]
    const fn of_word(word: u64) -> Self {
        Self(word & !HELD)
    }

    /// How many keys came before, plus one.
    #[inline(always)]
    #[must_use]
    pub const fn epoch(self) -> u16 {
        (self.0 >> NUMBER_BITS) as u16
    }

    /// How many records came before under this key.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0 & NUMBER_MAX
    }

    /// The record `more` behind it, under the same key. `None`: it does not fit.
    #[must_use]
    pub const fn after(self, more: u64) -> Option<Self> {
        match self.number().checked_add(more) {
            Some(number) => Self::new(self.epoch(), number),
            None => None,
        }
    }

    /// The first record under the next key. `None`: it does not fit.
    #[must_use]
    pub fn next_epoch(self) -> Option<Self> {
        if is_left_out(Part::Epoch) {
            return Self::new(self.epoch(), 0);
        }
        match self.epoch().checked_add(1) {
            Some(epoch) => Self::new(epoch, 0),
            None => None,
        }
    }

    /// The record behind it. The caller has checked that it is not the last one ([`Look::is_open`]).
    #[inline(always)]
    pub(crate) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Whether none can follow under this key.
    #[inline(always)]
    pub(crate) const fn is_last(self) -> bool {
        self.number() == NUMBER_MAX
    }

    /// As it lies in memory.
    #[inline(always)]
    pub(crate) const fn word(self) -> u64 {
        self.0
    }
}

/// What a program has seen in the word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Look(u64);

impl Look {
    /// Looks at the word. What the program reads of `tx`, receive word and table, it reads afterwards.
    #[inline(always)]
    #[must_use]
    pub fn at(word: &impl SharedWord) -> Self {
        Self(if is_left_out(Part::LookAcquires) { word.load() } else { word.load_acquire() })
    }

    /// Whether the next number could be taken.
    #[inline(always)]
    #[must_use]
    pub fn is_open(self) -> bool {
        (self.0 & HELD == 0 || is_left_out(Part::Held)) && !self.number().is_last()
    }

    /// The next number to send by.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> RecordNumber {
        RecordNumber::of_word(self.0)
    }

    /// Takes that number, if nothing has happened since the look. Under the flow's lock, when all else is
    /// decided: the number must be used then.
    #[inline(always)]
    #[must_use]
    pub fn take(self, word: &impl SharedWord) -> bool {
        if is_left_out(Part::Exchange) {
            word.store(self.0.wrapping_add(1));
            return true;
        }
        if is_left_out(Part::NumberInWord) {
            let now = word.load();
            return now & HELD == 0 && word.compare_exchange(now, now.wrapping_add(1));
        }
        word.compare_exchange(self.0, self.0.wrapping_add(1))
    }
}

/// User space's hold on the numbers of a connection: while it exists, programs answer nothing. One that is
/// dropped holds for good, as one does that dies with its process: programs never wait for it.
#[derive(Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "mutants", derive(Clone))]
#[must_use = "dropped, it holds for good"]
pub struct Claim {
    /// The number at which it began, if a program may have looked at the word before.
    first: Option<RecordNumber>,
    next: RecordNumber,
    /// Records sealed under it.
    sealed: u64,
    /// Those of them that TCP has, whole.
    handed: u64,
    /// Those of them that `tx` counts.
    published: u64,
}

impl Claim {
    /// Takes the word. `None`: it is held already.
    pub fn take(word: &impl SharedWord) -> Option<Self> {
        let seen = word.fetch_or(HELD);
        let next = RecordNumber::of_word(seen);
        (seen & HELD == 0).then_some(Self { first: Some(next), ..Self::of(next) })
    }

    /// The first one of a connection, whose next record to send is `next`. No program knows the word yet.
    pub(crate) fn begin(word: &impl SharedWord, next: RecordNumber) -> Self {
        word.store(HELD | next.word());
        Self::of(next)
    }

    const fn of(next: RecordNumber) -> Self {
        Self { first: None, next, sealed: 0, handed: 0, published: 0 }
    }

    /// The number of the next record to seal.
    #[must_use]
    pub const fn next(&self) -> RecordNumber {
        self.next
    }

    /// Records sealed under it, of which TCP does not have the last byte.
    #[must_use]
    pub const fn unsent(&self) -> u64 {
        self.sealed - self.handed
    }

    /// Whether the word would be the same again if it were released now.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.first == Some(self.next)
    }

    /// Uses up the next number; `None`: it was the last one.
    pub(crate) fn use_number(&mut self) -> Option<RecordNumber> {
        let used = self.next;
        self.next = used.after(1)?;
        self.sealed += 1;
        Some(used)
    }

    /// Goes on with the next key. False: there are no more epochs, so the claim must be kept for good.
    #[must_use]
    pub(crate) fn begin_epoch(&mut self) -> bool {
        let next = self.next.next_epoch();
        self.next = next.unwrap_or(self.next);
        next.is_some()
    }

    /// TCP has taken the last byte of so many more records.
    pub fn handed(&mut self, records: u64) {
        self.handed = self.sealed.min(self.handed.saturating_add(records));
    }

    /// Publishes how many bytes the socket has accepted, up to the end of the last record. False, and
    /// nothing is published, if TCP does not have all that was sealed.
    pub fn publish_tx(&mut self, tx: &impl SharedWord, bytes: u64) -> bool {
        if self.unsent() > 0 && !is_left_out(Part::HandedToTcp) {
            return false;
        }
        tx.store_release(bytes);
        self.published = self.sealed;
        true
    }

    /// Gives the word back. Not before `tx` counts everything that was sealed: the answer of a program
    /// would overtake it.
    ///
    /// # Errors
    /// The claim, if `tx` does not.
    pub fn release(self, word: &impl SharedWord) -> Result<(), Self> {
        if self.published != self.sealed && !is_left_out(Part::TxPublished) {
            return Err(self);
        }
        if is_left_out(Part::ReleaseReleases) {
            word.store(self.next.word());
        } else {
            word.store_release(self.next.word());
        }
        Ok(())
    }
}

/// User space's way through records that have come. It needs no claim: while they are not published,
/// bytes have been passed that `rx` does not count, and programs answer nothing (rule 3).
#[derive(Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "mutants", derive(Clone))]
pub struct Reading {
    first: RecordNumber,
    next: RecordNumber,
}

impl Reading {
    /// Begins with bytes that the socket has given, and that `rx` does not count.
    pub fn begin(receive: &impl SharedWord) -> Self {
        let next = RecordNumber::of_word(receive.load());
        Self { first: next, next }
    }

    /// The number to open the next record with.
    #[must_use]
    pub const fn next(&self) -> RecordNumber {
        self.next
    }

    /// The number at which it began.
    pub(crate) const fn first(&self) -> RecordNumber {
        self.first
    }

    /// A record has been opened. False: no number is left, and the connection has to end.
    #[must_use]
    pub fn opened(&mut self) -> bool {
        let next = self.next.after(1);
        self.next = next.unwrap_or(self.next);
        next.is_some()
    }

    /// It was a KeyUpdate. False: no epoch is left; user space keeps a claim for good then.
    #[must_use]
    pub fn update_key(&mut self) -> bool {
        let next = self.next.next_epoch();
        self.next = next.unwrap_or(self.next);
        next.is_some()
    }

    /// Stores the receive word. If nothing was opened, a program may be moving it right now.
    pub(crate) fn publish(self, receive: &impl SharedWord) -> Published {
        if self.next != self.first {
            receive.store(self.next.word());
        }
        Published(())
    }
}

/// The receive word is stored, so `rx` may follow.
#[derive(Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "mutants", derive(Clone))]
pub struct Published(());

impl Published {
    /// Publishes how many bytes were parsed, up to the end of a whole packet and record.
    pub fn publish_rx(self, rx: &impl SharedWord, bytes: u64) {
        rx.store_release(bytes);
    }
}

/// A program's look at the receive word: the number that the client's next record has.
#[inline(always)]
pub(crate) fn expected(receive: &impl SharedWord) -> RecordNumber {
    RecordNumber::of_word(receive.load())
}

#[cfg(test)]
mod tests;
