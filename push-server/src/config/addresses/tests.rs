use super::*;

#[test]
fn a_path_may_have_a_mode() {
    for (text, path, mode) in [
        ("/run/a.sock", "/run/a.sock", 0o660),
        ("/run/a.sock,mode=0660", "/run/a.sock", 0o660),
        ("/run/a.sock,mode=666", "/run/a.sock", 0o666),
        ("/run/a,mode=1,mode=0600", "/run/a,mode=1", 0o600),
    ] {
        let address: UnixAddress = text.parse().expect(text);
        assert_eq!(address, UnixAddress { path: path.into(), mode }, "{text}");
        assert_eq!(address.to_string().parse(), Ok(address), "{text}");
    }
    let long = format!("/{}", "a".repeat(UNIX_PATH_BYTES_MAX));
    for text in ["", "a.sock", "/run/", "/a\0", "/a,mode=", "/a,mode=0888", "/a,mode=1777", &long] {
        let Expected(allowed) = text.parse::<UnixAddress>().expect_err(text);
        assert!(allowed.starts_with("an absolute path of at most 107 bytes"), "{allowed}");
    }
    assert!(
        long[1..].parse::<UnixAddress>().is_err() && long[..107].parse::<UnixAddress>().is_ok()
    );
}

#[test]
fn what_begins_with_a_slash_is_a_path() {
    let tcp: ListenAddress = "[::1]:1883".parse().expect("an address");
    assert_eq!(tcp.tcp(), "[::1]:1883".parse().ok());
    let unix: ListenAddress = "/run/a,mode=0600".parse().expect("a path");
    assert_eq!(unix.path(), Some(Path::new("/run/a")));
    assert_eq!((tcp.path(), unix.tcp()), (None, None));
    let Expected(allowed) = "run/a".parse::<ListenAddress>().expect_err("relative");
    assert!(allowed.starts_with("ADDR:PORT") && allowed.contains("Unix socket"), "{allowed}");
}

#[test]
fn two_addresses_are_the_same_where_one_keeps_the_other_out() {
    let is_same = |one: &str, other: &str| {
        let [one, other] = [one, other].map(|text| text.parse::<ListenAddress>().expect(text));
        one.is_same(&other)
    };
    assert!(is_same("127.0.0.1:1", "127.0.0.1:1"));
    assert!(!is_same("127.0.0.1:0", "127.0.0.1:0"), "the system chooses two ports");
    assert!(is_same("/run/a", "/run/a,mode=0600"));
    assert!(!is_same("/run/a", "/run/b") && !is_same("/run/a", "127.0.0.1:1"));
}
