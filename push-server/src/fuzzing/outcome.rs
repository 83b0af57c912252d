//! What became of an input.

/// What became of an input, for tests that want to know how far it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is whole and valid.
    Taken,
    /// It is valid as far as it goes, and more has to come.
    Partial,
    /// It is not valid.
    Refused,
}
