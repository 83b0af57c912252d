//! ICMP errors about segments of a flow (rule 15): the number that they quote is shifted and nothing
//! else is changed, and what quotes no segment of a flow goes on as it is.

use etherparse::checksum::Sum16BitWords;
use etherparse::{NetSlice, SlicedPacket};
use push_common::counter::Counter;

use crate::bytes::{Bytes, L3, timestamps};
use crate::cases;
use crate::rig::{Outcome, Rig, Verdict, Way};
use crate::world::World;

cases! {
    errors_quote_the_numbers_that_their_reader_knows,
    every_error_that_tcp_acts_on_is_translated,
    quotes_are_shifted_as_far_as_they_go,
    what_lies_behind_the_ip_packet_is_no_part_of_the_quote,
    extension_headers_are_looked_through,
    extension_headers_are_looked_through_as_far_as_their_limit,
    redirects_are_translated_wherever_they_quote,
    redirects_that_quote_nothing_go_on_as_they_are,
    nothing_is_changed_before_the_first_answer,
    errors_about_other_connections_go_on_as_they_are,
    what_quotes_no_segment_goes_on_as_it_is,
    a_wrong_checksum_stays_wrong,
}

/// Bytes before the quote.
const ICMP_BYTES: usize = 8;

/// "Fragmentation needed", and "packet too big".
const TOO_BIG_V4: (u8, u8) = (3, 4);
const TOO_BIG_V6: (u8, u8) = (2, 0);

fn too_big(ipv6: bool) -> (u8, u8) {
    if ipv6 { TOO_BIG_V6 } else { TOO_BIG_V4 }
}

const REDIRECT_V6: (u8, u8) = (137, 0);

/// An ICMP error and the packet that it is in.
#[derive(Clone)]
struct IcmpError {
    way: Way,
    kind: (u8, u8),
    /// What comes before the quote, besides the first eight bytes.
    before: Vec<u8>,
    /// Begins with an IP header.
    quote: Vec<u8>,
    /// Where the TCP header begins in it.
    tcp: usize,
    ip_options: Vec<u8>,
    /// Extension headers before the ICMP header, the first of them a destination options header, the last
    /// of them before ICMPv6.
    extensions: Vec<u8>,
}

impl IcmpError {
    /// About `segment`: on the way back of it.
    fn about(segment: &Bytes) -> Self {
        let way = if segment.way == Way::Egress { Way::Ingress } else { Way::Egress };
        Self {
            way,
            kind: too_big(segment.ipv6),
            before: Vec::new(),
            quote: segment.build()[L3..].to_vec(),
            tcp: segment.l4() - L3,
            ip_options: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// An ICMPv6 redirect: the quote is in its last option, behind `options`.
    fn redirect(segment: &Bytes, options: &[u8]) -> Self {
        let mut error = Self { kind: REDIRECT_V6, ..Self::about(segment) };
        error.before.extend([0xFE; 32]);
        error.before.extend(options);
        // Options are whole words of eight bytes.
        error.quote.resize(error.quote.len().next_multiple_of(8), 0);
        error.before.extend([4, (1 + error.quote.len() / 8) as u8, 0, 0, 0, 0, 0, 0]);
        error
    }

    fn is_ipv6(&self) -> bool {
        self.quote[0] >> 4 == 6
    }

    /// The packet, with the right checksums. A router that is neither end sends it.
    fn build(&self) -> Vec<u8> {
        let mut icmp = vec![self.kind.0, self.kind.1, 0, 0, 0, 0, 0x05, 0x78];
        icmp.extend(&self.before);
        icmp.extend(&self.quote);
        let mut ip = if self.is_ipv6() { self.ipv6(&mut icmp) } else { self.ipv4(&mut icmp) };
        let mut packet = match self.way {
            Way::Ingress => [[0; 6], [2, 0, 0, 0, 0, 9]].concat(),
            Way::Egress => [[2, 0, 0, 0, 0, 9], [0; 6]].concat(),
        };
        packet.extend(if self.is_ipv6() { [0x86, 0xDD] } else { [0x08, 0x00] });
        packet.append(&mut ip);
        packet.append(&mut icmp);
        packet
    }

    fn ipv4(&self, icmp: &mut [u8]) -> Vec<u8> {
        let sum = Sum16BitWords::new().add_slice(icmp).ones_complement();
        icmp[2..4].copy_from_slice(&sum.to_ne_bytes());
        let header_bytes = 20 + self.ip_options.len();
        let mut ip = vec![0x40 | (header_bytes / 4) as u8, 0xC0];
        ip.extend(((header_bytes + icmp.len()) as u16).to_be_bytes());
        ip.extend([0, 0, 0, 0, 64, 1, 0, 0, 198, 51, 100, 1]);
        ip.extend(&self.quote[12..16]);
        ip.extend(&self.ip_options);
        let sum = Sum16BitWords::new().add_slice(&ip).ones_complement();
        ip[10..12].copy_from_slice(&sum.to_ne_bytes());
        ip
    }

    fn ipv6(&self, icmp: &mut [u8]) -> Vec<u8> {
        let mut ip = vec![0x60, 0, 0, 0];
        ip.extend(((self.extensions.len() + icmp.len()) as u16).to_be_bytes());
        ip.extend([if self.extensions.is_empty() { 58 } else { 60 }, 64]);
        ip.extend(*b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x63");
        ip.extend(&self.quote[8..24]);
        let sum = Sum16BitWords::new()
            .add_slice(&ip[8..40])
            .add_4bytes((icmp.len() as u32).to_be_bytes())
            .add_4bytes([0, 0, 0, 58])
            .add_slice(icmp)
            .ones_complement();
        icmp[2..4].copy_from_slice(&sum.to_ne_bytes());
        ip.extend(&self.extensions);
        ip
    }

    /// The same about the segment with other numbers; its own checksum cannot be known any more.
    fn with_numbers(&self, seq: u32, ack: u32) -> Self {
        let mut changed = self.clone();
        for (at, number) in [(self.tcp + 4, seq), (self.tcp + 8, ack)] {
            if let Some(field) = changed.quote.get_mut(at..at + 4) {
                field.copy_from_slice(&number.to_be_bytes());
            }
        }
        changed
    }
}

fn errors_quote_the_numbers_that_their_reader_knows(rig: &mut Rig, ipv6: bool) {
    for n in [1, 3, 0x4000_0000, u32::MAX] {
        let world = World::new(ipv6, n);
        for payload_bytes in [0, 2, 3, 1_401] {
            for segment in segments(&world, payload_bytes) {
                assert_shifted(&world, rig, &segment, &IcmpError::about(&segment));
            }
        }
    }
}

fn every_error_that_tcp_acts_on_is_translated(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 5);
    let (acted_on, others) = if ipv6 {
        (vec![1, 2, 3, 4], vec![0, 100, 127, 128, 129, 133, 135, 137, 255])
    } else {
        (vec![3, 5, 11, 12], vec![0, 4, 8, 9, 13, 255])
    };
    for segment in segments(&world, 100) {
        for code in [0, 1, 3, 4, 13] {
            for &kind in &acted_on {
                let error = IcmpError { kind: (kind, code), ..IcmpError::about(&segment) };
                assert_shifted(&world, rig, &segment, &error);
            }
            for &kind in &others {
                let error = IcmpError { kind: (kind, code), ..IcmpError::about(&segment) };
                assert_untouched(&world, rig, &error);
            }
        }
    }
}

fn quotes_are_shifted_as_far_as_they_go(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 5);
    let header_bytes = if ipv6 { 40 } else { 20 };
    for segment in segments(&world, 100) {
        // Routers must quote eight bytes of TCP (RFC 792); the sequence number ends there.
        for quoted_bytes in header_bytes..header_bytes + 30 {
            let mut error = IcmpError::about(&segment);
            error.quote.truncate(quoted_bytes);
            if quoted_bytes < header_bytes + 8 {
                assert_untouched(&world, rig, &error);
            } else if quoted_bytes < header_bytes + 12 {
                let outcome = world.run_raw(rig, error.way, &error.build());
                let (seq, _) = expected(&world, &segment);
                let mut whole = error.with_numbers(seq, segment.ack);
                whole.quote.truncate(quoted_bytes);
                // What there is of the acknowledgement stays.
                whole.quote[header_bytes + 8..].copy_from_slice(&error.quote[header_bytes + 8..]);
                assert_is(&outcome, &whole);
            } else {
                assert_shifted(&world, rig, &segment, &error);
            }
        }
    }
    if !ipv6 {
        let segment = Bytes { payload: vec![7; 100], ..world.server() };
        let ip_options = vec![1, 1, 1, 0];
        let error = IcmpError { ip_options: ip_options.clone(), ..IcmpError::about(&segment) };
        assert_shifted(&world, rig, &segment, &error);
        let segment = Bytes { ip_options, ..segment };
        assert_shifted(&world, rig, &segment, &IcmpError::about(&segment));
    }
}

/// A device may hand up more than the IP packet; no checksum covers that.
fn what_lies_behind_the_ip_packet_is_no_part_of_the_quote(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 5);
    let header_bytes = if ipv6 { 40 } else { 20 };
    for segment in segments(&world, 100) {
        let (seq, _) = expected(&world, &segment);
        for quoted_bytes in [header_bytes, header_bytes + 4, header_bytes + 8] {
            let mut error = IcmpError::about(&segment);
            error.quote.truncate(quoted_bytes);
            let mut whole = error.with_numbers(seq, segment.ack);
            whole.quote.truncate(quoted_bytes);
            let trailer = [0xA5; 12];
            let outcome =
                world.run_raw(rig, error.way, &[error.build(), trailer.to_vec()].concat());
            let reader = if quoted_bytes < header_bytes + 8 { &error } else { &whole };
            assert_eq!(outcome.packet, [reader.build(), trailer.to_vec()].concat());
        }
    }
}

/// Of the packet quoted, and of the one that quotes it. IPv6 alone has them.
fn extension_headers_are_looked_through(rig: &mut Rig, ipv6: bool) {
    if !ipv6 {
        return;
    }
    let world = World::new(ipv6, 5);
    let words = |kind: u8, words: u8| {
        (kind, [vec![0, words], vec![0; 6 + 8 * usize::from(words)]].concat())
    };
    let authentication = (51, [vec![0, 4], vec![7; 22]].concat());
    let first_fragment = (44, vec![0, 0, 0, 1, 1, 2, 3, 4]);
    for extensions in [
        vec![words(0, 0)],
        vec![words(43, 2)],
        vec![words(60, 3)],
        vec![authentication.clone()],
        vec![first_fragment.clone()],
        vec![words(0, 1), words(43, 0), first_fragment, authentication, words(60, 2)],
    ] {
        for segment in segments(&world, 100) {
            let segment = Bytes { extensions: extensions.clone(), ..segment };
            assert_shifted(&world, rig, &segment, &IcmpError::about(&segment));
            assert_shifted(&world, rig, &segment, &IcmpError::redirect(&segment, &[]));
        }
    }
    for segment in segments(&world, 100) {
        let mut error = IcmpError::about(&segment);
        error.extensions = vec![60, 0, 1, 4, 0, 0, 0, 0, 58, 1, 1, 12];
        error.extensions.resize(24, 0);
        assert_shifted(&world, rig, &segment, &error);
    }
}

fn extension_headers_are_looked_through_as_far_as_their_limit(rig: &mut Rig, ipv6: bool) {
    /// As many as the programs walk.
    const MAX: usize = 6;
    if !ipv6 {
        return;
    }
    let world = World::new(ipv6, 5);
    for segment in segments(&world, 100) {
        let with = |extensions| Bytes { extensions, ..segment.clone() };
        let options = (60, vec![0, 0, 1, 4, 0, 0, 0, 0]);
        let most = with(vec![options.clone(); MAX]);
        assert_shifted(&world, rig, &most, &IcmpError::about(&most));
        let whole = IcmpError::about(&most);
        for bytes in (40..whole.tcp + 8).step_by(4) {
            let mut error = whole.clone();
            error.quote.truncate(bytes);
            assert_untouched(&world, rig, &error);
        }
        for extensions in [
            vec![options; MAX + 1],
            // A later fragment, and what is encrypted.
            vec![(44, vec![0, 0, 0, 9, 1, 2, 3, 4])],
            vec![(50, vec![0, 0, 0, 0, 0, 0, 0, 0])],
        ] {
            assert_untouched(&world, rig, &IcmpError::about(&with(extensions)));
        }
    }
}

/// IPv4's quote where other errors do.
fn redirects_are_translated_wherever_they_quote(rig: &mut Rig, ipv6: bool) {
    let neighbour = [2, 1, 2, 0, 0, 0, 0, 7];
    let long = [vec![14, 3], vec![9; 22]].concat();
    for n in [1, 3, u32::MAX] {
        let world = World::new(ipv6, n);
        for segment in segments(&world, 100) {
            if !ipv6 {
                for code in 0..4 {
                    let error = IcmpError { kind: (5, code), ..IcmpError::about(&segment) };
                    assert_shifted(&world, rig, &segment, &error);
                }
                continue;
            }
            for options in [
                vec![],
                neighbour.to_vec(),
                [neighbour.to_vec(), long.clone()].concat(),
                [neighbour.to_vec(), long.clone(), neighbour.to_vec()].concat(),
            ] {
                let error = IcmpError::redirect(&segment, &options);
                assert_shifted(&world, rig, &segment, &error);
            }
        }
    }
}

fn redirects_that_quote_nothing_go_on_as_they_are(rig: &mut Rig, ipv6: bool) {
    if !ipv6 {
        return;
    }
    let world = World::new(ipv6, 5);
    let neighbour = [2, 1, 2, 0, 0, 0, 0, 7];
    for segment in segments(&world, 100) {
        // An option without length, more of them than are read, another connection.
        for options in [vec![2, 0, 0, 0, 0, 0, 0, 0], neighbour.repeat(4)] {
            assert_untouched(&world, rig, &IcmpError::redirect(&segment, &options));
        }
        let mut error = IcmpError::redirect(&segment, &neighbour);
        error.quote[error.tcp] ^= 1;
        assert_untouched(&world, rig, &error);
        // No option at all, and none that quotes.
        for before in [vec![0xFE; 32], [vec![0xFE; 32], neighbour.to_vec()].concat()] {
            let packet = IcmpError { before, ..IcmpError::redirect(&segment, &neighbour) }.build();
            let bytes = packet.len() - error.quote.len();
            assert_raw_untouched(&world, rig, error.way, &packet[..bytes]);
        }
    }
}

fn nothing_is_changed_before_the_first_answer(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 0);
    for segment in segments(&world, 100) {
        assert_untouched(&world, rig, &IcmpError::about(&segment));
    }
}

fn errors_about_other_connections_go_on_as_they_are(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 5);
    let (header_bytes, addresses) = if ipv6 { (40, 8..40) } else { (20, 12..20) };
    for segment in segments(&world, 100) {
        let error = IcmpError::about(&segment);
        for at in addresses.clone().chain(header_bytes..header_bytes + 4) {
            let mut other = IcmpError::about(&segment);
            other.quote[at] ^= 1;
            assert_untouched(&world, rig, &other);
        }
        // The segment's own direction: nobody sends an error about it that way.
        let way = segment.way;
        assert_untouched(&world, rig, &IcmpError { way, ..error });
    }
}

fn what_quotes_no_segment_goes_on_as_it_is(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 5);
    for segment in segments(&world, 100) {
        // A datagram, an extension header or a later fragment, another version.
        let protocol = if ipv6 { 6 } else { 9 };
        for other in [0, 17, 43, 44, 58] {
            let mut error = IcmpError::about(&segment);
            error.quote[protocol] = other;
            assert_untouched(&world, rig, &error);
        }
        let mut error = IcmpError::about(&segment);
        if !ipv6 {
            error.quote[7] = 1;
            assert_untouched(&world, rig, &error);
        }
        let packet = IcmpError::about(&segment).build();
        let ip_bytes = if ipv6 { 40 } else { 20 };
        for version in [0, 4, 6, 15] {
            let mut other = packet.clone();
            let at = L3 + ip_bytes + ICMP_BYTES;
            if other[at] >> 4 != version {
                other[at] = (version << 4) | 5;
                assert_raw_untouched(&world, rig, error.way, &other);
            }
        }
        for bytes in L3 + ip_bytes..L3 + 2 * ip_bytes + ICMP_BYTES + 8 {
            assert_raw_untouched(&world, rig, error.way, &packet[..bytes]);
        }
    }
}

fn a_wrong_checksum_stays_wrong(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 5);
    let at = L3 + if ipv6 { 40 } else { 20 } + 2;
    for segment in segments(&world, 100) {
        let error = IcmpError::about(&segment);
        let mut packet = error.build();
        packet[at] ^= 0x40;
        let outcome = world.run_raw(rig, error.way, &packet);
        assert!(!is_right(&outcome.packet));
    }
}

/// An error about a segment of either side.
pub(crate) fn quoted_numbers_are_shifted(rig: &mut Rig, world: &World) {
    for segment in segments(world, 100) {
        assert_shifted(world, rig, &segment, &IcmpError::about(&segment));
    }
}

/// One of the server as it is on the wire (C-space), whose error comes in, and one of the client as the
/// stack knows it (S-space), whose error goes out.
fn segments(world: &World, payload_bytes: usize) -> [Bytes; 2] {
    let (delta_in, delta_out) = (world.flow.delta_in(), world.flow.delta_out());
    let wire = world.server();
    let (seq, ack) = (wire.seq.wrapping_add(delta_out), wire.ack.wrapping_add(delta_in));
    let payload = vec![0x5A; payload_bytes];
    let options = timestamps(70, 9);
    let server = Bytes { seq, ack, payload: payload.clone(), options: options.clone(), ..wire };
    let stack = world.client();
    let (seq, ack) = (stack.seq.wrapping_sub(delta_in), stack.ack.wrapping_sub(delta_out));
    [server, Bytes { seq, ack, payload, options, ..stack }]
}

/// The quoted numbers as they must come out.
fn expected(world: &World, segment: &Bytes) -> (u32, u32) {
    let (delta_in, delta_out) = (world.flow.delta_in(), world.flow.delta_out());
    match segment.way {
        Way::Egress => (segment.seq.wrapping_sub(delta_out), segment.ack.wrapping_sub(delta_in)),
        Way::Ingress => (segment.seq.wrapping_add(delta_in), segment.ack.wrapping_add(delta_out)),
    }
}

#[track_caller]
fn assert_shifted(world: &World, rig: &mut Rig, segment: &Bytes, error: &IcmpError) {
    let outcome = world.run_raw(rig, error.way, &error.build());
    let (seq, ack) = expected(world, segment);
    assert_is(&outcome, &error.with_numbers(seq, ack));
}

/// The error went on as this one, whose checksum is made anew.
#[track_caller]
fn assert_is(outcome: &Outcome, error: &IcmpError) {
    assert_eq!(outcome.verdict, Verdict::Next);
    outcome.assert_counted(&[Counter::IcmpTranslated]);
    assert!(is_right(&outcome.packet), "a checksum is wrong: {:02x?}", outcome.packet);
    assert_eq!(outcome.packet, error.build());
}

#[track_caller]
fn assert_untouched(world: &World, rig: &mut Rig, error: &IcmpError) {
    assert_raw_untouched(world, rig, error.way, &error.build());
}

#[track_caller]
fn assert_raw_untouched(world: &World, rig: &mut Rig, way: Way, packet: &[u8]) {
    let outcome = world.run_raw(rig, way, packet);
    assert_eq!(outcome.verdict, Verdict::Next);
    assert_eq!(outcome.packet, packet);
    outcome.assert_counted(&[]);
    assert_eq!(outcome.flow.expect("the flow stays"), world.flow);
}

/// Whether the checksum of the ICMP message is right, as etherparse reads the packet.
fn is_right(packet: &[u8]) -> bool {
    let sliced = SlicedPacket::from_ethernet(packet).expect("an Ethernet frame");
    match sliced.net.expect("an IP packet") {
        NetSlice::Ipv4(ip) => {
            Sum16BitWords::new().add_slice(ip.payload().payload).ones_complement() == 0
        }
        NetSlice::Ipv6(ip) => {
            let payload = ip.payload().payload;
            Sum16BitWords::new()
                .add_16bytes(ip.header().source())
                .add_16bytes(ip.header().destination())
                .add_4bytes((payload.len() as u32).to_be_bytes())
                .add_4bytes([0, 0, 0, 58])
                .add_slice(payload)
                .ones_complement()
                == 0
        }
        NetSlice::Arp(_) => false,
    }
}
