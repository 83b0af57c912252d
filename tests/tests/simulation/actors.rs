//! Who takes part in a run beside the shards. An actor speaks MQTT over a `Link`, does what the protocol allows
//! it, and tells the ledger what it asked for and what came; `Run` only says when it acts.
//!
//! Whoever is to be tried next has a file here: one with a session that outlives its connections becomes a variant
//! of `Client` and takes a seat; anyone else (a device, somebody who comes in without a socket) becomes a field of
//! `Run` with a share of the dice in `Run::step`. Each answers three questions: how it acts, how it comes to rest
//! (`Run::drain`), and what is judged then.

pub(crate) mod caller;
pub(crate) mod device;
pub(crate) mod member;
pub(crate) mod publisher;
pub(crate) mod seat;
pub(crate) mod strangers;
pub(crate) mod subscriber;
pub(crate) mod witness;
