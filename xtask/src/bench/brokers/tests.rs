use super::*;

const METRICS: &str = "# TYPE push_pings counter\n\
        push_pings_total{path=\"kernel\"} 950\n\
        push_pings_total{path=\"user\"} 50 1700000000\n\
        push_kernel_path_declined_total{reason=\"busy\"} 7\n\
        push_connections 8\n";

#[test]
fn pings_are_read_by_path() {
    let metrics = Metrics(METRICS.to_owned());
    assert_eq!(metrics.pings().unwrap(), Pings { kernel: 950.0, user: 50.0 });
    assert_eq!(metrics.value("push_connections"), Some(8.0));
    assert_eq!(metrics.value("push_connect"), None);
    assert_eq!(metrics.declined(), BTreeMap::from([("busy".to_owned(), 7)]));
    assert!(Metrics(String::new()).pings().is_err());
}

#[test]
fn share_is_of_the_pings_between_two_readings() {
    let before = Pings { kernel: 950.0, user: 50.0 };
    let after = Pings { kernel: 1_250.0, user: 150.0 };
    assert_eq!(after.kernel_share_since(before), Some(0.75));
    assert_eq!(after.kernel_share_since(after), None);
}

fn measured(mosquitto: Option<&str>, only: &[Variant]) -> Vec<Variant> {
    let brokers = Brokers {
        server: PathBuf::new(),
        before: None,
        mosquitto: mosquitto.map(PathBuf::from),
        has_rules: false,
        only: only.to_vec(),
        folder: PathBuf::new(),
        shards: 1,
        clients: 1,
        layers: Layers::none(),
    };
    brokers.variants()
}

#[test]
fn missing_mosquitto_leaves_our_own_paths() {
    assert_eq!(measured(None, &[]), [Variant::Kernel, Variant::User]);
    assert_eq!(measured(Some("mosquitto"), &[]), Variant::ALL);
    assert_eq!(measured(None, &[Variant::Mosquitto]), []);
    assert_eq!(measured(Some("mosquitto"), &[Variant::User]), [Variant::User]);
}

#[test]
fn declined_reasons_are_those_of_the_run_most_frequent_first() {
    let reasons = |counts: [u64; 3]| -> BTreeMap<String, u64> {
        ["busy", "option", "urgent"].map(str::to_owned).into_iter().zip(counts).collect()
    };
    let before = reasons([5, 1, 2]);
    assert_eq!(declined_text(&before, &reasons([6, 9, 2])), "option 8, busy 1");
    assert_eq!(declined_text(&before, &before), "nothing");
}

#[test]
fn every_variant_is_first_in_its_turn() {
    let firsts: Vec<Variant> =
        (0..4).filter_map(|round| rotated(&Variant::ALL, round).next().copied()).collect();
    let [kernel, user, mosquitto] = Variant::ALL;
    assert_eq!(firsts, [kernel, user, mosquitto, kernel]);
    assert_eq!(rotated::<Variant>(&[], 1).count(), 0);
}

#[test]
fn http_answer_is_split() {
    let answer = "HTTP/1.0 503 Service Unavailable\r\na: b\r\n\r\nnot yet";
    assert_eq!(parse_http(answer), Some((503, "not yet".to_owned())));
    assert_eq!(parse_http("SSH-2.0\r\n\r\n"), None);
}
