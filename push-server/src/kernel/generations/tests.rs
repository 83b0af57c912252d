use push_common::heartbeat::Heartbeat;

use super::*;

const NOW: u32 = 10_000;

fn flow(n: u32, stack_secs: u32) -> Flow {
    Flow { n, stack_secs, ..Flow::new(0, 0, Heartbeat::PLAIN, 0) }
}

#[test]
fn a_flow_that_never_answered_needs_nothing() {
    for socket in [None, Some(SocketState::Sends), Some(SocketState::Gone)] {
        assert_eq!(flow_need(&flow(0, NOW), socket, NOW), Need::Nothing);
    }
}

#[test]
fn a_socket_that_sends_keeps_its_generation_however_long_it_is_silent() {
    for stack_secs in [NOW, NOW - 126, 0] {
        let need = flow_need(&flow(1, stack_secs), Some(SocketState::Sends), NOW);
        assert_eq!(need, Need::Sending);
    }
    assert_eq!(flow_need(&flow(1, NOW), Some(SocketState::HeardOut), NOW), Need::Courtesy);
    assert_eq!(flow_need(&flow(1, NOW), Some(SocketState::Gone), NOW), Need::Nothing);
}

#[test]
fn where_the_kernel_cannot_be_asked_a_silence_longer_than_tcps_ends_the_need() {
    let need = |stack_secs| flow_need(&flow(1, stack_secs), None, NOW);
    assert_eq!(need(NOW - 124), Need::Sending);
    assert_eq!(need(NOW - 125), Need::Nothing);
    assert_eq!(need(NOW + 1), Need::Sending, "stamped while we looked");
}

#[test]
fn a_generation_is_named_by_a_free_number_and_its_network() {
    let dir = Path::new("/pins");
    let first = new_path(dir, &[]);
    let second = new_path(dir, std::slice::from_ref(&first));
    assert_ne!(first, second);
    assert_eq!(made_in(&first), Some(network_namespace()));
    assert_eq!(made_in(&second), Some(network_namespace()));
    assert_ne!(made_in(Path::new("/pins/generation-0")), Some(network_namespace()));
}

#[test]
fn what_could_not_be_removed_keeps_its_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = new_path(dir.path(), &[]);
    fs::create_dir(&first).expect("make it");
    assert_ne!(new_path(dir.path(), &[]), first);
}

#[test]
fn removing_takes_links_and_maps_and_names_the_links() {
    let dir = tempfile::tempdir().expect("a directory");
    let generation = dir.path().join("generation-0-1");
    fs::create_dir(&generation).expect("make it");
    for name in [FLOWS_PIN, HEARTBEATS_PIN, "push_egress-1"] {
        fs::write(generation.join(name), "").expect("fill it");
    }
    let removed = remove(&generation).expect("removed");
    assert_eq!(removed, [generation.join("push_egress-1")]);
    assert!(!generation.exists());
    assert!(remove(&generation).expect("as good").is_empty());
}

#[test]
fn what_cannot_be_read_has_its_time_and_an_empty_directory_none() {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["generation-0", "generation-1"] {
        fs::create_dir(dir.path().join(name)).expect("make it");
    }
    fs::write(dir.path().join("generation-1/push_egress-1"), "").expect("fill it");
    let found = Generations::open(dir.path(), 1).expect("open");
    found.remove_unneeded();
    assert_eq!(found.paths(), [dir.path().join("generation-1")]);
    assert_eq!(found.figures().left(), 1);
    assert!(!dir.path().join("generation-0").exists());
    assert_eq!((found.crowd(), found.figures().limit_hit()), (None, 0));
}

#[test]
fn more_than_may_be_attached_are_told_and_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let generation = dir.path().join("generation-0");
    fs::create_dir(&generation).expect("make it");
    fs::write(generation.join("push_egress-1"), "").expect("fill it");
    let found = Generations::open(dir.path(), 0).expect("open");
    found.remove_unneeded();
    assert_eq!((found.crowd(), found.figures().limit_hit()), (Some(1), 1));
}
