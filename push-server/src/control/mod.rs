//! Everything about the server that is not serving: the order of starting, who may connect, the
//! limits and privileges of the process, signals, HTTP (health, metrics), the status line, and the
//! threads that write what is said.
//!
//! The only user of tokio, in one thread of its own: the main one, which has nothing else to do.

pub mod access;
pub mod http;
pub mod http_counters;
pub mod http_limits;
mod http_places;
pub mod limits;
pub mod line_queue;
mod listening;
pub mod metrics;
pub mod observed;
mod occupant;
pub mod patience;
pub mod preflight;
pub mod privileges;
pub mod signals;
pub mod startup;
pub mod status;
mod status_text;
pub mod supervise;
mod wall_clock;
