//! Why the kernel path cannot serve: what a start reports.

use std::io;
use std::path::PathBuf;

/// The usual mount point of the BPF file system; the server mounts it there if it is missing.
pub(super) const BPF_ROOT: &str = "/sys/fs/bpf";

/// Why the kernel path cannot serve. Every message names the cause and the setting to change.
#[derive(Debug, thiserror::Error)]
pub enum KernelPathError {
    /// The binary was built without the eBPF object.
    #[error("this binary was built without the eBPF object: build it by `cargo xtask build`")]
    NotBuiltIn,
    /// No connections, no shards, or too many of them.
    #[error("the kernel path serves 1 to 64 shards and at least one connection")]
    Size,
    /// TCX is missing.
    #[error("kernel {release} is too old for the kernel path: 6.6 or later is needed (TCX)")]
    Kernel {
        /// The running kernel.
        release: String,
    },
    /// The process may not load programs.
    #[error(
        "missing {missing}: start as root, or grant CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON \
         (`setcap cap_bpf,cap_net_admin,cap_perfmon+ep`, or AmbientCapabilities= in systemd)"
    )]
    Capabilities {
        /// Their names.
        missing: String,
    },
    /// The interfaces could not be listed.
    #[error("cannot list the network interfaces")]
    Interfaces(#[source] io::Error),
    /// No interface to attach to.
    #[error("no interface owns the listen addresses: name one with --iface")]
    NoInterface,
    /// A named interface does not exist.
    #[error("no interface {interface} for --iface; there are: {found}")]
    InterfaceNotFound {
        /// The name asked for.
        interface: String,
        /// The existing names.
        found: String,
    },
    /// A named interface does not use Ethernet headers.
    #[error("interface {interface} has no Ethernet header; --iface takes lo, veth and Ethernet")]
    InterfaceKind {
        /// Its name.
        interface: String,
    },
    /// Two of the interfaces see the same packets.
    #[error(
        "{lower} is part of {upper}, which sees its packets again: leave {lower} out of --iface"
    )]
    Stacked {
        /// The lower one.
        lower: String,
        /// The upper one.
        upper: String,
    },
    /// The kernel refused the object or its maps.
    #[error("the kernel refused the maps of the kernel path (memory limit of the cgroup?)")]
    Maps(#[source] Box<aya::EbpfError>),
    /// A map could not be mapped into memory.
    #[error("cannot mmap the liveness slots (RLIMIT_AS?)")]
    Mmap(#[source] io::Error),
    /// The embedded object lacks something that the server expects.
    #[error("the embedded eBPF object has no {0}: rebuild by `cargo xtask build`")]
    Object(&'static str),
    /// The verifier refused a program.
    #[error("the kernel's verifier refused {program}")]
    Verifier {
        /// Its name.
        program: &'static str,
        /// The verifier's message.
        source: aya::programs::ProgramError,
    },
    /// Too many programs of dead servers are needed by sockets that still send.
    #[error(
        "{count} servers that died before have sockets that still send, and need their programs; \
         at most {max} may be left (--generations-max)"
    )]
    Crowded {
        /// Servers whose programs are still needed.
        count: usize,
        /// How many may be left.
        max: usize,
    },
    /// The directory for pins could not be made.
    #[error(transparent)]
    PinDir(#[from] PinError),
    /// A map or link could not be pinned.
    #[error("cannot pin at {}", path.display())]
    Pin {
        /// The pin's path.
        path: std::path::PathBuf,
        /// The kernel's reason.
        source: aya::pin::PinError,
    },
    /// A program could not be attached.
    #[error("cannot attach to interface {interface} by TCX")]
    Attach {
        /// Its name.
        interface: String,
        /// The kernel's reason.
        source: aya::programs::ProgramError,
    },
}

/// Why pinning is impossible.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Another process holds the directory.
    #[error(
        "another push-server runs with --bpf-dir {}: stop it, or give this one another directory",
        .0.display()
    )]
    InUse(PathBuf),
    /// The directory is not on a BPF file system.
    #[error("{} is on no BPF file system (`mount -t bpf bpf {BPF_ROOT}`)", .0.display())]
    NotBpf(PathBuf),
    /// Another error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path that failed.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}
