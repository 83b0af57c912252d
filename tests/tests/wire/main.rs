//! The real server behind a link of ours between two network namespaces: who answers pings there is
//! proven by the counters, and what the link did to the segments by its own.

use push_tests::both_paths;
use push_tests::link::{Fault, Faults, Link, Way};
use push_tests::server::{PingPath, Place, Server};
use push_tests::skip::TestResult;

/// Decides what the link does.
const SEED: u64 = 3;

both_paths! {
    pings_are_answered_over_a_link_without_faults,
    pings_are_answered_over_a_link_that_loses_and_corrupts,
}

fn pings_are_answered_over_a_link_without_faults(path: PingPath) -> TestResult {
    let link = Link::create(Faults::NONE, SEED, [0, 0])?;
    let server = Server::with(path).within(link.namespaces(), Place::VethV4).start()?;
    server.finish();
    assert!(link.count(Way::ToServer, Fault::Carried) > 0, "the link carried nothing");
    assert_eq!(link.count(Way::ToServer, Fault::Lost), 0);
    Ok(())
}

fn pings_are_answered_over_a_link_that_loses_and_corrupts(path: PingPath) -> TestResult {
    let link = Link::create(Faults::with_loss(20), SEED, [0, 0])?;
    let server = Server::with(path).within(link.namespaces(), Place::VethV6).start()?;
    while link.count(Way::ToServer, Fault::Lost) == 0 {
        server.prove_path();
    }
    server.finish();
    Ok(())
}
