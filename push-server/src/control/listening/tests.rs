use super::super::observed::tests::{kernel_path, user_path};
use super::*;

fn over(path: &PingPath, interfaces: &[&str]) -> String {
    heartbeats(path, Ok(interfaces.iter().map(|name| (*name).to_owned()).collect()))
}

#[test]
fn who_answers_is_said_for_each_interface_of_a_listener() {
    // Attached to lo and eth0.
    let kernel = kernel_path(Vec::new());
    assert_eq!(over(&kernel, &["lo"]), "kernel on lo");
    assert_eq!(over(&kernel, &["wlan0"]), "user space: no program is attached to wlan0");
    assert_eq!(
        over(&kernel, &["eth0", "lo", "wlan0"]),
        "kernel on eth0, lo; user space on wlan0, where no program is attached"
    );
    let unknown = heartbeats(&kernel, Err(io::ErrorKind::PermissionDenied.into()));
    assert_eq!(unknown, "kernel on lo, eth0, user space elsewhere");
    assert_eq!(over(&kernel, &[]), unknown);
    assert_eq!(over(&user_path(), &["lo"]), "user space: CAP_BPF is missing");
}
