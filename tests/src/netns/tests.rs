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

#[test]
fn two_threads_listen_at_the_same_address_of_their_own_loopbacks() {
    let listen = |port| {
        std::thread::spawn(move || {
            enter_own_loopback().ok()?;
            enter_own_loopback().ok()?;
            let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
            let address = listener.local_addr().unwrap();
            std::net::TcpStream::connect(address).unwrap();
            Some((address.port(), listener))
        })
        .join()
        .unwrap()
    };
    let Some((port, _held)) = listen(0) else { return };
    assert_eq!(listen(port).unwrap().0, port);
}
