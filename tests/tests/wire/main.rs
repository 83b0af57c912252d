//! The real server behind a link of ours between two network namespaces, and over the kernel's own
//! links with every offload on. Who answers pings is proven by the counters, and what the link did to
//! the segments by its own.
//!
//! `PUSH_WIRE_SECONDS` and `PUSH_WIRE_SEED`: how long each load goes on, and what decides the faults
//! (`cargo xtask test wire --seconds S --seed N`). `PUSH_WIRE_PINGS`: how many pings inside TLS the kernel
//! is to answer over a link that loses (`cargo xtask test wire pings_inside_tls --pings N`).
mod device;
mod load;
mod message;
mod pings;
mod stacks;

use std::path::PathBuf;

use push_tests::certificates::Folder;
use push_tests::link::{Fault, Faults, Link, Way};
use push_tests::load::options::TlsVersion;
use push_tests::server::{
    PingPath, Place, Server, ServerBuilder, raise_descriptor_limit, workspace_path,
};
use push_tests::skip::{Skip, TestResult};
use push_tests::{both_paths, claims};

use tempfile::TempDir;

use load::{Around, Outcome, SUITES};
use pings::pings_inside_tls_break_no_stream_over_a_link_that_loses_5_percent;
use stacks::{
    mbedtls_keeps_its_streams_over_a_link_that_loses,
    mqtt_js_keeps_its_streams_over_a_link_that_loses,
    openssl_keeps_its_streams_over_a_link_that_loses,
    renegotiation_is_refused_over_a_link_that_loses,
    rustls_keeps_its_streams_over_a_link_that_loses,
};

both_paths! {
    openssl_keeps_its_streams_over_a_link_that_loses,
    mbedtls_keeps_its_streams_over_a_link_that_loses,
    rustls_keeps_its_streams_over_a_link_that_loses,
    mqtt_js_keeps_its_streams_over_a_link_that_loses,
    renegotiation_is_refused_over_a_link_that_loses,
}

claims! {
    pings_are_answered_over_a_link_that_loses_and_corrupts,
    load_over_a_link_without_loss_comes_out_whole,
    load_over_a_link_that_loses_1_percent_comes_out_whole,
    load_over_a_link_that_loses_5_percent_comes_out_whole,
    load_over_a_link_that_loses_20_percent_comes_out_whole,
    load_by_websocket_over_a_link_without_loss_comes_out_whole,
    load_by_websocket_over_a_link_that_loses_5_percent_comes_out_whole,
    load_by_websocket_over_a_link_that_loses_20_percent_comes_out_whole,
    load_by_tls_1_2_over_a_link_that_loses_5_percent_comes_out_whole,
    load_by_tls_1_2_over_a_link_that_loses_20_percent_comes_out_whole,
    load_by_tls_1_3_over_a_link_that_loses_5_percent_comes_out_whole,
    load_by_tls_1_3_over_a_link_that_loses_20_percent_comes_out_whole,
    load_by_every_suite_over_a_link_that_loses_5_percent_comes_out_whole,
    load_by_every_suite_over_a_link_that_loses_20_percent_comes_out_whole,
    pings_inside_tls_break_no_stream_over_a_link_that_loses_5_percent,
    load_over_veth_with_every_offload_comes_out_whole,
    load_over_lo_comes_out_whole,
    load_by_tls_over_lo_comes_out_whole,
}

fn pings_are_answered_over_a_link_that_loses_and_corrupts() -> TestResult {
    for path in [PingPath::User, PingPath::Kernel] {
        let faults = Faults::with_loss(20).with_whole_headers_to_server();
        let link = Link::create(faults, load::seed(), [0, 0])?;
        link.resend_within_a_second();
        let server = Server::with(path).within(link.namespaces(), Place::VethV6).start()?;
        while link.count(Way::ToServer, Fault::Lost) == 0 {
            server.prove_path();
        }
        // An orderly stop has its time, which lost segments would use up.
        link.heal();
        server.finish();
    }
    Ok(())
}

fn load_over_a_link_without_loss_comes_out_whole() -> TestResult {
    over_the_link(0, Place::VethV4)
}

fn load_over_a_link_that_loses_1_percent_comes_out_whole() -> TestResult {
    over_the_link(1, Place::VethV6)
}

fn load_over_a_link_that_loses_5_percent_comes_out_whole() -> TestResult {
    every_recovery_was_taken(&over_the_link_on_both_paths(5, Place::VethV4, Around::Nothing)?);
    Ok(())
}

fn load_over_a_link_that_loses_20_percent_comes_out_whole() -> TestResult {
    every_recovery_was_taken(&over_the_link_on_both_paths(20, Place::VethV6, Around::Nothing)?);
    Ok(())
}

fn load_by_websocket_over_a_link_without_loss_comes_out_whole() -> TestResult {
    over_the_link_on_both_paths(0, Place::VethV6, Around::WebSocket).map(drop)
}

fn load_by_websocket_over_a_link_that_loses_5_percent_comes_out_whole() -> TestResult {
    every_recovery_was_taken(&over_the_link_on_both_paths(5, Place::VethV6, Around::WebSocket)?);
    Ok(())
}

fn load_by_websocket_over_a_link_that_loses_20_percent_comes_out_whole() -> TestResult {
    every_recovery_was_taken(&over_the_link_on_both_paths(20, Place::VethV4, Around::WebSocket)?);
    Ok(())
}

fn load_by_tls_1_2_over_a_link_that_loses_5_percent_comes_out_whole() -> TestResult {
    let around = Around::Tls(TlsVersion::Tls12);
    every_recovery_was_taken(&over_the_link_on_both_paths(5, Place::VethV4, around)?);
    Ok(())
}

fn load_by_tls_1_2_over_a_link_that_loses_20_percent_comes_out_whole() -> TestResult {
    let around = Around::Tls(TlsVersion::Tls12);
    every_recovery_was_taken(&over_the_link_on_both_paths(20, Place::VethV6, around)?);
    Ok(())
}

fn load_by_tls_1_3_over_a_link_that_loses_5_percent_comes_out_whole() -> TestResult {
    let around = Around::Tls(TlsVersion::Tls13);
    every_recovery_was_taken(&over_the_link_on_both_paths(5, Place::VethV6, around)?);
    Ok(())
}

fn load_by_tls_1_3_over_a_link_that_loses_20_percent_comes_out_whole() -> TestResult {
    let around = Around::Tls(TlsVersion::Tls13);
    every_recovery_was_taken(&over_the_link_on_both_paths(20, Place::VethV4, around)?);
    Ok(())
}

fn load_by_every_suite_over_a_link_that_loses_5_percent_comes_out_whole() -> TestResult {
    by_every_suite(5, Place::VethV4)
}

fn load_by_every_suite_over_a_link_that_loses_20_percent_comes_out_whole() -> TestResult {
    by_every_suite(20, Place::VethV6)
}

/// On the kernel path alone, each suite half as long as a load goes on: the user path has been compared by
/// version.
fn by_every_suite(percent: u32, place: Place) -> TestResult {
    raise_descriptor_limit();
    let directory = TempDir::new().expect("make a directory");
    let folder = Folder::make(directory.path(), &["localhost"]).expect("make certificates");
    let seconds = load::seconds().div_ceil(2);
    for (version, suite) in SUITES {
        let load = (Around::Suite(version, suite), &folder, seconds);
        let (outcome, faults, server, link) =
            loaded_over_the_link(percent, place, PingPath::Kernel, load)?;
        outcome.print(&format!("{percent} % loss, {suite}"), PingPath::Kernel, faults);
        load::settle(&server);
        server.finish();
        drop(link);
        assert!(outcome.kernel_pings > 0, "{suite}: no ping was answered by the kernel");
    }
    Ok(())
}

fn load_over_veth_with_every_offload_comes_out_whole() -> TestResult {
    for place in [Place::VethV4, Place::VethV6] {
        compare("veth", Around::Nothing, |path, load| {
            let server = loaded_server(path).place(place).start()?;
            let outcome = load::run(&server, load, || ());
            Ok((outcome, 0, server, None))
        })?;
    }
    Ok(())
}

fn load_over_lo_comes_out_whole() -> TestResult {
    over_lo(Around::Nothing)
}

fn load_by_tls_over_lo_comes_out_whole() -> TestResult {
    over_lo(Around::Tls(TlsVersion::Tls13))
}

fn over_lo(around: Around) -> TestResult {
    compare("lo", around, |path, load| {
        let server = around.listen(loaded_server(path), load.1).start()?;
        let outcome = load::run(&server, load, || ());
        Ok((outcome, 0, server, None))
    })
    .map(drop)
}

fn over_the_link(percent: u32, place: Place) -> TestResult {
    over_the_link_on_both_paths(percent, place, Around::Nothing).map(drop)
}

/// What came of the kernel path's run.
fn over_the_link_on_both_paths(
    percent: u32,
    place: Place,
    around: Around,
) -> Result<Outcome, Skip> {
    compare(&format!("{percent} % loss"), around, |path, load| {
        let (outcome, faults, server, link) = loaded_over_the_link(percent, place, path, load)?;
        Ok((outcome, faults, server, Some(link)))
    })
}

/// What is around MQTT, the certificates for it, and for how many seconds.
type Load<'a> = (Around, &'a Folder, u64);

/// Loads a server over a link that loses; what came of it, how many faults there were, and both, which
/// still run.
fn loaded_over_the_link(
    percent: u32,
    place: Place,
    path: PingPath,
    load: Load<'_>,
) -> Result<(Outcome, u64, Server, Link), Skip> {
    let (around, certificates, _) = load;
    let link = Link::create(Faults::with_loss(percent), load::seed(), [0, 1])?;
    let captures = Captures { link: &link, name: format!("wire-{percent}-{path:?}-{around:?}") };
    let server = loaded_server(path).within(link.namespaces(), place);
    let server = around.listen(server, certificates).start()?;
    let outcome = load::run(&server, load, || link.heal());
    drop(captures);
    let faults = faults_of(&link);
    if percent > 0 {
        assert!(faults.iter().all(|&count| count > 0), "{faults:?}");
    }
    Ok((outcome, faults.iter().sum(), server, link))
}

/// How many faults frames have suffered, each way.
fn faults_of(link: &Link) -> [u64; 2] {
    [Way::ToServer, Way::ToClient].map(|way| {
        [Fault::Lost, Fault::Repeated, Fault::Reordered, Fault::HeldBack, Fault::Corrupted]
            .map(|fault| link.count(way, fault))
            .iter()
            .sum::<u64>()
    })
}

/// Runs the load on the user path and on the kernel path. They differ in who answers pings, and in
/// nothing that clients see (`load::run` checks that), nor in what TCP finds odd.
fn compare(
    what: &str,
    around: Around,
    run: impl Fn(PingPath, Load<'_>) -> Result<(Outcome, u64, Server, Option<Link>), Skip>,
) -> Result<Outcome, Skip> {
    /// What the scheduler alone makes of two runs with the same seed.
    const CHANCE: u64 = 100;
    /// A PINGRESP that is sent again (rule 6) has payload where the user path's bare ACK has none. TCP
    /// counts those that are overtaken, and bare ACKs not; the link lets one in fifty be overtaken.
    const RESENT_PER_PAWS: u64 = 25;
    raise_descriptor_limit();
    let directory = TempDir::new().expect("make a directory");
    let folder = Folder::make(directory.path(), &["localhost"]).expect("make certificates");
    let run = |path| {
        let (outcome, faults, server, link) = run(path, (around, &folder, load::seconds()))?;
        outcome.print(&format!("{what}, around MQTT {around:?}"), path, faults);
        load::settle(&server);
        server.finish();
        drop(link);
        Ok(outcome)
    };
    let (user, kernel) = (run(PingPath::User)?, run(PingPath::Kernel)?);
    assert_eq!(user.kernel_pings, 0);
    assert!(kernel.kernel_pings > 0, "no ping was answered by the kernel");
    let (usual, found) = (user.suspicions, kernel.suspicions);
    for (name, usual, found) in [
        ("challenge ACKs", usual.challenge_acks * 2, found.challenge_acks),
        ("PAWS", usual.paws * 2 + kernel.resent / RESENT_PER_PAWS, found.paws),
        ("checksums", usual.checksums * 2, found.checksums),
    ] {
        assert!(found <= usual + CHANCE, "{name}: {found}, to be expected {usual}");
    }
    Ok(kernel)
}

/// Rules 6, 7 and 9.
fn every_recovery_was_taken(outcome: &Outcome) {
    let Outcome { resent, refilled, absorbed, .. } = *outcome;
    assert!(resent > 0 && refilled > 0 && absorbed > 0, "{resent} {refilled} {absorbed}");
}

/// Its devices ping more often than any real one.
fn loaded_server(path: PingPath) -> ServerBuilder {
    // All clients come from one address.
    Server::with(path).flag("--ping-rate", 0).flag("--shards", 2).flag("--address-waiting-max", 0)
}

/// Keeps what both ends have seen last when the run fails.
struct Captures<'a> {
    link: &'a Link,
    name: String,
}

impl Drop for Captures<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let directory: PathBuf = workspace_path("target");
            println!("captures: {:?}", self.link.save_captures(&directory, &self.name));
        }
    }
}
