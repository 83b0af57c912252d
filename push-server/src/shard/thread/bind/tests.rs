//! Tests of `bind`.

use std::net::TcpListener;

use super::*;

#[test]
fn an_address_that_another_listens_at_is_not_shared() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("address");
    let error = bind_each(address, 1, None).expect_err("in use");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}
