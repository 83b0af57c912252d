use super::*;

fn proxies(trusted: &[&str]) -> Proxies {
    let trusted: Vec<_> = trusted.iter().map(|text| text.parse().expect(text)).collect();
    Proxies::new(&trusted)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

#[test]
fn whoever_is_in_a_network_is_trusted_by_whichever_family_of_sockets() {
    let trusted = proxies(&["10.0.0.0/8", "2001:db8::7"]);
    for peer in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7"] {
        assert!(trusted.trust(Some(ip(peer))), "{peer}");
    }
    for peer in ["11.0.0.1", "2001:db8::8", "::10.1.2.3", "127.0.0.1"] {
        assert!(!trusted.trust(Some(ip(peer))), "{peer}");
    }
    assert!(!trusted.trust(None));
}

#[test]
fn the_client_of_a_chain_is_the_first_that_is_no_trusted_proxy() {
    let trusted = proxies(&["10.0.0.0/8"]);
    for (added, client) in [
        (&[][..], None),
        (&["203.0.113.7"], Some("203.0.113.7")),
        (&["10.0.0.2", "203.0.113.7"], Some("203.0.113.7")),
        // What stands before the client's own address, the client may have written.
        (&["10.0.0.2", "203.0.113.7", "10.0.0.3", "198.51.100.1"], Some("203.0.113.7")),
        (&["10.0.0.2", "10.0.0.3"], Some("10.0.0.3")),
    ] {
        let added: Vec<_> = added.iter().map(|address| ip(address)).collect();
        assert_eq!(trusted.client_of(&added), client.map(ip), "{added:?}");
    }
}

#[test]
fn a_unix_socket_is_trusted_only_if_it_is_said() {
    assert!(proxies(&["unix"]).trust(None));
    assert!(!proxies(&["unix"]).trust(Some(ip("127.0.0.1"))));
    assert!(!Proxies::default().trust(None));
}
