use super::*;

#[test]
fn counts_are_told_from_other_lines() {
    let line = "{\"event\":\"done\",\"sent\":10,\"answered\":9,\"missing\":1,\"closed\":0,\
            \"rtt_us\":{\"p50\":20,\"p99\":40.5,\"p999\":50,\"max\":60},\"cpu_us\":77,\
            \"seconds\":1.0}";
    let outcome: Outcome = serde_json::from_str(line).unwrap();
    assert_eq!((outcome.sent, outcome.answered, outcome.missing), (10, 9, 1));
    assert_eq!((outcome.rtt_us.p99, outcome.cpu_us, outcome.skipped), (40.5, 77.0, 0));
    assert!(parse_ready(line).is_none());
}

#[test]
fn counts_of_publishing_are_told_from_other_lines() {
    let times = "{\"p50\":20,\"p99\":40,\"p999\":50,\"max\":60}";
    let line = format!(
        "{{\"event\":\"done\",\"mode\":\"publish\",\"sent\":9,\"acknowledged\":8,\"missing\":1,\
             \"delivered\":7,\"measured\":6,\"delivered_measured\":5,\"ack_us\":{times},\
             \"delivery_us\":{times},\"cpu_us\":77,\"seconds\":1.5}}"
    );
    let published: Published = serde_json::from_str(&line).unwrap();
    assert_eq!((published.sent, published.measured, published.missing), (9, 6, 1));
    assert!(serde_json::from_str::<Outcome>(&line).is_err());
    assert_eq!(parse_event(&line).as_deref(), Some("done"));
    assert_eq!(parse_event("{\"event\":\"begin\"}").as_deref(), Some("begin"));
    assert_eq!(parse_event("{}"), None);
}

#[test]
fn ready_is_told_from_other_lines() {
    let line = "{\"event\":\"ready\",\"clients\":9,\"connected\":8,\"closed\":0}";
    let ready = parse_ready(line).unwrap();
    assert_eq!((ready.clients, ready.connected), (9, 8));
    assert!(serde_json::from_str::<Outcome>(line).is_err());
    assert!(parse_ready("push-load: hello").is_none());
}
