//! Claims that need threads: a rest comes between threads, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use push_common::clock::Monotonic;

use crate::shard::rest::{Phase, Rest};

const NOW: Monotonic = Monotonic(5);

/// Threads pass a token on by mailboxes, and rest in between. Whenever the rest has come, it lies nowhere.
#[test]
fn no_rest_comes_while_a_letter_is_in_flight_between_threads() {
    const SHARDS: u16 = 3;
    const HOPS: usize = 20_000;
    let rest = Arc::new(Rest::new(SHARDS));
    let mailboxes: Arc<Vec<AtomicUsize>> =
        Arc::new((0..SHARDS).map(|_| AtomicUsize::new(0)).collect());
    mailboxes[0].store(HOPS, Ordering::SeqCst);
    rest.ask(NOW);
    let turn = |shard: u16, rest: &Rest, mailboxes: &[AtomicUsize]| {
        rest.begin_turn(shard);
        let hops = mailboxes[usize::from(shard)].swap(0, Ordering::SeqCst);
        if hops > 1 {
            let next = usize::from((shard + 1) % SHARDS);
            mailboxes[next].store(hops - 1, Ordering::SeqCst);
        }
        let is_empty = |mailbox: &AtomicUsize| mailbox.load(Ordering::SeqCst) == 0;
        rest.end_turn(shard, || mailboxes.iter().all(is_empty));
        hops
    };
    let hops: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..SHARDS)
            .map(|shard| {
                let (rest, mailboxes) = (&rest, &mailboxes);
                scope.spawn(move || {
                    let mut taken = 0;
                    while matches!(rest.phase(), Phase::Asked(_)) {
                        taken += usize::from(turn(shard, rest, mailboxes) > 0);
                        std::thread::yield_now();
                    }
                    taken
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(hops, HOPS, "all of it was passed on before");
    assert!(mailboxes.iter().all(|mailbox| mailbox.load(Ordering::SeqCst) == 0));
}
