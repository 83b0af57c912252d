use super::*;

#[test]
fn server_flags_are_read_in_both_spellings() {
    let flags = ["--http=[::1]:80", "--listen", "127.0.0.1:2", "--listen", "127.0.0.1:3"];
    let flags = flags.map(str::to_owned);
    assert_eq!(flag_value(&flags, "--http"), Some("[::1]:80"));
    assert_eq!(flag_value(&flags, "--listen"), Some("127.0.0.1:2"));
    assert_eq!(flag_value(&flags, "--list"), None);
    assert_eq!(flag_value(&flags[..2], "--listen"), None);
}

#[test]
fn addresses_are_read_from_settings_as_the_server_prints_them() {
    let settings = "listen = [\"127.0.0.1:2883\", \"[::1]:2883\"]\nhttp = \"off\"\nshards = 1\n";
    assert_eq!(first_value(settings, "listen"), Some("127.0.0.1:2883"));
    assert_eq!(first_value(settings, "http"), Some("off"));
    assert_eq!(first_value(settings, "shards"), None);
    assert_eq!(first_value(settings, "iface"), None);
}

#[test]
fn a_server_without_http_is_ready_when_it_can_be_connected_to() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let mqtt = listener.local_addr().expect("address").to_string();
    let addresses = Addresses { mqtt, http: HTTP_OFF.to_owned() };
    assert!(addresses.are_ready());
    drop(listener);
    assert!(!addresses.are_ready());
}

#[test]
fn signal_becomes_the_shells_exit_code() {
    assert_eq!(exit_code(ExitStatus::from_raw(9)), ExitCode::from(137));
    assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), ExitCode::from(3));
}

#[test]
fn tls_is_given_what_the_flags_do_not_say() {
    let folder = Path::new("/c");
    let all = ["--tls-listen", "127.0.0.1:8883", "--tls-cert", "/c/server.pem", "--tls-key"];
    assert_eq!(tls_flags(&[], folder)[..5], all);
    let own = ["--tls-listen=[::]:1", "--tls-cert", "a", "--tls-key", "b"].map(str::to_owned);
    assert!(tls_flags(&own, folder).is_empty());
}
