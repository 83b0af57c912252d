use super::*;

#[derive(clap::Parser)]
struct Parser {
    #[command(flatten)]
    arguments: ThroughputArguments,
}

impl ThroughputArguments {
    /// As the command line gives them.
    pub(in super::super) fn of(line: &str) -> Self {
        let words = std::iter::once("throughput").chain(line.split_ascii_whitespace());
        <Parser as clap::Parser>::parse_from(words).arguments
    }
}

#[test]
fn peers_repeat_and_hold_blanks() {
    let words = ["throughput", "--peer", "a=a -p {port}", "--peer", "b=b {port} {data}"];
    let parsed = <Parser as clap::Parser>::try_parse_from(words).unwrap();
    assert_eq!(parsed.arguments.peer.len(), 2);
    let words = ["throughput", "--peer", "a=a -p 1883"];
    assert!(<Parser as clap::Parser>::try_parse_from(words).is_err());
}

#[test]
fn only_pairs_and_connects_are_spread_over_threads() {
    let arguments = ThroughputArguments::of("--generator-threads 2");
    for scenario in Scenario::chosen(&[], true) {
        let (_, words) = arguments.words(scenario);
        let is_spread = words.contains(&"--threads".to_owned());
        let is_fan = scenario.to_string().starts_with("fan");
        assert_eq!(is_spread, !is_fan, "{scenario}");
    }
}

#[test]
fn a_scenario_is_by_a_window_or_at_a_rate() {
    let arguments = ThroughputArguments::of("");
    for scenario in Scenario::chosen(&[], true) {
        let (mode, words) = arguments.words(scenario);
        let says = |flag: &str| words.contains(&flag.to_owned());
        let expected = match scenario.load() {
            Load::Window => ("throughput", true, false),
            Load::Rate => ("throughput", false, true),
            Load::Connects => ("connects", false, false),
        };
        assert_eq!((mode, says("--window"), says("--rate")), expected, "{scenario}");
    }
}

#[test]
fn rows_are_chosen_by_name() {
    assert_eq!(Scenario::chosen(&[], false).len(), 8);
    assert_eq!(Scenario::chosen(&[], true).last(), Some(&Scenario::ConnectsResumed));
    let arguments = ThroughputArguments::of("--row connects --row fan-out-qos1");
    let chosen = arguments.scenarios();
    assert_eq!(chosen, [Scenario::FanOutQos1, Scenario::Connects]);
    assert_eq!(arguments.label(Scenario::FanOutQos1), "fan-out 1 to 50, QoS 1");
}
