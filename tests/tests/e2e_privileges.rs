//! Least privilege: what the server needs to have the kernel answer, that it names what is missing,
//! and that it keeps nothing of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use push_tests::clients::{Client, Connect};
use push_tests::expectations::wait_for;
use push_tests::server::{PingPath, Place, Server, server_binary};
use push_tests::skip::{Skip, TestResult, need_kernel_path_kernel, need_root};
use push_tests::stand_in;
use push_tests::wire::Version;
use push_tests::{both_paths, claims};

const NEEDED: [&str; 3] = ["bpf", "net_admin", "perfmon"];

claims! {
    three_capabilities_instead_of_root_are_enough,
    a_missing_capability_is_named,
    root_unpins_what_another_user_pinned,
    capabilities_of_the_file_that_are_only_permitted_are_used,
    what_is_stored_is_for_the_servers_user_alone,
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
            .args(["--durability", "off"])
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

/// As a package sets them: `setcap ...+p`. The server then has to make them effective itself.
fn capabilities_of_the_file_that_are_only_permitted_are_used() -> TestResult {
    need_root()?;
    need_kernel_path_kernel()?;
    let home = tempfile::tempdir().expect("a directory");
    fs::set_permissions(home.path(), Permissions::from_mode(0o755)).expect("opened to nobody");
    let binary = home.path().join("push-server");
    fs::copy(server_binary()?, &binary).expect("copy the server");
    let names = NEEDED.map(|name| format!("cap_{name}")).join(",");
    let set = Command::new("setcap").arg(format!("{names}+p")).arg(&binary).output();
    if !set.is_ok_and(|set| set.status.success()) {
        return Err(Skip::missing("setcap, or a file system that keeps capabilities"));
    }
    // It stops at its users, which it reads when the kernel path is loaded.
    let Output { stderr, .. } = Command::new("unshare")
        .args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
        .args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&binary)
        .args(["run", "--listen", "127.0.0.1:1883", "--http", "127.0.0.1:9880"])
        .args(["--kernel-path", "require", "--bpf-dir", "/nonexistent/push"])
        .args(["--durability", "off", "--users", "/nonexistent/users"])
        .output()
        .expect("run unshare");
    let said = String::from_utf8_lossy(&stderr);
    assert!(said.contains("heartbeats are answered by the kernel on lo"), "{said}");
    assert!(said.contains("cannot read /nonexistent/users"), "{said}");
    Ok(())
}

fn what_is_stored_is_for_the_servers_user_alone() -> TestResult {
    stand_in::not_for("stores otherwise")?;
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let server = Server::with(PingPath::User).data_dir(&data).start()?;
    let mut sleeper =
        Client::connect(server.target(), &Connect::new(Version::V5, "sleeper").persistent());
    sleeper.subscribe(&[("a", 1)]);
    let mut folders = vec![data];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        let mode = fs::metadata(&folder).expect("a folder").permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{}", folder.display());
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // The store may have removed it meanwhile.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let mode = metadata.permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
            files += 1;
        }
    }
    assert!(files > 0, "nothing is stored");
    server.finish();
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
