//! Shared code of this workspace's tests: the server as a process, the places it runs in, an MQTT
//! client of our own, clients of others, and the load generator.
//!
//! It imports nothing of the server's protocol core: the tests' expectations are written down here
//! a second time, from the specification.

pub mod certificates;
pub mod clients;
pub mod durable;
pub mod expectations;
pub mod faketime;
pub mod figure;
pub mod foreign;
pub mod haproxy;
pub mod in_process;
pub mod ledger;
pub mod link;
pub mod load;
pub mod metrics;
pub mod netns;
pub mod pins;
pub mod records;
pub mod relay;
pub mod server;
pub mod skip;
pub mod stand_in;
pub mod stream;
pub mod target;
pub mod tls;
pub mod users;
pub mod websocket;
pub mod wire;

/// Makes two tests of each named function: `name::kernel_path` and `name::user_path`. The functions
/// take a [`server::PingPath`] and return [`skip::TestResult`]; both get the same expectations.
#[macro_export]
macro_rules! both_paths {
    ($($name:ident,)+) => {
        $(
            mod $name {
                use $crate::server::PingPath;
                use $crate::skip::report;

                #[test]
                fn kernel_path() {
                    let name = concat!(module_path!(), "::kernel_path");
                    report(name, super::$name(PingPath::Kernel));
                }

                #[test]
                fn user_path() {
                    let name = concat!(module_path!(), "::user_path");
                    report(name, super::$name(PingPath::User));
                }
            }
        )+
    };
}

/// Makes a test of each named function that the path of pings does not concern: `name::once`.
#[macro_export]
macro_rules! claims {
    ($($name:ident,)+) => {
        $(
            mod $name {
                #[test]
                fn once() {
                    let name = concat!(module_path!(), "::once");
                    $crate::skip::report(name, super::$name());
                }
            }
        )+
    };
}
