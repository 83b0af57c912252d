use super::*;

#[test]
fn release_is_compared_by_number() {
    assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
    assert!(version("6.6.0").unwrap() >= KERNEL_MIN);
    assert!(version("6.5.13").unwrap() < KERNEL_MIN);
    assert!(version("10.0-rc1").unwrap() >= KERNEL_MIN);
    assert_eq!(version("weird"), None);
}
