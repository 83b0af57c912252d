use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};

use super::*;
use crate::netns::{SERVER_V4, SERVER_V6};

#[test]
fn a_bad_link_carries_a_whole_stream_and_counts_what_it_did_to_it() {
    let Ok(link) = Link::create(Faults::with_loss(5), 1, [0, 0]) else { return };
    let veth = link.namespaces();
    for address in [SERVER_V4, SERVER_V6] {
        let address: IpAddr = address.parse().unwrap();
        let listener = veth.server.run(|| TcpListener::bind((address, 0)).unwrap());
        let port = listener.local_addr().unwrap().port();
        let mut client = veth.client.run(|| TcpStream::connect((address, port)).unwrap());
        let (mut server, _) = listener.accept().unwrap();
        let sent: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        std::thread::scope(|scope| {
            let all = sent.clone();
            scope.spawn(move || {
                client.write_all(&all).unwrap();
                drop(client);
            });
            let mut received = Vec::new();
            server.read_to_end(&mut received).unwrap();
            assert_eq!(received, sent);
        });
    }
    assert!(link.count(Way::ToServer, Fault::Lost) > 0);
    assert!(link.count(Way::ToServer, Fault::Reordered) > 0);
    let directory = tempfile::tempdir().unwrap();
    let [at_server, _] = link.save_captures(directory.path(), "t").unwrap();
    assert!(std::fs::metadata(at_server).unwrap().len() > 100_000);
}
