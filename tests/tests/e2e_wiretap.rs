//! Somebody who hears a connection and sends in the client's name, or the client itself, lying: what
//! TCP refuses, the kernel path must not take, and nobody else may notice.

use std::time::Duration;

use etherparse::TcpOptionElement::{self, Noop, SelectiveAcknowledgement, Timestamp};
use etherparse::{
    Ethernet2Header, Ipv4Header, NetHeaders, PacketHeaders, TcpHeader, TransportHeader,
};
use push_tests::both_paths;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::link::{Faults, Link, Way};
use push_tests::server::{PingPath, Place, Server};
use push_tests::skip::TestResult;
use push_tests::wire::{self, PINGREQ, Packet, Version};

/// Longer than a client's kernel puts off an acknowledgement.
const CALM: Duration = Duration::from_millis(100);

both_paths! {
    a_ping_of_old_is_not_answered_though_its_numbers_are_right,
    segments_within_the_window_that_tcp_refuses_change_neither_stream,
    lies_in_acknowledgements_and_sack_blocks_reach_no_other_stream,
    a_datagram_that_began_before_connect_was_read_harms_no_stream,
}

fn a_ping_of_old_is_not_answered_though_its_numbers_are_right(path: PingPath) -> TestResult {
    /// Timestamps count milliseconds.
    const AN_HOUR: u32 = 3_600_000;
    let (link, server) = start(path)?;
    let mut client = connect(&server, "client");
    talk(&mut client);
    let ear = Ear::of(&client, &link);
    let before = pings(&server);
    let refused = refused_for_age(&server, path);
    for age in [1_000, AN_HOUR, 0x7000_0000] {
        ear.send(ear.last_of_client().bearing(&PINGREQ).aged(age));
    }
    wait_for("three refusals", || (refused_for_age(&server, path) == refused + 3).then_some(()));
    talk(&mut client);
    assert_eq!(pings(&server), before + 2, "the talk's own");
    // It was their age: the same with the time of now is taken, as TCP would take it, and ruins
    // the connection that has not sent it.
    ear.send(ear.last_of_client().bearing(&PINGREQ));
    wait_for("an answer", || (pings(&server) == before + 3).then_some(()));
    drop(client);
    server.finish();
    Ok(())
}

fn segments_within_the_window_that_tcp_refuses_change_neither_stream(path: PingPath) -> TestResult {
    let (link, server) = start(path)?;
    let mut client = connect(&server, "client");
    talk(&mut client);
    let ear = Ear::of(&client, &link);
    type Forge = fn(Forged) -> Forged;
    let forgeries: [(&str, Forge); 6] = [
        ("RST in the window, not at its begin", |now| {
            now.ahead(3).with(|tcp| (tcp.rst, tcp.ack) = (true, false))
        }),
        ("SYN in the window", |now| now.ahead(5).with(|tcp| tcp.syn = true)),
        ("ping that acknowledges what was never sent", |now| {
            now.acknowledging(1_000).bearing(&PINGREQ)
        }),
        ("data that acknowledges what was never sent", |now| {
            now.acknowledging(2).bearing(&[0x30; 300])
        }),
        ("data ahead that acknowledges what was never sent", |now| {
            now.ahead(10).acknowledging(100_000).bearing(&[0x30; 300])
        }),
        ("data behind the window", |now| now.ahead(0x1000_0000).bearing(&[0x30; 300])),
    ];
    for (what, forge) in forgeries {
        println!("{what}");
        let before = pings(&server);
        for _ in 0..20 {
            ear.send(forge(ear.last_of_client()));
        }
        talk(&mut client);
        assert_eq!(pings(&server), before + 2, "{what}");
    }
    let challenges = netstat(&server, "TCPChallengeACK");
    assert!(challenges > 0, "TCP has refused nothing");
    client.disconnect();
    server.finish();
    Ok(())
}

fn lies_in_acknowledgements_and_sack_blocks_reach_no_other_stream(path: PingPath) -> TestResult {
    let (link, server) = start(path)?;
    let mut bystander = connect(&server, "bystander");
    let mut liar = connect(&server, "liar");
    talk(&mut liar);
    let ear = Ear::of(&liar, &link);
    let back = |bytes: u32| 0_u32.wrapping_sub(bytes);
    // Never sent: one byte, the place of an answer, a window, half of the circle. Then of old.
    let acks = [1, 2, 60_000, 0x7FFF_FFFF, back(2), back(100_000)];
    // Never sent; acknowledged long since; inverted, empty, all there is.
    let blocks = [(2, 4), (10, 100_000), (back(500), 0), (500, 10), (0, 0), (0, u32::MAX)];
    for _ in 0..5 {
        let now = ear.last_of_client();
        acks.iter().for_each(|&bytes| ear.send(now.clone().acknowledging(bytes)));
        blocks.iter().for_each(|&(from, to)| ear.send(now.clone().reporting(from, to)));
        talk(&mut bystander);
        talk(&mut liar);
    }
    // It acknowledges at once what it has not got yet: both an answer to its ping and a message.
    for _ in 0..5 {
        std::thread::sleep(CALM);
        let now = ear.last_of_client();
        link.hold(Way::ToClient);
        liar.send(&PINGREQ);
        // From beside the server, where nothing is held.
        let target = server.target();
        target.run_at_server(|| {
            let beside = Connect::new(Version::V5, "beside");
            Client::connect(&target.from_here(), &beside).publish("liar", &[7; 20_000], 1);
        });
        std::thread::sleep(CALM);
        for bytes in [2, 4, 1_448, 14_480, 20_000, 20_020] {
            ear.send(now.clone().ahead(2).acknowledging(bytes));
        }
        link.release();
        assert_eq!(liar.message().payload, [7; 20_000]);
        liar.expect("a PINGRESP", |packet| (*packet == Packet::Pingresp).then_some(()));
        talk(&mut bystander);
        talk(&mut liar);
    }
    if path == PingPath::Kernel {
        assert!(server.metrics().kernel_pings() > 10, "{}", server.metrics().text());
    }
    liar.disconnect();
    bystander.disconnect();
    server.finish();
    Ok(())
}

/// Pings in one datagram with CONNECT, in two fragments, of which the second is late: the client has said
/// all of it once more, and got its answers, before the stack has the first time whole. A client without
/// timestamps, as lwIP: PAWS protects the others.
fn a_datagram_that_began_before_connect_was_read_harms_no_stream(path: PingPath) -> TestResult {
    /// A TCP header and some bytes of CONNECT.
    const FIRST_BYTES: usize = 24;
    /// Of a calm client's, all but the first two are the kernel's.
    const PINGS: usize = 4;
    let (link, server) = start(path)?;
    link.namespaces()
        .client
        .run(|| std::fs::write("/proc/sys/net/ipv4/tcp_timestamps", "0"))
        .expect("switch timestamps off");
    let connect = Connect::new(Version::V5, "client").keep_alive(600);
    let mut client = Client::dial(server.target(), Version::V5, None);
    let ear = Ear::of(&client, &link);
    let (name, properties) = (&connect.client_id, &connect.properties);
    let said = wire::connect(Version::V5, name, 600, true, None, properties);
    let said = [said, PINGREQ.repeat(PINGS)].concat();
    // Its last word is the handshake's, once it has come by.
    let [first, last] = wait_for("the handshake", || {
        ear.heard().then(|| ear.last_of_client().bearing(&said).fragments(FIRST_BYTES))
    });
    link.inject(Way::ToServer, &first).expect("onto the link");
    client.say_connect(&connect);
    client.read_connack(PATIENCE).expect("a CONNACK");
    for _ in 0..PINGS {
        std::thread::sleep(CALM);
        client.ping();
    }
    link.inject(Way::ToServer, &last).expect("onto the link");
    wait_for("the whole datagram", || (reassembled(&server) == 1).then_some(()));

    talk(&mut client);
    client.subscribe(&[("client", 1)]);
    client.publish("client", &[7; 20_000], 1);
    assert_eq!(client.message().payload, [7; 20_000]);
    assert_eq!(pings(&server), PINGS as u64 + 2, "each is answered once");
    let early = "push_kernel_path_declined_total{reason=\"early_fragment\"}";
    let early = server.metrics().find(early).unwrap_or_default();
    assert_eq!(early, u64::from(path == PingPath::Kernel));
    client.disconnect();
    server.finish();
    Ok(())
}

/// Datagrams that the server's host has put together from fragments.
fn reassembled(server: &Server) -> u64 {
    let table = server.target().run_at_server(|| {
        std::fs::read_to_string("/proc/thread-self/net/snmp").expect("IP's counters")
    });
    counter(&table, "Ip:", "ReasmOKs")
}

fn start(path: PingPath) -> Result<(Link, Server), push_tests::skip::Skip> {
    let link = Link::create(Faults::NONE, 0, [0, 1])?;
    let server = Server::with(path).within(link.namespaces(), Place::VethV4);
    let server = server.flag("--ping-rate", 0).start()?;
    Ok((link, server))
}

fn connect(server: &Server, name: &str) -> Client {
    let connect = Connect::new(Version::V5, name).keep_alive(600);
    let mut client = Client::connect(server.target(), &connect);
    client.subscribe(&[(name, 1)]);
    client
}

/// A message to each of our clients has its name for a topic.
fn talk(client: &mut Client) {
    std::thread::sleep(CALM);
    client.ping();
    client.publish("nobody", &[7; 2_000], 1);
    std::thread::sleep(CALM);
    client.ping();
    std::thread::sleep(CALM);
}

/// Answered by whomever.
fn pings(server: &Server) -> u64 {
    let metrics = server.metrics();
    metrics.kernel_pings() + metrics.user_pings()
}

/// Segments thrown away because of their timestamps, by the splice and by TCP.
fn refused_for_age(server: &Server, path: PingPath) -> u64 {
    let old = "push_kernel_path_events_total{event=\"old_timestamp\"}";
    let by_splice = if path == PingPath::Kernel { server.metrics().value(old) } else { 0 };
    by_splice + netstat(server, "PAWSEstab")
}

/// A counter of TCP where the server is.
fn netstat(server: &Server, name: &str) -> u64 {
    let table = server.target().run_at_server(|| {
        std::fs::read_to_string("/proc/thread-self/net/netstat").expect("TCP's counters")
    });
    counter(&table, "TcpExt:", name)
}

/// A counter of a table that has a line of names and a line of values for each protocol.
fn counter(table: &str, protocol: &str, name: &str) -> u64 {
    let mut lines = table.lines().filter(|line| line.starts_with(protocol));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let at = names.split(' ').position(|found| found == name).expect("a counter of this name");
    values.split(' ').nth(at).and_then(|value| value.parse().ok()).expect("a number")
}

/// Hears what one client sends, and speaks in its name.
struct Ear<'a> {
    link: &'a Link,
    port: u16,
}

impl<'a> Ear<'a> {
    fn of(client: &Client, link: &'a Link) -> Self {
        Self { link, port: client.stream().local_addr().expect("an address").port() }
    }

    /// Whether the client has said anything but SYN.
    fn heard(&self) -> bool {
        self.link.last_frame(|frame| self.is_clients(frame) && !is_syn(frame)).is_some()
    }

    fn is_clients(&self, frame: &[u8]) -> bool {
        Forged::read(frame).is_some_and(|forged| forged.tcp.source_port == self.port)
    }

    /// An empty segment as the client would send it now: where its last one ends.
    fn last_of_client(&self) -> Forged {
        let ours = |frame: &[u8]| self.is_clients(frame);
        let frame = self.link.last_frame(ours).expect("the client has sent something");
        let last = Forged::read(&frame).expect("just read");
        let end = last.tcp.sequence_number.wrapping_add(last.payload.len() as u32);
        let tcp = TcpHeader { sequence_number: end, ..last.tcp };
        Forged { tcp, payload: Vec::new(), ..last }
    }

    fn send(&self, forged: Forged) {
        self.link.inject(Way::ToServer, &forged.frame()).expect("onto the link");
    }
}

fn is_syn(frame: &[u8]) -> bool {
    Forged::read(frame).is_some_and(|forged| forged.tcp.syn)
}

/// A segment that somebody makes up.
#[derive(Clone, Debug)]
struct Forged {
    link: Ethernet2Header,
    ip: Ipv4Header,
    tcp: TcpHeader,
    payload: Vec<u8>,
}

impl Forged {
    fn read(frame: &[u8]) -> Option<Self> {
        let read = PacketHeaders::from_ethernet_slice(frame).ok()?;
        let (Some(NetHeaders::Ipv4(ip, _)), Some(TransportHeader::Tcp(tcp))) =
            (read.net, read.transport)
        else {
            return None;
        };
        let payload = read.payload.slice().to_vec();
        Some(Self { link: read.link?.ethernet2()?, ip, tcp, payload })
    }

    fn frame(mut self) -> Vec<u8> {
        let bytes = self.tcp.header_len() + self.payload.len();
        self.ip.set_payload_len(bytes).expect("a short packet");
        let sum = self.tcp.calc_checksum_ipv4(&self.ip, &self.payload);
        self.tcp.checksum = sum.expect("a short segment");
        let mut frame = Vec::new();
        self.link.write(&mut frame).expect("writes to memory");
        self.ip.write(&mut frame).expect("writes to memory");
        self.tcp.write(&mut frame).expect("writes to memory");
        frame.extend(&self.payload);
        frame
    }

    /// The same in two fragments, cut behind so many bytes of TCP.
    fn fragments(mut self, cut: usize) -> [Vec<u8>; 2] {
        (self.ip.dont_fragment, self.ip.identification) = (false, 0x5A5A);
        let ip_header_bytes = self.ip.header_len();
        let (link, mut ip) = (self.link.clone(), self.ip.clone());
        let tcp = self.frame().split_off(link.header_len() + ip_header_bytes);
        let mut fragment = |at: usize, bytes: &[u8], more| {
            ip.more_fragments = more;
            ip.fragment_offset = ((at / 8) as u16).try_into().expect("a short datagram");
            ip.set_payload_len(bytes.len()).expect("a short packet");
            let mut frame = Vec::new();
            link.write(&mut frame).expect("writes to memory");
            ip.write(&mut frame).expect("writes to memory");
            frame.extend(bytes);
            frame
        };
        let (first, last) = tcp.split_at(cut);
        [fragment(0, first, true), fragment(cut, last, false)]
    }

    fn with(mut self, change: impl FnOnce(&mut TcpHeader)) -> Self {
        change(&mut self.tcp);
        self
    }

    fn bearing(self, payload: &[u8]) -> Self {
        Self { payload: payload.to_vec(), ..self }
    }

    fn ahead(self, bytes: u32) -> Self {
        self.with(|tcp| tcp.sequence_number = tcp.sequence_number.wrapping_add(bytes))
    }

    /// Acknowledges so much more.
    fn acknowledging(self, bytes: u32) -> Self {
        self.with(|tcp| {
            tcp.acknowledgment_number = tcp.acknowledgment_number.wrapping_add(bytes);
        })
    }

    /// With a timestamp that is so much older.
    fn aged(self, age: u32) -> Self {
        let [value, echo] = self.timestamps();
        self.with(|tcp| set_options(tcp, &[Timestamp(value.wrapping_sub(age), echo)]))
    }

    /// With a SACK block from here to there, counted from what it acknowledges.
    fn reporting(self, from: u32, to: u32) -> Self {
        let [value, echo] = self.timestamps();
        self.with(|tcp| {
            let [from, to] = [from, to].map(|edge| tcp.acknowledgment_number.wrapping_add(edge));
            let block = SelectiveAcknowledgement((from, to), [None; 3]);
            set_options(tcp, &[Timestamp(value, echo), block]);
        })
    }

    fn timestamps(&self) -> [u32; 2] {
        let times = self.tcp.options_iterator().find_map(|option| match option {
            Ok(Timestamp(value, echo)) => Some([value, echo]),
            _ => None,
        });
        times.expect("Linux sends timestamps")
    }
}

/// As every stack lays them out: behind two NOPs each.
fn set_options(tcp: &mut TcpHeader, options: &[TcpOptionElement]) {
    let laid_out: Vec<_> = options.iter().flat_map(|option| [Noop, Noop, option.clone()]).collect();
    tcp.set_options(&laid_out).expect("they fit");
}
