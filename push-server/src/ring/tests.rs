//! Real rings and real sockets on loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use socket2::{SockRef, Socket};

use super::*;

const OPTIONS: RingOptions = RingOptions { entries: 16, buffers: 8, buffer_bytes: 512 };

/// Bounds every wait of a test, so that a lost completion fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(10);

const TOKEN: Token = Token { index: 5, generation: 77 };

fn ring() -> Ring {
    Ring::new(OPTIONS).expect("io_uring is to be had here")
}

/// The next completion, by as many turns as it takes.
fn next(ring: &mut Ring) -> Completion {
    let start = Instant::now();
    loop {
        if let Some(completion) = ring.next_completion() {
            return completion;
        }
        assert!(start.elapsed() < PATIENCE, "no completion came");
        ring.submit_and_wait(Some(PATIENCE)).expect("a turn");
    }
}

/// Turns until nothing comes any more for a while; nothing may come.
fn assert_silent(ring: &mut Ring) {
    for _ in 0..5 {
        ring.submit_and_wait(Some(Duration::from_millis(10))).expect("a turn");
        if let Some(completion) = ring.next_completion() {
            panic!("unexpected {completion:?}");
        }
    }
}

fn listening(ip: std::net::IpAddr) -> (OwnedFd, SocketAddr) {
    let listener = listen(SocketAddr::new(ip, 0), true, 16, None).expect("loopback listens");
    let socket = Socket::from(listener);
    let address = socket.local_addr().expect("bound").as_socket().expect("internet");
    (socket.into(), address)
}

/// Two ends of a connection: the ring's, and the test's (blocking).
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback listens");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    client.set_read_timeout(Some(PATIENCE)).expect("an option");
    (listener.accept().expect("accepts").0, client)
}

/// Closes with RST.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(stream);
}

/// The piece's bytes, its buffer given back.
fn take(ring: &mut Ring, piece: Piece) -> Vec<u8> {
    let bytes = ring.bytes(&piece).to_vec();
    ring.recycle(piece);
    bytes
}

/// The next completion, which must be a receive's.
fn next_received(ring: &mut Ring) -> (Received, bool) {
    match next(ring) {
        Completion::Received { token, received, more } => {
            assert_eq!(token, TOKEN);
            (received, more)
        }
        other => panic!("not a receive: {other:?}"),
    }
}

fn next_data(ring: &mut Ring) -> (Vec<u8>, bool) {
    match next_received(ring) {
        (Received::Data(piece), more) => (take(ring, piece), more),
        (other, _) => panic!("not data: {other:?}"),
    }
}

fn next_sent(ring: &mut Ring) -> io::Result<usize> {
    match next(ring) {
        Completion::Sent { token, result, .. } => {
            assert_eq!(token, TOKEN);
            result
        }
        other => panic!("not a send: {other:?}"),
    }
}

#[test]
fn one_accept_takes_many_connections_on_v4_and_v6() {
    for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        let mut ring = ring();
        let (listener, address) = listening(ip);
        ring.accept(listener.as_raw_fd(), TOKEN);
        for _ in 0..2 {
            let client = TcpStream::connect(address).expect("connects");
            let Completion::Accepted { token, result, more } = next(&mut ring) else {
                panic!("not an accept");
            };
            assert_eq!(token, TOKEN);
            assert!(more, "one operation for all");
            let accepted = Socket::from(result.expect("a connection"));
            let peer = accepted.peer_addr().expect("connected").as_socket();
            assert_eq!(peer, client.local_addr().ok());
            assert!(accepted.tcp_nodelay().expect("an option"), "inherited from the listener");
            let flags = rustix::io::fcntl_getfd(&accepted).expect("flags");
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
        ring.cancel_accept(TOKEN);
        let Completion::Accepted { result, more, .. } = next(&mut ring) else {
            panic!("not an accept");
        };
        assert_eq!(result.expect_err("cancelled").raw_os_error(), Some(libc::ECANCELED));
        assert!(!more);
        assert_silent(&mut ring);
        assert_eq!(ring.counters(), RingCounters::default());
    }
}

#[test]
fn multishot_receive_and_send_echo_until_the_end() {
    let mut ring = ring();
    let (server, mut client) = pair();
    ring.receive(server.as_raw_fd(), TOKEN);
    for message in [b"first".as_slice(), b"second"] {
        client.write_all(message).expect("writes");
        let (bytes, more) = next_data(&mut ring);
        assert_eq!(bytes, message);
        assert!(more, "one operation for all");
        ring.send(server.as_raw_fd(), TOKEN, vec![Bytes::from(bytes)], 7);
        assert_eq!(next_sent(&mut ring).expect("sent"), message.len());
        let mut echo = vec![0; message.len()];
        client.read_exact(&mut echo).expect("reads");
        assert_eq!(echo, message);
    }
    client.shutdown(std::net::Shutdown::Write).expect("shuts down");
    assert!(matches!(next_received(&mut ring), (Received::End, false)));
    assert_eq!(ring.receive_buffers_free(), OPTIONS.buffers);
}

#[test]
fn receive_once_ends_after_one_piece_and_keeps_the_buffer_size() {
    let mut ring = ring();
    let (server, mut client) = pair();
    let size = OPTIONS.buffer_bytes as usize;
    client.write_all(&vec![3; size + 1]).expect("writes");
    ring.receive_once(server.as_raw_fd(), TOKEN);
    let (bytes, more) = next_data(&mut ring);
    assert_eq!((bytes.len(), more), (size, false));
    assert_silent(&mut ring);
    ring.receive_once(server.as_raw_fd(), TOKEN);
    assert_eq!(next_data(&mut ring), (vec![3], false));
}

#[test]
fn exhausted_buffers_end_the_receive_and_it_goes_on_when_armed_again() {
    let mut ring = ring();
    let (server, mut client) = pair();
    let size = OPTIONS.buffer_bytes as usize;
    let count = usize::from(OPTIONS.buffers);
    let sent: Vec<u8> = (0..size * (count + 2)).map(|n| (n % 251) as u8).collect();
    client.write_all(&sent).expect("the socket buffer holds it");
    ring.receive(server.as_raw_fd(), TOKEN);
    let mut held = Vec::new();
    let more = loop {
        match next_received(&mut ring) {
            (Received::Data(piece), _) => held.push(piece),
            (Received::NoBuffers, more) => break more,
            (other, _) => panic!("unexpected {other:?}"),
        }
    };
    assert!(!more);
    assert_eq!(held.len(), count);
    assert_eq!(ring.receive_buffers_free(), 0);
    let mut got: Vec<u8> = Vec::new();
    for piece in held {
        got.extend(take(&mut ring, piece));
    }
    ring.receive(server.as_raw_fd(), TOKEN);
    while got.len() < sent.len() {
        got.extend(next_data(&mut ring).0);
    }
    assert_eq!(got, sent);
    assert_eq!(ring.receive_buffers_free(), OPTIONS.buffers);
}

#[test]
fn buffers_wrap_around_their_ring_many_times() {
    let mut ring = ring();
    let (server, mut client) = pair();
    ring.receive(server.as_raw_fd(), TOKEN);
    // Eight buffers: the mask wraps 25 times.
    for round in 0..200_u8 {
        client.write_all(&[round; 3]).expect("writes");
        assert_eq!(next_data(&mut ring), (vec![round; 3], true));
    }
}

#[test]
fn a_cancelled_receive_says_so_and_leaves_the_bytes_in_the_socket() {
    let mut ring = ring();
    let (server, mut client) = pair();
    for once in [false, true] {
        if once {
            ring.receive_once(server.as_raw_fd(), TOKEN);
        } else {
            ring.receive(server.as_raw_fd(), TOKEN);
        }
        assert_silent(&mut ring);
        ring.cancel_receive(TOKEN);
        assert!(matches!(next_received(&mut ring), (Received::Cancelled, false)));
        assert_silent(&mut ring);
    }
    client.write_all(b"later").expect("writes");
    assert_silent(&mut ring);
    ring.receive(server.as_raw_fd(), TOKEN);
    assert_eq!(next_data(&mut ring).0, b"later");
}

#[test]
fn cancelling_what_is_not_there_is_silent() {
    let mut ring = ring();
    ring.cancel_receive(TOKEN);
    ring.cancel_accept(TOKEN);
    ring.cancel_send(TOKEN);
    assert_silent(&mut ring);
    assert_eq!(ring.counters(), RingCounters::default());
}

#[test]
fn a_cancel_in_the_same_turn_finds_its_receive() {
    let mut ring = ring();
    let (server, _client) = pair();
    ring.receive(server.as_raw_fd(), TOKEN);
    ring.cancel_receive(TOKEN);
    assert!(matches!(next_received(&mut ring), (Received::Cancelled, false)));
}

/// Chunks of odd sizes, `bytes` in all, every byte by its position.
fn chunked(bytes: usize) -> (Vec<u8>, Vec<Bytes>) {
    let all: Vec<u8> = (0..bytes).map(|n| (n * 31 % 253) as u8).collect();
    let mut rest = Bytes::from(all.clone());
    let mut chunks = Vec::new();
    let mut size = 1;
    while !rest.is_empty() {
        chunks.push(rest.split_to(size.min(rest.len())));
        size = size * 3 % 70_001 + 1;
    }
    (all, chunks)
}

#[test]
fn four_megabytes_to_a_slow_reader_complete_once_and_in_order() {
    const BYTES: usize = 4 << 20;
    let mut ring = ring();
    let (server, mut client) = pair();
    let (all, mut chunks) = chunked(BYTES);
    assert!(chunks.len() < send::IOVECS_MAX);
    chunks.insert(1, Bytes::new());
    ring.send(server.as_raw_fd(), TOKEN, chunks, 7);
    assert_silent(&mut ring);
    let reader = thread::spawn(move || {
        let mut got = Vec::new();
        let mut piece = vec![0; 30_000];
        while got.len() < BYTES {
            match client.read(&mut piece).expect("reads") {
                0 => break,
                len => got.extend_from_slice(&piece[..len]),
            }
            thread::sleep(Duration::from_micros(200));
        }
        got
    });
    assert_eq!(next_sent(&mut ring).expect("sent"), BYTES);
    assert!(reader.join().expect("no panic") == all, "the bytes arrive intact");
    assert_silent(&mut ring);
    assert_eq!(ring.counters(), RingCounters::default());
}

#[test]
fn more_chunks_than_one_vector_holds_are_sent_in_order() {
    let mut ring = ring();
    let (server, mut client) = pair();
    let all: Vec<u8> = (0..send::IOVECS_MAX * 2 + 5).map(|n| (n % 251) as u8).collect();
    let chunks = all.iter().map(|byte| Bytes::copy_from_slice(&[*byte])).collect();
    ring.send(server.as_raw_fd(), TOKEN, chunks, 7);
    assert_eq!(next_sent(&mut ring).expect("sent"), all.len());
    let mut got = vec![0; all.len()];
    client.read_exact(&mut got).expect("reads");
    assert_eq!(got, all);
}

#[test]
fn a_send_of_nothing_is_done_without_waiting() {
    let mut ring = ring();
    let (server, _client) = pair();
    ring.send(server.as_raw_fd(), TOKEN, vec![Bytes::new()], 7);
    ring.submit_and_wait(None).expect("a turn that does not hang");
    assert_eq!(next_sent(&mut ring).expect("nothing to fail"), 0);
}

#[test]
fn what_is_submitted_early_leaves_before_the_next_wait() {
    let mut ring = ring();
    let (server, mut client) = pair();
    ring.send(server.as_raw_fd(), TOKEN, vec![Bytes::from_static(b"early")], 0);
    ring.submit();
    let mut bytes = [0; 5];
    client.read_exact(&mut bytes).expect("it is there");
    assert_eq!(&bytes, b"early");
    assert_eq!(next_sent(&mut ring).expect("it was sent"), 5);
}

#[test]
fn a_cancelled_send_ends_once_and_frees_its_token() {
    let mut ring = ring();
    let (server, client) = pair();
    let (_, chunks) = chunked(16 << 20);
    ring.send(server.as_raw_fd(), TOKEN, chunks, 7);
    assert_silent(&mut ring);
    ring.cancel_send(TOKEN);
    let error = next_sent(&mut ring).expect_err("the reader never read");
    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
    assert_silent(&mut ring);
    drop(client);
    ring.send(server.as_raw_fd(), TOKEN, vec![Bytes::from_static(b"again")], 7);
    next_sent(&mut ring).expect_err("the peer has gone");
    assert_eq!(ring.counters(), RingCounters::default());
}

#[test]
fn an_interrupted_send_gives_back_what_the_socket_has_not_taken() {
    let mut ring = ring();
    let (server, mut client) = pair();
    let (all, chunks) = chunked(16 << 20);
    ring.send(server.as_raw_fd(), TOKEN, chunks, 7);
    assert_silent(&mut ring);
    ring.interrupt_send(TOKEN);
    let Completion::Interrupted { token, weight: 7, accepted, unsent } = next(&mut ring) else {
        panic!("not interrupted")
    };
    assert_eq!(token, TOKEN);
    let left: usize = unsent.iter().map(Bytes::len).sum();
    assert!(accepted > 0 && left > 0, "{accepted} and {left}");
    assert_eq!(accepted + left, all.len());
    // Sent on, under another token, they arrive behind the others.
    let reader = std::thread::spawn(move || {
        let mut received = vec![0; 16 << 20];
        client.read_exact(&mut received).map(|()| received)
    });
    let again = Token { index: TOKEN.index + 1, ..TOKEN };
    ring.send(server.as_raw_fd(), again, unsent, 7);
    let sent = loop {
        ring.submit_and_wait(Some(Duration::from_secs(1))).expect("a turn");
        if let Some(completion) = ring.next_completion() {
            break completion;
        }
    };
    assert!(
        matches!(sent, Completion::Sent { token, result: Ok(n), .. } if (token, n) == (again, left))
    );
    assert!(reader.join().expect("no panic").expect("reads") == all, "the same bytes in order");
}

#[test]
fn a_peers_reset_fails_receive_and_send() {
    let mut ring = ring();
    let (server, client) = pair();
    let (_, chunks) = chunked(16 << 20);
    ring.receive(server.as_raw_fd(), TOKEN);
    ring.send(server.as_raw_fd(), TOKEN, chunks, 7);
    assert_silent(&mut ring);
    reset(client);
    let (mut received, mut sent) = (None, None);
    while received.is_none() || sent.is_none() {
        match next(&mut ring) {
            Completion::Received { received: Received::Failed(error), more, .. } => {
                assert!(!more);
                received = error.raw_os_error();
            }
            // The socket's error is told once: the receive may only see the end after the send.
            Completion::Received { received: Received::End, more: false, .. } => {
                received = Some(libc::ECONNRESET);
            }
            Completion::Sent { result, .. } => {
                sent = result.expect_err("the peer has gone").raw_os_error();
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(received, Some(libc::ECONNRESET));
    assert!(matches!(sent, Some(libc::ECONNRESET | libc::EPIPE)), "{sent:?}");
    assert_silent(&mut ring);
}

#[test]
fn a_reset_alone_fails_the_receive() {
    let mut ring = ring();
    let (server, client) = pair();
    ring.receive(server.as_raw_fd(), TOKEN);
    assert_silent(&mut ring);
    reset(client);
    let (received, more) = next_received(&mut ring);
    assert!(!more);
    let Received::Failed(error) = received else { panic!("not failed: {received:?}") };
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
}

#[test]
fn a_descriptor_that_is_none_fails_and_does_not_panic() {
    let mut ring = ring();
    ring.receive(-1, TOKEN);
    assert!(matches!(next_received(&mut ring), (Received::Failed(_), false)));
    ring.send(-1, TOKEN, vec![Bytes::from_static(b"x")], 7);
    assert_eq!(next_sent(&mut ring).expect_err("no socket").raw_os_error(), Some(libc::EBADF));
    ring.accept(-1, TOKEN);
    assert!(matches!(next(&mut ring), Completion::Accepted { result: Err(_), more: false, .. }));
    ring.watch(-1, TOKEN);
    assert!(matches!(next(&mut ring), Completion::Readable { more: false, .. }));
    assert_silent(&mut ring);
    assert_eq!(ring.counters().watch_failed, 1);
}

#[test]
fn a_ring_wakes_another_that_waits_in_another_thread() {
    let (handles, handle) = mpsc::channel();
    let sleeper = thread::spawn(move || {
        let mut ring = ring();
        handles.send(ring.handle()).expect("the test waits");
        let woken = matches!(next(&mut ring), Completion::Woken);
        (woken, ring.counters())
    });
    let mut waker = ring();
    waker.wake(handle.recv().expect("a handle"));
    assert_silent(&mut waker);
    let (woken, counters) = sleeper.join().expect("no panic");
    assert!(woken);
    assert_eq!(counters, RingCounters::default());
    assert_eq!(waker.counters(), RingCounters::default());
}

#[test]
fn a_ring_may_wake_itself() {
    let mut ring = ring();
    ring.wake(ring.handle());
    assert!(matches!(next(&mut ring), Completion::Woken));
}

#[test]
fn waking_what_is_no_ring_is_counted() {
    let mut ring = ring();
    let (server, _client) = pair();
    ring.wake(RingHandle(-1));
    ring.wake(RingHandle(server.as_raw_fd()));
    assert_silent(&mut ring);
    assert_eq!(ring.counters().wake_failed, 2);
}

#[test]
fn a_watched_descriptor_reports_each_edge() {
    let mut ring = ring();
    let (server, mut client) = pair();
    let mut reader = server.try_clone().expect("a descriptor to spare");
    ring.watch(server.as_raw_fd(), TOKEN);
    for _ in 0..2 {
        client.write_all(b"!").expect("writes");
        let Completion::Readable { token, more } = next(&mut ring) else {
            panic!("not a watch");
        };
        assert_eq!((token, more), (TOKEN, true));
        reader.read_exact(&mut [0]).expect("reads");
    }
}

#[test]
fn a_full_submission_queue_loses_nothing() {
    let mut ring = ring();
    let (server, mut client) = pair();
    let operations = OPTIONS.entries * 5;
    for index in 0..operations {
        let token = Token { index, generation: 1 };
        ring.send(server.as_raw_fd(), token, vec![Bytes::from(index.to_be_bytes().to_vec())], 7);
    }
    assert!(ring.counters().sq_full > 0);
    for expected in 0..operations {
        let Completion::Sent { token, weight: 7, result } = next(&mut ring) else {
            panic!("not a send")
        };
        assert_eq!(token, Token { index: expected, generation: 1 });
        assert_eq!(result.expect("sent"), 4);
    }
    let mut word = [0; 4];
    for expected in 0..operations {
        client.read_exact(&mut word).expect("reads");
        assert_eq!(u32::from_be_bytes(word), expected);
    }
    assert_eq!(ring.counters().stale, 0);
}

#[test]
fn completions_beyond_the_queue_lose_no_byte() {
    // 4 entries have 16 completions; 64 pieces are on their way before any is taken.
    let options = RingOptions { entries: 4, buffers: 64, buffer_bytes: 16 };
    let mut ring = Ring::new(options).expect("io_uring is to be had here");
    let (server, mut client) = pair();
    let sent: Vec<u8> = (0..1024_u32).map(|n| (n % 251) as u8).collect();
    client.write_all(&sent).expect("the socket buffer holds it");
    let (second, mut other) = pair();
    other.write_all(b"meanwhile").expect("writes");
    ring.receive(server.as_raw_fd(), TOKEN);
    let second_token = Token { index: 6, generation: 1 };
    for _ in 0..10 {
        ring.submit_and_wait(Some(Duration::ZERO)).expect("a turn");
    }
    ring.receive(second.as_raw_fd(), second_token);
    let (mut got, mut meanwhile) = (Vec::new(), Vec::new());
    while got.len() < sent.len() || meanwhile.len() < 9 {
        let Completion::Received { token, received, more } = next(&mut ring) else {
            panic!("not a receive");
        };
        let into = if token == TOKEN { &mut got } else { &mut meanwhile };
        match received {
            Received::Data(piece) => into.extend(take(&mut ring, piece)),
            Received::NoBuffers => assert!(!more),
            other => panic!("unexpected {other:?}"),
        }
        if !more {
            let socket = if token == TOKEN { &server } else { &second };
            ring.receive(socket.as_raw_fd(), token);
        }
    }
    assert_eq!(got, sent);
    assert_eq!(meanwhile, b"meanwhile");
    assert_eq!(ring.receive_buffers_free(), options.buffers);
}

#[test]
fn foreign_user_data_is_dropped_and_counted() {
    let mut ring = ring();
    for user_data in [0, u64::MAX, encode(Kind::Send, TOKEN)] {
        ring.push_plain(opcode::Nop::new().build().user_data(user_data));
    }
    assert_silent(&mut ring);
    assert_eq!(ring.counters().stale, 3);
}

#[test]
fn dropping_a_ring_ends_its_operations_and_frees_its_bytes() {
    let (server, client) = pair();
    let (listener, address) = listening(Ipv4Addr::LOCALHOST.into());
    let bytes = Bytes::from(vec![1; 16 << 20]);
    let mut ring = ring();
    let socket = server.as_raw_fd();
    ring.receive(socket, TOKEN);
    ring.watch(socket, TOKEN);
    ring.send(socket, TOKEN, vec![bytes.slice(..5), bytes.slice(5..)], 7);
    ring.accept(listener.as_raw_fd(), TOKEN);
    assert_silent(&mut ring);
    // A connection accepted but not taken, and a send queued but not submitted.
    let mut waiting = TcpStream::connect(address).expect("connects");
    waiting.set_read_timeout(Some(PATIENCE)).expect("an option");
    ring.submit_and_wait(Some(PATIENCE)).expect("a turn");
    ring.send(socket, Token { index: 6, ..TOKEN }, vec![bytes.clone()], 7);
    drop(ring);
    assert!(bytes.is_unique(), "no send holds the bytes, none was leaked");
    assert_eq!(waiting.read(&mut [0]).expect("an orderly end"), 0, "it was accepted and closed");
    drop((server, client));
}

#[test]
fn a_fresh_ring_can_be_dropped_and_made_again() {
    for _ in 0..50 {
        drop(ring());
    }
}
