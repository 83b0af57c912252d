use super::*;

const HOST: &str = "\
23 1 0:22 / /sys rw shared:7 - sysfs sysfs rw
42 23 0:39 / /sys/fs/bpf rw,relatime shared:9 - bpf bpf rw
";

#[test]
fn what_the_machines_init_has_mounted_outlives_us() {
    let own = "99 98 0:39 / /sys/fs/bpf rw,relatime - bpf bpf rw\n";
    assert!(outlives("0:39", HOST, Some(HOST)), "in one namespace with it");
    assert!(outlives("0:39", own, Some(HOST)), "bound into a container of its PID namespace");
}

#[test]
fn what_only_our_namespace_has_mounted_may_end_with_it() {
    let own = "99 98 0:52 / /sys/fs/bpf rw,relatime - bpf bpf rw\n";
    assert!(!outlives("0:52", own, Some(HOST)));
    assert!(!outlives("0:52", own, None));
    assert!(!outlives("0:39", HOST, None), "shared among containers' own mounts, perhaps");
}

#[test]
fn a_slave_of_a_mount_elsewhere_outlives_us() {
    let own = "99 98 0:39 / /sys/fs/bpf rw,relatime master:9 - bpf bpf rw\n";
    assert!(outlives("0:39", own, None));
    assert!(!outlives("0:40", own, None), "another file system is");
    let named = "99 98 0:39 / /master:9 rw - bpf master:9 rw\n";
    assert!(!outlives("0:39", named, None), "a name is no tag");
}

#[test]
fn a_directory_that_is_not_there_is_doubted() {
    assert!(doubt(Path::new("/nonexistent/push")).expect("a doubt").contains("/nonexistent"));
}
