#![cfg_attr(not(any(test, feature = "mutants")), no_std)]
//! What the eBPF program and the server share: records with a fixed layout, the names of counters,
//! and the heartbeat splice as pure functions. It imports `core` only, does no I/O, reads no
//! clock, and knows no packets: segment facts come in, verdicts go out.

pub mod clock;
pub mod counter;
pub mod flow;
pub mod mutant;
pub mod ping_rate;
pub mod segment;
pub mod slot;
pub mod splice;
