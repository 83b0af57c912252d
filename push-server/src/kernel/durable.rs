//! Whether pins outlive this process. A BPF file system lives while it is mounted somewhere, and a
//! mount while its mount namespace lives: in a container, or under `ip netns exec`, that may end
//! with this process, and the programs with it.
//!
//! Two things prove that pins outlive the process: the machine's init has the file system mounted,
//! or the mount here is the slave of one elsewhere. In every other case the server prepares for a
//! crash that takes the programs along.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{major, minor, stat};

/// This directory exists if systemd has started the machine (`sd_booted`).
const SYSTEMD: &str = "/run/systemd/system";
/// The first PID namespace (`PROC_PID_INIT_INO` of the kernel).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Why pins in `dir` may not outlive this process; `None`: they do.
pub(super) fn doubt(dir: &Path) -> Option<String> {
    let shown = dir.display();
    let found = stat(dir).map_err(io::Error::from);
    let device = match found {
        Ok(found) => format!("{}:{}", major(found.st_dev), minor(found.st_dev)),
        Err(error) => return Some(format!("{shown}: {error}")),
    };
    let own = match fs::read_to_string("/proc/self/mountinfo") {
        Ok(own) => own,
        Err(error) => return Some(format!("/proc/self/mountinfo: {error}")),
    };
    let init = init_outlives_us().then(|| fs::read_to_string("/proc/1/mountinfo").ok()).flatten();
    if outlives(&device, &own, init.as_deref()) {
        return None;
    }
    Some(format!(
        "the BPF file system of {shown} may end with this process's mount namespace: mount the \
         machine's there, in containers by /sys/fs/bpf:/sys/fs/bpf:rslave"
    ))
}

/// Whether process 1 is the machine's init. A container's may end with this process.
fn init_outlives_us() -> bool {
    let namespace = fs::read_link("/proc/self/ns/pid");
    let is_first = namespace.is_ok_and(|name| name == Path::new(FIRST_PID_NAMESPACE));
    std::process::id() != 1 && (is_first || Path::new(SYSTEMD).is_dir())
}

/// Whether the file system on `device` outlives this process, by its own mounts and those of an
/// init that does (`/proc/PID/mountinfo`).
fn outlives(device: &str, own: &str, init: Option<&str>) -> bool {
    let is_held = init.is_some_and(|init| init.lines().any(|line| is_of(line, device)));
    is_held || own.lines().any(|line| is_of(line, device) && is_slave(line))
}

/// Fields: mount, parent, device, root, mount point, options, tags, `-`, and more.
fn is_of(line: &str, device: &str) -> bool {
    line.split(' ').nth(2) == Some(device)
}

/// A slave mount comes from another namespace, which has the file system too.
fn is_slave(line: &str) -> bool {
    let tags = line.split(' ').skip(6).take_while(|&field| field != "-");
    tags.into_iter().any(|tag| tag.starts_with("master:"))
}

#[cfg(test)]
mod tests;
