//! What happens in one run: the applications' plans, how the connection ends, and how bad the
//! network is. All of it is data, so that a failing run can be shrunk.

use proptest::prelude::*;

use crate::streams::Pings;

/// One step of an application's plan; the next begins when it is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Idle {
        micros: u64,
    },
    /// The client sends PINGREQ; the server's application has no such step.
    Ping,
    /// Heartbeats, each after a pause.
    Beats {
        pings: usize,
        micros: u64,
    },
    /// A frame of `bytes` payload, written in `pieces` with a pause between them.
    Publish {
        bytes: usize,
        pieces: usize,
    },
    /// The stack probes an idle connection (SO_KEEPALIVE).
    Probe,
    /// The application reads nothing for so long.
    Deaf {
        micros: u64,
    },
}

/// How the connection ends, once both plans are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It does not: everything arrives, and it stays.
    Open,
    /// Everything that was written arrives, then FIN; the other side follows.
    ClientCloses,
    ServerCloses,
    BothClose,
    /// The client says that it has no more, and the server goes on with its plan for a while.
    HalfClose,
    ClientResets,
    ServerResets,
}

/// Chances in a thousand, for each segment on a link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) drop: u32,
    pub(crate) repeat: u32,
    pub(crate) delay: u32,
    pub(crate) split: u32,
    pub(crate) merge: u32,
    pub(crate) corrupt: u32,
    /// It bears an acknowledgement of some segments before, as after a middlebox that cuts anew.
    pub(crate) stale: u32,
    /// Behind it comes one of before, renumbered, with its old timestamp (the client's wire alone).
    pub(crate) replay: u32,
    /// It is sent in two fragments, the second one later.
    pub(crate) fragment: u32,
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Decides everything that is not said here.
    pub(crate) seed: u64,
    pub(crate) client: Vec<Act>,
    pub(crate) server: Vec<Act>,
    pub(crate) ending: Ending,
    /// Between client and hooks, each way.
    pub(crate) wire: Faults,
    /// Between hooks and stack, each way.
    pub(crate) host: Faults,
    /// From when on (microseconds) the way to the client takes only so many payload bytes, and a
    /// router there answers what is larger by an ICMP error. It stays so when the adversary goes.
    pub(crate) path_mtu: Option<(u64, usize)>,
    /// How long the stack may be silent (rule 12), in seconds; 0: as long as the rule says by itself.
    pub(crate) silence_secs_max: u32,
    /// Whether segments have timestamps. Without, nothing is old but by its numbers.
    pub(crate) timestamps: bool,
    /// How long heartbeats are.
    pub(crate) pings: Pings,
    /// Bytes that the server sends before CONNACK; 0: none.
    pub(crate) handshake_bytes: usize,
    /// How far before 2^32 each stream begins.
    pub(crate) before_wrap: [u32; 2],
}

/// Up to `acts_max` steps for each application.
pub(crate) fn scenarios(acts_max: usize) -> impl Strategy<Value = Scenario> {
    let client = proptest::collection::vec(client_act(), 0..acts_max);
    let server = proptest::collection::vec(server_act(), 0..acts_max);
    let before_wrap = [0..3_000_u32, 0..3_000];
    (any::<u64>(), client, server, ending(), faults(200), host_faults(), before_wrap).prop_map(
        |(seed, client, server, ending, wire, host, before_wrap)| {
            let path_mtu = path_mtu(seed);
            let silence_secs_max = u32::from(seed % 4 == 1);
            with_lone_frame(Scenario {
                seed,
                client,
                server,
                ending,
                wire: Faults { fragment: fragments(seed), ..wire },
                host: Faults { fragment: fragments(seed), ..host },
                path_mtu,
                silence_secs_max,
                timestamps: has_timestamps(seed),
                pings: pings(seed),
                handshake_bytes: handshake_bytes(seed),
                before_wrap,
            })
        },
    )
}

fn client_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Ping),
        4 => (1..12_usize, 20_000..200_000_u64)
            .prop_map(|(pings, micros)| Act::Beats { pings, micros }),
        6 => idle(),
        2 => publish(),
        1 => Just(Act::Probe),
        1 => (0..400_000_u64).prop_map(|micros| Act::Deaf { micros }),
    ]
}

fn server_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => idle(),
        3 => publish(),
        1 => Just(Act::Probe),
        1 => (0..400_000_u64).prop_map(|micros| Act::Deaf { micros }),
    ]
}

/// From back to back, over the round trip and the delayed ACK, to beyond the first timeouts.
fn idle() -> impl Strategy<Value = Act> {
    prop_oneof![0..2_000_u64, 0..60_000_u64, 0..700_000_u64].prop_map(|micros| Act::Idle { micros })
}

fn publish() -> impl Strategy<Value = Act> {
    let bytes = prop_oneof![
        40 => 0..4_usize,
        40 => 0..200_usize,
        15 => 0..20_000_usize,
        4 => 0..100_000_usize,
        1 => 900_000..1_048_577_usize,
    ];
    (bytes, 1..4_usize).prop_map(|(bytes, pieces)| Act::Publish { bytes, pieces })
}

/// Half of the runs have MQTT alone.
fn pings(seed: u64) -> Pings {
    let dice = (seed >> 40) as usize;
    if dice.is_multiple_of(2) { Pings::PLAIN } else { Pings::ALL[dice / 2 % Pings::ALL.len()] }
}

/// A third of the runs begin with a handshake, of some segments now and then.
fn handshake_bytes(seed: u64) -> usize {
    let dice = (seed >> 20) as usize;
    match dice % 9 {
        0 | 1 => 1 + dice / 9 % 300,
        2 => 1 + dice / 9 % 6_000,
        _ => 0,
    }
}

/// One path in four gets a small MTU. Taken from the seed, so that the runs by which other rules are
/// known to be noticed stay what they are.
fn path_mtu(seed: u64) -> Option<(u64, usize)> {
    const FALLS_AT_US_MAX: u64 = 3_000_000;
    let dice = seed >> 2;
    let bytes = if dice.is_multiple_of(2) { 40 + dice % 1_400 } else { 30 + dice % 40 };
    (seed.is_multiple_of(4)).then_some((dice / 2_000 % FALLS_AT_US_MAX, bytes as usize))
}

/// Behind a small MTU an error about bytes that have others behind them quotes a number that is
/// outstanding all the same. So the last frame comes alone, is too large by a little, and has more
/// pings before it than it has bytes.
fn with_lone_frame(mut scenario: Scenario) -> Scenario {
    if let Some((_, bytes)) = scenario.path_mtu {
        scenario.client.push(Act::Beats { pings: bytes.min(100), micros: 50_000 });
        scenario.server.push(Act::Idle { micros: 10_000_000 });
        scenario.server.push(Act::Publish { bytes, pieces: 1 });
    }
    scenario
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        8 => Just(Ending::Open),
        2 => Just(Ending::ClientCloses),
        2 => Just(Ending::ServerCloses),
        1 => Just(Ending::BothClose),
        1 => Just(Ending::HalfClose),
        1 => Just(Ending::ClientResets),
        1 => Just(Ending::ServerResets),
    ]
}

/// Between a stack and its own hooks segments are rarely lost, but CPUs race.
fn host_faults() -> impl Strategy<Value = Faults> {
    let delay = prop_oneof![2 => Just(0), 1 => 0..300_u32];
    (faults(60), delay).prop_map(|(faults, delay)| Faults { delay, ..faults })
}

fn faults(most: u32) -> impl Strategy<Value = Faults> {
    let chance = || prop_oneof![2 => Just(0), 2 => 0..most / 6, 1 => 0..most];
    (chance(), chance(), chance(), chance(), chance(), chance(), chance(), chance()).prop_map(
        |(drop, repeat, delay, split, merge, corrupt, stale, replay)| Faults {
            drop,
            repeat,
            delay,
            split,
            merge,
            corrupt: corrupt / 3,
            stale,
            replay,
            fragment: 0,
        },
    )
}

/// Half of the runs with fragments have none, as devices that cut their datagrams.
fn has_timestamps(seed: u64) -> bool {
    fragments(seed) == 0 || (seed >> 31) & 1 == 0
}

/// Few runs have fragments, because the splice rests for long after one.
fn fragments(seed: u64) -> u32 {
    const ONE_RUN_IN: u64 = 6;
    let dice = (seed >> 32) as u32;
    if seed.is_multiple_of(ONE_RUN_IN) { 1 + dice % 200 } else { 0 }
}
