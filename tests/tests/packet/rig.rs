//! Both programs loaded into this kernel, run on one packet at a time (`BPF_PROG_TEST_RUN`) with a
//! flow and a slot of the test's making. No interface is touched.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use push_common::counter::Counter;
use push_common::early_fragment::{EarlyFragment, PLACES};
use push_common::flow::{Flow, FlowKey, LockedFlow};
use push_common::slot::{ShardLine, Slot};
use push_tests::server::workspace_path;
use push_tests::skip::{Skip, need_kernel_path_kernel};

use crate::memory::{self, SlotWords, Table};

/// Room for what a program makes of a packet.
const OUTPUT_BYTES_MAX: usize = 8_192;

/// What the places of early fragments depend on here; not what it is where nobody sets it.
pub(crate) const PLACE_SEED: u64 = 0xFEED_5EED_0000_0007;

/// Rows of the map of low tables, a word each: one for each of so many shards.
pub(crate) const SHARDS: u16 = 4;

const PROGRAMS: [&str; 2] = ["push_ingress", "push_egress"];

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Ingress,
    Egress,
}

/// What a program returned (`<linux/pkt_cls.h>`, TCX).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Next,
    Drop,
    Redirect,
}

/// What became of a packet, its flow and its slot.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) packet: Vec<u8>,
    pub(crate) flow: Option<Flow>,
    pub(crate) slot: Slot,
    /// The shards that were told that the connection's answer table runs low.
    pub(crate) told: Vec<u16>,
    /// Counters that have counted, in their order.
    pub(crate) counted: Vec<(Counter, u64)>,
}

impl Outcome {
    /// That exactly these have counted one each.
    #[track_caller]
    pub(crate) fn assert_counted(&self, counters: &[Counter]) {
        let counted: Vec<_> = self.counted.iter().map(|(counter, _)| *counter).collect();
        assert_eq!(counted, counters, "{self:x?}");
        assert!(self.counted.iter().all(|(_, count)| *count == 1));
    }
}

/// The loaded programs and their maps.
pub(crate) struct Rig {
    ebpf: Ebpf,
    flows: HashMap<MapData, FlowKey, LockedFlow<u32>>,
    slots: Array<MapData, Slot>,
    heartbeats: Array<MapData, ShardLine>,
    early_fragments: Array<MapData, EarlyFragment>,
    low_tables: Array<MapData, u64>,
    /// The connection's answer table.
    pub(crate) table: &'static Table,
    /// Its slot as user space reaches it while programs run.
    pub(crate) slot_words: &'static SlotWords,
    counters: PerCpuArray<MapData, u64>,
}

static RIG: Mutex<Option<Rig>> = Mutex::new(None);

/// Runs a test with the rig, which is loaded once.
pub(crate) fn with_rig(test: impl FnOnce(&mut Rig)) -> Result<(), Skip> {
    let mut rig: MutexGuard<'_, _> = RIG.lock().unwrap_or_else(PoisonError::into_inner);
    if rig.is_none() {
        *rig = Some(Rig::load()?);
    }
    test(rig.as_mut().expect("loaded above"));
    Ok(())
}

impl Rig {
    fn load() -> Result<Self, Skip> {
        if !rustix::process::geteuid().is_root() {
            return Err(Skip::kernel_path("not root"));
        }
        need_kernel_path_kernel()?;
        let path = std::env::var_os("PUSH_EBPF_OBJECT")
            .map_or_else(|| workspace_path("target/ebpf/push-ebpf"), Into::into);
        let object = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("SLOTS", 1)
            .map_max_entries("FLOWS", 16)
            .map_max_entries("TABLES", 1)
            .map_max_entries("LOW_TABLES", SHARDS.into())
            .override_global("PLACE_SEED", &PLACE_SEED, true)
            .override_global("LOW_TABLES_ROW", &1_u32, true)
            .load(&object)
            .expect("maps");
        for name in PROGRAMS {
            let program = ebpf.program_mut(name).expect("a program of this name");
            let program: &mut SchedClassifier = program.try_into().expect("a classifier");
            program.load().expect("the verifier takes it");
        }
        let mut take = |name: &str| ebpf.take_map(name).expect("a map of this name");
        let flows = take("FLOWS").try_into().expect("a hash map");
        let (slots, slot_words) = match take("SLOTS") {
            Map::Array(map) => {
                let words = memory::slot(&map);
                (Map::Array(map).try_into().expect("an array of slots"), words)
            }
            other => panic!("an array: {other:?}"),
        };
        let heartbeats = take("HEARTBEATS").try_into().expect("an array");
        let early_fragments = take("EARLY_FRAGMENTS").try_into().expect("an array");
        let low_tables = take("LOW_TABLES").try_into().expect("an array");
        let table = match take("TABLES") {
            Map::Array(map) => memory::table(&map),
            other => panic!("an array: {other:?}"),
        };
        let counters = take("COUNTERS").try_into().expect("an array for each CPU");
        Ok(Self {
            ebpf,
            flows,
            slots,
            heartbeats,
            early_fragments,
            low_tables,
            table,
            slot_words,
            counters,
        })
    }

    /// The programs, and how many instructions the verifier has looked at to take each.
    pub(crate) fn verified(&self) -> [(&'static str, u32); 2] {
        PROGRAMS.map(|name| {
            let program = self.ebpf.program(name).expect("a program of this name");
            let program: &SchedClassifier = program.try_into().expect("a classifier");
            let count = program.info().expect("it is loaded").verified_instruction_count();
            (name, count.expect("kernels tell it since 5.16"))
        })
    }

    /// Runs a program on `packet`, which names the connection of `key`. `gso_bytes`: the segment
    /// size of a super-packet, 0 for an ordinary one.
    pub(crate) fn run(
        &mut self,
        way: Way,
        packet: &[u8],
        key: FlowKey,
        flow: Flow,
        slot: Slot,
        gso_bytes: u32,
    ) -> Outcome {
        self.flows.insert(key, LockedFlow { lock: 0, flow }, 0).expect("insert the flow");
        self.slots.set(0, slot, 0).expect("set the slot");
        let line = ShardLine { heartbeat: now_ns(), ..ShardLine::default() };
        self.heartbeats.set(slot.shard.into(), line, 0).expect("set the heartbeat");
        for shard in 0..SHARDS {
            self.low_tables.set(shard.into(), 0, 0).expect("forget the low tables");
        }
        let before = self.counts();
        let (verdict, packet) = self.run_as_it_is(way, packet, gso_bytes);
        let counted = Counter::ALL.iter().zip(self.counts()).zip(before);
        let counted = counted.map(|((counter, after), before)| (*counter, after - before));
        let (flow, slot) = self.state(key);
        Outcome {
            verdict,
            packet,
            flow,
            slot,
            told: self.told(),
            counted: counted.filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// The connection as the programs have left it.
    pub(crate) fn state(&self, key: FlowKey) -> (Option<Flow>, Slot) {
        let flow = self.flows.get(&key, 0).ok().map(|locked| locked.flow);
        (flow, self.slots.get(&0, 0).expect("read the slot"))
    }

    /// The shards that are told of a table that runs low: the bit of the slot is set.
    fn told(&self) -> Vec<u16> {
        let row = |shard: &u16| self.low_tables.get(&u32::from(*shard), 0).expect("read a row");
        let told: Vec<_> = (0..SHARDS).filter(|shard| row(shard) != 0).collect();
        assert!(told.iter().all(|shard| row(shard) == 1), "no other slot's");
        told
    }

    /// Runs the ingress program on `packet` of the connection of `key`, which has no flow. Returns the places
    /// where it has noted an early fragment.
    pub(crate) fn run_without_flow(&mut self, packet: &[u8], key: FlowKey) -> (Verdict, Vec<u32>) {
        // There is none if nothing ran before.
        let _ = self.flows.remove(&key);
        let seen = |rig: &Self| -> Vec<_> {
            (0..PLACES)
                .map(|place| rig.early_fragments.get(&place, 0).expect("read a place").seen)
                .collect()
        };
        let before = seen(self);
        let (verdict, _) = self.run_as_it_is(Way::Ingress, packet, 0);
        let after = seen(self);
        let noted = (0..PLACES).zip(before.iter().zip(&after));
        let noted = noted.filter(|(_, (before, after))| before != after);
        (verdict, noted.map(|(place, _)| place).collect())
    }

    /// How often something has been counted so far.
    pub(crate) fn count(&self, counter: Counter) -> u64 {
        let values = self.counters.get(&(counter as u32), 0).expect("read a counter");
        values.iter().sum()
    }

    /// Runs a program on `packet` with flow and slot as they are; several threads may do so at once.
    pub(crate) fn run_as_it_is(
        &self,
        way: Way,
        packet: &[u8],
        gso_bytes: u32,
    ) -> (Verdict, Vec<u8>) {
        let mut output = vec![0; OUTPUT_BYTES_MAX];
        let context = context(gso_bytes, packet.len());
        let name = if way == Way::Ingress { "push_ingress" } else { "push_egress" };
        let program = self.ebpf.program(name).expect("a program of this name");
        let program: &SchedClassifier = program.try_into().expect("a classifier");
        let result = program.test_run(TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut output),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        });
        let result = result.unwrap_or_else(|e| panic!("{} bytes {packet:02x?}: {e}", packet.len()));
        output.truncate(result.data_size_out as usize);
        let verdict = match result.return_value as i32 {
            -1 => Verdict::Next,
            2 => Verdict::Drop,
            7 => Verdict::Redirect,
            other => panic!("the program returned {other}"),
        };
        (verdict, output)
    }

    fn counts(&self) -> Vec<u64> {
        Counter::ALL.iter().map(|counter| self.count(*counter)).collect()
    }
}

/// `struct __sk_buff` with what a test may say of a packet.
fn context(gso_bytes: u32, packet_bytes: usize) -> [u8; 192] {
    const WIRE_LEN: usize = 160;
    const GSO_SEGS: usize = 164;
    const GSO_SIZE: usize = 176;
    let mut context = [0; 192];
    if gso_bytes > 0 {
        let segments = (packet_bytes as u32).div_ceil(gso_bytes);
        for (at, value) in
            [(WIRE_LEN, packet_bytes as u32), (GSO_SEGS, segments), (GSO_SIZE, gso_bytes)]
        {
            context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
    }
    context
}

pub(crate) fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
