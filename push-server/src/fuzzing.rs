//! What fuzz targets do with bytes, and what must hold whatever the bytes are. Each room has the
//! functions of its own (`fuzzing.rs` there), and this is their list. `fuzz/` feeds them by
//! libFuzzer, and push-tests feeds them the files of the corpus.

pub mod outcome;

use crate::access::fuzzing as access;
use crate::mqtt::codec::fuzzing as codec;
use crate::mqtt::fuzzing as mqtt;
use crate::transport::fuzzing as transport;

use outcome::Outcome;

/// A function that takes any bytes, and panics if a property does not hold for them.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of the fuzz target, and of the folder of its corpus.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&[u8]) -> Outcome,
}

/// All of them. A parser of bytes or files that others write gets a line here, a program in
/// `fuzz/fuzz_targets`, and seeds in `tests/tests/corpus/seeds.rs`.
pub const TARGETS: &[Target] = &[
    Target { name: "codec", run: codec::codec },
    Target { name: "connection", run: mqtt::connection },
    Target { name: "websocket", run: transport::websocket::websocket },
    Target { name: "tls", run: transport::tls::tls },
    Target { name: "proxy", run: transport::proxy::proxy },
    Target { name: "users", run: access::users },
    Target { name: "acl", run: access::acl },
    Target { name: "acl_import", run: access::acl_import },
    Target { name: "jwt_keys", run: access::jwt_keys },
];

/// Runs the target of this name.
///
/// # Panics
/// There is no such target, or a property does not hold.
pub fn run(name: &str, input: &[u8]) -> Outcome {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.unwrap_or_else(|| panic!("no fuzz target is called {name}"));
    (target.run)(input)
}
