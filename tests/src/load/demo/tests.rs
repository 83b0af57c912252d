use super::*;

#[test]
fn publishes_go_to_devices_that_subscribe_and_exist() {
    for devices in [0, 1, 2, 11, 12, 100] {
        let mut roles = Roles::new(true, 0);
        let subscribers = (0..devices).filter(|&number| roles.subscribes(number)).count();
        for second in 0..20 {
            let now_ns = second * PUBLISH_INTERVAL_NS;
            let number = roles.take_publish(now_ns, devices);
            assert_eq!(number.is_some(), subscribers > 0, "of {devices}");
            assert!(number.is_none_or(|number| number < devices && roles.subscribes(number)));
            assert_eq!(roles.take_publish(now_ns, devices), None, "one a second");
        }
    }
}

#[test]
fn without_demo_and_on_other_threads_nobody_publishes() {
    assert_eq!(Roles::new(false, 0).next_publish_ns(), None);
    assert_eq!(Roles::new(true, 1).next_publish_ns(), None);
    assert!(!Roles::new(false, 0).subscribes(1));
    assert!(Roles::new(true, 1).subscribes(1));
}
