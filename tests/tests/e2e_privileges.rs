//! Least privilege: what the server needs to have the kernel answer, that it names what is missing,
//! and that it keeps nothing of it.

use std::fs;
use std::process::{Command, Output};

use push_tests::clients::{Client, Connect};
use push_tests::expectations::wait_for;
use push_tests::server::{PingPath, Place, Server, server_binary};
use push_tests::skip::{TestResult, need_kernel_path_kernel, need_root};
use push_tests::wire::Version;
use push_tests::{both_paths, claims};

const NEEDED: [&str; 3] = ["bpf", "net_admin", "perfmon"];

claims! {
    three_capabilities_instead_of_root_are_enough,
    a_missing_capability_is_named,
    root_unpins_what_another_user_pinned,
}

both_paths! {
    a_serving_process_has_no_capability_but_what_its_shards_start_with,
}

fn three_capabilities_instead_of_root_are_enough() -> TestResult {
    need_root()?;
    let server =
        Server::with(PingPath::Kernel).place(Place::VethV4).as_nobody_with(&NEEDED).start()?;
    let mut client = Client::connect(server.target(), &Connect::new(Version::V5, "client"));
    wait_for("an answer of the kernel", || {
        std::thread::sleep(std::time::Duration::from_millis(150));
        client.ping();
        (server.metrics().kernel_pings() > 0).then_some(())
    });
    // The file system of the tests is everybody's; on root's own it goes without and says so.
    assert_eq!(server.pins().links().len(), 2, "{}", server.log());
    server.finish();
    Ok(())
}

fn a_missing_capability_is_named() -> TestResult {
    need_root()?;
    // Where the kernel is too old, that is what the server names.
    need_kernel_path_kernel()?;
    for missing in NEEDED {
        let held: Vec<_> = NEEDED.iter().filter(|name| **name != missing).copied().collect();
        let Output { status, stderr, .. } = Command::new("setpriv")
            .args(push_tests::server::nobody_with(&held))
            .arg(server_binary()?)
            .args(["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(["--kernel-path", "require", "--bpf-dir", "/nonexistent/push"])
            .output()
            .expect("run setpriv");
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{said}");
        let name = format!("missing CAP_{}:", missing.to_uppercase());
        assert!(said.contains(&name), "{name} {said}");
    }
    Ok(())
}

/// The directory is of the user that the first server ran as, who is let in alone. Root is let in by
/// a capability, which it has at its start and not at its stop.
fn root_unpins_what_another_user_pinned() -> TestResult {
    need_root()?;
    let users = Server::with(PingPath::Kernel).place(Place::VethV4).as_nobody_with(&NEEDED);
    let mut users = users.start()?;
    assert_eq!(users.pins().links().len(), 2, "{}", users.log());
    users.terminate();
    users.wait_exit();

    let roots = Server::with(PingPath::Kernel).place(Place::VethV4).pinned_as(&users);
    let mut roots = roots.start()?;
    assert_eq!(roots.pins().links().len(), 2, "{}", roots.log());
    roots.terminate();
    assert!(roots.wait_exit().0.success(), "{}", roots.log());
    assert!(roots.pins().links().is_empty(), "{}", roots.log());
    Ok(())
}

fn a_serving_process_has_no_capability_but_what_its_shards_start_with(
    path: PingPath,
) -> TestResult {
    /// CAP_NET_BIND_SERVICE and CAP_IPC_LOCK: neither opens more than a low port or locked memory.
    const SHARD_CAPABILITIES: u64 = 1 << 10 | 1 << 14;
    let server = Server::with(path).flag("--shards", 2).start()?;
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("threads");
    let mut threads = 0;
    for task in tasks {
        let status = fs::read_to_string(task.expect("a thread").path().join("status"));
        let status = status.expect("a thread's status");
        for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            let held = field(&status, set);
            assert_eq!(held & !SHARD_CAPABILITIES, 0, "{set} {held:#x}:\n{status}");
        }
        assert_eq!(field(&status, "NoNewPrivs"), 1);
        threads += 1;
    }
    assert!(threads >= 3, "{threads} threads");
    server.finish();
    Ok(())
}

/// A field of `/proc/PID/status`, in hexadecimal.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    let text = line.unwrap_or_else(|| panic!("no {name} in\n{status}")).trim();
    u64::from_str_radix(text, 16).unwrap_or_else(|_| panic!("{name}: {text}"))
}
