use super::*;

#[test]
fn mapped_and_plain_ipv4_have_one_key() {
    let plain = key_of("192.0.2.1:1883".parse().unwrap(), "192.0.2.2:40000".parse().unwrap());
    let mapped = key_of(
        "[::ffff:192.0.2.1]:1883".parse().unwrap(),
        "[::ffff:192.0.2.2]:40000".parse().unwrap(),
    );
    assert_eq!(plain, mapped);
    let key = plain.unwrap();
    assert_eq!(key.local[10..], [0xFF, 0xFF, 192, 0, 2, 1]);
    assert_eq!(key.peer_port, 40000_u16.to_be_bytes());
}

#[test]
fn ambiguous_addresses_have_no_key() {
    let peer: SocketAddr = "[2001:db8::2]:40000".parse().unwrap();
    assert_eq!(key_of("[::]:1883".parse().unwrap(), peer), None);
    assert_eq!(key_of("[fe80::1]:1883".parse().unwrap(), peer), None);
    assert!(key_of("[2001:db8::1]:1883".parse().unwrap(), peer).is_some());
}
