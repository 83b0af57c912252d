use core::sync::atomic::AtomicU64;

use super::*;

fn at(epoch: u16, number: u64) -> RecordNumber {
    RecordNumber::new(epoch, number).expect("it fits")
}

fn word(at: RecordNumber) -> AtomicU64 {
    AtomicU64::new(at.word())
}

#[test]
fn a_word_holds_epoch_and_number_and_who_has_it() {
    for (epoch, number) in [(0, 0), (1, 7), (EPOCH_MAX, NUMBER_MAX), (EPOCH_MAX, 0)] {
        let at = at(epoch, number);
        assert_eq!((at.epoch(), at.number()), (epoch, number));
        assert_eq!(at.word() & HELD, 0);
        assert_eq!(RecordNumber::of_word(HELD | at.word()), at);
    }
    assert_eq!(RecordNumber::new(EPOCH_MAX + 1, 0), None);
    assert_eq!(RecordNumber::new(0, NUMBER_MAX + 1), None);
}

#[test]
fn numbers_end_within_their_epoch() {
    assert_eq!(at(3, 5).after(2), Some(at(3, 7)));
    assert_eq!(at(3, NUMBER_MAX).after(1), None);
    assert_eq!(at(3, 5).after(u64::MAX), None);
    assert_eq!(at(3, 5).next_epoch(), Some(at(4, 0)));
    assert_eq!(at(EPOCH_MAX, 5).next_epoch(), None);
    assert!(at(4, 0) > at(3, NUMBER_MAX), "epochs are compared first");
}

#[test]
fn a_program_takes_each_number_once() {
    let word = word(at(1, 7));
    let (look, late) = (Look::at(&word), Look::at(&word));
    assert!(look.is_open() && look.number() == at(1, 7));
    assert!(look.take(&word));
    assert!(!late.take(&word), "the word has gone on");
    assert_eq!(Look::at(&word).number(), at(1, 8));
}

#[test]
fn a_program_declines_while_user_space_holds_the_word() {
    let word = word(at(1, 7));
    let before = Look::at(&word);
    let claim = Claim::take(&word).expect("it is free");
    assert!(!Look::at(&word).is_open() && !before.take(&word));
    assert!(Claim::take(&word).is_none(), "two claims");
    assert_eq!(claim.next(), at(1, 7));
    claim.release(&word).expect("nothing was sealed");
    assert!(before.take(&word), "nothing has happened since");
}

#[test]
fn a_program_leaves_the_last_number_alone() {
    assert!(Look::at(&word(at(1, NUMBER_MAX - 1))).is_open());
    assert!(!Look::at(&word(at(1, NUMBER_MAX))).is_open(), "the word would go on into the epoch");
    let last = word(at(1, NUMBER_MAX));
    assert_eq!(Claim::take(&last).expect("it is free").use_number(), None);
}

#[test]
fn a_claim_is_released_when_tcp_has_all_and_tx_counts_it() {
    let (word, tx) = (word(at(1, 7)), AtomicU64::new(0));
    let mut claim = Claim::take(&word).expect("it is free");
    assert_eq!(claim.use_number(), Some(at(1, 7)));
    assert_eq!(claim.use_number(), Some(at(1, 8)));
    claim.handed(1);
    assert_eq!(claim.unsent(), 1);
    assert!(!claim.publish_tx(&tx, 90), "half a record may be missing");
    assert_eq!(SharedWord::load(&tx), 0);
    let mut claim = claim.release(&word).expect_err("TCP does not have all");
    claim.handed(1);
    let mut claim = claim.release(&word).expect_err("tx does not count it");
    assert!(claim.publish_tx(&tx, 90));
    assert_eq!(claim.use_number(), Some(at(1, 9)), "rustls may go on");
    let mut claim = claim.release(&word).expect_err("and then holds the word on");
    claim.handed(1);
    assert!(claim.publish_tx(&tx, 120));
    assert!(!claim.is_unchanged());
    claim.release(&word).expect("all is published");
    assert_eq!((Look::at(&word).number(), SharedWord::load(&tx)), (at(1, 10), 120));
}

#[test]
fn more_than_was_sealed_is_not_handed() {
    let word = word(at(1, 7));
    let mut claim = Claim::take(&word).expect("it is free");
    claim.handed(5);
    claim.use_number();
    assert_eq!(claim.unsent(), 1, "what was handed before does not count for what comes");
}

#[test]
fn the_last_epoch_does_not_end() {
    let word = word(at(EPOCH_MAX - 1, 7));
    let mut claim = Claim::take(&word).expect("it is free");
    assert!(claim.begin_epoch());
    assert_eq!(claim.next(), at(EPOCH_MAX, 0));
    assert!(!claim.begin_epoch());
}

#[test]
fn a_reading_goes_on_by_what_was_opened() {
    let (receive, rx) = (word(at(2, 3)), AtomicU64::new(0));
    let mut reading = Reading::begin(&receive);
    assert!(reading.opened());
    assert_eq!(reading.next(), at(2, 4));
    assert!(reading.update_key() && reading.opened());
    reading.publish(&receive).publish_rx(&rx, 99);
    assert_eq!((expected(&receive), SharedWord::load(&rx)), (at(3, 1), 99));
    let mut last = Reading::begin(&AtomicU64::new(at(EPOCH_MAX, NUMBER_MAX).word()));
    assert!(!last.opened() && !last.update_key());
}

#[test]
fn a_reading_of_nothing_leaves_the_receive_word_alone() {
    let receive = word(at(2, 3));
    let reading = Reading::begin(&receive);
    // A program answers meanwhile.
    receive.store(at(2, 4).word(), core::sync::atomic::Ordering::Relaxed);
    let _ = reading.publish(&receive);
    assert_eq!(expected(&receive), at(2, 4));
}
