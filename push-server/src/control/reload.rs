//! Reads everything again that may change while the server runs: the settings, who may connect, what clients may do,
//! certificates and what clients' are checked by. All of it is read and checked before any of it is applied, so that
//! a mistake in one file leaves all as it was.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::authenticator::Authenticator;
use super::hook::HookFiles;
use super::tls::Tls;
use super::wall_clock::since_1970;
use super::{access, privileges};
use crate::config::{Config, Loaded};
use crate::shard::{Reviewer, SharedAccess};

/// Sets the filter of log lines, which is a valid one.
pub type SetLog = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Reads again what may change.
pub(crate) struct Reloader {
    /// The settings as the start has read them.
    start: Loaded,
    /// The settings in force: locked through a reload, because they must not overtake each other.
    in_force: Mutex<Config>,
    access: Arc<SharedAccess>,
    authenticator: Arc<Authenticator>,
    tls: Option<Arc<Tls>>,
    reviewer: Arc<Reviewer>,
    set_log: SetLog,
    status: Arc<ReloadStatus>,
}

/// What the server runs with that a reload changes.
pub(crate) struct Reloadable {
    /// The settings as the start has read them.
    pub(crate) start: Loaded,
    /// Who may connect, and what clients may do.
    pub(crate) access: Arc<SharedAccess>,
    /// Says who clients are.
    pub(crate) authenticator: Arc<Authenticator>,
    /// What clients over TLS are served with; `None`: nobody listens for them.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Has connected clients looked at again.
    pub(crate) reviewer: Arc<Reviewer>,
    /// Sets the filter of log lines.
    pub(crate) set_log: SetLog,
}

/// What came of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReloadReport {
    /// What was read and is in force.
    pub read: Vec<String>,
    /// The settings that have other values than before.
    pub changed: Vec<String>,
    /// The settings that have other values than at the start, and that only a restart applies.
    pub needs_restart: Vec<String>,
    /// What is wrong, with file and line. If there is anything, nothing was changed.
    pub mistakes: Vec<String>,
}

/// What metrics show of reloads.
#[derive(Debug)]
pub struct ReloadStatus {
    is_success: AtomicBool,
    /// In seconds since 1970.
    succeeded_at: AtomicU64,
}

/// The start has read everything.
impl Default for ReloadStatus {
    fn default() -> Self {
        Self {
            is_success: AtomicBool::new(true),
            succeeded_at: AtomicU64::new(since_1970().as_secs()),
        }
    }
}

impl ReloadStatus {
    /// Whether the latest reload has changed all that it read; without one the start counts.
    pub(crate) fn is_success(&self) -> bool {
        self.is_success.load(Ordering::Relaxed)
    }

    /// When one has last done so, in seconds since 1970.
    pub(crate) fn succeeded_at(&self) -> u64 {
        self.succeeded_at.load(Ordering::Relaxed)
    }

    fn note(&self, is_success: bool) {
        self.is_success.store(is_success, Ordering::Relaxed);
        if is_success {
            self.succeeded_at.store(since_1970().as_secs(), Ordering::Relaxed);
        }
    }
}

impl ReloadReport {
    /// Whether everything was read and is in force.
    pub fn is_success(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// It, as lines for an operator.
    pub fn lines(&self) -> Vec<String> {
        if !self.is_success() {
            return self.mistakes.clone();
        }
        let mut lines: Vec<_> = self.read.iter().map(|what| format!("read {what}")).collect();
        let lists = [("changed", &self.changed), ("needs a restart", &self.needs_restart)];
        let lists = lists.into_iter().filter(|(_, keys)| !keys.is_empty());
        lines.extend(lists.map(|(what, keys)| format!("{what}: {}", keys.join(", "))));
        if lines.is_empty() {
            lines.push(NOTHING.to_owned());
        }
        lines
    }
}

/// There is no settings file, and no other.
const NOTHING: &str = "there is nothing to reload; restart to change settings";

impl Reloader {
    pub(crate) fn new(reloadable: Reloadable) -> Self {
        let Reloadable { start, access, authenticator, tls, reviewer, set_log } = reloadable;
        let in_force = Mutex::new(start.config.clone());
        let status = Arc::default();
        Self { start, in_force, access, authenticator, tls, reviewer, set_log, status }
    }

    /// What metrics show.
    pub(crate) fn status(&self) -> &Arc<ReloadStatus> {
        &self.status
    }

    /// Reads everything again, and applies all of it or nothing. `why`: who asks for it, for the log.
    pub(crate) fn reload(&self, why: &str) -> ReloadReport {
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let report = self.read_and_apply(&mut in_force);
        self.status.note(report.is_success());
        for mistake in &report.mistakes {
            error!("{why}: nothing was changed: {mistake}");
        }
        if !report.is_success() {
            return report;
        }
        if !report.needs_restart.is_empty() {
            warn!("{why}: needs a restart: {}", report.needs_restart.join(", "));
        }
        match report.read.as_slice() {
            [] => warn!("{why}: {NOTHING}"),
            read => info!("{why}: read {}", read.join(", ")),
        }
        if !report.changed.is_empty() {
            info!("{why}: changed {}", report.changed.join(", "));
        }
        report
    }

    fn read_and_apply(&self, in_force: &mut Config) -> ReloadReport {
        let refused =
            |errors: Vec<_>| ReloadReport { mistakes: texts(&errors), ..Default::default() };
        let next = self.start.again().and_then(|new| self.start.reloaded(in_force, &new));
        let next = match next {
            Ok(next) => next,
            Err(errors) => return refused(errors),
        };
        if next.config.authentication.has_secrets() {
            // Before the first hash is in memory.
            privileges::forbid_core_dumps();
        }
        let mut mistakes = Vec::new();
        let access = access::read_again(&next.config, &self.access.current());
        let access = access.map_err(|errors| mistakes.extend(texts(&errors)));
        let hook = HookFiles::read(&next.config.authentication.hook);
        let hook = hook.map_err(|error| mistakes.push(error.to_string()));
        let tls = self.tls.as_ref().map(|tls| tls.read_again(&next.config.tls)).transpose();
        let tls = tls.map_err(|error| mistakes.extend(error.mistakes()));
        // All is read, and nothing changed yet.
        let (Ok(access), Ok(hook), Ok(tls)) = (access, hook, tls) else {
            return ReloadReport { mistakes, ..ReloadReport::default() };
        };
        let mut read: Vec<_> = self.start.path().map(shown).into_iter().collect();
        if let (Some(users), Some(file)) = (&access.users, &next.config.authentication.users_file) {
            read.push(format!("{} ({} users)", shown(file), users.len()));
        }
        if let (Some(tokens), Some(file)) =
            (&access.tokens, &next.config.authentication.jwt.keys_file)
        {
            read.push(format!("{} ({} keys)", shown(file), tokens.keys.len()));
        }
        if let (Some(acl), Some(file)) = (&access.acl, &next.config.acl) {
            read.push(format!("{} ({} rules)", shown(file), acl.rules_len()));
        }
        self.access.replace(access);
        if let Some(files) = hook {
            read.extend(next.config.authentication.hook.files().map(shown));
            self.authenticator.change_hook(files);
        }
        let mut certificates = false;
        if let Some(tls) = tls {
            certificates = tls.serve();
            read.push("the files of TLS".to_owned());
        }
        if next.changed.iter().any(|key| key == "log")
            && let Err(error) = (self.set_log)(&next.config.log)
        {
            warn!("the log's filter stays as it was: {error}");
        }
        *in_force = next.config;
        // Last, when all that it asks is in force.
        self.reviewer.review(certificates);
        let (changed, needs_restart) = (next.changed, next.needs_restart);
        ReloadReport { read, changed, needs_restart, mistakes: Vec::new() }
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reloader").field("status", &self.status).finish_non_exhaustive()
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn texts(errors: &[impl ToString]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}
