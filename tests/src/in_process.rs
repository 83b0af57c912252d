//! A server's shards in the test's own process, on real rings and a real disk.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use push_server::access::Access;
use push_server::config::{Config, DurabilityMode};
use push_server::shard::{Shards, SharedAccess};
use push_server::store::embedded;
use tempfile::TempDir;

use crate::target::Target;

/// Starts shards that write to disk before they acknowledge, and listen at a port of loopback.
/// Returns them, where to connect, and the directory of their store, which goes when it is dropped.
///
/// # Panics
/// If they do not start.
pub fn start(shards: u16) -> (Shards, Target, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let config = Config {
        shards,
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        ws_listen: Vec::new(),
        data_dir: directory.path().to_owned(),
        durability: DurabilityMode::Fsync,
        ..Config::default()
    };
    let lock = embedded::lock_directory(directory.path()).expect("nobody else has it");
    let (config, tls) = (Arc::new(config), Arc::default());
    let answerer = Arc::new(SharedAccess::new(Access::default()));
    let shards =
        Shards::start(&config, answerer, tls, 100, None, Some(lock)).expect("shards start");
    let target = Target::at(shards.listening()[0].address.tcp().expect("an address of TCP"));
    (shards, target, directory)
}
