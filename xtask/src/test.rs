//! `cargo xtask test`: every test of the workspace, against the released server, and an honest count.
//!
//! A test that cannot run here appends `SKIPPED <name>: <why>` to the file that the environment
//! names. libtest counts such a test as passed; here it is counted, and named, as skipped.
//!
//! `cargo xtask test vm` runs those that ask something of the kernel under other kernels: [`vm`].

mod vm;

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::build::{self, Profile};
use crate::setup;
use crate::workspace::{Workspace, command_line, say};

/// Names the released server to the end-to-end tests, and to us one that is to be tested instead.
const SERVER_VARIABLE: &str = "PUSH_SERVER_BIN";
/// The same for the load generator.
const LOAD_VARIABLE: &str = "PUSH_LOAD_BIN";
/// Names a Python that imports paho; not set where there is none.
const PYTHON_VARIABLE: &str = "PUSH_PYTHON";
/// Names the folder of the JavaScript clients; not set where there is no Node.js.
const NODE_MODULES_VARIABLE: &str = "PUSH_NODE_MODULES";
/// Names the file that skipped tests are appended to.
const SKIPPED_FILE_VARIABLE: &str = "PUSH_SKIPPED_FILE";

/// The package of the tests that are files of `tests/tests`.
const TESTS_PACKAGE: &str = "push-tests";

#[derive(Args, Debug)]
pub(crate) struct TestArguments {
    /// Only this package (repeatable); default: the whole workspace
    #[arg(short, long, value_name = "NAME")]
    package: Vec<String>,
    /// Only this test file, such as tests/tests/NAME.rs (repeatable)
    #[arg(long, value_name = "NAME")]
    test: Vec<String>,
    /// Run the model test alone for so many hours, on all cores, optimised
    #[arg(long, value_name = "H", conflicts_with_all = ["package", "test", "filters"])]
    model_hours: Option<f64>,
    /// How long tests that take a length run: wire, packet
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// How many lives of the server the crash test takes; it then also prints what it counted
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// The seed of tests that take one: model, wire, packet, crash
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Only tests whose name holds one of these. A first one that names a test file of tests/tests
    /// means that file. `vm [6.1|6.12] [FILE...]`: in virtual machines with Debian's kernels
    filters: Vec<String>,
    /// What the test binaries take, for example `-- --nocapture`
    #[arg(last = true, value_name = "TEST BINARY ARGUMENTS")]
    binaries: Vec<String>,
}

/// What libtest's lines add up to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    /// `SKIPPED` and ignored tests, as `name: why`.
    skipped: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, arguments: &TestArguments) -> Result<ExitCode> {
    if let Some(hours) = arguments.model_hours {
        return run_model(workspace, arguments, hours);
    }
    if arguments.filters.first().is_some_and(|first| first == "vm") {
        return vm::run(workspace, arguments);
    }
    let tools = setup::build_needs(workspace)?;
    let test_tools = setup::test_needs(workspace);
    if let Err(error) = &test_tools {
        say(format_args!("{error:#}"));
        say("going on: tests that need what is missing skip, and are named at the end");
    }
    let object = build::ebpf_object(workspace, &tools)?;
    let [server, generator] = server_and_load_generator(workspace, &object)?;
    let skipped_file = workspace.target().join("skipped-tests");
    fs::write(&skipped_file, "")
        .with_context(|| format!("cannot write {}", skipped_file.display()))?;

    let mut cargo = workspace.cargo();
    build::embed(&mut cargo, workspace, &object);
    cargo
        .env(SERVER_VARIABLE, server)
        .env(LOAD_VARIABLE, generator)
        .env(SKIPPED_FILE_VARIABLE, &skipped_file);
    if let Ok(tools) = test_tools {
        cargo.env(PYTHON_VARIABLE, tools.python);
        if let Some(modules) = tools.node_modules {
            cargo.env(NODE_MODULES_VARIABLE, modules);
        }
    }
    arguments.set_lengths_and_seed(&mut cargo);
    cargo.args(["test", "--no-fail-fast"]);
    let (file, filters) = arguments.file_and_filters(workspace);
    if let Some(file) = file {
        cargo.args(["--package", TESTS_PACKAGE, "--test", file]);
    } else if arguments.package.is_empty() {
        // push-ebpf has no tests of its own: what it decides is tested in push-common.
        cargo.args(["--workspace", "--exclude", "push-ebpf"]);
    }
    for package in &arguments.package {
        cargo.args(["--package", package]);
    }
    for test in &arguments.test {
        cargo.args(["--test", test]);
    }
    cargo.arg("--").args(filters).args(&arguments.binaries);
    if arguments.rounds.is_some() {
        cargo.arg("--nocapture");
    }

    let (mut tally, succeeded) = stream(&mut cargo)?;
    tally.count_skipped(&read_skipped(&skipped_file)?);
    if !succeeded && tally.failed == 0 {
        say("cargo test failed without a failed test: see above");
        tally.failed = 1;
    }
    tally.print();
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The server and the load generator that the environment names; what it does not is built now.
fn server_and_load_generator(workspace: &Workspace, object: &Path) -> Result<[PathBuf; 2]> {
    Ok(match (named(SERVER_VARIABLE)?, named(LOAD_VARIABLE)?) {
        (Some(server), Some(generator)) => [server, generator],
        (Some(server), None) => [server, build::load_generator(workspace, object)?],
        (None, Some(generator)) => [build::server(workspace, object, Profile::Release)?, generator],
        (None, None) => build::server_and_load_generator(workspace, object)?,
    })
}

/// The binary that a variable names, which is said: it may not fit the tests.
fn named(variable: &str) -> Result<Option<PathBuf>> {
    let Some(path) = env::var_os(variable).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    // Tests run in other folders.
    let path = fs::canonicalize(&path)
        .with_context(|| format!("{variable} names {}", Path::new(&path).display()))?;
    say(format_args!(
        "{variable} is set: the tests use {}, not a build of this tree",
        path.display()
    ));
    Ok(Some(path))
}

/// The long run of the model, which needs neither server nor eBPF.
fn run_model(workspace: &Workspace, arguments: &TestArguments, hours: f64) -> Result<ExitCode> {
    let mut cargo = workspace.cargo();
    arguments.set_lengths_and_seed(&mut cargo);
    cargo.env("PUSH_MODEL_HOURS", hours.to_string());
    cargo.args(["test", "--release", "--package", TESTS_PACKAGE, "--test", "model"]);
    cargo.args(["streams_stay_whole", "--", "--nocapture"]);
    let (tally, succeeded) = stream(&mut cargo)?;
    tally.print();
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl TestArguments {
    fn set_lengths_and_seed(&self, cargo: &mut Command) {
        if let Some(seconds) = self.seconds {
            cargo.env("PUSH_WIRE_SECONDS", seconds.to_string());
            cargo.env("PUSH_FUZZ_SECONDS", seconds.to_string());
        }
        if let Some(rounds) = self.rounds {
            cargo.env("PUSH_CRASH_ROUNDS", rounds.to_string());
        }
        if let Some(seed) = self.seed {
            for test in ["MODEL", "WIRE", "FUZZ", "CRASH"] {
                cargo.env(format!("PUSH_{test}_SEED"), seed.to_string());
            }
        }
    }

    /// The test file that the first filter names, if it does, and the filters that are left.
    fn file_and_filters(&self, workspace: &Workspace) -> (Option<&str>, &[String]) {
        let tests = workspace.root().join("tests/tests");
        match self.filters.split_first() {
            Some((first, rest))
                if tests.join(first).join("main.rs").exists()
                    || tests.join(format!("{first}.rs")).exists() =>
            {
                (Some(first), rest)
            }
            _ => (None, &self.filters),
        }
    }
}

/// Runs the tests, passes their output on line by line, and adds up what libtest says.
fn stream(command: &mut Command) -> Result<(Tally, bool)> {
    let line = command_line(command);
    say(format_args!("$ {line}"));
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run `{line}`"))?;
    let mut tally = Tally::default();
    let mut reader = BufReader::new(child.stdout.take().context("no stdout of cargo test")?);
    let mut stdout = io::stdout().lock();
    let mut bytes = Vec::new();
    // Tests print what they like: bytes, not text, are passed on.
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        stdout.write_all(&bytes)?;
        tally.read_line(String::from_utf8_lossy(&bytes).trim_end());
        bytes.clear();
    }
    Ok((tally, child.wait()?.success()))
}

impl Tally {
    /// Takes a line of libtest's: the result of a binary, or an ignored test.
    fn read_line(&mut self, line: &str) {
        if let Some((passed, failed)) = parse_result(line) {
            self.passed += passed;
            self.failed += failed;
        } else if let Some(test) = line.strip_prefix("test ")
            && let Some((name, why)) = test.split_once(" ... ignored")
        {
            let why = why.strip_prefix(", ").unwrap_or("ignored");
            self.skipped.push(format!("{name}: {why}"));
        }
    }

    /// Takes the tests that skipped themselves; libtest has counted them as passed.
    fn count_skipped(&mut self, names: &[String]) {
        self.passed = self.passed.saturating_sub(names.len() as u64);
        self.skipped.extend_from_slice(names);
    }

    /// Takes what was counted `under` another kernel.
    fn add(&mut self, under: &str, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped.iter().map(|test| format!("{under}: {test}")));
    }

    fn print(&self) {
        for test in &self.skipped {
            println!("skipped {test}");
        }
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped.len());
    }
}

/// Passed and failed of `test result: ok. 1 passed; 0 failed; 0 ignored; ...`.
fn parse_result(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |name: &str| {
        counts.split("; ").find_map(|part| part.strip_suffix(name)?.trim_end().parse().ok())
    };
    Some((count("passed")?, count("failed")?))
}

/// The tests that skipped themselves, as `name: why`.
fn read_skipped(file: &Path) -> Result<Vec<String>> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(parse_skipped(&text))
}

fn parse_skipped(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix("SKIPPED ")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_binaries_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test mqtt::codec::tests::connect_is_parsed ... ok",
            "test wire::slow ... ignored, takes an hour",
            "test wire::other ... ignored",
            "test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 4 filtered out; finished in 0.00s",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
            "my test result: ok. 9 passed; 9 failed",
        ] {
            tally.read_line(line);
        }
        assert_eq!((tally.passed, tally.failed), (13, 2));
        assert_eq!(tally.skipped, ["wire::slow: takes an hour", "wire::other: ignored"]);
    }

    #[test]
    fn test_that_skipped_itself_is_not_counted_as_passed() {
        let mut tally = Tally { passed: 5, failed: 1, skipped: Vec::new() };
        let skipped = parse_skipped(
            "SKIPPED e2e::veth: needs root\nnoise\nSKIPPED e2e::paho: no paho: none\n",
        );
        tally.count_skipped(&skipped);
        assert_eq!((tally.passed, tally.failed), (3, 1));
        assert_eq!(tally.skipped, ["e2e::veth: needs root", "e2e::paho: no paho: none"]);
    }
}
