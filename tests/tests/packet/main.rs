//! The two programs as the kernel runs them, packet by packet: input packet, flow and slot to output
//! packet, flow, slot, verdict and counters. Outputs are read by etherparse.
mod answer;
mod bytes;
mod contention;
mod follow;
mod fragments;
mod fuzz;
mod icmp;
mod memory;
mod next_hop;
mod rig;
mod sealed;
mod timestamps;
mod verifier;
mod websocket;
mod world;

/// Makes a test of each function, for IPv4 and for IPv6.
macro_rules! cases {
    ($($case:ident,)+) => {
        $(
            mod $case {
                #[test]
                fn ipv4() {
                    let result = crate::rig::with_rig(|rig| super::$case(rig, false));
                    push_tests::skip::report(concat!(module_path!(), "::ipv4"), result);
                }

                #[test]
                fn ipv6() {
                    let result = crate::rig::with_rig(|rig| super::$case(rig, true));
                    push_tests::skip::report(concat!(module_path!(), "::ipv6"), result);
                }
            }
        )+
    };
}
use cases;
