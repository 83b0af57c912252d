//! The answer table of a TLS connection: the only PINGREQ records that can come next, and the PINGRESP
//! records that answer them, sealed ahead by user space for the next `K` numbers each way. Sealing is
//! deterministic, so a program compares and copies; it has no key and does no cryptography.
//!
//! One table is one element of an mmapped array map. It is one connection's for as long as its flow may send an
//! answer, which is longer than the connection has its slot. A flow may name it for longer still, but then it has no
//! answer pending and its slot is gone, so it never answers by a table of another connection.
//!
//! An entry is the record itself, whose first five bytes are the same in each (content type, version,
//! length) and give way to a tag: for which number it was sealed. So an entry of TLS 1.3 has 24 bytes.

use crate::claim::{Claim, Look, Published, Reading, RecordNumber, expected};
use crate::heartbeat::Heartbeat;
use crate::mutant::{Part, is_left_out};
use crate::shared_word::SharedWord;

/// The most words that a heartbeat's record has: 31 bytes (TLS 1.2 with AES-GCM).
pub const RECORD_WORDS_MAX: usize = 4;

/// Entries of a connection's table each way, in the map. A fill costs mostly the memory that it reaches, so a longer
/// table makes a ping cheaper; 16 was chosen by measurement (`docs/evidence.md`).
pub const ENTRIES: usize = 16;

/// A connection's table as it lies in the map (`TABLES`): for every suite and version.
pub type KernelTable<W> = AnswerTable<W, ENTRIES, RECORD_WORDS_MAX>;

/// Bytes of a record's header (RFC 8446, section 5.1).
const HEADER_BYTES: u8 = 5;
/// The bits of an entry's first word that are header, and tag in the table.
const HEADER_MASK: u64 = (1 << (8 * HEADER_BYTES)) - 1;
/// Of a tag: an entry is there.
const PRESENT: u64 = 1 << 39;
/// Bits of the number in a tag, below the epoch. Fewer than the number has: an entry of so many records ago
/// is never met, because each number that passes an entry erases it, or needs it to be the number's own.
const TAG_NUMBER_BITS: u32 = 24;

/// A heartbeat's record as its bytes lie in memory, zeros behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Record(pub [u64; RECORD_WORDS_MAX]);

impl Record {
    /// A record of these bytes; `None`: it is longer than any heartbeat's.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut padded = [0; 8 * RECORD_WORDS_MAX];
        padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let mut words = [0; RECORD_WORDS_MAX];
        for (word, bytes) in words.iter_mut().zip(padded.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        Some(Self(words))
    }

    /// Its bytes, zeros behind them.
    #[must_use]
    pub fn bytes(&self) -> [u8; 8 * RECORD_WORDS_MAX] {
        let mut bytes = [0; 8 * RECORD_WORDS_MAX];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(self.0) {
            *bytes = word.to_ne_bytes();
        }
        bytes
    }
}

/// How a suite and version frame a heartbeat: a PINGREQ and its PINGRESP have the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordShape {
    bytes: u8,
}

impl RecordShape {
    /// Any suite of TLS 1.3: header, two bytes of MQTT, content type, tag. A client may pad its records
    /// (RFC 8446, section 5.4); those are of another length, and left to user space.
    pub const TLS_1_3: Self = Self { bytes: 24 };
    /// TLS 1.2 with ChaCha20-Poly1305 (RFC 7905): without content type.
    pub const TLS_1_2_CHACHA20: Self = Self { bytes: 23 };
    /// TLS 1.2 with AES-GCM (RFC 5288): eight bytes of explicit nonce. A PINGREQ is only known where the
    /// client's nonces follow from its record numbers; others are left to user space.
    pub const TLS_1_2_GCM: Self = Self { bytes: 31 };

    /// Bytes of a heartbeat's record.
    #[inline(always)]
    #[must_use]
    pub const fn record_bytes(self) -> u8 {
        self.bytes
    }

    /// Words that an entry needs.
    #[must_use]
    pub const fn words(self) -> usize {
        (self.bytes as usize).div_ceil(8)
    }

    /// What heartbeats are on the wire.
    #[must_use]
    pub const fn heartbeat(self) -> Heartbeat {
        Heartbeat::of_records(self.bytes)
    }

    /// The shape of a flow's heartbeats, if they are sealed.
    #[inline(always)]
    #[must_use]
    pub const fn of(heartbeat: Heartbeat) -> Self {
        Self { bytes: heartbeat.request_bytes() as u8 }
    }

    /// The header of its records: application data, the version that all of TLS 1.2 and 1.3 state, the
    /// length of the rest.
    #[inline(always)]
    const fn header(self) -> u64 {
        u64::from_ne_bytes([23, 3, 3, 0, self.bytes - HEADER_BYTES, 0, 0, 0])
    }
}

/// The table of one connection: `K` entries each way, a power of two, of `N` words each: 3 serve all of TLS
/// 1.3, and 4 also TLS 1.2 with AES-GCM. `W` is the word as its user reaches it, and a plain `u64` in a
/// description of the layout. Zeros are a table that answers nothing, but one that is not claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C, align(64))]
pub struct AnswerTable<W, const K: usize, const N: usize> {
    /// The claim word: the next number to send by, and whether user space holds it.
    claim: W,
    /// The receive word: the number of the client's next record. Written by user space after receiving,
    /// and by a program under the flow's lock after an answer; rule 3 keeps them apart.
    receive: W,
    /// The answer that left last. A program's own, under the flow's lock.
    kept: [W; RECORD_WORDS_MAX],
    /// Fills the line.
    reserved: [W; 2],
    /// PINGREQ records, by number modulo `K`.
    requests: [[W; N]; K],
    /// PINGRESP records, by number modulo `K`.
    answers: [[W; N]; K],
}

// The header is the low end of the first word. The programs are little-endian, as their hosts are.
const _: () = assert!(cfg!(target_endian = "little"));
const _: () = assert!(size_of::<AnswerTable<u64, 4, 3>>() == 64 + 4 * 48);
const _: () = assert!(size_of::<AnswerTable<u64, 8, 3>>() == 64 + 8 * 48);
const _: () = assert!(size_of::<AnswerTable<u64, 16, 3>>() == 64 + 16 * 48);
const _: () = assert!(size_of::<AnswerTable<u64, 16, 4>>() == 64 + 16 * 64);
const _: () = assert!(align_of::<AnswerTable<u64, 8, 3>>() == 64);

impl<W: SharedWord, const K: usize, const N: usize> AnswerTable<W, K, N> {
    const HAS_GOOD_SIZES: () = assert!(K.is_power_of_two() && (N == 3 || N == RECORD_WORDS_MAX));

    /// A table of such words.
    pub fn new(mut word: impl FnMut() -> W) -> Self {
        let () = Self::HAS_GOOD_SIZES;
        Self {
            claim: word(),
            receive: word(),
            kept: core::array::from_fn(|_| word()),
            reserved: core::array::from_fn(|_| word()),
            requests: core::array::from_fn(|_| core::array::from_fn(|_| word())),
            answers: core::array::from_fn(|_| core::array::from_fn(|_| word())),
        }
    }

    // User space's half.

    /// Wipes the table for a connection whose next records have these numbers, before there is a flow that
    /// names it. The claim is user space's: release it when the table is filled.
    pub fn begin(&self, send: RecordNumber, receive: RecordNumber) -> Claim {
        let claim = Claim::begin(&self.claim, send);
        self.receive.store(receive.word());
        self.kept.iter().for_each(|word| word.store(0));
        self.requests.iter().chain(&self.answers).for_each(erase);
        claim
    }

    /// Claims the numbers to send by. `None`: they are claimed already.
    pub fn claim(&self) -> Option<Claim> {
        Claim::take(&self.claim)
    }

    /// The number to seal the next record with: no program answers by it any more. `None`: it was the last
    /// one, and the connection has to end.
    pub fn seal(&self, claim: &mut Claim) -> Option<RecordNumber> {
        let used = claim.use_number()?;
        if !is_left_out(Part::EraseBeforeSealing) {
            erase(&self.answers[index::<K>(used)]);
        }
        Some(used)
    }

    /// A KeyUpdate was sealed: what follows has the next key. False: there are no more epochs, so the claim
    /// must be kept for good.
    pub fn update_key(&self, claim: &mut Claim) -> bool {
        self.answers.iter().for_each(erase);
        claim.begin_epoch()
    }

    /// Gives the numbers back to programs.
    ///
    /// # Errors
    /// The claim, if TCP does not have all that was sealed, or `tx` does not count it ([`Claim::release`]).
    pub fn release(&self, claim: Claim) -> Result<(), Claim> {
        claim.release(&self.claim)
    }

    /// Whether the answer of this number is missing and may be filled in now.
    pub fn wants_answer(&self, claim: &Claim, at: RecordNumber) -> bool {
        let next = claim.next();
        is_ahead::<K>(next, at)
            && !is_tagged(&self.answers[index::<K>(at)], at)
            && may_be_filled(claim, at == next)
    }

    /// The same for a PINGREQ to expect.
    pub fn wants_request(&self, claim: &Claim, at: RecordNumber) -> bool {
        let next = expected(&self.receive);
        // A program that has taken a number moves the receive word a moment later.
        is_ahead::<K>(next, at)
            && !is_tagged(&self.requests[index::<K>(at)], at)
            && may_be_filled(claim, at == next || Some(at) == next.after(1))
    }

    /// Fills in the answer of a number, if it wants one. True: it has.
    pub fn fill_answer(&self, claim: &Claim, at: RecordNumber, record: &Record) -> bool {
        let wants = self.wants_answer(claim, at);
        if wants {
            fill(&self.answers[index::<K>(at)], at, record);
        }
        wants
    }

    /// Fills in a PINGREQ to expect, if it wants one. True: it has.
    pub fn fill_request(&self, claim: &Claim, at: RecordNumber, record: &Record) -> bool {
        let wants = self.wants_request(claim, at);
        if wants {
            fill(&self.requests[index::<K>(at)], at, record);
        }
        wants
    }

    /// Fills in all that is missing, by a function that seals a heartbeat with a number.
    pub fn fill_up(
        &self,
        claim: &Claim,
        mut request: impl FnMut(RecordNumber) -> Record,
        mut answer: impl FnMut(RecordNumber) -> Record,
    ) {
        let ahead = |next: RecordNumber| (0..K as u64).map_while(move |more| next.after(more));
        for at in ahead(claim.next()).filter(|at| self.wants_answer(claim, *at)) {
            fill(&self.answers[index::<K>(at)], at, &answer(at));
        }
        for at in ahead(expected(&self.receive)).filter(|at| self.wants_request(claim, *at)) {
            fill(&self.requests[index::<K>(at)], at, &request(at));
        }
    }

    /// Begins to open records that have come.
    pub fn read(&self) -> Reading {
        Reading::begin(&self.receive)
    }

    /// Publishes how far records have been opened; `rx` may follow.
    pub fn publish(&self, reading: Reading) -> Published {
        let (first, next) = (reading.first(), reading.next());
        if first.epoch() == next.epoch() {
            let passed = next.number() - first.number();
            let passed = (0..passed.min(K as u64)).filter_map(|more| first.after(more));
            passed.for_each(|at| erase(&self.requests[index::<K>(at)]));
        } else {
            self.requests.iter().for_each(erase);
        }
        reading.publish(&self.receive)
    }

    // The programs' half, in the order of their steps.

    /// The first step: looks at the claim word.
    #[inline(always)]
    #[must_use]
    pub fn look(&self) -> Look {
        Look::at(&self.claim)
    }

    /// The number of the client's next record.
    #[inline(always)]
    #[must_use]
    pub fn expected(&self) -> RecordNumber {
        expected(&self.receive)
    }

    /// Whether a payload is the PINGREQ record of that number. In constant time: it does the same whatever
    /// the payload is, and tells nothing but the answer.
    #[inline(always)]
    #[must_use]
    pub fn is_request(&self, at: RecordNumber, shape: RecordShape, payload: &Record) -> bool {
        let entry = &self.requests[index::<K>(at)];
        let first = entry[0].load();
        let mut differs = payload.0[0] ^ (first & !HEADER_MASK | shape.header());
        for (place, expected) in payload.0.iter().skip(1).zip(&entry[1..]) {
            differs |= place ^ expected.load();
        }
        for beyond in &payload.0[N..] {
            differs |= beyond;
        }
        if !is_left_out(Part::RequestTag) {
            differs |= (first & HEADER_MASK) ^ tag(at);
        }
        differs == 0
    }

    /// Copies the answer of a number. False: the table has none, and `to` has nothing of use.
    #[inline(always)]
    #[must_use]
    pub fn copy_answer(&self, at: RecordNumber, shape: RecordShape, to: &mut Record) -> bool {
        let entry = &self.answers[index::<K>(at)];
        let first = entry[0].load();
        to.0 = [0; RECORD_WORDS_MAX];
        to.0[0] = first & !HEADER_MASK | shape.header();
        for (to, word) in to.0.iter_mut().skip(1).zip(&entry[1..]) {
            *to = word.load();
        }
        first & HEADER_MASK == tag(at) || (is_left_out(Part::AnswerTag) && first & PRESENT != 0)
    }

    /// Takes the number that was looked at; see [`Look::take`].
    #[inline(always)]
    #[must_use]
    pub fn take(&self, look: Look) -> bool {
        look.take(&self.claim)
    }

    /// Keeps the answer that leaves, and moves the receive word behind the PINGREQ. Under the flow's lock.
    #[inline(always)]
    pub fn keep(&self, answer: &Record, request: RecordNumber) {
        for (kept, word) in self.kept.iter().zip(answer.0) {
            kept.store(word);
        }
        if !is_left_out(Part::ReceiveWordMoved) {
            self.receive.store(request.next().word());
        }
    }

    /// The answer that left last. Under the flow's lock.
    #[inline(always)]
    #[must_use]
    pub fn kept(&self) -> Record {
        let [a, b, c, d] = &self.kept;
        Record([a.load(), b.load(), c.load(), d.load()])
    }

    /// What the table now has in the place of the answer that left last; for a test of rule 21 alone.
    #[inline(always)]
    pub(crate) fn answer_before(&self) -> Record {
        let mut record = self.kept();
        let entry =
            &self.answers[(self.look().number().number().wrapping_sub(1)) as usize & (K - 1)];
        record.0[0] = entry[0].load() & !HEADER_MASK | record.0[0] & HEADER_MASK;
        for (to, word) in record.0.iter_mut().skip(1).zip(&entry[1..]) {
            *to = word.load();
        }
        record
    }
}

/// Whether a table runs low once the PINGREQ of this number is answered: user space is to fill it up
/// ([`low_tables`](crate::low_tables)). Each half is filled at once, which costs less than one by one.
#[inline(always)]
#[must_use]
pub const fn runs_low(request: RecordNumber) -> bool {
    (request.number() + 1).is_multiple_of(ENTRIES as u64 / 2)
}

/// The place of a number's entry.
#[inline(always)]
const fn index<const K: usize>(at: RecordNumber) -> usize {
    at.number() as usize & (K - 1)
}

#[inline(always)]
const fn tag(at: RecordNumber) -> u64 {
    let number = at.number() & ((1 << TAG_NUMBER_BITS) - 1);
    PRESENT | (at.epoch() as u64) << TAG_NUMBER_BITS | number
}

fn is_tagged<W: SharedWord, const N: usize>(entry: &[W; N], at: RecordNumber) -> bool {
    entry[0].load() & HEADER_MASK == tag(at)
}

/// Whether `at` is `next` or one of those behind it that the table has a place for.
fn is_ahead<const K: usize>(next: RecordNumber, at: RecordNumber) -> bool {
    let ahead = at.number().checked_sub(next.number());
    at.epoch() == next.epoch() && ahead.is_some_and(|ahead| ahead < K as u64)
}

/// A claim under which nothing was sealed gives the word back as it was, and a program that looked at it
/// before may still take the number. Such a claim must leave alone what that program reads.
fn may_be_filled(claim: &Claim, is_read: bool) -> bool {
    !(is_read && claim.is_unchanged()) || is_left_out(Part::UnchangedClaimFills)
}

fn fill<W: SharedWord, const N: usize>(entry: &[W; N], at: RecordNumber, record: &Record) {
    for (word, value) in entry.iter().zip(record.0).skip(1) {
        word.store(value);
    }
    entry[0].store(record.0[0] & !HEADER_MASK | tag(at));
}

fn erase<W: SharedWord, const N: usize>(entry: &[W; N]) {
    entry.iter().for_each(|word| word.store(0));
}

// SAFETY: integers only, no padding (the sizes are asserted above), so any bit pattern is a value and all
// bytes are initialised.
#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya's marker for plain old data")]
unsafe impl aya::Pod for KernelTable<u64> {}

#[cfg(test)]
mod tests;
