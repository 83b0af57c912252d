//! `cargo xtask`: sets up, builds, runs, tests, benches and lints the workspace.
//!
//! One module for each command. Every command sets up first, prints the commands that it runs, and
//! uses no shell. Downloads and builds go to `target/`; only Debian packages and rustup toolchains
//! go elsewhere, and xtask announces them before it installs them.

mod bench;
mod build;
mod certificates;
mod fuzz;
mod lint;
mod run;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use workspace::{Workspace, say};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install all that building needs; about a second when nothing is missing
    Setup(setup::SetupArguments),
    /// Build the eBPF object and the server, the object embedded in it
    Build(build::BuildArguments),
    /// Build, then run the server with a status line; Ctrl-C ends it
    Run(run::RunArguments),
    /// Build, then run every test of the workspace; the last line counts them
    Test(test::TestArguments),
    /// Build, then measure: prints a table and writes JSON below target/bench/
    Bench(bench::BenchArguments),
    /// Feed the parsers inputs that libFuzzer makes up; what must hold for them is in push_server::fuzzing
    Fuzz(fuzz::FuzzArguments),
    /// Check formatting, clippy, import rules, circles of imports, homes of methods, suppressed lints
    Lint,
}

fn main() -> ExitCode {
    let outcome = Workspace::locate().and_then(|workspace| match Arguments::parse().command {
        Command::Setup(arguments) => setup::run(&workspace, &arguments),
        Command::Build(arguments) => build::run(&workspace, &arguments),
        Command::Run(arguments) => run::run(&workspace, &arguments),
        Command::Test(arguments) => test::run(&workspace, &arguments),
        Command::Bench(arguments) => bench::run(&workspace, &arguments),
        Command::Fuzz(arguments) => fuzz::run(&workspace, &arguments),
        Command::Lint => lint::run(&workspace),
    });
    outcome.unwrap_or_else(|error| {
        say(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}
