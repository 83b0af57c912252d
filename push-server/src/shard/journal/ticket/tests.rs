//! Tests of `ticket`.

use super::*;

/// Counts its wakes.
#[derive(Clone, Debug, Default)]
struct Bell(Arc<AtomicU32>);

impl Waker for Bell {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn session(number: u64) -> Done {
    Done::Session { session: 7, number: SessionNumber(number) }
}

fn part(number: u64) -> Draft {
    let mut draft = Draft::from(Write::RemoveSession { number: SessionNumber(number) });
    draft.wait(number as u16, session(number));
    draft
}

#[test]
fn the_last_part_brings_the_whole() {
    let publisher = Part::of_publisher(part(0), true);
    let mut first = Part::of_receiver(publisher.another());
    let second = publisher.another();
    assert_eq!(first.filing, Filing::Pending, "others are not done");
    first.draft = part(1);
    assert!(first.finish().is_empty());
    assert!(publisher.finish().is_empty());
    let mut second = Part::of_receiver(second);
    assert_eq!(second.filing, Filing::Queued, "all others are done");
    second.draft = part(2);
    let whole = second.finish();
    assert_eq!((whole.writes.len(), whole.waiting.len()), (3, 3));
}

#[test]
fn whole_writes_are_filed_in_the_order_they_became_whole_whoever_files_them() {
    let complete_writes = CompleteWrites::default();
    let messages = [1, 2].map(|number| (Part::of_publisher(Draft::default(), true), number));
    // Of the first the publisher's part is the last one, of the second another's.
    for (mut publisher, number) in messages {
        let mut other = Part::of_receiver(publisher.another());
        publisher.draft = part(number * 10);
        other.draft = part(number * 10 + 1);
        let (first, last) = if number == 1 { (other, publisher) } else { (publisher, other) };
        assert!(first.finish().is_empty());
        complete_writes.push(last.finish());
    }
    let mut filed = Draft::default();
    complete_writes.file(|whole| filed = whole);
    let numbers: Vec<_> = filed.waiting.iter().map(|(shard, _)| *shard).collect();
    assert_eq!(numbers, [11, 10, 20, 21]);
    complete_writes.file(|_| panic!("nothing is left"));
}

#[test]
fn a_write_of_one_shard_alone_needs_no_ticket() {
    let alone = Part::of_publisher(part(0), false);
    assert!(alone.another().is_none() && alone.has_to_wait());
    assert_eq!(alone.filing, Filing::Queued);
    assert_eq!(alone.finish().writes.len(), 1);
    assert!(!Part::default().has_to_wait());
}

#[test]
fn a_request_is_open_until_shards_have_what_the_store_tells() {
    let shards = Arc::new(vec![Completions::new(Box::new(Bell::default()))]);
    let open = OpenRequests::default();
    let mut sink = StoreSink::new(Arc::clone(&shards), open.clone());
    open.begin();
    open.begin();
    sink.complete(vec![(0, session(1))], Outcome::Committed);
    // Nobody waits for it.
    sink.complete(Vec::new(), Outcome::Committed);
    assert!(!open.are_none() && shards[0].is_empty());
    sink.flush();
    assert!(open.are_none() && !shards[0].is_empty());
}

#[test]
fn completions_go_to_their_shards_and_wake_each_once() {
    let bells = [Bell::default(), Bell::default()];
    let shards = bells.clone().map(|bell| Completions::new(Box::new(bell)));
    let shards = Arc::new(Vec::from(shards));
    let mut sink = StoreSink::new(Arc::clone(&shards), OpenRequests::default());
    sink.complete(vec![(0, session(1)), (1, session(2))], Outcome::Committed);
    sink.complete(vec![(1, session(3))], Outcome::Committed);
    assert!(shards[1].is_empty(), "nothing before the flush");
    sink.flush();
    sink.complete(vec![(1, session(4))], Outcome::Committed);
    sink.flush();
    assert_eq!(bells.map(|bell| bell.0.load(Ordering::Relaxed)), [1, 1]);
    let mut done = Vec::new();
    shards[1].take(&mut done);
    assert_eq!(done.len(), 3);
    shards[0].take(&mut Vec::new());
    assert!(shards[0].is_empty() && shards[1].is_empty());
}
