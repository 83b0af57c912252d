//! What the server says: that nobody who listens badly, or no longer, can stop it, and that a client
//! which is turned away or ended is named.

use std::io::{self, PipeWriter};
use std::os::fd::AsFd as _;

use push_tests::both_paths;
use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::Version;
use rustix::io::{Errno, ioctl_fionbio};

both_paths! {
    a_log_whose_reader_has_gone_ends_neither_the_start_nor_the_stop,
    a_log_that_nobody_reads_stalls_neither_clients_nor_the_stop,
}

fn a_log_whose_reader_has_gone_ends_neither_the_start_nor_the_stop(path: PingPath) -> TestResult {
    stand_in::not_for("has no metrics")?;
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    serves_and_stops(path, writer)
}

fn a_log_that_nobody_reads_stalls_neither_clients_nor_the_stop(path: PingPath) -> TestResult {
    stand_in::not_for("has no metrics")?;
    let (_reader, writer) = io::pipe().expect("a pipe");
    fill(&writer);
    serves_and_stops(path, writer)
}

/// With both outputs being `writer`. Few status lines wait, so one is lost soon in any case.
fn serves_and_stops(path: PingPath, writer: PipeWriter) -> TestResult {
    let server = Server::with(path).outputs_to(writer).switch("--status");
    let mut server = server.start()?;
    let mut client = Client::connect(server.target(), &Connect::new(Version::V5, "client"));
    client.subscribe(&[("a", 1)]);
    for _ in 0..100 {
        client.publish("a", b"1", 1);
        client.message();
    }
    client.ping();
    server.wait_metric("push_log_lines_lost_total", |lost| lost > 0);
    server.prove_path();
    server.terminate();
    let (status, _) = server.wait_exit();
    assert!(status.success(), "the server ended with {status}");
    assert!(server.pins().links().is_empty(), "the programs are left");
    Ok(())
}

/// Writes until there is no room.
fn fill(writer: &PipeWriter) {
    ioctl_fionbio(writer, true).expect("a pipe that does not block");
    for chunk in [4_096, 1] {
        while rustix::io::write(writer.as_fd(), &vec![b'x'; chunk]) != Err(Errno::AGAIN) {}
    }
    ioctl_fionbio(writer, false).expect("a pipe that blocks");
}
