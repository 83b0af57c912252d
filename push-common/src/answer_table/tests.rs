use core::sync::atomic::AtomicU64;

use super::*;

type Table = AnswerTable<AtomicU64, 4, 4>;

const SHAPES: [RecordShape; 3] =
    [RecordShape::TLS_1_3, RecordShape::TLS_1_2_CHACHA20, RecordShape::TLS_1_2_GCM];

fn at(epoch: u16, number: u64) -> RecordNumber {
    RecordNumber::new(epoch, number).expect("it fits")
}

/// A record whose bytes all depend on direction and number.
fn record(shape: RecordShape, seed: u8, at: RecordNumber) -> Record {
    let bytes = shape.record_bytes();
    let mut record = vec![23, 3, 3, 0, bytes - HEADER_BYTES];
    record.extend((HEADER_BYTES..bytes).map(|place| {
        seed.wrapping_add(place).wrapping_mul(31) ^ at.number() as u8 ^ at.epoch() as u8
    }));
    Record::new(&record).expect("short enough")
}

fn filled(shape: RecordShape) -> Table {
    let table = Table::new(|| AtomicU64::new(u64::MAX));
    let claim = table.begin(at(1, 6), at(1, 2));
    table.fill_up(&claim, |at| record(shape, 1, at), |at| record(shape, 2, at));
    table.release(claim).expect("nothing was sealed");
    table
}

fn sealed_and_sent(table: &Table, claim: &mut Claim) -> RecordNumber {
    let used = table.seal(claim).expect("a number is left");
    claim.handed(1);
    assert!(claim.publish_tx(&AtomicU64::new(0), 1));
    used
}

fn answer(table: &Table, at: RecordNumber) -> Option<Record> {
    let mut copy = Record::default();
    table.copy_answer(at, RecordShape::TLS_1_3, &mut copy).then_some(copy)
}

#[test]
fn records_are_as_long_as_their_suite_makes_them() {
    let lengths = SHAPES.map(|shape| (shape.record_bytes(), shape.words()));
    assert_eq!(lengths, [(24, 3), (23, 3), (31, 4)]);
    let heartbeat = RecordShape::TLS_1_2_GCM.heartbeat();
    assert_eq!((heartbeat.request_bytes(), heartbeat.response_bytes()), (31, 31));
    assert_eq!(Record::new(&[0; 33]), None);
    assert_eq!(Record::new(&[7; 3]).expect("short").bytes()[..4], [7, 7, 7, 0]);
}

#[test]
fn a_full_table_expects_and_answers_its_next_numbers() {
    for shape in SHAPES {
        let table = filled(shape);
        for more in 0..4 {
            let (expected, next) = (at(1, 2 + more), at(1, 6 + more));
            assert!(table.is_request(expected, shape, &record(shape, 1, expected)), "{shape:?}");
            let mut copy = Record([u64::MAX; 4]);
            assert!(table.copy_answer(next, shape, &mut copy));
            assert_eq!(copy, record(shape, 2, next), "the whole record, zeros behind it");
        }
    }
}

#[test]
fn no_other_payload_is_a_request() {
    for shape in SHAPES {
        let table = filled(shape);
        let request = record(shape, 1, at(1, 2));
        for bit in 0..256 {
            let mut flipped = request;
            flipped.0[bit / 64] ^= 1 << (bit % 64);
            assert!(!table.is_request(at(1, 2), shape, &flipped), "{shape:?}, bit {bit}");
        }
        assert!(!table.is_request(at(1, 2), shape, &record(shape, 1, at(1, 3))), "of the next");
        assert!(!table.is_request(at(1, 6), shape, &request), "the entry is for another number");
        assert!(!table.is_request(at(2, 2), shape, &request), "and for another epoch");
        assert!(!table.is_request(at(1, 2), shape, &Record::default()));
    }
    // Between suites too: 23 bytes and a zero are not 24.
    let table = filled(RecordShape::TLS_1_2_CHACHA20);
    let request = record(RecordShape::TLS_1_2_CHACHA20, 1, at(1, 2));
    assert!(!table.is_request(at(1, 2), RecordShape::TLS_1_3, &request));
}

#[test]
fn three_words_serve_tls_1_3() {
    let table = AnswerTable::<AtomicU64, 2, 3>::new(|| AtomicU64::new(0));
    let shape = RecordShape::TLS_1_3;
    let claim = table.begin(at(1, 1), at(1, 1));
    table.fill_up(&claim, |at| record(shape, 1, at), |at| record(shape, 2, at));
    let request = record(shape, 1, at(1, 1));
    assert!(table.is_request(at(1, 1), shape, &request));
    let mut longer = request;
    longer.0[3] = 1 << 63;
    assert!(!table.is_request(at(1, 1), shape, &longer), "bytes beyond the entry");
}

#[test]
fn a_new_connection_finds_nothing_of_the_one_before() {
    let table = filled(RecordShape::TLS_1_3);
    let look = table.look();
    assert!(table.take(look));
    table.keep(&record(RecordShape::TLS_1_3, 2, look.number()), table.expected());
    let _held = table.begin(at(1, 6), at(1, 2));
    assert!(!table.look().is_open(), "it begins with a claim");
    assert_eq!((answer(&table, at(1, 6)), table.kept()), (None, Record::default()));
    assert!(!table.is_request(
        at(1, 2),
        RecordShape::TLS_1_3,
        &record(RecordShape::TLS_1_3, 1, at(1, 2))
    ));
}

#[test]
fn an_answer_is_erased_before_its_number_is_used() {
    let table = filled(RecordShape::TLS_1_3);
    let mut claim = table.claim().expect("free");
    assert_eq!(table.seal(&mut claim), Some(at(1, 6)));
    assert_eq!(answer(&table, at(1, 6)), None);
    assert!(answer(&table, at(1, 7)).is_some());
}

#[test]
fn used_entries_are_filled_for_the_numbers_behind_the_others() {
    let table = filled(RecordShape::TLS_1_3);
    let look = table.look();
    assert!(table.take(look));
    table.keep(&answer(&table, look.number()).expect("filled"), table.expected());
    assert_eq!(answer(&table, at(1, 10)), None, "the place has the one that was used");
    let mut claim = table.claim().expect("free");
    assert_eq!(sealed_and_sent(&table, &mut claim), at(1, 7));
    let (mut requests, mut answers) = (Vec::new(), Vec::new());
    table.fill_up(
        &claim,
        |at| {
            requests.push(at);
            record(RecordShape::TLS_1_3, 1, at)
        },
        |at| {
            answers.push(at);
            record(RecordShape::TLS_1_3, 2, at)
        },
    );
    assert_eq!(answers, [at(1, 10), at(1, 11)], "one used by the program, one by user space");
    assert_eq!(requests, [at(1, 6)]);
    table.release(claim).expect("all is published");
    assert!(answer(&table, at(1, 11)).is_some());
    assert_eq!(table.kept(), record(RecordShape::TLS_1_3, 2, at(1, 6)), "what left stays");
}

#[test]
fn rule_20_an_unchanged_claim_leaves_alone_what_programs_may_read() {
    let table = Table::new(|| AtomicU64::new(0));
    let claim = table.begin(at(1, 6), at(1, 2));
    table.release(claim).expect("nothing was sealed");
    let mut claim = table.claim().expect("free");
    let shape = RecordShape::TLS_1_3;
    assert!(!table.fill_answer(&claim, at(1, 6), &record(shape, 2, at(1, 6))));
    assert!(table.fill_answer(&claim, at(1, 7), &record(shape, 2, at(1, 7))));
    // A program may have taken a number and not have moved the receive word yet.
    assert!(!table.fill_request(&claim, at(1, 2), &record(shape, 1, at(1, 2))));
    assert!(!table.fill_request(&claim, at(1, 3), &record(shape, 1, at(1, 3))));
    assert!(table.fill_request(&claim, at(1, 4), &record(shape, 1, at(1, 4))));
    sealed_and_sent(&table, &mut claim);
    assert!(table.fill_request(&claim, at(1, 2), &record(shape, 1, at(1, 2))));
    assert!(!table.wants_answer(&claim, at(1, 6)), "it is used");
    assert!(!table.wants_answer(&claim, at(1, 11)), "there is no place for it yet");
    assert!(!table.wants_answer(&claim, at(2, 8)), "of another epoch");
}

#[test]
fn a_key_update_leaves_no_answer() {
    let table = filled(RecordShape::TLS_1_3);
    let mut claim = table.claim().expect("free");
    assert_eq!(table.seal(&mut claim), Some(at(1, 6)));
    assert!(table.update_key(&mut claim));
    assert_eq!(table.seal(&mut claim), Some(at(2, 0)));
    assert!((6..10).all(|number| answer(&table, at(1, number)).is_none()));
    assert!(table.wants_answer(&claim, at(2, 1)));
}

#[test]
fn passed_requests_are_erased() {
    let shape = RecordShape::TLS_1_3;
    let is_there = |table: &Table, number| {
        table.is_request(at(1, number), shape, &record(shape, 1, at(1, number)))
    };
    let table = filled(shape);
    let mut reading = table.read();
    assert!(reading.opened());
    let _ = table.publish(reading);
    assert_eq!([2, 3, 4, 5].map(|number| is_there(&table, number)), [false, true, true, true]);
    assert_eq!(table.expected(), at(1, 3));
    let mut reading = table.read();
    assert!((0..100).all(|_| reading.opened()));
    let _ = table.publish(reading);
    assert!((2..6).all(|number| !is_there(&table, number)));
    let table = filled(shape);
    let mut reading = table.read();
    assert!(reading.update_key());
    let _ = table.publish(reading);
    assert_eq!(table.expected(), at(2, 0));
    assert!((2..6).all(|number| !is_there(&table, number)), "of another key");
}

#[test]
fn an_entry_of_24_bits_of_numbers_ago_is_gone() {
    // The tag would be the same again, so the entry must not be there: whoever passes it erases it.
    let table = filled(RecordShape::TLS_1_3);
    let mut claim = table.claim().expect("free");
    for _ in 0..1 << TAG_NUMBER_BITS {
        table.seal(&mut claim);
    }
    assert_eq!(claim.next(), at(1, 6 + (1 << TAG_NUMBER_BITS)));
    assert_eq!(answer(&table, claim.next()), None);
}
