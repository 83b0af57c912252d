//! `cargo xtask test`: runs every test of the workspace, against the released server, and counts
//! honestly.
//!
//! A test that cannot run here appends `SKIPPED <name>: <why>` to the file that the environment
//! names. libtest counts such a test as passed; xtask counts and lists it as skipped. The closing lines also
//! repeat why tests have failed. Several test binaries run beside each other: [`side_by_side`].
//!
//! `cargo xtask test vm` runs the tests that need the kernel under other kernels: [`vm`].

mod arguments;
mod binaries;
mod environment;
mod failures;
mod side_by_side;
mod tally;
mod vm;

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use arguments::TESTS_PACKAGE;
use binaries::TestBinary;
use environment::{
    LOAD_VARIABLE, NODE_MODULES_VARIABLE, PYTHON_VARIABLE, SERVER_VARIABLE, SKIPPED_FILE_VARIABLE,
    server_and_load_generator,
};
use side_by_side::Run;
use tally::{Tally, read_skipped};

pub(crate) use arguments::TestArguments;

use crate::build;
use crate::setup;
use crate::workspace::{Workspace, command_line, say};

pub(crate) fn run(workspace: &Workspace, arguments: &TestArguments) -> Result<ExitCode> {
    if let Some(hours) = arguments.model_hours {
        return run_model(workspace, arguments, hours);
    }
    if let Some(hours) = arguments.hours {
        return run_simulation(workspace, arguments, hours);
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
    cargo.arg("test");
    let (file, filters) = arguments.file_and_filters(workspace);
    cargo.args(arguments.selection(file));
    let command = |binary: &TestBinary| {
        let mut command = Command::new(&binary.path);
        command
            .current_dir(&binary.folder)
            .env(SERVER_VARIABLE, &server)
            .env(LOAD_VARIABLE, &generator)
            .env(SKIPPED_FILE_VARIABLE, &skipped_file);
        if let Ok(tools) = &test_tools {
            command.env(PYTHON_VARIABLE, &tools.python);
            if let Some(modules) = &tools.node_modules {
                command.env(NODE_MODULES_VARIABLE, modules);
            }
        }
        arguments.set_lengths_and_seed(&mut command);
        command.args(filters).args(&arguments.binaries);
        if arguments.rounds.is_some() {
            command.arg("--nocapture");
        }
        command
    };
    let mut tally = match &binaries::built_by(&mut cargo)?[..] {
        [binary] => alone(&mut command(binary))?,
        binaries => {
            let run = |binary: &TestBinary| Run::new(&binary.name, command(binary));
            let mut runs: Vec<Run> = binaries.iter().map(run).collect();
            if file.is_none() && arguments.is_of_workspace() {
                let mut examples = workspace.cargo();
                build::embed(&mut examples, workspace, &object);
                examples.args(["test", "--doc"]).args(arguments.selection(None));
                examples.arg("--").args(filters).args(&arguments.binaries);
                runs.push(Run::new("doc-tests", examples));
            }
            side_by_side::run(runs, &workspace.target().join("test-output"), io::stdout())?
        }
    };
    tally.count_skipped(&read_skipped(&skipped_file)?);
    tally.print();
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one binary, whose output is passed on as it comes.
fn alone(command: &mut Command) -> Result<Tally> {
    let (mut tally, succeeded) = stream(command)?;
    if !succeeded && tally.failed == 0 {
        say("the tests failed without a failed test: see above");
        tally.failed = 1;
    }
    Ok(tally)
}

/// The long run of the model, which needs neither server nor eBPF.
fn run_model(workspace: &Workspace, arguments: &TestArguments, hours: f64) -> Result<ExitCode> {
    let mut cargo = workspace.cargo();
    arguments.set_lengths_and_seed(&mut cargo);
    cargo.env("PUSH_MODEL_HOURS", hours.to_string());
    cargo.args(["test", "--release", "--package", TESTS_PACKAGE, "--test", "model"]);
    cargo.args(["--", "streams_stay_whole", "worlds_too_large_to_search", "--nocapture"]);
    let (tally, succeeded) = stream(&mut cargo)?;
    tally.print();
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The long run of the simulation, which needs neither server nor eBPF.
fn run_simulation(
    workspace: &Workspace,
    arguments: &TestArguments,
    hours: f64,
) -> Result<ExitCode> {
    let mut cargo = workspace.cargo();
    arguments.set_lengths_and_seed(&mut cargo);
    cargo.env("PUSH_SIMULATION_HOURS", hours.to_string());
    cargo.args(["test", "--release", "--package", TESTS_PACKAGE, "--test", "simulation"]);
    cargo.args(["what_shards_promise", "--", "--nocapture"]);
    let (tally, succeeded) = stream(&mut cargo)?;
    tally.print();
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the tests, passes their output on line by line, and adds up libtest's counts.
fn stream(command: &mut Command) -> Result<(Tally, bool)> {
    let line = command_line(command);
    say(format_args!("$ {line}"));
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run `{line}`"))?;
    let mut tally = Tally::default();
    let mut reader = BufReader::new(child.stdout.take().context("no stdout of cargo test")?);
    let mut stdout = io::stdout().lock();
    let mut bytes = Vec::new();
    // Tests may print any bytes, so bytes are passed on, not text.
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        stdout.write_all(&bytes)?;
        tally.read_line(String::from_utf8_lossy(&bytes).trim_end());
        bytes.clear();
    }
    Ok((tally, child.wait()?.success()))
}
