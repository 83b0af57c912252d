//! One virtual machine: qemu from start to end. The tests' output comes by the second serial line;
//! the kernel's goes to a file. A machine that does not end in time is killed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::image::{self, Image};
use super::kernels::Kernel;
use super::qemu::Qemu;
use crate::test::tally::Tally;
use crate::workspace::{command_line, say};

/// Memory of a machine: for its files, twice while they are unpacked, and for the tests.
const MEMORY_MIB: u32 = 2048;
const CPUS: u32 = 2;

/// A word of the kernel's command line. Tests that change the machine itself, such as its clock,
/// look for it.
const MARK: &str = "push_test_vm";

/// Longest silence of a machine before its first word: the boot.
const BOOT_MAX: Duration = Duration::from_secs(300);

/// Kills qemu however we end.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the image to its end, passes on the tests' output and counts it. Returns whether the
/// machine ended in order; if not, it has printed why.
pub(super) fn run(
    qemu: &Qemu,
    kernel: &Kernel,
    image: &Image,
    whole: Duration,
    tally: &mut Tally,
) -> Result<bool> {
    // It ends with us, even if we are killed, and other work on this machine comes first.
    let mut command = qemu.with_libraries(Command::new("setpriv"));
    command.args(["--pdeathsig", "KILL", "nice", "-n", "10"]).arg(qemu.program());
    command.args(qemu.arguments());
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    // One thread for both processors: with one for each, qemu 7.2 lets a processor run code that
    // the kernel is patching on the other (seen: an oops in `sched_clock_cpu` at boot).
    command.args(["-machine", "q35", "-accel", "tcg,thread=single"]);
    command.args(["-cpu", "max", "-m", &MEMORY_MIB.to_string(), "-smp", &CPUS.to_string()]);
    command.arg("-serial").arg(format!("file:{}", image.console.display()));
    command.args(["-serial", "stdio"]);
    command.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(&image.file);
    command.arg("-append").arg(format!("console=ttyS0 panic=-1 loglevel=5 {MARK}"));
    let line = command_line(&command);
    say(format_args!("$ {line}"));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut qemu = Killed(child.with_context(|| format!("cannot run `{line}`"))?);
    let lines = lines_of(qemu.0.stdout.take().context("no stdout of qemu")?);
    let done = follow(&lines, whole, tally);
    if !done {
        say(format_args!("the kernel's last words are in {}", image.console.display()));
    }
    Ok(done)
}

/// Takes lines until the machine reports that it is done (true), ends, or is late.
fn follow(lines: &Receiver<String>, whole: Duration, tally: &mut Tally) -> bool {
    let begun = Instant::now();
    let mut patience = BOOT_MAX;
    let mut last = String::new();
    loop {
        match lines.recv_timeout(patience.saturating_sub(begun.elapsed())) {
            Ok(line) => {
                patience = whole;
                if line == image::DONE {
                    return true;
                }
                if line.starts_with(image::RUNNING) {
                    last.clone_from(&line);
                }
                println!("{line}");
                read_line(&line, tally);
            }
            Err(RecvTimeoutError::Timeout) => {
                say(format_args!("killed the machine after {:?}; last was {last:?}", patience));
                return false;
            }
            Err(RecvTimeoutError::Disconnected) => {
                say(format_args!("the machine ended before its tests; last was {last:?}"));
                return false;
            }
        }
    }
}

/// Counts a line of libtest, or one of the image's own about a binary.
fn read_line(line: &str, tally: &mut Tally) {
    if let Some(test) = line.strip_prefix(image::SKIPPED) {
        tally.count_skipped(&[test.to_owned()]);
    } else if line.starts_with(image::BROKEN) {
        tally.failed += 1;
    } else {
        tally.read_line(line);
    }
}

fn lines_of(stdout: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests;
