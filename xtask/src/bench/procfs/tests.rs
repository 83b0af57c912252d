use super::*;

const TICK_US: u64 = 10_000;

#[test]
fn busy_time_leaves_out_idle_io_wait_stolen_and_guests() {
    let text = "cpu  1 2 4 1000 2000 8 16 5000 1 2\ncpu0 0 0 0\ncpu1 0 0 0\nintr 5 1\n";
    let time = parse_machine_time(text, TICK_US).unwrap();
    assert_eq!(time.busy_us, 310_000);
    assert_eq!(time.idle_us, 30_000_000);
    assert_eq!(time.stolen_us, 50_000_000);
    assert_eq!(time.processors, 2);
}

#[test]
fn odd_stat_is_an_error() {
    assert!(parse_machine_time("", TICK_US).is_err());
    assert!(parse_machine_time("cpu  1 2 3\n", TICK_US).is_err());
    assert!(parse_machine_time("cpu  1 2 x 4 5 6 7 8\n", TICK_US).is_err());
}

#[test]
fn process_time_is_found_behind_any_name() {
    let text = "42 (a ) R b) S 1 42 42 0 -1 4194304 100 0 0 0 150 50 7 8 20 0 3 0 9 0 0";
    assert_eq!(parse_process_us(text, TICK_US).unwrap(), 2_000_000);
    assert!(parse_process_us("42 (short) S 1", TICK_US).is_err());
}

#[test]
fn bytes_written_are_without_those_taken_back() {
    let text = "rchar: 9\nwchar: 8\nread_bytes: 7\nwrite_bytes: 4096\ncancelled_write_bytes: 96\n";
    assert_eq!(parse_written(text).unwrap(), 4_000);
    assert!(parse_written("rchar: 9\n").is_err());
}

#[test]
fn file_system_is_that_of_the_nearest_mount() {
    let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\ndata /tmp/data xfs rw 0 0\n";
    let found = |path: &str| parse_file_system(mounts, Path::new(path)).unwrap();
    assert_eq!(found("/work/target"), "ext4 on /dev/vda");
    assert_eq!(found("/tmp/data/a"), "xfs on data");
    assert_eq!(found("/tmp/database"), "tmpfs on tmpfs");
    assert_eq!(parse_file_system("", Path::new("/")), None);
}

#[test]
fn run_time_is_the_first_field_of_schedstat() {
    assert_eq!(parse_run_ns("52247 17 1\n").unwrap(), 52_247);
    assert!(parse_run_ns("").is_err());
}

fn process(threads_ns: &[(u32, u64)], group_us: u64) -> ProcessTime {
    ProcessTime { threads_ns: threads_ns.iter().copied().collect(), group_us }
}

#[test]
fn threads_are_added_and_new_ones_count_from_zero() {
    let before = process(&[(1, 5_000_000), (2, 1_000_000)], 0);
    let after = process(&[(1, 6_000_000), (2, 1_500_000), (3, 250_000)], 10_000);
    assert_eq!(after.since_us(&before, TICK_US), 1_750.0);
}

#[test]
fn time_of_ended_threads_comes_from_the_process() {
    let before = process(&[(1, 0), (2, 40_000_000)], 40_000);
    let after = process(&[(1, 10_000_000)], 540_000);
    assert_eq!(after.since_us(&before, TICK_US), 500_000.0);
}

#[test]
fn reused_thread_number_counts_from_zero() {
    let before = process(&[(1, 0), (2, 40_000_000)], 40_000);
    let after = process(&[(1, 0), (2, 3_000_000)], 40_000);
    assert_eq!(after.since_us(&before, TICK_US), 3_000.0);
}

#[test]
fn sizes_are_bytes() {
    let text = "Rss:                8148 kB\nHugePages_Total:       0\nbroken\n";
    let sizes = Sizes::parse(text);
    assert_eq!(sizes.bytes("Rss").unwrap(), 8_148 * 1_024);
    assert!(sizes.bytes("HugePages_Total").is_err());
    assert!(sizes.bytes("Anonymous").is_err());
}

#[test]
fn time_wait_sockets_and_queue_pages_are_found() {
    let text = "sockets: used 99\nTCP: inuse 5 orphan 0 tw 12 alloc 7 mem 3\nUDP: inuse 1 mem 9\n";
    let expected = TcpSockets { time_wait: 12, queue_pages: 3 };
    assert_eq!(parse_tcp_sockets(text).unwrap(), expected);
    assert!(parse_tcp_sockets("UDP: inuse 1 mem 9\n").is_err());
}

#[test]
fn bpf_map_states_its_memory() {
    let text = "pos:\t0\nflags:\t02\nmap_type:\t1\nmax_entries:\t8\nmemlock:\t4096\nmap_id:\t17\n";
    assert_eq!(parse_bpf_map(text), Some((17, 4_096)));
    assert_eq!(parse_bpf_map("pos:\t0\nprog_id:\t3\nmemlock:\t4096\n"), None);
}

#[test]
fn own_process_can_be_read() {
    let pid = std::process::id();
    let before = ProcessTime::read(pid).unwrap();
    assert!(ProcessTime::read(pid).unwrap().since_us(&before, tick_us()) >= 0.0);
    assert!(ProcessMemory::read(pid).unwrap().anonymous > 0);
    assert!(KernelMemory::read().unwrap().slab > 0);
    assert!(MachineTime::read().unwrap().busy_us > 0);
    assert_eq!(bpf_map_bytes(pid).unwrap(), 0);
}
