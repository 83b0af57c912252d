use super::*;

#[test]
fn a_proxy_is_a_network_an_address_or_whoever_comes_by_a_unix_socket() {
    for (text, shown) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("unix", "unix"),
    ] {
        let proxy: TrustedProxy = text.parse().expect(text);
        assert_eq!(proxy.to_string(), shown);
        assert_eq!(shown.parse(), Ok(proxy));
    }
    for text in ["", "proxy", "10.0.0.0/33", "10.0.0/8", "10.0.0.0:80", "/run/a"] {
        let Expected(allowed) = text.parse::<TrustedProxy>().expect_err(text);
        assert!(allowed.starts_with("a network or an address"), "{allowed}");
    }
}
