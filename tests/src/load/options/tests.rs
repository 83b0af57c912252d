use super::*;

fn parse(line: &str) -> Result<Options, clap::Error> {
    Options::try_parse_from(line.split(' '))
}

#[test]
fn ping_wants_a_pace() {
    let start = "push-load ping --target 127.0.0.1:1 --seconds 1";
    assert!(parse(start).is_err());
    for pace in ["--interval-ms 5", "--rate 5", "--inflight 5", "--interval-ms 5 --inflight 5"] {
        assert!(parse(&format!("{start} {pace}")).is_ok(), "{pace}");
    }
    for pace in ["--interval-ms 5 --rate 5", "--interval-ms 0", "--inflight 0", "--rate x"] {
        assert!(parse(&format!("{start} {pace}")).is_err(), "{pace}");
    }
}

#[test]
fn publish_wants_an_end() {
    let start = "push-load publish --target 127.0.0.1:1";
    assert!(parse(start).is_err());
    for end in ["--messages 5", "--seconds 5", "--messages 5 --seconds 5"] {
        assert!(parse(&format!("{start} {end}")).is_ok(), "{end}");
    }
    let absent = "--clients 100000 --absent --publishers 8 --connect-concurrency 100";
    let options = parse(&format!("{start} --messages 5 {absent}")).unwrap();
    assert_eq!(options.mode.connections(), 108);
}

#[test]
fn throughput_is_by_a_window_or_at_a_rate() {
    let start = "push-load throughput --target 127.0.0.1:1 --seconds 1 --shape fan-out";
    for pace in ["--window 5", "--rate 5", "--qos 1"] {
        let options = parse(&format!("{start} {pace} --clients 50"));
        assert_eq!(options.unwrap().mode.connections(), 51, "{pace}");
    }
    for wrong in ["--window 5 --rate 5", "--qos 2", "--payload-bytes 17", "--window 0"] {
        assert!(parse(&format!("{start} {wrong}")).is_err(), "{wrong}");
    }
}

#[test]
fn sources_repeat() {
    let line = "push-load idle --target [::1]:1 --source ::1 --source ::2 --keep-alive 9";
    let Mode::Idle(idle) = parse(line).unwrap().mode else { panic!("not idle") };
    assert_eq!(idle.common.source.len(), 2);
    assert_eq!((idle.common.keep_alive_secs, idle.hold), (Some(9), false));
}
