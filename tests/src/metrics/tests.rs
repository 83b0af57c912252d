use super::*;

#[test]
fn samples_are_found_whatever_the_order_of_labels() {
    let metrics = Metrics::parse("# TYPE push_x counter\npush_x_total{b=\"1\",a=\"2\"} 7\n");
    assert_eq!(metrics.find("push_x_total{a=\"2\",b=\"1\"}"), Some(7));
    assert_eq!(metrics.find("push_x_total"), None);
    assert!(metrics.has_name("push_x_total"));
    assert!(!metrics.has_name("push_y_total"));
}
