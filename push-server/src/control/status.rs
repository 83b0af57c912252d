//! `--status`: one screen at the start, then one line each second. Pure functions make the text;
//! [`show`] only reads, waits and writes.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::warn;

use super::line_queue::{FLUSH_MAX, LineQueue, STATUS_LINES_MAX};
use super::metrics;
use super::observed::{Facts, Observed, PingPath, pings_kernel};
use super::status_text::{self, grouped, short};
use crate::config::ListenerKind;
use crate::shard::Listening;

/// Makes the terminal cut a line at its edge: a wrapped one could not be redrawn in place.
const WRAP_OFF: &str = "\x1b[?7l";
const WRAP_ON: &str = "\x1b[?7h";

/// Time between two lines.
const PERIOD: Duration = Duration::from_secs(1);

/// Goes to the start of the terminal's line and clears it.
pub const CLEAR_LINE: &str = "\r\x1b[K";

/// The counters of a status line, read at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusCounts {
    /// Open now.
    pub connections: u64,
    /// Answered by the kernel so far.
    pub pings_kernel: u64,
    /// Answered in user space so far.
    pub pings_user: u64,
    /// Received so far.
    pub publishes_in: u64,
    /// Sent so far.
    pub publishes_out: u64,
}

impl StatusCounts {
    fn read(observed: &Observed) -> Self {
        Self {
            connections: observed.sum(|shard| &shard.connections),
            pings_kernel: pings_kernel(&observed.kernel_counters()),
            pings_user: observed.sum(|shard| &shard.pings_user),
            publishes_in: observed.sum(|shard| &shard.publishes_received),
            publishes_out: observed.sum(|shard| &shard.publishes_sent),
        }
    }

    /// One line, without its end, about the time since `before`, which was `elapsed` ago.
    pub fn line_since(&self, before: &Self, elapsed: Duration) -> String {
        let rate = |now: u64, before: u64| {
            let per_sec = now.saturating_sub(before) as f64 / elapsed.as_secs_f64().max(0.001);
            short(per_sec.round() as u64)
        };
        format!(
            "{} connected | pings/s {} kernel {} user | msgs/s {} in {} out",
            short(self.connections),
            rate(self.pings_kernel, before.pings_kernel),
            rate(self.pings_user, before.pings_user),
            rate(self.publishes_in, before.publishes_in),
            rate(self.publishes_out, before.publishes_out),
        )
    }
}

/// Problems of clients since the start: names and numbers, those above 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Troubles(Vec<String>);

impl Troubles {
    fn read(observed: &Observed) -> Self {
        let counted = [
            ("expired", observed.sum(|shard| &shard.expired)),
            ("refused", observed.sum(|shard| &shard.connects_refused)),
            ("malformed", observed.sum(|shard| &shard.connects_malformed)),
            ("dropped", metrics::publishes_dropped(observed)),
            ("log lines lost", observed.facts.lines_lost.count()),
        ];
        let counted = counted.into_iter().map(|(name, count)| (name.to_owned(), count));
        let limits = metrics::limits_hit(observed).into_iter();
        let limits = limits.map(|(limit, count)| (format!("limit {limit}"), count));
        let mut troubles: Vec<String> = counted
            .chain(limits)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{} {name}", short(count)))
            .collect();
        if !observed.is_storing() {
            troubles.push("the disk fails: nothing is stored".into());
        }
        Self(troubles)
    }

    /// Lines without their ends; none if there are no problems.
    fn lines(&self) -> Vec<String> {
        status_text::lines("  since start: ", self.0.iter().map(String::as_str), " | ")
    }
}

/// The first screen: where to connect, who answers heartbeats, what to try.
pub fn welcome(facts: &Facts) -> String {
    let connect: Vec<_> = facts.listening.iter().map(target).collect();
    let heartbeats = match &facts.path {
        PingPath::Kernel { interfaces, .. } => {
            format!("answered by the kernel on {}", interfaces.join(", "))
        }
        PingPath::User { reason } => format!("answered in user space: {reason}"),
    };
    let shards = match facts.config.shards {
        1 => "1 shard".to_owned(),
        shards => format!("{shards} shards"),
    };
    let room = format!("up to {} connections, {shards}", grouped(facts.connections_max.into()));
    let http = facts.http.map_or("off".into(), |http| {
        format!("http://{}/metrics  /healthz  /readyz", reachable(http))
    });
    let connect = connect.iter().map(String::as_str);
    let mut lines = vec![String::new(), format!("push-server {}", env!("CARGO_PKG_VERSION"))];
    lines.push(String::new());
    lines.extend(status_text::lines("  connect     ", connect, "  "));
    lines.extend(status_text::lines("  heartbeats  ", heartbeats.split(' '), " "));
    lines.push(format!("  room        {room}"));
    lines.push(format!("  http        {http}"));
    let mut screen = lines.join("\n");
    screen.push('\n');
    let plain = |one: &Listening| match one.listener.kind {
        ListenerKind::Mqtt => one.address.tcp(),
        _ => None,
    };
    if let Some(plain) = facts.listening.iter().find_map(plain) {
        let address = reachable(plain);
        let (host, port) = (address.ip(), address.port());
        let _ = write!(
            screen,
            "\n  try         mosquitto_sub -h {host} -p {port} -k 5 -t 'hello/#' -v &\n              \
             mosquitto_pub -h {host} -p {port} -t hello/world -m hi\n",
        );
    }
    screen.push_str("\n  Ctrl-C stops it.\n\n");
    screen
}

/// What a client is told to connect to.
fn target(listening: &Listening) -> String {
    let Some(address) = listening.address.tcp() else { return listening.listener.name.to_string() };
    match listening.listener.kind {
        ListenerKind::Mqtt => address.to_string(),
        ListenerKind::Tls => format!("mqtts://{address}"),
        ListenerKind::WebSocket => format!("ws://{address}/mqtt"),
        ListenerKind::TlsWebSocket => format!("wss://{address}/mqtt"),
    }
}

/// An address that a client on this machine can connect to: loopback for an unspecified one.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Whether the status line is redrawn in place, so that log lines have to clear it first.
pub fn is_redrawn() -> bool {
    takes_terminal_codes(&io::stdout())
}

/// Whether `output` is a terminal that understands control codes, and the user has not switched
/// them off (<https://no-color.org>).
pub fn takes_terminal_codes(output: &impl IsTerminal) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    output.is_terminal() && !is_dumb && !is_set("NO_COLOR")
}

/// Writes the screen and the lines to standard output until `stopped` turns true. If standard
/// output is closed (`| head`), only this ends; if nobody reads it, nothing waits.
pub async fn show(observed: Arc<Observed>, mut stopped: watch::Receiver<bool>) {
    let redrawn = is_redrawn();
    let lost = observed.facts.lines_lost.clone();
    let out = match LineQueue::start("status", io::stdout(), STATUS_LINES_MAX, lost) {
        Ok(out) => out,
        Err(error) => {
            warn!("no status is shown, for want of a thread: {error}");
            return;
        }
    };
    out.push(welcome(&observed.facts).into_bytes());
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.tick().await;
    let (mut before, mut at) = (StatusCounts::read(&observed), Instant::now());
    let mut told = Troubles::default();
    loop {
        let is_last = tokio::select! {
            _ = ticks.tick() => false,
            _ = stopped.wait_for(|stopped| *stopped) => true,
        };
        let now = StatusCounts::read(&observed);
        let line = now.line_since(&before, at.elapsed());
        (before, at) = (now, Instant::now());
        let troubles = Troubles::read(&observed);
        if troubles != told {
            out.push(above(&troubles.lines(), redrawn).into_bytes());
            told = troubles;
        }
        out.push(framed(&line, redrawn, is_last).into_bytes());
        if is_last {
            out.flush(FLUSH_MAX);
        }
        if is_last || out.is_gone() {
            return;
        }
    }
}

/// `lines`, placed above the line that is redrawn.
fn above(lines: &[String], redrawn: bool) -> String {
    let clear = if redrawn { CLEAR_LINE } else { "" };
    lines.iter().map(|line| format!("{clear}{line}\n")).collect()
}

/// `line`, with the codes that put it in its place.
fn framed(line: &str, redrawn: bool, is_last: bool) -> String {
    match (redrawn, is_last) {
        (true, false) => format!("{CLEAR_LINE}{WRAP_OFF}{line}{WRAP_ON}"),
        (true, true) => format!("{CLEAR_LINE}{WRAP_OFF}{line}{WRAP_ON}\nstopped\n"),
        (false, false) => format!("{line}\n"),
        (false, true) => format!("{line}\nstopped\n"),
    }
}

#[cfg(test)]
mod tests;
