use super::*;

const TOKEN: Token = Token { index: 9, generation: 4 };

fn chunks(lengths: &[usize]) -> Vec<Bytes> {
    lengths.iter().map(|len| Bytes::from(vec![7; *len])).collect()
}

fn started(lengths: &[usize]) -> (Sends, u32, u32) {
    let mut sends = Sends::default();
    let key = sends.start(3, TOKEN, chunks(lengths), 7).expect("bytes to send");
    let generation = sends.generation;
    (sends, key, generation)
}

#[test]
fn nothing_to_send_starts_nothing() {
    let mut sends = Sends::default();
    assert!(sends.start(3, TOKEN, Vec::new(), 7).is_none());
    assert!(sends.start(3, TOKEN, chunks(&[0, 0]), 7).is_none());
    assert!(sends.cancel(TOKEN).is_none());
}

#[test]
fn one_chunk_is_sent_without_a_vector() {
    let (mut sends, key, _) = started(&[5]);
    let entry = sends.operation(key, 1).expect("bytes left");
    assert_eq!(entry.get_opcode(), u32::from(opcode::Send::CODE));
    let (mut sends, key, _) = started(&[5, 6]);
    let entry = sends.operation(key, 1).expect("bytes left");
    assert_eq!(entry.get_opcode(), u32::from(opcode::SendMsg::CODE));
}

#[test]
fn short_sends_continue_where_the_kernel_stopped() {
    let (mut sends, key, generation) = started(&[5, 6, 7]);
    for (accepted, left) in [(4, vec![1, 6, 7]), (7, vec![7]), (6, vec![1])] {
        let progress = sends.complete(key, generation, accepted);
        assert!(matches!(progress, SendProgress::Short { key: k } if k == key));
        let send = &sends.sends[key as usize];
        let lengths: Vec<usize> = send.chunks[send.next..].iter().map(Bytes::len).collect();
        assert_eq!(lengths, left);
        assert!(sends.operation(key, 1).is_some());
    }
    let SendProgress::Done { token, weight, result } = sends.complete(key, generation, 1) else {
        panic!("not done after the last byte");
    };
    assert_eq!((token, weight, result.expect("all accepted")), (TOKEN, 7, 18));
    assert!(matches!(sends.complete(key, generation, 1), SendProgress::Stale));
}

#[test]
fn vectors_are_bounded() {
    let (mut sends, key, generation) = started(&vec![1; IOVECS_MAX + 3]);
    sends.operation(key, 1).expect("bytes left");
    let message = sends.sends[key as usize].message.as_ref().expect("a vector");
    assert_eq!(message.header.msg_iovlen, IOVECS_MAX);
    let all = i32::try_from(IOVECS_MAX).expect("a small number");
    assert!(matches!(sends.complete(key, generation, all), SendProgress::Short { .. }));
    sends.operation(key, 2).expect("bytes left");
    let message = sends.sends[key as usize].message.as_ref().expect("a vector");
    assert_eq!(message.header.msg_iovlen, 3);
}

#[test]
fn a_cancelled_send_is_not_continued() {
    let (mut sends, key, generation) = started(&[5, 6]);
    assert!(sends.cancel(TOKEN).is_some());
    let SendProgress::Done { result, .. } = sends.complete(key, generation, 4) else {
        panic!("continued");
    };
    assert_eq!(result.expect_err("half sent").raw_os_error(), Some(libc::ECANCELED));
}

#[test]
fn an_interrupted_send_gives_back_what_the_kernel_has_not_taken() {
    for (result, accepted, left) in
        [(4, 4, vec![1, 6]), (7, 7, vec![4]), (-libc::ECANCELED, 0, vec![5, 6])]
    {
        let (mut sends, key, generation) = started(&[5, 6]);
        assert!(sends.interrupt(TOKEN).is_some());
        let SendProgress::Interrupted { token, weight, accepted: taken, unsent } =
            sends.complete(key, generation, result)
        else {
            panic!("no interruption");
        };
        assert_eq!((token, weight, taken), (TOKEN, 7, accepted));
        assert_eq!(unsent.iter().map(Bytes::len).collect::<Vec<_>>(), left);
    }
}

#[test]
fn an_interrupted_send_that_was_whole_or_failed_says_so() {
    let (mut sends, key, generation) = started(&[5]);
    assert!(sends.interrupt(TOKEN).is_some());
    let progress = sends.complete(key, generation, 5);
    assert!(matches!(progress, SendProgress::Done { result: Ok(5), .. }));
    let (mut sends, key, generation) = started(&[5]);
    assert!(sends.interrupt(TOKEN).is_some());
    let progress = sends.complete(key, generation, -libc::EPIPE);
    assert!(matches!(progress, SendProgress::Done { result: Err(_), .. }));
}

#[test]
fn a_cancelled_send_that_was_whole_is_a_success() {
    let (mut sends, key, generation) = started(&[5]);
    assert!(sends.cancel(TOKEN).is_some());
    let progress = sends.complete(key, generation, 5);
    assert!(matches!(progress, SendProgress::Done { result: Ok(5), .. }));
}

#[test]
fn a_stale_generation_does_not_touch_the_slabs_next_user() {
    let (mut sends, key, old) = started(&[5]);
    assert!(matches!(sends.complete(key, old, 5), SendProgress::Done { .. }));
    let again = sends.start(3, TOKEN, chunks(&[8]), 7).expect("bytes to send");
    assert_eq!(again, key, "the slab entry is used again");
    assert!(matches!(sends.complete(key, old, 8), SendProgress::Stale));
    assert!(matches!(sends.complete(key, sends.generation, 8), SendProgress::Done { .. }));
}

#[test]
fn only_operations_that_the_kernel_took_count_as_in_it() {
    let (mut sends, key, _) = started(&[5]);
    sends.operation(key, 3);
    assert_eq!(sends.in_kernel(2), 0);
    assert_eq!(sends.in_kernel(3), 1);
}
