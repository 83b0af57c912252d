//! The settings of who may connect, and which of them contradict each other.

use std::path::PathBuf;

use super::contradictions::Contradictions;
use super::hook::HookSettings;
use super::listeners::{Listener, ListenerForm};
use super::modes::{AnonymousMode, CertificateUserMode};

/// What would let clients in where nobody may be anonymous.
const NOBODY_ELSE: &str = "something that says who clients are with it, by users, jwt-keys or auth-http: nobody else could connect";

/// The settings of what says who clients are, at any listener.
const SOURCES: &[&str] = &["users", "jwt-keys", "auth-http"];

/// Which tokens count as passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JwtSettings {
    /// `--jwt-keys`: the file of the keys that sign them.
    pub keys_file: Option<PathBuf>,
    /// `--jwt-issuer`: who may have made them; empty: anybody with a key.
    pub issuers: Vec<String>,
    /// `--jwt-audience`: whom they may be for; empty: only those that do not say.
    pub audiences: Vec<String>,
}

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticationSettings {
    /// `--anonymous`: whether clients may connect that nobody knows.
    pub anonymous: AnonymousMode,
    /// `--users`: the file of users.
    pub users_file: Option<PathBuf>,
    /// `--certificate-user`: which name of a client's certificate is its user.
    pub certificate_user: CertificateUserMode,
    /// Which tokens count as passwords.
    pub jwt: JwtSettings,
    /// The hook that is asked about others.
    pub hook: HookSettings,
    /// `--scram-required`: whether to refuse clients that do not authenticate by SCRAM.
    pub scram_required: bool,
    /// `--auth-threads`: threads that hash passwords.
    pub threads: u16,
}

impl Default for AuthenticationSettings {
    fn default() -> Self {
        Self {
            anonymous: AnonymousMode::Auto,
            users_file: None,
            certificate_user: CertificateUserMode::None,
            jwt: JwtSettings::default(),
            hook: HookSettings::default(),
            scram_required: false,
            threads: 1,
        }
    }
}

impl AuthenticationSettings {
    /// Whether anything says who clients are.
    pub fn has_source(&self) -> bool {
        self.has_source_everywhere() || self.certificate_user != CertificateUserMode::None
    }

    /// Whether anything does at every listener. Certificates do where there is TLS that asks for them.
    fn has_source_everywhere(&self) -> bool {
        self.users_file.is_some() || self.jwt.keys_file.is_some() || self.hook.url.is_some()
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
    /// open by accident, nor shut.
    pub(super) fn look_for_contradictions(
        &self,
        listeners: &[Listener],
        found: &mut Contradictions,
    ) {
        if self.scram_required && self.users_file.is_none() {
            found.refuse("scram-required", &["users"], &true, "a file of users, by users");
        }
        self.hook.look_for_contradictions(found);
        if self.has_source_everywhere() {
            return;
        }
        let is_shut = |listener: &Listener| listener.anonymous == AnonymousMode::Never;
        let has_source = self.has_source();
        if !has_source && self.anonymous == AnonymousMode::Never && listeners.iter().any(is_shut) {
            found.refuse("anonymous", SOURCES, &self.anonymous, NOBODY_ELSE);
        }
        for listener in listeners {
            match (listener.anonymous, listener.form) {
                (AnonymousMode::Always, _) => {}
                _ if has_source && listener.asks_clients() => {}
                (AnonymousMode::Never, ListenerForm::Table(place)) if !has_source => {
                    if self.anonymous != AnonymousMode::Never {
                        let key = ("listener.anonymous", SOURCES);
                        found.refuse_in(place, key, &listener.anonymous, NOBODY_ELSE);
                    }
                }
                (AnonymousMode::Never, _) if !has_source => {}
                (AnonymousMode::Never | AnonymousMode::Auto, form) => {
                    if !listener.is_reached_by_others() || listener.requires_certificates() {
                        continue;
                    }
                    let (key, how) = match form {
                        ListenerForm::List(_) => ("anonymous", "--anonymous always"),
                        ListenerForm::Table(_) => {
                            ("listener.anonymous", "anonymous = \"always\" in its table")
                        }
                    };
                    let allowed = format!(
                        "an address that only this machine reaches, while nobody says who its clients are: add \
                         --users FILE, --jwt-keys FILE or --auth-http URL, or let everybody in by {how}"
                    );
                    found.refuse_address(listener, &[key], allowed);
                }
            }
        }
    }
}
