//! What clients over TLS are served with: loads certificates, keys and what clients' certificates are
//! checked by, at the start, on SIGHUP, and when the files have changed. Says when a certificate is
//! about to expire. The records of TLS are `transport`'s.
//!
//! A reload replaces everything or nothing. Connected clients stay: what their handshakes have used
//! stays as long as they do. If other clients may connect from then on, whoever asked for the reload has
//! those who are connected looked at again.

mod certificate;
mod configs;
mod expiry;
mod material;
mod pem;
mod provider;
mod resolver;
mod stamps;
mod status;
mod tickets;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::wall_clock::since_1970;
use crate::config::{ClientAuthMode, Config, TlsSettings};
use crate::shard::{Reviewer, SharedTls, TlsConfigs};
use configs::{ConfigsError, configs};
use expiry::{Reminder, Validity, date};
use material::Material;
use stamps::Stamps;
use status::Reload;
use tickets::TicketKeys;

pub(crate) use material::{FileMistake, authorities};
pub(crate) use pem::TLS_FILE_BYTES_MAX;
pub(crate) use provider::hook_provider;
pub use provider::provider as crypto_provider;
pub(crate) use status::TlsStatus;

/// Time between two looks at what expires, if the files are not looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(3_600);

/// Why clients cannot be served over TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Mistakes in files: all of them.
    #[error("{}", sentence(.0))]
    Files(Vec<FileMistake>),
    /// rustls refuses them.
    #[error("{0}")]
    Refused(String),
}

impl From<ConfigsError> for TlsError {
    fn from(error: ConfigsError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl TlsError {
    /// Each mistake by itself.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        match self {
            Self::Files(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
            Self::Refused(refused) => vec![refused.clone()],
        }
    }
}

fn sentence(mistakes: &[FileMistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Keeps what clients over TLS are served with as the files say.
pub(crate) struct Tls {
    /// How listeners ask for clients' certificates.
    modes: Vec<ClientAuthMode>,
    provider: Arc<CryptoProvider>,
    shared: Arc<SharedTls>,
    status: Arc<TlsStatus>,
    /// Locked through a reload: they must not overtake each other.
    served: Mutex<Served>,
    /// The time between two looks is another one.
    period_changed: Notify,
}

/// What is served now.
struct Served {
    settings: TlsSettings,
    material: Material,
    /// Keys of tickets.
    tickets: TicketKeys,
    stamps: Stamps,
    /// What the last reload was refused for, told once.
    refusal: Option<String>,
    reminders: HashMap<PathBuf, Reminder>,
}

impl fmt::Debug for Tls {
    /// Without anything of the keys.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tls").field("modes", &self.modes).finish_non_exhaustive()
    }
}

impl Tls {
    /// Loads what the settings name; `None`: nobody listens for TLS.
    ///
    /// # Errors
    /// Every mistake in the files.
    pub(crate) fn load(config: &Config) -> Result<Option<Self>, TlsError> {
        if !config.has_tls_listener() {
            return Ok(None);
        }
        let settings = config.tls.clone();
        let modes = modes(config);
        let provider = Arc::new(provider::provider());
        let stamps = Stamps::taken(files(&settings), SystemTime::now());
        let material = Material::read(&settings, &provider).map_err(TlsError::Files)?;
        let tickets = TicketKeys::new().map_err(ConfigsError::from)?;
        let configs = configs(&material, &settings, &modes, &provider, &tickets)?;
        let shared = Arc::new(SharedTls::new(configs));
        tell_loaded(&material, &modes);
        let reminders = HashMap::new();
        let mut served = Served { settings, material, tickets, stamps, refusal: None, reminders };
        served.remind(since_1970().as_secs());
        let status = Arc::new(TlsStatus::default());
        status.set_expiries(served.expiries());
        let served = Mutex::new(served);
        let period_changed = Notify::new();
        Ok(Some(Self { modes, provider, shared, status, served, period_changed }))
    }

    /// What shards use.
    pub(crate) fn shared(&self) -> &Arc<SharedTls> {
        &self.shared
    }

    /// What metrics show.
    pub(crate) fn status(&self) -> &Arc<TlsStatus> {
        &self.status
    }

    /// Reads the files that `settings` name, because an operator asks for it. What they say is served once the caller
    /// says so.
    ///
    /// # Errors
    /// Something is wrong with them: nothing changes.
    pub(crate) fn read_again(&self, settings: &TlsSettings) -> Result<Reading<'_>, TlsError> {
        let mut served = self.served();
        let stamps = Stamps::taken(files(settings), SystemTime::now());
        match self.read(&served, settings) {
            Ok(next) => {
                let settings = settings.clone();
                Ok(Reading { tls: self, served, settings, stamps, next })
            }
            Err(refusal) => {
                self.status.count(Reload::Refused);
                // Perhaps they were written in part.
                served.refusal = Some(refusal.to_string());
                Err(refusal)
            }
        }
    }

    /// Reads the files again if they may have changed. Warns of certificates that expire. Returns whether other
    /// clients may connect from now on.
    pub(crate) fn look(&self) -> bool {
        let served = &mut *self.served();
        let mut admits_others = false;
        if served.settings.reload_secs > 0 {
            let stamps = Stamps::taken(files(&served.settings), SystemTime::now());
            // Files that were refused may have been written in part: they are read until they fit.
            if served.refusal.is_some() || served.stamps.may_differ(&stamps) {
                admits_others = self.take_changed(served, stamps);
            }
        }
        served.remind(since_1970().as_secs());
        served.tickets.renew();
        admits_others
    }

    fn take_changed(&self, served: &mut Served, stamps: Stamps) -> bool {
        const WHY: &str = "the files of TLS have changed";
        served.stamps = stamps;
        match self.read(served, &served.settings) {
            Ok(next) => {
                let was_refused = served.refusal.take().is_some();
                match next {
                    Some(next) => {
                        info!("{WHY}: new clients are served with what they say");
                        self.status.count(Reload::Changed);
                        return self.serve(served, next);
                    }
                    None if was_refused => {
                        info!("{WHY}: the files of TLS say what they said before");
                        self.status.count(Reload::Unchanged);
                    }
                    // Looked at again because it was written a moment ago.
                    None => {}
                }
            }
            Err(refusal) => {
                let refusal = refusal.to_string();
                if served.refusal.as_ref() != Some(&refusal) {
                    error!("{WHY}: TLS stays as it was, for all listeners: {refusal}");
                }
                served.refusal = Some(refusal);
                self.status.count(Reload::Refused);
            }
        }
        false
    }

    /// Time between two looks.
    fn look_period(&self) -> Duration {
        match self.served().settings.reload_secs {
            0 => LOOK_PERIOD,
            secs => Duration::from_secs(secs.into()),
        }
    }

    fn served(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads files. `None`: they say what is served already.
    fn read(&self, served: &Served, settings: &TlsSettings) -> Result<Option<Next>, TlsError> {
        let material = Material::read(settings, &self.provider).map_err(TlsError::Files)?;
        let is_same_version = settings.version_min == served.settings.version_min;
        if is_same_version && material.is_same(&served.material) {
            return Ok(None);
        }
        // A ticket says that a client's certificate was good: by the rules of before.
        let admits_same = material.admits_same(&served.material);
        let tickets = match admits_same {
            true => served.tickets.clone(),
            false => TicketKeys::new().map_err(ConfigsError::from)?,
        };
        let configs = configs(&material, settings, &self.modes, &self.provider, &tickets)?;
        Ok(Some(Next { material, tickets, configs, admits_same }))
    }

    /// Serves new clients with what was read. Returns whether other clients may connect from now on.
    fn serve(&self, served: &mut Served, next: Next) -> bool {
        let Next { material, tickets, configs, admits_same } = next;
        tell_loaded(&material, &self.modes);
        self.shared.replace(configs);
        (served.material, served.tickets) = (material, tickets);
        served.reminders.clear();
        served.remind(since_1970().as_secs());
        self.status.set_expiries(served.expiries());
        !admits_same
    }
}

/// What is to be served next.
struct Next {
    material: Material,
    tickets: TicketKeys,
    configs: TlsConfigs,
    /// Whether the same clients may connect as before.
    admits_same: bool,
}

/// Files that were read again, and fit. Others wait meanwhile; dropped, it changes nothing.
pub(crate) struct Reading<'a> {
    tls: &'a Tls,
    served: MutexGuard<'a, Served>,
    settings: TlsSettings,
    stamps: Stamps,
    /// `None`: they say what is served already.
    next: Option<Next>,
}

impl Reading<'_> {
    /// Serves new clients with what they say. Returns whether other clients may connect from now on.
    pub(crate) fn serve(mut self) -> bool {
        let served = &mut *self.served;
        served.refusal = None;
        served.stamps = self.stamps;
        if served.settings.reload_secs != self.settings.reload_secs {
            self.tls.period_changed.notify_one();
        }
        served.settings = self.settings;
        let Some(next) = self.next else {
            self.tls.status.count(Reload::Unchanged);
            return false;
        };
        self.tls.status.count(Reload::Changed);
        self.tls.serve(served, next)
    }
}

impl Served {
    /// Until when each certificate can be used.
    fn expiries(&self) -> Vec<(PathBuf, u64)> {
        self.material.pairs.iter().map(|pair| (pair.file.clone(), pair.valid_until)).collect()
    }

    /// Says which certificates expire, and which lists are old.
    fn remind(&mut self, now: u64) {
        let Self { material, reminders, .. } = self;
        let mut is_due = |file: &PathBuf, validity| {
            reminders.entry(file.clone()).or_default().is_due(now, validity)
        };
        for pair in &material.pairs {
            let validity = Validity::at(now, pair.valid_from, pair.valid_until);
            if !is_due(&pair.file, validity) {
                continue;
            }
            let (file, until) = (pair.file.display(), date(pair.valid_until));
            match validity {
                Validity::Valid => {}
                Validity::NotYet => {
                    let from = date(pair.valid_from);
                    warn!("{file} is valid from {from} on: clients refuse it until then");
                }
                Validity::Ending { days } => {
                    warn!("{file} expires in {days} days, on {until}: clients refuse it then");
                }
                Validity::Expired => error!("{file} has expired on {until}: clients refuse it"),
            }
        }
        for crl in &material.revoked {
            let due = crl.facts.renewal_due.unwrap_or(u64::MAX);
            let state = if now > due { Validity::Expired } else { Validity::Valid };
            if is_due(&crl.file, state) {
                let (file, due) = (crl.file.display(), date(due));
                warn!(
                    "{file} was to be renewed by {due}: what was revoked since then is not known"
                );
            }
        }
    }
}

/// Looks every `--reload-secs`, as long as the runtime lives.
pub(crate) async fn watch(tls: Arc<Tls>, reviewer: Arc<Reviewer>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(tls.look_period()) => {}
            () = tls.period_changed.notified() => continue,
        }
        let (tls, reviewer) = (Arc::clone(&tls), Arc::clone(&reviewer));
        // It reads files, which may take long.
        let look = spawn_blocking(move || {
            if tls.look() {
                reviewer.review(true);
            }
        });
        if let Err(error) = look.await {
            error!("a look at the files of TLS failed: {error}");
        }
    }
}

/// What is wrong with the files that `config` names: setting, file, problem. Also what would stop no
/// start, and makes clients refuse the server.
pub(crate) fn problems(config: &Config) -> Vec<(&'static str, String, String)> {
    if !config.has_tls_listener() {
        return Vec::new();
    }
    let settings = &config.tls;
    let provider = Arc::new(provider::provider());
    let material = match Material::read(settings, &provider) {
        Ok(material) => material,
        Err(mistakes) => {
            let shown = |mistake: &FileMistake| mistake.file.display().to_string();
            return mistakes
                .iter()
                .map(|mistake| (mistake.key, shown(mistake), mistake.problem()))
                .collect();
        }
    };
    let now = since_1970().as_secs();
    let refused = material.pairs.iter().filter_map(|pair| {
        let problem = match Validity::at(now, pair.valid_from, pair.valid_until) {
            Validity::NotYet => format!("is valid from {} on", date(pair.valid_from)),
            Validity::Expired => format!("has expired on {}", date(pair.valid_until)),
            Validity::Valid | Validity::Ending { .. } => return None,
        };
        Some(("tls-cert", pair.file.display().to_string(), format!("{problem}: clients refuse it")))
    });
    refused.collect()
}

/// All files that the settings name.
fn files(settings: &TlsSettings) -> impl Iterator<Item = &Path> {
    let TlsSettings { cert_files, key_files, client_ca_files, client_crl_files, .. } = settings;
    let files = [cert_files, key_files, client_ca_files, client_crl_files].into_iter().flatten();
    files.map(PathBuf::as_path)
}

/// Logs what is loaded.
fn tell_loaded(material: &Material, modes: &[ClientAuthMode]) {
    for doubt in &material.doubts {
        warn!("{doubt}");
    }
    for (place, pair) in material.pairs.iter().enumerate() {
        let hosts = match (pair.hosts.is_empty(), place) {
            (true, 0) => "any host".to_owned(),
            (true, _) => "no host".to_owned(),
            (false, 0) => format!("{}, and any other host", pair.hosts.join(", ")),
            (false, _) => pair.hosts.join(", "),
        };
        info!("{} is for {hosts}, until {}", pair.file.display(), date(pair.valid_until));
    }
    let (authorities, lists) = (material.authorities.len(), material.revoked.len());
    for mode in modes.iter().filter(|mode| **mode != ClientAuthMode::None) {
        info!(
            "certificates of clients: {mode}, of {authorities} authorities, with {lists} lists of \
             revoked ones"
        );
    }
}

/// The ways in which listeners ask for clients' certificates, each once.
fn modes(config: &Config) -> Vec<ClientAuthMode> {
    let mut modes = Vec::new();
    for listener in config.listeners().iter().filter(|listener| listener.kind.has_tls()) {
        if !modes.contains(&listener.client_auth) {
            modes.push(listener.client_auth);
        }
    }
    modes
}

#[cfg(test)]
mod tests;
