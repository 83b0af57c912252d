//! Values that are valid by themselves and contradict other settings. Which do, `rules` says.

use std::fmt::Display;

use super::listeners::{Listener, ListenerForm};

/// A value that is valid by itself and contradicts another setting.
#[derive(Debug)]
pub(super) struct Contradiction {
    pub(super) key: &'static str,
    /// The `[[listener]]` table that has the key, counted from 0.
    pub(super) table: Option<usize>,
    /// The settings that it contradicts.
    pub(super) others: Vec<&'static str>,
    pub(super) value: String,
    /// The values that would be allowed.
    pub(super) allowed: String,
}

/// Those that were found.
#[derive(Debug, Default)]
pub(super) struct Contradictions(Vec<Contradiction>);

impl Contradictions {
    /// The value of `key` contradicts `others`. `allowed`: what it could be.
    pub(super) fn refuse(
        &mut self,
        key: &'static str,
        others: &[&'static str],
        value: &dyn Display,
        allowed: impl Into<String>,
    ) {
        let (value, allowed) = (value.to_string(), allowed.into());
        self.0.push(Contradiction { key, table: None, others: others.to_vec(), value, allowed });
    }

    /// The same for a key of a `[[listener]]` table.
    pub(super) fn refuse_in(
        &mut self,
        table: usize,
        (key, others): (&'static str, &[&'static str]),
        value: &dyn Display,
        allowed: impl Into<String>,
    ) {
        let (value, allowed) = (value.to_string(), allowed.into());
        self.0.push(Contradiction {
            key,
            table: Some(table),
            others: others.to_vec(),
            value,
            allowed,
        });
    }

    /// The same for the address of a listener, wherever it is set.
    pub(super) fn refuse_address(
        &mut self,
        listener: &Listener,
        others: &[&'static str],
        allowed: impl Into<String>,
    ) {
        let (value, allowed) = (listener.address.to_string(), allowed.into());
        let key = listener.form.key();
        let table = match listener.form {
            ListenerForm::List(_) => None,
            ListenerForm::Table(place) => Some(place),
        };
        self.0.push(Contradiction { key, table, others: others.to_vec(), value, allowed });
    }

    /// All that were found.
    pub(super) fn into_vec(self) -> Vec<Contradiction> {
        self.0
    }
}
