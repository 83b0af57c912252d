//! Kernels from 6.1 to 6.5 serve, but not on the kernel path: the server says so, and why. Skipped
//! where the kernel is newer; `cargo xtask test vm 6.1` has such a kernel.

use std::process::{Command, Output};

use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, Place, Server, server_binary};
use push_tests::skip::{Skip, TestResult, need_root, old_kernel};
use push_tests::wire::VERSIONS;

claims! {
    an_older_kernel_is_served_on_the_user_path_with_the_reason,
    an_older_kernel_ends_a_server_that_requires_the_kernel_path,
}

fn an_older_kernel_is_served_on_the_user_path_with_the_reason() -> TestResult {
    let reason = refusal()?;
    for place in [Place::LoopbackV6, Place::VethV4] {
        let server = Server::with(PingPath::User).kernel_path("auto").place(place).start()?;
        server.wait_log(&format!("heartbeats are answered in user space: {reason}"));
        assert!(server.pins().links().is_empty(), "{:?}", server.pins().links());
        for version in VERSIONS {
            let mut client = Client::connect(server.target(), &Connect::new(version, "client"));
            client.ping();
        }
        let metrics = server.metrics();
        let active = format!("push_kernel_path_active{{reason=\"{reason}\"}} 0");
        assert!(metrics.text().contains(&active), "no {active} in\n{}", metrics.text());
        assert_eq!((metrics.user_pings(), metrics.kernel_pings()), (2, 0));
        server.finish();
    }
    Ok(())
}

fn an_older_kernel_ends_a_server_that_requires_the_kernel_path() -> TestResult {
    let reason = refusal()?;
    let Output { status, stderr, .. } = Command::new(server_binary()?)
        .args(["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .args(["--kernel-path", "require", "--bpf-dir", "/sys/fs/bpf/push-old-kernel"])
        .args(["--durability", "off"])
        .output()
        .expect("run the server");
    let said = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("--kernel-path require: {reason}")), "{said}");
    Ok(())
}

/// What the server says of this kernel, or the reason to skip.
fn refusal() -> Result<String, Skip> {
    need_root()?;
    let newer =
        || Skip::missing("this kernel is 6.6 or later; `cargo xtask test vm 6.1` has another");
    let release = old_kernel().ok_or_else(newer)?;
    Ok(format!("kernel {release} is too old for the kernel path: 6.6 or later is needed (TCX)"))
}
