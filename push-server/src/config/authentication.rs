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

/// Most issuers of tokens, and most audiences.
const JWT_NAMES_MAX: usize = 64;

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
    /// Whether there are secrets to be kept: hashes of passwords, keys that may sign, or passwords for the hook.
    pub fn has_secrets(&self) -> bool {
        self.users_file.is_some() || self.jwt.keys_file.is_some() || self.hook.url.is_some()
    }

    /// Whether anything says who clients of this listener are.
    pub fn has_source(&self, listener: &Listener) -> bool {
        self.has_secrets() || self.is_named_by_certificate(listener)
    }

    fn is_named_by_certificate(&self, listener: &Listener) -> bool {
        self.certificate_user != CertificateUserMode::None && listener.asks_clients()
    }

    /// Whether a client of this listener may connect that no source knows, as nobody.
    pub fn allows_anonymous(&self, listener: &Listener) -> bool {
        match listener.anonymous {
            AnonymousMode::Always => true,
            AnonymousMode::Never => false,
            AnonymousMode::Auto => !self.has_source(listener),
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
        self.look_at_certificates(listeners, found);
        self.look_at_tokens(found);
        self.hook.look_for_contradictions(found);
        let has_source = listeners.iter().any(|listener| self.has_source(listener));
        let is_shut = |listener: &Listener| listener.anonymous == AnonymousMode::Never;
        if !has_source && self.anonymous == AnonymousMode::Never && listeners.iter().any(is_shut) {
            found.refuse("anonymous", SOURCES, &self.anonymous, NOBODY_ELSE);
        }
        for listener in listeners.iter().filter(|listener| !self.has_source(listener)) {
            match (listener.anonymous, listener.form) {
                (AnonymousMode::Never, ListenerForm::Table(place))
                    if self.anonymous != AnonymousMode::Never =>
                {
                    let key = ("listener.anonymous", SOURCES);
                    found.refuse_in(place, key, &listener.anonymous, NOBODY_ELSE);
                }
                // That is told above, once for all.
                (AnonymousMode::Never, _) if !has_source => {}
                (AnonymousMode::Never | AnonymousMode::Auto, form)
                    if listener.is_reached_by_others() && !listener.requires_certificates() =>
                {
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
                _ => {}
            }
        }
    }

    /// Names in certificates are for listeners that ask for certificates.
    fn look_at_certificates(&self, listeners: &[Listener], found: &mut Contradictions) {
        let is_set = self.certificate_user != CertificateUserMode::None;
        if is_set && !listeners.iter().any(Listener::asks_clients) {
            let others = &["tls-client-auth", "listener.client-certificate"];
            let allowed = "tls-client-auth optional or required with it";
            found.refuse("certificate-user", others, &self.certificate_user, allowed);
        }
    }

    /// What is asked of tokens is for tokens that count.
    fn look_at_tokens(&self, found: &mut Contradictions) {
        let JwtSettings { keys_file, issuers, audiences } = &self.jwt;
        let named = [("jwt-issuer", issuers), ("jwt-audience", audiences)];
        for (key, names) in named {
            if names.len() > JWT_NAMES_MAX {
                let allowed = format!("at most {JWT_NAMES_MAX} names");
                found.refuse(key, &[], &format_args!("{} names", names.len()), allowed);
            }
            if let Some(name) = names.first().filter(|_| keys_file.is_none()) {
                found.refuse(key, &["jwt-keys"], name, "a file of keys with it, by jwt-keys");
            }
        }
    }
}
