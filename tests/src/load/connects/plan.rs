//! State that all threads of a run share.

use std::time::Instant;

use super::super::options::Connects;
use super::super::transport::Kind;
use super::logins::Login;

/// Values that are the same for all threads.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) options: Connects,
    /// Empty: clients give no name.
    pub(super) logins: Vec<Login>,
    pub(super) layers: Kind,
    /// Zero of all nanoseconds.
    pub(super) epoch: Instant,
}
