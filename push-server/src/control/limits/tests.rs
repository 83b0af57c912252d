use super::*;

fn found(descriptors: Option<u64>) -> ProcessLimits {
    ProcessLimits { descriptors, locked_bytes: Some(8 << 20), memory_bytes: 1 << 30 }
}

/// Two shards with two listeners each.
fn asked(connections_max: Option<u32>, durability: DurabilityMode) -> Config {
    Config { connections_max, durability, shards: 2, ..Config::default() }
}

#[test]
fn connections_are_descriptors_less_the_reserve() {
    let found = found(Some(20_000));
    for (durability, store) in [(DurabilityMode::Fsync, 240), (DurabilityMode::Off, 0)] {
        let asked = |connections_max| asked(connections_max, durability);
        let left = 20_000 - (96 + 65 + store + 2 * (20 + 2));
        assert_eq!(found.connections_max(&asked(None)), Ok(left));
        assert_eq!(found.connections_max(&asked(Some(100))), Ok(100));
        assert_eq!(found.connections_max(&asked(Some(50_000))), Ok(left));
    }
}

#[test]
fn unlimited_descriptors_do_not_mean_unlimited_slots() {
    let asked = |connections_max| asked(connections_max, DurabilityMode::Fsync);
    assert_eq!(found(None).connections_max(&asked(None)), Ok(CONNECTIONS_DEFAULT_MAX));
    assert_eq!(found(None).connections_max(&asked(Some(5_000_000))), Ok(5_000_000));
}

#[test]
fn memory_is_the_machines_or_what_the_narrowest_control_group_allows() {
    let root = tempfile::tempdir().expect("a directory");
    let put = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    };
    assert_eq!(memory_bytes(root.path()), MEMORY_BYTES_UNKNOWN);
    put("proc/meminfo", "MemFree: 7 kB\nMemTotal:       2048 kB\n");
    assert_eq!(memory_bytes(root.path()), 2 << 20);
    // Version 2: a group without a limit in one that has it.
    put("proc/self/cgroup", "0::/system.slice/push.service\n");
    put("sys/fs/cgroup/system.slice/push.service/memory.max", "max\n");
    assert_eq!(memory_bytes(root.path()), 2 << 20);
    put("sys/fs/cgroup/system.slice/memory.max", "1048576\n");
    assert_eq!(memory_bytes(root.path()), 1 << 20);
    // Version 1: a number that means none, and one that does.
    put("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/docker/b\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_eq!(memory_bytes(root.path()), 2 << 20);
    put("sys/fs/cgroup/memory/docker/b/memory.limit_in_bytes", "524288\n");
    assert_eq!(memory_bytes(root.path()), 1 << 19);
}

#[test]
fn too_few_descriptors_name_the_knob() {
    let config = asked(None, DurabilityMode::Off);
    let error = found(Some(205)).connections_max(&config).expect_err("no room");
    let message = error.to_string();
    assert!(message.contains("205 descriptors are too few"), "{message}");
    assert!(message.contains("ulimit -Hn") && message.contains("LimitNOFILE="), "{message}");
}
