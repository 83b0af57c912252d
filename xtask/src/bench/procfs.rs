//! The kernel's figures in `/proc`: processor time, and memory of a process and of the kernel.
//!
//! Parsers take text and are tested; readers only name the file. Times are in microseconds, sizes
//! in bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use rustix::param::{clock_ticks_per_second, page_size};
use serde::Serialize;

/// Processor time of the whole machine since boot, all processors added.
///
/// `busy_us` comes from ticks. Each tick is charged to whatever it interrupts, so a short span on a
/// nearly idle machine is a small sample. `idle_us` is measured when the kernel stops the tick of
/// an idle processor (`NO_HZ_IDLE`), so the wall clock less `idle_us` shows the same from the other
/// side.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct MachineTime {
    /// User, nice, system, irq and softirq.
    pub(super) busy_us: u64,
    /// Idle and waiting for I/O.
    pub(super) idle_us: u64,
    /// Taken by the hypervisor: neither busy nor idle.
    pub(super) stolen_us: u64,
    /// Processors counted.
    pub(super) processors: u32,
}

impl MachineTime {
    /// Reads `/proc/stat`.
    pub(super) fn read() -> Result<Self> {
        parse_machine_time(&read("/proc/stat")?, tick_us())
    }
}

/// The resolution of `/proc/stat` and `/proc/PID/stat`.
pub(super) fn tick_us() -> u64 {
    1_000_000 / clock_ticks_per_second().max(1)
}

/// Processor time of a process since its start.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ProcessTime {
    /// Nanoseconds run by thread, those alive.
    threads_ns: BTreeMap<u32, u64>,
    /// Time of the whole process, ended threads included, in whole ticks.
    group_us: u64,
}

impl ProcessTime {
    /// Reads `/proc/PID/task/*/schedstat` and `/proc/PID/stat`.
    pub(super) fn read(pid: u32) -> Result<Self> {
        let group_us = parse_process_us(&read(format!("/proc/{pid}/stat"))?, tick_us())?;
        let mut threads_ns = BTreeMap::new();
        let folder = format!("/proc/{pid}/task");
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {folder}"))? {
            let entry = entry?;
            let thread = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // A thread may end meanwhile; a kernel without SCHED_INFO has no such file.
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            if let Some(thread) = thread {
                threads_ns.insert(thread, parse_run_ns(&text)?);
            }
        }
        Ok(Self { threads_ns, group_us })
    }

    /// Microseconds that the process ran since `before`.
    ///
    /// The sum of the threads' nanoseconds, unless the coarse count of the whole process exceeds it
    /// by more than its resolution: then threads ended in between and took their nanoseconds with
    /// them.
    pub(super) fn since_us(&self, before: &Self, tick_us: u64) -> f64 {
        let ran_ns = |(thread, &ns): (&u32, &u64)| {
            // Less than before: the number belongs to a new thread, which began at zero.
            let began_at = before.threads_ns.get(thread).copied().filter(|&then| then <= ns);
            ns - began_at.unwrap_or(0)
        };
        let threads_us = self.threads_ns.iter().map(ran_ns).sum::<u64>() as f64 / 1e3;
        let group_us = self.group_us.saturating_sub(before.group_us) as f64;
        // User and system time are each rounded down to a tick.
        if group_us > threads_us + 2.0 * tick_us as f64 { group_us } else { threads_us }
    }
}

/// Memory of one process, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessMemory {
    pub(super) anonymous: u64,
    pub(super) private_dirty: u64,
    pub(super) resident: u64,
}

impl ProcessMemory {
    /// Reads `/proc/PID/smaps_rollup` (Linux 4.14).
    pub(super) fn read(pid: u32) -> Result<Self> {
        let text = read(format!("/proc/{pid}/smaps_rollup"))?;
        let fields = Sizes::parse(&text);
        Ok(Self {
            anonymous: fields.bytes("Anonymous")?,
            private_dirty: fields.bytes("Private_Dirty")?,
            resident: fields.bytes("Rss")?,
        })
    }
}

/// Bytes that a process made the disk write since its start: pages that it made dirty, less those
/// that it took back before they were written (`/proc/PID/io`, `write_bytes`).
pub(super) fn disk_bytes_written(pid: u32) -> Result<u64> {
    parse_written(&read(format!("/proc/{pid}/io"))?)
}

/// The file system of a directory: `ext4 on /dev/vda`.
pub(super) fn file_system(directory: &Path) -> Result<String> {
    let directory = directory.canonicalize().context("cannot find the directory")?;
    let mounts = read("/proc/self/mounts")?;
    parse_file_system(&mounts, &directory)
        .with_context(|| format!("no mount is above {}", directory.display()))
}

/// Bytes of kernel memory, for all processes and both ends of each connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct KernelMemory {
    pub(super) slab: u64,
    pub(super) slab_unreclaimable: u64,
    pub(super) per_cpu: u64,
    pub(super) vmalloc: u64,
    /// Pages of TCP's queues (`/proc/net/sockstat`).
    pub(super) tcp_queues: u64,
    pub(super) available: u64,
}

impl KernelMemory {
    /// Reads `/proc/meminfo` and `/proc/net/sockstat`.
    pub(super) fn read() -> Result<Self> {
        let text = read("/proc/meminfo")?;
        let fields = Sizes::parse(&text);
        Ok(Self {
            slab: fields.bytes("Slab")?,
            slab_unreclaimable: fields.bytes("SUnreclaim")?,
            per_cpu: fields.bytes("Percpu")?,
            vmalloc: fields.bytes("VmallocUsed")?,
            tcp_queues: TcpSockets::read()?.queue_pages * page_size() as u64,
            available: fields.bytes("MemAvailable")?,
        })
    }
}

/// TCP sockets of this network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TcpSockets {
    /// In TIME_WAIT: their connections have ended, but they are still in the slab.
    pub(super) time_wait: u64,
    /// Pages of send and receive queues.
    pub(super) queue_pages: u64,
}

impl TcpSockets {
    /// Reads `/proc/net/sockstat`.
    pub(super) fn read() -> Result<Self> {
        parse_tcp_sockets(&read("/proc/net/sockstat")?)
    }
}

/// Bytes of the BPF maps of a process, as the kernel states them in `fdinfo`: exact for memory
/// allocated at creation; elements times their size for a hash that allocates on demand (Linux
/// 6.4).
pub(super) fn bpf_map_bytes(pid: u32) -> Result<u64> {
    let folder = format!("/proc/{pid}/fd");
    let mut maps = HashMap::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {folder}"))? {
        let entry = entry?;
        // A descriptor may be closed meanwhile.
        if !fs::read_link(entry.path()).is_ok_and(|target| target.ends_with("anon_inode:bpf-map")) {
            continue;
        }
        let name = entry.file_name();
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", name.display())) else {
            continue;
        };
        maps.extend(parse_bpf_map(&text));
    }
    Ok(maps.values().sum())
}

/// `Name:  value kB` lines, as meminfo and smaps_rollup have.
struct Sizes<'a>(HashMap<&'a str, u64>);

impl<'a> Sizes<'a> {
    fn parse(text: &'a str) -> Self {
        let line = |line: &'a str| {
            let (name, rest) = line.split_once(':')?;
            let kilobytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some((name, kilobytes * 1024))
        };
        Self(text.lines().filter_map(line).collect())
    }

    fn bytes(&self, name: &str) -> Result<u64> {
        self.0.get(name).copied().with_context(|| format!("this kernel does not state {name}"))
    }
}

fn parse_written(text: &str) -> Result<u64> {
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    let written: u64 = field("write_bytes:").context("/proc/PID/io does not state write_bytes")?;
    let taken_back: u64 = field("cancelled_write_bytes:").unwrap_or(0);
    Ok(written.saturating_sub(taken_back))
}

/// The mount with the longest path above `directory`; of equal ones the last, which hides the
/// others.
fn parse_file_system(mounts: &str, directory: &Path) -> Option<String> {
    let mount = |line: &str| {
        let mut fields = line.split(' ');
        let (device, path, kind) = (fields.next()?, fields.next()?, fields.next()?);
        directory.starts_with(path).then(|| (path.len(), format!("{kind} on {device}")))
    };
    mounts.lines().filter_map(mount).max_by_key(|(length, _)| *length).map(|(_, text)| text)
}

fn parse_machine_time(text: &str, tick_us: u64) -> Result<MachineTime> {
    let mut lines = text.lines();
    let ticks: Vec<u64> = lines
        .next()
        .and_then(|line| line.strip_prefix("cpu "))
        .context("/proc/stat does not begin with the sum of all processors")?
        .split_ascii_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .context("/proc/stat holds no numbers")?;
    // The guest columns after these are contained in user and nice.
    let &[user, nice, system, idle, io_wait, irq, softirq, stolen, ..] = ticks.as_slice() else {
        return Err(anyhow!("/proc/stat has {} columns, not 8", ticks.len()));
    };
    let processors = lines.take_while(|line| line.starts_with("cpu")).count();
    Ok(MachineTime {
        busy_us: (user + nice + system + irq + softirq) * tick_us,
        idle_us: (idle + io_wait) * tick_us,
        stolen_us: stolen * tick_us,
        processors: u32::try_from(processors)?,
    })
}

/// User plus system time of `/proc/PID/stat`: fields 14 and 15, counted after the name, which may
/// contain anything, even parentheses.
fn parse_process_us(text: &str, tick_us: u64) -> Result<u64> {
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    match (fields.next(), fields.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok((user + system) * tick_us),
        _ => Err(anyhow!("/proc/PID/stat states no times: {text:?}")),
    }
}

/// The first field of `schedstat`: nanoseconds run.
fn parse_run_ns(text: &str) -> Result<u64> {
    let first = text.split_ascii_whitespace().next().unwrap_or_default();
    first.parse().with_context(|| format!("schedstat begins with {first:?}"))
}

fn parse_tcp_sockets(text: &str) -> Result<TcpSockets> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"));
    let words: Vec<&str> = line.unwrap_or_default().split_ascii_whitespace().collect();
    let value = |name: &str| {
        let found = words.chunks_exact(2).find(|pair| pair[0] == name);
        found.and_then(|pair| pair[1].parse().ok()).with_context(|| format!("no TCP {name}"))
    };
    Ok(TcpSockets { time_wait: value("tw")?, queue_pages: value("mem")? })
}

/// Id and bytes of the map that an `fdinfo` describes.
fn parse_bpf_map(text: &str) -> Option<(u64, u64)> {
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
    };
    Some((value("map_id")?, value("memlock")?))
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests;
