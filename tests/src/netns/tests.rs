use super::*;

#[test]
fn a_namespace_is_gone_after_a_panic() {
    let Ok(namespace) = Namespace::create("t") else { return };
    let path = PathBuf::from("/var/run/netns").join(namespace.name());
    assert!(path.exists());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _held = namespace;
        std::panic::resume_unwind(Box::new("as asked"));
    }));
    assert!(panicked.is_err());
    assert!(!path.exists());
}

#[test]
fn veth_carries_both_address_families() {
    let Ok(veth) = Veth::create() else { return };
    for address in [SERVER_V4, SERVER_V6] {
        let address: std::net::IpAddr = address.parse().unwrap();
        let listener = veth.server.run(|| std::net::TcpListener::bind((address, 0)).unwrap());
        let port = listener.local_addr().unwrap().port();
        veth.client.run(|| std::net::TcpStream::connect((address, port)).unwrap());
    }
}
