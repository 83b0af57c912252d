//! The settings of the hook that says who clients are.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;
use serde::de::{Deserialize, Deserializer, Error as _};

use super::contradictions::Contradictions;
use super::values::{Expected, deserialize_from_str};

/// Bytes of the longest address of a hook.
pub(super) const HOOK_URL_BYTES_MAX: usize = 2_048;

/// The hook that says who clients are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookSettings {
    /// `--auth-http`: whom to ask; `None`: nobody.
    pub url: Option<HookUrl>,
    /// `--auth-http-ca`: the file of those who may sign the hook's certificate; `None`: those whom the system trusts.
    pub ca_file: Option<PathBuf>,
    /// `--auth-http-bearer-file`: the file of the token that shows the hook who asks.
    pub bearer_file: Option<PathBuf>,
}

/// The address of a hook: `http` or `https`, and a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookUrl(Uri);

impl HookUrl {
    /// As HTTP needs it.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether questions to it are encrypted.
    pub fn has_tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// What the log calls it: without a query, which may have a secret.
    pub fn place(&self) -> String {
        let authority = self.0.authority().map(ToString::to_string).unwrap_or_default();
        format!("{}://{authority}{}", self.0.scheme_str().unwrap_or_default(), self.0.path())
    }

    /// Whether questions to it stay on this machine.
    pub fn is_local(&self) -> bool {
        let host = self.0.host().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let address = address.parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

impl FromStr for HookUrl {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let allowed = || {
            Expected(format!(
                "an address as https://auth.example.org/mqtt or http://127.0.0.1:8080/, of at most \
                 {HOOK_URL_BYTES_MAX} bytes, without a user (auth-http-bearer-file has what shows the hook who asks) \
                 and without #"
            ))
        };
        let uri = text.parse::<Uri>().map_err(|_| allowed())?;
        let has_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        // A port that is none is not there for `port`.
        let is_bare = |authority: &Authority| authority.as_str() == authority.host();
        let is_place = uri.authority().is_some_and(|one| is_bare(one) || one.port().is_some());
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let is_plain = text.len() <= HOOK_URL_BYTES_MAX && !has_user && !text.contains('#');
        (has_scheme && has_host && is_place && is_plain).then_some(Self(uri)).ok_or_else(allowed)
    }
}

deserialize_from_str!(HookUrl);

impl fmt::Display for HookUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl HookSettings {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.ca_file, &self.bearer_file].into_iter().filter_map(Option::as_deref)
    }

    /// Looks for contradictions between these settings.
    pub(super) fn look_for_contradictions(&self, found: &mut Contradictions) {
        let Some(url) = &self.url else {
            let files =
                [("auth-http-ca", &self.ca_file), ("auth-http-bearer-file", &self.bearer_file)];
            for (key, file) in files {
                if let Some(file) = file {
                    let allowed = "a hook with it, by auth-http";
                    found.refuse(key, &["auth-http"], &file.display(), allowed);
                }
            }
            return;
        };
        if let Some(file) = self.ca_file.as_ref().filter(|_| !url.has_tls()) {
            let allowed = "an auth-http that begins with https:// with it";
            found.refuse("auth-http-ca", &["auth-http"], &file.display(), allowed);
        }
    }
}

#[cfg(test)]
mod tests;
