use rustix::io::Errno;

use super::*;

fn without_v6(address: SocketAddr, errno: Errno) -> io::Result<()> {
    assert_eq!(address.port(), 0, "asks for the address, not for the port");
    if address.is_ipv6() { Err(errno.into()) } else { Ok(()) }
}

#[test]
fn a_default_address_that_the_machine_lacks_is_left_out() {
    let default = Config::default().listen;
    for errno in [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL] {
        let present = present_addresses(&default, |address| without_v6(address, errno));
        assert_eq!(present.expect("v4 is there"), default[..1]);
    }
    let present = present_addresses(&default, |address| without_v6(address, Errno::NFILE));
    assert_eq!(present.expect("both"), default, "any other error is for the shards to report");
}

#[test]
fn a_machine_without_any_default_address_is_told_the_flag() {
    let none = present_addresses(&Config::default().listen, |_| Err(Errno::AFNOSUPPORT.into()));
    assert!(none.expect_err("none").to_string().contains("--listen"));
}

fn chosen(mode: KernelPathMode, load: Result<u8, &str>) -> Result<PathChoice<u8>, StartError> {
    choose_path(mode, || load.map_err(str::to_owned))
}

#[test]
fn auto_falls_back_with_the_reason_and_require_fails_with_it() {
    let missing = Err("CAP_BPF is missing");
    let choice = chosen(KernelPathMode::Auto, missing).expect("falls back");
    assert!(matches!(choice, PathChoice::User(reason) if reason == "CAP_BPF is missing"));
    let error = chosen(KernelPathMode::Require, missing).map(drop).expect_err("required");
    assert_eq!(error.to_string(), "--kernel-path require: CAP_BPF is missing");
}

#[test]
fn the_kernel_path_is_taken_where_it_loads_and_not_tried_when_off() {
    for mode in [KernelPathMode::Auto, KernelPathMode::Require] {
        assert!(matches!(chosen(mode, Ok(1)), Ok(PathChoice::Kernel(1))));
    }
    let off = choose_path::<u8>(KernelPathMode::Off, || panic!("tried"));
    assert!(matches!(off, Ok(PathChoice::User(reason)) if reason == "--kernel-path off"));
}

#[test]
fn an_http_port_in_use_names_address_and_flag() {
    let mut patience = Patience::new(0);
    let any = "127.0.0.1:0".parse().expect("address");
    let (_taken, address) = bind_http(any, &mut patience).expect("free");
    let error = bind_http(address, &mut patience).map(drop).expect_err("taken").to_string();
    assert!(error.starts_with(&format!("cannot listen on {address} for http: ")), "{error}");
    assert!(error.contains("in use") && error.ends_with("--http"), "{error}");
}

#[test]
fn answer_tables_are_as_many_as_clients_may_need_and_memory_has_room_for() {
    const GIB: u64 = 1 << 30;
    assert_eq!(tables(1_000, 1, 64 * GIB), 1_000 + 1_000 + 1_024, "those that rest a small server");
    assert_eq!(tables(1_000_000, 2, 64 * GIB), 1_000_000 + 2 * 16_384);
    let few = tables(1_000_000, 2, GIB);
    assert_eq!(u64::from(few), GIB / 8 / 1_088);
}
