//! Claim and table under the memory model of C11, which is weaker than x86-64 and arm64 are: every order in
//! which the accesses of user space and a program may be seen, by loom. TCP and flow are behind a lock here
//! as there, so only words are shared without one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};
use push_common::answer_table::{AnswerTable, Record};
use push_common::claim::RecordNumber;
use push_common::mutant::{Part, leave_out};
use push_common::shared_word::SharedWord;

use super::message::{Kind, Message, SHAPE};

#[derive(Debug)]
struct LoomWord(AtomicU64);

impl SharedWord for LoomWord {
    fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn load_acquire(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn store(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    fn store_release(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    fn fetch_or(&self, bits: u64) -> u64 {
        self.0.fetch_or(bits, Ordering::AcqRel)
    }

    fn compare_exchange(&self, from: u64, to: u64) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

type Table = AnswerTable<LoomWord, 2, 3>;

/// What TCP and the flow know, behind locks of the kernel's own.
#[derive(Debug, Default)]
struct Kernel {
    /// Bytes that TCP has; bytes that have left.
    given: u64,
    left: u64,
}

#[derive(Debug)]
struct Shared {
    table: Table,
    rx: LoomWord,
    tx: LoomWord,
    kernel: Mutex<Kernel>,
}

fn first() -> RecordNumber {
    RecordNumber::new(1, 5).expect("small numbers")
}

fn sealed(kind: Kind) -> impl Fn(RecordNumber) -> Record {
    move |at| Message::sealed(kind, at).record()
}

impl Shared {
    /// All is at rest, the table filled or not.
    fn new(is_filled: bool) -> Arc<Self> {
        let word = || LoomWord(AtomicU64::new(0));
        let table = Table::new(word);
        let claim = table.begin(first(), first());
        if is_filled {
            table.fill_up(&claim, sealed(Kind::Ping), sealed(Kind::Pong));
        }
        table.release(claim).expect("nothing was sealed");
        Arc::new(Self { table, rx: word(), tx: word(), kernel: Mutex::new(Kernel::default()) })
    }

    /// The program, when the next PINGREQ comes; whether it answers.
    fn program_answers(&self) -> bool {
        let table = &self.table;
        let _rx = self.rx.load_acquire();
        let look = table.look();
        let tx = self.tx.load();
        let mut record = Record::default();
        let has_answer = look.is_open() && table.copy_answer(look.number(), SHAPE, &mut record);
        let kernel = self.kernel.lock().expect("nobody panics with it");
        // Rule 4: what left is what user space has published.
        if !has_answer || kernel.left != tx || !table.take(look) {
            return false;
        }
        assert_eq!(kernel.left, kernel.given, "an answer overtakes what TCP has not sent");
        let answer = Message::pingresp(&record).expect("a whole record");
        assert!(answer.is_for(look.number()), "an answer for another number");
        table.keep(&record, first());
        true
    }

    /// User space seals a record and gives it to TCP, which sends it at once or much later.
    fn user_sends(&self, is_sent: bool) -> RecordNumber {
        let mut claim = self.table.claim().expect("nobody else claims");
        let at = self.table.seal(&mut claim).expect("numbers are left");
        {
            let mut kernel = self.kernel.lock().expect("nobody panics with it");
            kernel.given += 1;
            kernel.left += u64::from(is_sent);
        }
        claim.handed(1);
        assert!(claim.publish_tx(&self.tx, 1));
        self.table.fill_up(&claim, sealed(Kind::Ping), sealed(Kind::Pong));
        self.table.release(claim).expect("all is published");
        at
    }
}

/// Runs a program against user space in every order.
fn explore(run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(run);
}

fn sends_while_a_program_answers(is_sent: bool) {
    explore(move || {
        let shared = Shared::new(true);
        let program = loom::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.program_answers()
        });
        let at = shared.user_sends(is_sent);
        let is_answered = program.join().expect("the program runs through");
        // If the program came first, it has used the first number, and user space the second.
        assert!(at == first() || is_answered, "{at:?}");
    });
}

fn fills_while_a_program_answers() {
    explore(|| {
        let shared = Shared::new(false);
        let program = loom::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.program_answers()
        });
        let claim = shared.table.claim().expect("nobody else claims");
        shared.table.fill_up(&claim, sealed(Kind::Ping), sealed(Kind::Pong));
        shared.table.release(claim).expect("nothing was sealed");
        program.join().expect("the program runs through");
    });
}

/// A program that sees `rx` sees the receive word that belongs to it.
fn reads_while_a_program_looks() {
    explore(|| {
        let shared = Shared::new(true);
        let program = loom::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let rx = shared.rx.load_acquire();
                let _look = shared.table.look();
                (rx, shared.table.expected())
            }
        });
        let mut reading = shared.table.read();
        assert!(reading.opened());
        shared.table.publish(reading).publish_rx(&shared.rx, 1);
        let (rx, expected) = program.join().expect("the program runs through");
        assert!(rx == 0 || Some(expected) == first().after(1), "{expected:?} at {rx}");
    });
}

#[test]
fn no_answer_overtakes_what_tcp_holds_back_in_any_order_of_memory() {
    sends_while_a_program_answers(false);
}

#[test]
fn no_answer_is_torn_or_used_twice_in_any_order_of_memory() {
    sends_while_a_program_answers(true);
}

#[test]
fn no_answer_is_read_that_is_being_written_in_any_order_of_memory() {
    fills_while_a_program_answers();
}

#[test]
fn rx_comes_with_its_receive_word_in_any_order_of_memory() {
    reads_while_a_program_looks();
}

/// The parts of push-common that only this file misses.
pub(super) const PARTS_LEFT_OUT: [Part; 3] =
    [Part::LookAcquires, Part::ReleaseReleases, Part::UnchangedClaimFills];

fn notices(part: Part, run: fn()) {
    leave_out(Some(part));
    let noticed = catch_unwind(AssertUnwindSafe(run)).is_err();
    leave_out(None);
    assert!(noticed, "nobody noticed that {part:?} was left out");
}

#[test]
fn rule_18_left_out_acquire_is_noticed() {
    notices(Part::LookAcquires, || sends_while_a_program_answers(false));
}

#[test]
fn rule_19_left_out_release_is_noticed() {
    notices(Part::ReleaseReleases, || sends_while_a_program_answers(false));
}

#[test]
fn rule_20_left_out_is_noticed() {
    notices(Part::UnchangedClaimFills, fills_while_a_program_answers);
}
