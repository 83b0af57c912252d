//! Two CPUs at work for one connection at once: pings come in on one, while the server's segments
//! leave by the other. `bpf_spin_lock` waits for the lock; so nothing is lost, and every segment is
//! shifted by the pings that were answered before it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use push_common::counter::Counter;
use push_tests::expectations::PATIENCE;
use push_tests::link::pin;

use crate::bytes::{key, read_right};
use crate::cases;
use crate::rig::{Rig, Verdict, Way};
use crate::world::World;

/// Pings that the one CPU brings in a round. The 256th would be for user space, and so is every ping once the shard's
/// heartbeat is five seconds old: in a virtual machine a CPU that holds the lock may not run for a while.
const PINGS: u32 = 50;

/// Enough for the other CPU to come in between very often.
const ROUNDS: u32 = 400;

/// Segments of the server that leave meanwhile, in all rounds.
const SEGMENTS_MIN: u64 = 1_000;

cases! {
    contention_loses_nothing_and_shifts_every_segment_right,
}

fn contention_loses_nothing_and_shifts_every_segment_right(rig: &mut Rig, ipv6: bool) {
    let (begun, mut segments, mut rounds) = (Instant::now(), 0, 0);
    // On a busy machine the CPUs may hardly have worked at once in some of them.
    while rounds < ROUNDS || segments < SEGMENTS_MIN {
        assert!(begun.elapsed() < PATIENCE, "{segments} segments in {rounds} rounds");
        segments += contend(rig, ipv6, rounds * PINGS);
        rounds += 1;
    }
    println!("{} pings and {segments} segments of the server at once", rounds * PINGS);
}

/// Does `first` on one CPU, and `again` on another one until that has ended. Returns what `first` returns, and how often
/// `again` was done.
pub(crate) fn meanwhile<T: Send>(
    first: impl FnOnce() -> T + Send,
    mut again: impl FnMut() + Send,
) -> (T, u64) {
    let over = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let first = scope.spawn(move || {
            pin(0);
            first()
        });
        let repeated = scope.spawn(move || {
            pin(1);
            let mut times = 0;
            while !over.load(Ordering::SeqCst) {
                again();
                times += 1;
            }
            times
        });
        let done = first.join();
        // Whatever has failed, the other thread ends.
        over.store(true, Ordering::SeqCst);
        let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (done, repeated.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// A round, of a connection that has had `n` pings; how many segments of the server left meanwhile.
fn contend(rig: &mut Rig, ipv6: bool, n: u32) -> u64 {
    let mut world = World::new(ipv6, n);
    assert_eq!(world.run(rig, &world.ping()).verdict, Verdict::Redirect);
    world.flow.n += 1;
    let last = n + PINGS;
    let counters = [Counter::Answered, Counter::Resent, Counter::Translated];
    let before = counters.map(|counter| rig.count(counter));

    let rig = &*rig;
    // The pings that have been answered for sure, and those that may have been.
    let (answered, begun) = (&AtomicU32::new(n + 1), &AtomicU32::new(n + 1));
    let pings = move || {
        while world.flow.n < last {
            begun.store(world.flow.n + 1, Ordering::SeqCst);
            // It acknowledges the answer before: one is pending all the time.
            let (verdict, packet) = rig.run_as_it_is(Way::Ingress, &world.ping().build(), 0);
            assert_eq!(verdict, Verdict::Redirect);
            assert_eq!(read_right(&packet).seq, world.server_nxt());
            world.flow.n += 1;
            answered.store(world.flow.n, Ordering::SeqCst);
        }
    };
    let segment = || {
        let answered_min = answered.load(Ordering::SeqCst);
        let delta = leave(rig, &world);
        let answered_max = begun.load(Ordering::SeqCst);
        let range = 2 * answered_min..=2 * answered_max;
        assert!(range.contains(&delta), "{delta} not in {range:?}");
    };
    let ((), segments) = meanwhile(pings, segment);

    let (flow, slot) = rig.state(key(ipv6));
    assert_eq!(flow.expect("the flow stays").n, last);
    assert_eq!(slot.pings, u64::from(PINGS));
    let after = counters.map(|counter| rig.count(counter));
    let [answered, resent, translated] = [0, 1, 2].map(|at| after[at] - before[at]);
    assert_eq!((answered, resent + translated), (u64::from(PINGS) - 1, segments));
    segments
}

/// A bare ACK of the server leaves; how far it was shifted.
fn leave(rig: &Rig, world: &World) -> u32 {
    let ack = world.server();
    let (verdict, packet) = rig.run_as_it_is(Way::Egress, &ack.build(), 0);
    assert_eq!(verdict, Verdict::Next);
    let left = read_right(&packet);
    let delta = left.ack.wrapping_sub(ack.ack);
    // As the pending PINGRESP it begins where that does.
    let ahead = if left.payload.is_empty() { 0 } else { 2 };
    assert_eq!(left.seq, ack.seq.wrapping_add(delta).wrapping_sub(ahead), "of one moment");
    delta
}
