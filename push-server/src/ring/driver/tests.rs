use io_uring::opcode::Nop;

use super::*;

const OPTIONS: RingOptions = RingOptions { entries: 4, buffers: 2, buffer_bytes: 64 };

fn push_nops(driver: &mut Driver, first: u64, count: u64) {
    for number in first..first + count {
        // SAFETY: a no-op points to no memory.
        unsafe { driver.push(Nop::new().build().user_data(number)) };
    }
}

#[test]
fn refusals_name_the_knob() {
    for (errno, knob) in [
        (libc::ENOSYS, "CONFIG_IO_URING"),
        (libc::EPERM, "sysctl kernel.io_uring_disabled"),
        (libc::EINVAL, "older than 6.1"),
        (libc::ENOMEM, "ulimit -l"),
        (libc::EMFILE, "ulimit -n"),
    ] {
        let advice = setup_advice(&io::Error::from_raw_os_error(errno));
        assert!(advice.contains(knob), "{advice}");
    }
}

#[test]
fn more_operations_than_both_queues_hold_all_complete() {
    let mut driver = Driver::new(&OPTIONS).expect("io_uring is to be had here");
    let completions = u64::from(OPTIONS.entries * COMPLETIONS_PER_ENTRY);
    let operations = completions * 5 + 3;
    push_nops(&mut driver, 0, operations);
    assert!(driver.sq_full() > 0, "the queue was full several times");
    let mut seen = Vec::new();
    // Completions beyond the queue come a queue's length at a time, flushed by each enter.
    for _ in 0..operations {
        driver.submit_and_wait(Some(Duration::ZERO)).expect("an enter that succeeds");
        seen.extend(std::iter::from_fn(|| driver.next_entry()).map(|entry| entry.user_data()));
        if seen.len() as u64 == operations {
            break;
        }
    }
    assert_eq!(seen, (0..operations).collect::<Vec<_>>());
    assert_eq!(driver.taken(), operations);
}

#[test]
fn the_backlog_keeps_order_and_is_submitted_by_the_next_turn() {
    let mut driver = Driver::new(&OPTIONS).expect("io_uring is to be had here");
    push_nops(&mut driver, 0, 2);
    // As if the kernel had refused: the next pushes must line up behind.
    driver.pushed += 1;
    driver.backlog.push_back(Nop::new().build().user_data(2));
    push_nops(&mut driver, 3, 7);
    assert_eq!(driver.taken(), 0);
    driver.submit_and_wait(None).expect("an enter that succeeds");
    let seen: Vec<u64> =
        std::iter::from_fn(|| driver.next_entry()).map(|entry| entry.user_data()).collect();
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    assert_eq!(driver.taken(), 10);
}

#[test]
fn waiting_ends_at_the_timeout() {
    let mut driver = Driver::new(&OPTIONS).expect("io_uring is to be had here");
    driver.submit_and_wait(Some(Duration::from_millis(1))).expect("a timeout is no error");
    driver.submit_and_wait(Some(Duration::ZERO)).expect("nothing to do is no error");
    push_nops(&mut driver, 0, 1);
    driver.submit_and_wait(Some(Duration::MAX)).expect("the longest timeout is a valid one");
    assert!(driver.next_entry().is_some());
    assert!(driver.next_entry().is_none());
}
