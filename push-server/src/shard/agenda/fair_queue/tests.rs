use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const QUANTUM: u32 = 100;

fn flow(key: u32) -> Flow {
    Flow::session(0, SessionNumber(key.into()).into())
}

/// Does the next piece of work, which costs what it says, as far as it may.
fn step(queue: &mut FairQueue<u32>) -> Option<(Flow, u32)> {
    let NextWork { flow, work: cost, allowance } = queue.next()?;
    let spent = cost.min(allowance);
    if spent == cost {
        queue.done(flow, spent);
    } else {
        queue.unfinished(flow, spent, std::iter::once(cost - spent));
    }
    Some((flow, spent))
}

#[test]
fn a_newcomer_goes_before_those_that_wait_however_much_they_have() {
    let mut queue = FairQueue::new(QUANTUM);
    for attacker in 1..=3 {
        queue.push(flow(attacker), 1_000_000);
    }
    for _ in 0..10 {
        step(&mut queue);
    }
    queue.push(flow(9), 5);
    queue.push(flow(8), 6);
    assert_eq!(step(&mut queue), Some((flow(9), 5)));
    assert_eq!(step(&mut queue), Some((flow(8), 6)));
}

#[test]
fn work_of_one_flow_is_done_in_order_whatever_is_cut() {
    let mut queue = FairQueue::new(QUANTUM);
    queue.extend(flow(1), [150, 30, 70].into_iter());
    queue.push(flow(1), 7);
    let steps: Vec<u32> = std::iter::from_fn(|| step(&mut queue)).map(|(_, spent)| spent).collect();
    assert_eq!(steps, [100, 50, 30, 20, 50, 7]);
    assert!(queue.is_empty() && queue.is_idle());
}

#[test]
fn who_comes_and_goes_in_one_turn_has_one_share_of_it() {
    let mut queue = FairQueue::new(QUANTUM);
    assert_eq!(queue.allowance(flow(1)), Some(100));
    queue.spend(flow(1), 60);
    assert_eq!(queue.allowance(flow(1)), Some(40));
    queue.spend(flow(1), 60);
    assert_eq!(queue.allowance(flow(1)), None);
    queue.push(flow(1), 10);
    queue.push(flow(2), 10);
    assert_eq!(step(&mut queue), Some((flow(2), 10)), "1 has had its share");
    assert_eq!(step(&mut queue), Some((flow(1), 10)));
    assert_eq!(queue.allowance(flow(2)), Some(90), "what it spent from the queue counts, too");
    queue.begin_turn(Monotonic(1));
    assert_eq!(queue.allowance(flow(1)), Some(100));
}

#[test]
fn many_who_come_and_go_do_not_keep_one_from_its_work() {
    let mut queue = FairQueue::new(QUANTUM);
    queue.push(flow(0), 1_000);
    step(&mut queue);
    let mut turns = 0;
    for time in 1..100 {
        queue.begin_turn(Monotonic(time));
        for key in 1..100 {
            queue.push(flow(key), 1);
        }
        // Never time for all of them.
        for _ in 0..50 {
            turns += u32::from(step(&mut queue).is_some_and(|(served, _)| served == flow(0)));
        }
    }
    assert!(turns > 0 && queue.flows.get(&flow(0)).is_none_or(|own| own.work[0] < 900));
}

#[test]
fn who_has_work_waiting_is_not_served_past_it() {
    let mut queue = FairQueue::new(QUANTUM);
    queue.push(flow(1), 10);
    assert_eq!(queue.allowance(flow(1)), None);
    assert_eq!(
        queue.allowance(Flow::session(1, SessionNumber(1).into())),
        Some(100),
        "another shard's session"
    );
    assert_eq!(queue.allowance(Flow::newcomer(0, 1)), Some(100));
}

#[test]
fn blocked_work_waits_for_the_next_turn_and_holds_nobody_else() {
    let mut queue = FairQueue::new(QUANTUM);
    queue.extend(flow(1), [10, 11].into_iter());
    queue.push(flow(2), 20);
    let due = queue.next().expect("work");
    assert_eq!((due.flow, due.work), (flow(1), 10));
    queue.blocked(due.flow, 3, std::iter::once(7));
    assert!(queue.has_blocked());
    assert_eq!(step(&mut queue), Some((flow(2), 20)));
    assert!(queue.next().is_none() && queue.is_idle() && !queue.is_empty());
    queue.begin_turn(Monotonic(1));
    assert_eq!(step(&mut queue), Some((flow(1), 7)));
    assert_eq!(step(&mut queue), Some((flow(1), 11)));
}

#[test]
fn parked_work_waits_for_what_unparks_it_and_counts_as_no_wait() {
    let millis = |millis: u64| Monotonic(millis * 1_000_000);
    let mut queue = FairQueue::new(QUANTUM);
    queue.extend(flow(1), [10, 11].into_iter());
    queue.push(flow(2), 20);
    let due = queue.next().expect("work");
    queue.parked(due.flow, 3, std::iter::once(7));
    assert!(queue.has_parked() && !queue.has_blocked());
    assert_eq!(step(&mut queue), Some((flow(2), 20)));
    queue.begin_turn(millis(1));
    queue.push(flow(1), 12);
    assert!(queue.next().is_none() && queue.is_idle() && !queue.is_empty());
    assert_eq!(queue.allowance(flow(1)), None, "it keeps its order");
    assert_eq!(queue.longest_wait_millis(millis(9)), 0);
    queue.unpark();
    assert!(!queue.has_parked());
    assert_eq!(queue.longest_wait_millis(millis(9)), 8);
    for expected in [7, 11, 12] {
        assert_eq!(step(&mut queue), Some((flow(1), expected)));
    }
    assert!(queue.is_empty());
}

#[test]
fn the_longest_wait_is_that_since_work_was_done_last() {
    let millis = |millis: u64| Monotonic(millis * 1_000_000);
    let mut queue = FairQueue::new(QUANTUM);
    queue.begin_turn(millis(1));
    queue.push(flow(1), 1_000);
    queue.begin_turn(millis(3));
    queue.push(flow(2), 1_000);
    assert_eq!(queue.longest_wait_millis(millis(5)), 4);
    step(&mut queue);
    step(&mut queue);
    assert_eq!(queue.longest_wait_millis(millis(5)), 2);
    queue.begin_turn(millis(9));
    let due = queue.next().expect("work");
    queue.blocked(due.flow, 0, std::iter::once(due.work));
    assert_eq!(queue.longest_wait_millis(millis(9)), 6, "nothing was done for it");
}

proptest! {
    /// Whoever waits gets as much as any other that waits, but for one round and one piece.
    #[test]
    fn flows_that_wait_all_the_time_are_served_alike(
        pieces in prop::collection::vec(1..400u32, 2..6),
        rounds in 1..150u32,
    ) {
        let mut queue = FairQueue::new(QUANTUM);
        for (key, piece) in (0..).zip(&pieces) {
            // Pieces that cannot be cut, which may cost more than is allowed.
            queue.extend(flow(key), std::iter::repeat_n(*piece, 20_000));
        }
        let mut served = BTreeMap::<u32, u64>::new();
        let units = u64::from(rounds * QUANTUM) * pieces.len() as u64;
        while served.values().sum::<u64>() < units {
            let NextWork { flow: Flow { number, .. }, work, .. } = queue.next().expect("work");
            queue.done(flow(number), work);
            *served.entry(number).or_default() += u64::from(work);
        }
        let piece_max = u64::from(*pieces.iter().max().expect("some"));
        let most = served.values().max().copied().unwrap_or_default();
        for key in 0..pieces.len() as u32 {
            let own = served.get(&key).copied().unwrap_or_default();
            prop_assert!(most - own <= u64::from(QUANTUM) * 2 + piece_max * 2, "{served:?}");
        }
    }

    /// Nothing is lost, doubled or reordered, and what is spent is what the work cost.
    #[test]
    fn all_work_is_done_once_in_the_order_of_its_flow(
        pushes in prop::collection::vec((0..5u32, 1..300u32, 0..4usize), 1..100),
    ) {
        let mut queue = FairQueue::new(QUANTUM);
        let mut expected = BTreeMap::<u32, Vec<usize>>::new();
        let mut found = BTreeMap::<u32, Vec<usize>>::new();
        let mut time = 0;
        let step = |queue: &mut FairQueue<(usize, u32)>, found: &mut BTreeMap<u32, Vec<usize>>| {
            let Some(NextWork { flow, work: (serial, cost), allowance }) = queue.next() else {
                return false;
            };
            let spent = cost.min(allowance);
            if spent < cost && serial % 3 == 0 {
                queue.blocked(flow, spent, std::iter::once((serial, cost - spent)));
            } else if spent < cost {
                queue.unfinished(flow, spent, std::iter::once((serial, cost - spent)));
            } else {
                queue.done(flow, spent);
                found.entry(flow.number).or_default().push(serial);
            }
            true
        };
        for (serial, (key, cost, steps)) in pushes.into_iter().enumerate() {
            queue.push(flow(key), (serial, cost));
            expected.entry(key).or_default().push(serial);
            for _ in 0..steps {
                step(&mut queue, &mut found);
            }
        }
        while !queue.is_empty() {
            time += 1;
            queue.begin_turn(Monotonic(time));
            while step(&mut queue, &mut found) {}
            prop_assert!(time < 10_000);
        }
        prop_assert_eq!(found, expected);
    }

    /// A newcomer waits for other newcomers' first shares and for nobody else.
    #[test]
    fn a_newcomer_waits_for_no_more_than_the_shares_of_other_newcomers(
        backlogs in prop::collection::vec(1..1_000_000u32, 1..20),
        newcomers in 0..10u32,
        cost in 1..QUANTUM,
    ) {
        let mut queue = FairQueue::new(QUANTUM);
        for (key, backlog) in (0..).zip(&backlogs) {
            queue.push(flow(key), *backlog);
        }
        for _ in 0..backlogs.len() * 3 {
            step(&mut queue);
        }
        for key in 1_000..1_000 + newcomers {
            queue.push(flow(key), 1_000_000);
        }
        queue.push(flow(9_999), cost);
        let mut before = 0;
        while let Some((served, spent)) = step(&mut queue) && served != flow(9_999) {
            before += spent;
        }
        let others = newcomers / FRESH_SHARE as u32 + 1;
        prop_assert!(before <= (newcomers + others) * QUANTUM, "{before}");
    }
}
