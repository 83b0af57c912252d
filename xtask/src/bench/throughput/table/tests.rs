use super::super::doubt::Busy;
use super::*;
use crate::bench::load::RoundTrips;

fn visit(round: u32, scenario: Scenario, server: &str, per_s: f64) -> Visit {
    Visit {
        round,
        scenario,
        server: server.to_owned(),
        per_s,
        server_us: 2.0,
        machine_us: 5.0,
        generator_us: 1.0,
        busy: Busy { server: 0.99, generator: 0.5, machine: 0.75 },
        times_us: RoundTrips { p50: 1.0, p99: 2.0, p999: 3.0, max: 4.0 },
        late_us: None,
        doubt: None,
        commands: Default::default(),
    }
}

fn contenders() -> Vec<Contender> {
    let variants = [Variant::Kernel, Variant::User, Variant::Mosquitto, Variant::BeforeUser];
    let known = variants.map(Contender::Known);
    let peer = Contender::Peer("other=other {port}".parse().unwrap());
    known.into_iter().chain([peer]).collect()
}

#[test]
fn our_user_path_is_set_against_every_other_broker_and_the_earlier_build() {
    let head = table(&contenders(), &[]).head;
    assert_eq!(head[1..6], ["kernel path", "user path", "mosquitto", "user path before", "other"]);
    assert_eq!(head[6..], ["kernel/user", "user/mosquitto", "user/other", "user/before"]);
}

#[test]
fn ratios_are_taken_within_a_round() {
    let fan_out = Scenario::FanOutQos0;
    let visits = [
        visit(0, fan_out, "user path", 50.0),
        visit(0, fan_out, "mosquitto", 100.0),
        visit(1, fan_out, "user path", 10.0),
        visit(1, fan_out, "mosquitto", 40.0),
        visit(2, fan_out, "user path", 10.0),
    ];
    let rows = summary(&ThroughputArguments::of(""), &contenders(), &visits);
    let ratio = rows[0].ratios[1].spread.unwrap();
    assert_eq!((ratio.min, ratio.max), (0.25, 0.5));
    let table = table(&contenders(), &rows);
    assert_eq!(table.rows[0][..3], ["fan-out 1 to 50, QoS 0: deliveries/s", "-", "10 (10-50)"]);
    assert_eq!(table.rows[0][7], "0.375 (0.250-0.500)");
}

#[test]
fn a_doubt_marks_the_rate_and_not_the_costs() {
    let mut doubtful = visit(0, Scenario::Connects, "user path", 9_000.0);
    doubtful.doubt = Some("because".to_owned());
    let arguments = ThroughputArguments::of("");
    let rows = summary(&arguments, &contenders(), std::slice::from_ref(&doubtful));
    let table = table(&contenders(), &rows);
    assert_eq!(table.rows[0][2], "9,000?");
    let costs = table.rows.iter().find(|row| row[0].ends_with("server CPU a connect, us"));
    assert_eq!(costs.unwrap()[2], "2.00");
    let mut later = doubtful.clone();
    (later.round, later.doubt) = (2, Some("of something else".to_owned()));
    let doubts = doubts(&arguments, &contenders(), &[doubtful, later]);
    assert_eq!(doubts, ["connects, 64 at a time, user path, round 1, 3: because"]);
}

#[test]
fn a_paced_scenario_is_told_by_its_times_and_not_by_its_rate() {
    let visits = [visit(0, Scenario::PacedQos0, "user path", 10_000.0)];
    let rows = summary(&ThroughputArguments::of(""), &contenders(), &visits);
    assert_eq!(rows[0].label, "20 pairs at 10000/s, QoS 0: to the subscriber p50, us");
    assert!(rows.iter().all(|row| !row.label.ends_with("deliveries/s")));
}

#[test]
fn servers_with_rules_are_set_against_those_without_and_each_other() {
    let known = Variant::ALL.into_iter().chain(Variant::RULES).map(Contender::Known);
    let head = table(&known.collect::<Vec<_>>(), &[]).head;
    assert_eq!(
        head[6..],
        [
            "kernel/user",
            "user/mosquitto",
            "user with rules/user",
            "mosquitto with rules/mosquitto",
            "user with rules/mosquitto with rules"
        ]
    );
}
