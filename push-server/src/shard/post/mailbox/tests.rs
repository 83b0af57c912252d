//! Tests of `mailbox`.

use super::*;

#[test]
fn only_the_first_push_of_a_batch_wakes() {
    let mailbox = Mailbox::new();
    assert!(mailbox.push(1).expect("room"));
    assert!(!mailbox.push(2).expect("room"));
    mailbox.begin_drain();
    assert!(mailbox.push(3).expect("room"), "a push after the drain began wakes again");
    assert_eq!(std::iter::from_fn(|| mailbox.pop()).count(), 3);
}

#[test]
fn full_mailbox_gives_the_mail_back() {
    let mailbox = Mailbox::new();
    for mail in 0..MAILBOX_MESSAGES_MAX {
        mailbox.push(mail).expect("room");
    }
    assert_eq!(mailbox.push(7), Err(7));
}
