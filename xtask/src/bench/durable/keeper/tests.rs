use super::super::super::layers::Layers;
use super::*;

fn brokers(before: Option<&str>, mosquitto: Option<&str>) -> Brokers {
    Brokers {
        server: PathBuf::new(),
        before: before.map(PathBuf::from),
        mosquitto: mosquitto.map(PathBuf::from),
        has_rules: false,
        only: Vec::new(),
        folder: PathBuf::new(),
        shards: 1,
        clients: 1,
        layers: Layers::none(),
    }
}

/// The modes measured with these programs, of which our server and the earlier one may know `--durability`.
fn modes(
    [is_durable, before_is_durable]: [bool; 2],
    (before, mosquitto): (Option<&str>, Option<&str>),
    only: &[Mode],
) -> Vec<Mode> {
    let brokers = brokers(before, mosquitto);
    let below = PathBuf::new();
    Keeper { brokers: &brokers, below, is_durable, before_is_durable }.modes(only)
}

#[test]
fn a_server_without_a_store_is_measured_in_memory_only() {
    assert_eq!(modes([false, false], (None, None), &[]), [Mode::Off]);
    assert_eq!(modes([false, false], (None, Some("m")), &[Mode::Fsync]), []);
    assert_eq!(modes([true, false], (None, Some("m")), &[]), Mode::ALL[..4]);
    assert_eq!(modes([true, false], (None, Some("m")), &[Mode::Os]), [Mode::Os]);
}

#[test]
fn an_earlier_build_is_measured_if_it_is_given() {
    assert_eq!(modes([true, true], (Some("b"), Some("m")), &[]), Mode::ALL);
}

#[test]
fn an_earlier_build_without_a_store_is_measured_in_memory_only() {
    let own = [Mode::Fsync, Mode::Os, Mode::Off];
    let all = modes([true, false], (Some("b"), None), &[]);
    assert_eq!(all, [&own[..], &[Mode::BeforeOff]].concat());
    assert_eq!(modes([false, true], (Some("b"), None), &[])[1..], Mode::ALL[4..]);
}
