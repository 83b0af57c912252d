//! Ten thousand clients, a reload under traffic, and exactly those gone that should be.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use push_tests::clients::Client;
use push_tests::expectations::wait_for;
use push_tests::server::{PingPath, raise_descriptor_limit};
use push_tests::skip::TestResult;
use push_tests::users::line;

use crate::rig::{Files, NOT_AUTHORIZED, as_user, finish, gone, reload_well};

const CLIENTS: usize = 10_000;
const USERS: usize = 40;
/// Of the users by their numbers: some are gone after the reload, some have another password, and some may not have
/// their subscription any more.
const GONE: usize = 5;
const CHANGED: usize = 10;
const DENIED: usize = 15;
/// As long as this nothing comes: all has come.
const QUIET: Duration = Duration::from_secs(2);
const ALL: Duration = Duration::from_secs(60);

/// One of the crowd: subscribes to `news`, and acknowledges.
struct Member {
    stream: TcpStream,
    input: Vec<u8>,
    /// The numbers of the messages that it has got.
    got: Vec<u32>,
    ended: Option<u8>,
    is_closed: bool,
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

impl Member {
    fn connect(address: SocketAddr, number: usize) -> Self {
        let mut stream = TcpStream::connect(address).expect("connect");
        let user = format!("user-{:02}", number % USERS);
        let head = [string("MQTT"), vec![5, 0b1100_0010, 0, 0, 0]].concat();
        let connect =
            [head, string(&format!("member-{number}")), string(&user), string("pencil")].concat();
        let subscribe = [vec![0, 1, 0], string("news"), vec![1]].concat();
        for (first, body) in [(0x10, connect), (0x82, subscribe)] {
            let packet = [vec![first, body.len() as u8], body].concat();
            stream.write_all(&packet).expect("send");
        }
        Self { stream, input: Vec::new(), got: Vec::new(), ended: None, is_closed: false }
    }

    /// Reads CONNACK and SUBACK.
    fn settle(&mut self) {
        self.stream.set_read_timeout(Some(ALL)).expect("a timeout");
        let mut is_subscribed = false;
        while !is_subscribed {
            let mut chunk = [0; 512];
            let read = self.stream.read(&mut chunk).expect("an answer");
            assert_ne!(read, 0, "refused");
            self.input.extend_from_slice(&chunk[..read]);
            while let Some((first, body)) = self.next_packet() {
                match first >> 4 {
                    2 => assert_eq!(body[1], 0, "CONNACK"),
                    9 => is_subscribed = true,
                    other => panic!("packet {other}"),
                }
            }
        }
        self.stream.set_nonblocking(true).expect("not blocking");
    }

    /// Lengths here take a byte, or two.
    fn next_packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let (&first, &low) = (self.input.first()?, self.input.get(1)?);
        let (head, len) = match low < 128 {
            true => (2, usize::from(low)),
            false => (3, usize::from(low & 127) | usize::from(*self.input.get(2)?) << 7),
        };
        if self.input.len() < head + len {
            return None;
        }
        let packet: Vec<u8> = self.input.drain(..head + len).collect();
        Some((first, packet[head..].to_vec()))
    }

    /// Takes what has come. Returns whether anything has.
    fn take(&mut self) -> bool {
        if self.is_closed {
            return false;
        }
        let mut chunk = [0; 4_096];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.is_closed = true,
            Ok(read) => self.input.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => panic!("{error}"),
        }
        while let Some((first, body)) = self.next_packet() {
            match first >> 4 {
                // A topic of four bytes, a packet id, no properties, a number.
                3 => {
                    let number = body[9..13].try_into().expect("four bytes");
                    self.got.push(u32::from_be_bytes(number));
                    let acknowledgement = [0x40, 2, body[6], body[7]];
                    // It may be gone by now.
                    let _ = self.stream.write_all(&acknowledgement);
                }
                14 => self.ended = Some(body.first().copied().unwrap_or(0)),
                other => panic!("packet {other}"),
            }
        }
        true
    }
}

/// What becomes of a member.
fn stays(number: usize) -> bool {
    number % USERS >= DENIED
}

pub(crate) fn of_ten_thousand_exactly_those_go_that_should_and_nobody_else_misses_a_message()
-> TestResult {
    let files = Files::new()?;
    raise_descriptor_limit();
    let lines = |password: &dyn Fn(usize) -> Option<&'static str>| -> String {
        let users = (0..USERS).filter_map(|user| Some((user, password(user)?)));
        let lines = users.map(|(user, password)| line(&format!("user-{user:02}"), password));
        lines.chain([line("ada", "pencil")]).collect()
    };
    files.write("users", &lines(&|_| Some("pencil")));
    let server = files.server(PingPath::User).start()?;
    let address = server.target().address;
    let mut members = Vec::with_capacity(CLIENTS);
    for from in (0..CLIENTS).step_by(250) {
        members.extend((from..from + 250).map(|number| Member::connect(address, number)));
        members[from..].iter_mut().for_each(Member::settle);
    }
    let mut writer = Client::connect(server.target(), &as_user("writer", "ada", "pencil"));
    let mut sent = 0_u32;
    let mut publish = |members: &mut Vec<Member>| {
        writer.publish("news", &sent.to_be_bytes(), 1);
        sent += 1;
        members.iter_mut().map(Member::take).filter(|has_come| *has_come).count()
    };
    for _ in 0..3 {
        publish(&mut members);
    }
    let changed = |user| match user {
        0..GONE => None,
        GONE..CHANGED => Some("crayon"),
        _ => Some("pencil"),
    };
    files.write("users", &lines(&changed));
    let denied: Vec<_> = (CHANGED..DENIED).map(|user| format!("\"user-{user:02}\"")).collect();
    files.write(
        "rules.toml",
        &format!(
            "[[allow]]\npublish = [\"#\"]\nsubscribe = [\"#\"]\n[[deny]]\nusers = [{}]\nsubscribe = [\"news\"]\n",
            denied.join(", ")
        ),
    );
    reload_well(&server)?;
    let leaving = (0..CLIENTS).filter(|number| !stays(*number)).count();
    let begun = Instant::now();
    let closed = |members: &[Member]| members.iter().filter(|member| member.is_closed).count();
    while closed(&members) < leaving {
        assert!(begun.elapsed() < ALL, "{} of {leaving} are gone", closed(&members));
        publish(&mut members);
    }
    for _ in 0..3 {
        publish(&mut members);
    }
    let mut last = Instant::now();
    while last.elapsed() < QUIET {
        if members.iter_mut().map(Member::take).filter(|has_come| *has_come).count() > 0 {
            last = Instant::now();
        }
    }
    for (number, member) in members.iter().enumerate() {
        let before: Vec<u32> = (0..sent).collect();
        match stays(number) {
            true => {
                assert!(!member.is_closed && member.ended.is_none(), "{number} is gone");
                assert_eq!(member.got, before, "{number} has missed something");
            }
            false => {
                assert!(member.is_closed, "{number} is here still");
                assert_eq!(member.ended, Some(NOT_AUTHORIZED), "{number}");
                // In their order, up to some point.
                assert_eq!(member.got, before[..member.got.len()], "{number}");
                assert!(member.got.len() >= 3, "{number} was there before the reload");
            }
        }
    }
    let each = (CLIENTS / USERS) as u64;
    wait_for("the server to count them", || {
        (server.metrics().value("push_connections") == (CLIENTS - leaving) as u64 + 1).then_some(())
    });
    assert_eq!(gone(&server, "user"), GONE as u64 * each);
    assert_eq!(gone(&server, "password"), (CHANGED - GONE) as u64 * each);
    assert_eq!(gone(&server, "subscription"), (DENIED - CHANGED) as u64 * each);
    let waited = server.metrics().value("push_limits_hit_total{limit=\"reload_disconnects\"}");
    assert!(waited > 0, "not all at once");
    finish(&server);
    Ok(())
}
