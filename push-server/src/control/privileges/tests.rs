use super::*;

#[test]
fn what_is_permitted_becomes_effective_and_nothing_else_is_permitted() {
    std::thread::spawn(|| {
        let permitted = caps::read(None, CapSet::Permitted).expect("permitted set");
        caps::clear(None, CapSet::Effective).expect("a set made smaller");
        raise_permitted();
        assert_eq!(caps::read(None, CapSet::Effective).expect("effective set"), permitted);
        assert_eq!(caps::read(None, CapSet::Permitted).expect("permitted set"), permitted);
    })
    .join()
    .expect("thread");
}

#[test]
fn a_thread_that_needs_none_has_none() {
    let held = || {
        drop_all();
        caps::read(None, CapSet::Permitted).expect("permitted set")
    };
    assert!(std::thread::spawn(held).join().expect("thread").is_empty());
}

/// In a thread of its own, so that other tests keep their capabilities.
#[test]
fn each_step_leaves_only_its_list_and_never_adds() {
    let before = caps::read(None, CapSet::Permitted).expect("permitted set");
    let (loaded, started, is_sealed) = std::thread::spawn(|| {
        drop_after_load();
        let loaded = caps::read(None, CapSet::Permitted).expect("permitted set");
        drop_after_start();
        let started = caps::read(None, CapSet::Permitted).expect("permitted set");
        assert_eq!(caps::read(None, CapSet::Effective).expect("effective set"), started);
        (loaded, started, rustix::thread::no_new_privs().expect("no_new_privs"))
    })
    .join()
    .expect("thread");
    let first = [RUN_CAPABILITIES, START_CAPABILITIES].concat();
    assert_eq!(loaded, before.iter().filter(|held| first.contains(held)).copied().collect());
    let second = RUN_CAPABILITIES;
    assert_eq!(started, before.iter().filter(|held| second.contains(held)).copied().collect());
    assert!(is_sealed, "no_new_privs");
    assert_eq!(caps::read(None, CapSet::Permitted).expect("permitted set"), before);
    if before.is_empty() {
        eprintln!("skipped the dropping itself: this process holds no capability");
    }
}
