use std::io::Read as _;

use super::*;

const LONG: Duration = Duration::from_secs(30);

fn pipe(lines_max: usize) -> (io::PipeReader, LineQueue, LinesLost) {
    let (reader, writer) = io::pipe().expect("a pipe");
    let lost = LinesLost::default();
    let queue = LineQueue::start("lines", writer, lines_max, lost.clone()).expect("a thread");
    (reader, queue, lost)
}

#[test]
fn lines_come_whole_and_in_order() {
    let (mut reader, queue, lost) = pipe(16);
    for line in ["one\n", "two\n"] {
        queue.make_writer().write_all(line.as_bytes()).expect("never fails");
    }
    queue.flush(LONG);
    drop(queue);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    assert_eq!((text.as_str(), lost.count()), ("one\ntwo\n", 0));
}

#[test]
fn lines_for_a_reader_that_has_gone_are_counted() {
    let (reader, queue, lost) = pipe(16);
    drop(reader);
    for _ in 0..3 {
        queue.push(b"lost\n".to_vec());
    }
    queue.flush(LONG);
    assert_eq!(lost.count(), 3);
    assert!(queue.is_gone());
}

#[test]
fn a_full_pipe_stalls_nobody_and_what_finds_no_room_is_counted() {
    const LINES: u64 = 100;
    let (mut reader, queue, lost) = pipe(4);
    // More than any pipe holds, so that the writer stands still with one line in its hands.
    let line = vec![b'x'; 1 << 20];
    for _ in 0..LINES {
        queue.push(line.clone());
    }
    let lost_before = lost.count();
    assert!((LINES - 6..LINES).contains(&lost_before), "{lost_before}");
    // A reader that comes back gets whole lines, and none is lost any more.
    drop(queue);
    let mut text = Vec::new();
    reader.read_to_end(&mut text).expect("text");
    assert_eq!(text.len() as u64, (LINES - lost_before) << 20);
    assert_eq!(lost.count(), lost_before);
}
