//! `push-server acl`: what a file of rules says about one client, and the translation of one of
//! mosquitto's.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use push_server::access::acl::{self, Line, PATTERN_LEVELS_MAX};
use push_server::access::{Acl, Decision, Identity, Origin};
use push_server::broker::{TopicFilter, TopicName};
use push_server::control::acl::{AclFileError, parse, read};

use crate::cli::{AclAction, AclQuestion};
use crate::complaint::{EXIT_FAILED, complain, invalid};

/// Says what a file of rules says about a question.
pub(crate) fn check(question: &AclQuestion) -> ExitCode {
    let path = &question.file;
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => return invalid(&[error.to_string()]),
    };
    let acl = match parse(path, &text) {
        Ok(acl) => acl,
        Err(AclFileError::Mistakes { path, mistakes }) => {
            let lines = mistakes.iter().map(|mistake| format!("{}:{mistake}", path.display()));
            return invalid(&lines.collect::<Vec<_>>());
        }
        Err(error) => return invalid(&[error.to_string()]),
    };
    match answer(&acl, question, &text) {
        Ok((is_allowed, said)) => match (io::stdout().write_all(said.as_bytes()), is_allowed) {
            (Ok(()), true) => ExitCode::SUCCESS,
            _ => ExitCode::from(EXIT_FAILED),
        },
        Err(problem) => invalid(&[problem]),
    }
}

/// The verdict, and the text that says it with the lines behind it.
fn answer(acl: &Acl, question: &AclQuestion, text: &str) -> Result<(bool, String), String> {
    let AclQuestion { action, topic, file, user, client, group, address, listener } = question;
    let identity = match user {
        Some(user) => Identity::of_user(user.as_str().into()),
        None => Identity::default(),
    };
    let groups: Vec<Box<str>> = group.iter().map(|group| group.as_str().into()).collect();
    let identity = identity.with_groups(groups.into());
    let listener_address: Option<SocketAddr> =
        listener.as_ref().and_then(|listener| listener.parse().ok());
    let listener_name = listener.as_deref().filter(|_| listener_address.is_none());
    let origin = Some(Origin { address: *address, listener: listener_address, listener_name });
    let rights = acl.rights(&identity, client, origin);
    let no_topic = |error| format!("{topic:?}: {error}");
    let (decision, taken_out) = match action {
        AclAction::Publish => {
            let topic = TopicName::parse(topic, PATTERN_LEVELS_MAX).map_err(no_topic)?;
            (rights.may_publish(&topic, user.as_deref(), client), Vec::new())
        }
        AclAction::Subscribe => {
            let filter = TopicFilter::parse(topic, PATTERN_LEVELS_MAX).map_err(no_topic)?;
            let decision = rights.may_subscribe(&filter, user.as_deref(), client);
            (decision, acl.taken_out(&identity, client, origin, &filter))
        }
    };
    let cited = |line: Line| {
        let line = line.get() as usize;
        let source = text.lines().nth(line - 1).unwrap_or_default().trim();
        format!("{}:{line}: {source}", file.display())
    };
    let mut said = match decision {
        Decision::Allowed(Some(line)) => format!("allowed by {}\n", cited(line)),
        Decision::Denied(Some(line)) => format!("denied by {}\n", cited(line)),
        Decision::Allowed(None) => "allowed\n".into(),
        Decision::Denied(None) => format!("denied: no line of {} allows it\n", file.display()),
    };
    if decision.is_allowed() {
        for line in taken_out {
            let _ = writeln!(said, "without messages that are denied by {}", cited(line));
        }
    }
    Ok((decision.is_allowed(), said))
}

/// Translates a file of mosquitto's.
pub(crate) fn import(path: &Path) -> ExitCode {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => return invalid(&[error.to_string()]),
    };
    let imported = acl::import(&text);
    for remark in &imported.remarks {
        let place = remark.line.map(|line| format!(":{line}")).unwrap_or_default();
        let kind = if remark.is_left_out { "left out" } else { "different" };
        complain_of(kind, &format!("{}{place}: {}", path.display(), remark.text));
    }
    if let Err(error) = io::stdout().write_all(imported.text.as_bytes()) {
        complain(&error.to_string());
        return ExitCode::from(EXIT_FAILED);
    }
    match imported.remarks.iter().any(|remark| remark.is_left_out) {
        true => ExitCode::from(EXIT_FAILED),
        false => ExitCode::SUCCESS,
    }
}

/// A closed stderr is no reason to panic.
fn complain_of(kind: &str, message: &str) {
    let _ = writeln!(io::stderr(), "{kind}: {message}");
}

#[cfg(test)]
mod tests;
