//! The `push-server` binary: flags in, exit code out.

mod acl;
mod cli;
mod complaint;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use complaint::{EXIT_FAILED, complain, invalid};
use push_server::access::scram;
use push_server::config::{Config, Loaded, Settings};
use push_server::control::line_queue::{FLUSH_MAX, LOG_LINES_MAX, LineQueue, LinesLost};
use push_server::control::reload::SetLog;
use push_server::control::{admin, error_text, preflight, privileges, startup, status};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Levels for the database's own log lines, unless `--log` names others.
const QUIET: &str = "fjall=warn,lsm_tree=warn";

fn main() -> ExitCode {
    match cli::Cli::from_process().subcommand {
        cli::Subcommand::Run(run) => serve(&run.settings, run.config.as_deref()),
        cli::Subcommand::CheckConfig { file } => check(&file),
        cli::Subcommand::Reload { socket } => reload(&socket),
        cli::Subcommand::User { action } => done(action.run()),
        cli::Subcommand::ScramUser { name, iterations } => scram_user(&name, iterations),
        cli::Subcommand::Acl(cli::AclCommand::Check(question)) => acl::check(&question),
        cli::Subcommand::Acl(cli::AclCommand::Import { file }) => acl::import(&file),
        cli::Subcommand::Detach { bpf_dir, wait_secs } => detach(&bpf_dir, wait_secs),
    }
}

fn serve(flags: &Settings, file: Option<&Path>) -> ExitCode {
    let loaded = match Loaded::new(flags, file) {
        Ok(loaded) => loaded,
        Err(errors) => return invalid(&lines(&errors)),
    };
    let (log, set_log) = match log_to_stderr(&loaded.config) {
        Ok(log) => log,
        Err(error) => {
            complain(&error_text::with_sources(error.as_ref()));
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let code = match startup::serve(loaded, &log, set_log).context("cannot start") {
        Ok(ending) => ending.exit_code(),
        Err(error) => {
            // Written after the log lines before it, and without waiting for a reader.
            let complaint = format!("error: {}\n", error_text::with_sources(error.as_ref()));
            log.push(complaint.into_bytes());
            EXIT_FAILED
        }
    };
    log.flush(FLUSH_MAX);
    ExitCode::from(code)
}

fn check(file: &Path) -> ExitCode {
    let (loaded, mistakes) = match Loaded::without_mistakes(&Settings::default(), Some(file)) {
        Ok(read) => read,
        Err(error) => return invalid(&lines(&[error])),
    };
    // With the rights that the server has when it opens its files.
    privileges::drop_after_load();
    let problems = preflight::problems(&loaded, mistakes);
    if !problems.is_empty() {
        return invalid(&problems);
    }
    let shown = loaded.config.to_toml_on(&preflight::in_force(&loaded.config));
    match io::stdout().write_all(shown.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_FAILED),
    }
}

/// Has a running server read its files again, and tells what it says.
fn reload(socket: &Path) -> ExitCode {
    let report = match admin::client::reload(socket) {
        Ok(report) => report,
        Err(error) => {
            complain(&error_text::with_sources(&error));
            return ExitCode::from(EXIT_FAILED);
        }
    };
    if !report.is_success() {
        report.mistakes.iter().for_each(|mistake| complain(mistake));
        return ExitCode::from(EXIT_FAILED);
    }
    let said = report.lines().iter().try_for_each(|line| writeln!(io::stdout(), "{line}"));
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) }
}

fn scram_user(name: &str, iterations: u32) -> ExitCode {
    let line = cli::password::new_password(None).and_then(|password| {
        Ok(scram::verifier_line(name, &password, &rand::random(), iterations)?)
    });
    done(line.and_then(|line| Ok(writeln!(io::stdout(), "{line}")?)).map(|()| ExitCode::SUCCESS))
}

/// The exit code of a command, which tells why it failed.
fn done(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        complain(&error_text::with_sources(error.as_ref()));
        ExitCode::from(EXIT_FAILED)
    })
}

fn detach(dir: &Path, wait_secs: u16) -> ExitCode {
    let said = match startup::detach(dir, wait_secs) {
        Ok(removed) if removed.is_empty() => {
            writeln!(io::stdout(), "nothing to remove in {}", dir.display())
        }
        Ok(removed) => {
            removed.iter().try_for_each(|link| writeln!(io::stdout(), "removed {}", link.display()))
        }
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::from(EXIT_FAILED);
        }
    };
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) }
}

fn lines(errors: &[impl ToString]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// Logs to standard error through a queue, so that a slow reader holds up nobody.
fn log_to_stderr(config: &Config) -> anyhow::Result<(LineQueue, SetLog)> {
    let filter = log_filter(&config.log).context("log")?;
    let clears_line = startup::log_clears_line(config);
    let queue =
        LineQueue::start("log", LogWriter { clears_line }, LOG_LINES_MAX, LinesLost::default())
            .context("cannot start the log's thread")?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(status::takes_terminal_codes(&io::stderr()))
        .with_writer(queue.clone())
        .with_filter_reloading();
    let filter = lines.reload_handle();
    lines.try_init().map_err(|error| anyhow::anyhow!("cannot set up logging: {error}"))?;
    let set_log: SetLog = Box::new(move |log| {
        let new = log_filter(log).map_err(|error| error.to_string())?;
        filter.reload(new).map_err(|error| error.to_string())
    });
    let of_panics = queue.clone();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("{}", panic.to_string().replace('\n', " "));
        of_panics.flush(FLUSH_MAX);
    }));
    Ok((queue, set_log))
}

/// The database says much at `info`; a filter that names it shows that all the same.
fn log_filter(log: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(format!("{QUIET},{log}"))
}

/// Standard error; clears a status line on the same terminal first.
struct LogWriter {
    clears_line: bool,
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        if self.clears_line {
            stderr.write_all(status::CLEAR_LINE.as_bytes())?;
        }
        // A whole line at once: otherwise the next write would clear it.
        stderr.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
