//! The settings of who may connect, and which of them contradict each other.

use std::path::PathBuf;

use super::contradictions::Contradictions;
use super::listeners::{Listener, ListenerForm};
use super::modes::AnonymousMode;

/// What would let clients in where nobody may be anonymous.
const NOBODY_ELSE: &str = "a file of users with it, by users: nobody else could connect";

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticationSettings {
    /// `--anonymous`: whether clients may connect that nobody knows.
    pub anonymous: AnonymousMode,
    /// `--users`: the file of users.
    pub users_file: Option<PathBuf>,
    /// `--scram-required`: whether to refuse clients that do not authenticate by SCRAM.
    pub scram_required: bool,
    /// `--auth-threads`: threads that hash passwords.
    pub threads: u16,
}

impl Default for AuthenticationSettings {
    fn default() -> Self {
        Self { anonymous: AnonymousMode::Auto, users_file: None, scram_required: false, threads: 1 }
    }
}

impl AuthenticationSettings {
    /// Whether anything says who clients are.
    pub fn has_source(&self) -> bool {
        self.users_file.is_some()
    }

    /// Whether a client of this listener may connect that no source knows, as nobody.
    pub fn allows_anonymous(&self, listener: &Listener) -> bool {
        match listener.anonymous {
            AnonymousMode::Always => true,
            AnonymousMode::Never => false,
            AnonymousMode::Auto => !self.has_source(),
        }
    }

    /// Looks for contradictions between these settings, and with the listeners: what other machines reach must not be
    /// open by accident, and at each listener somebody must be able to connect.
    pub(super) fn look_for_contradictions(
        &self,
        listeners: &[Listener],
        found: &mut Contradictions,
    ) {
        if self.scram_required && self.users_file.is_none() {
            found.refuse("scram-required", &["users"], &true, "a file of users, by users");
        }
        if self.has_source() {
            return;
        }
        let is_shut = |listener: &Listener| listener.anonymous == AnonymousMode::Never;
        if self.anonymous == AnonymousMode::Never && listeners.iter().any(is_shut) {
            found.refuse("anonymous", &["users"], &self.anonymous, NOBODY_ELSE);
        }
        for listener in listeners {
            match (listener.anonymous, listener.form) {
                (AnonymousMode::Never, ListenerForm::Table(place))
                    if self.anonymous != AnonymousMode::Never =>
                {
                    let key = ("listener.anonymous", &["users"] as &[_]);
                    found.refuse_in(place, key, &listener.anonymous, NOBODY_ELSE);
                }
                (AnonymousMode::Auto, form)
                    if listener.is_reached_by_others() && !listener.requires_certificates() =>
                {
                    let (key, how) = match form {
                        ListenerForm::List(_) => ("anonymous", "--anonymous always"),
                        ListenerForm::Table(_) => {
                            ("listener.anonymous", "anonymous = \"always\" in its table")
                        }
                    };
                    let allowed = format!(
                        "an address that only this machine reaches, while nobody says who clients are: add --users \
                         FILE, or let everybody in by {how}"
                    );
                    found.refuse_address(listener, &[key], allowed);
                }
                _ => {}
            }
        }
    }
}
