use super::*;

fn keeper(is_durable: bool, mosquitto: Option<&str>) -> Keeper {
    Keeper {
        server: PathBuf::new(),
        before: None,
        mosquitto: mosquitto.map(PathBuf::from),
        folder: PathBuf::new(),
        below: PathBuf::new(),
        shards: 1,
        connections: 1,
        is_durable,
    }
}

#[test]
fn a_server_without_a_store_is_measured_in_memory_only() {
    assert_eq!(keeper(false, None).modes(&[]), [Mode::Off]);
    assert_eq!(keeper(false, Some("m")).modes(&[Mode::Fsync]), []);
    assert_eq!(keeper(true, Some("m")).modes(&[]), Mode::ALL[..4]);
    assert_eq!(keeper(true, Some("m")).modes(&[Mode::Os]), [Mode::Os]);
}

#[test]
fn an_earlier_build_is_measured_if_it_is_given() {
    let given = Keeper { before: Some("b".into()), ..keeper(true, Some("m")) };
    assert_eq!(given.modes(&[]), Mode::ALL);
}
