//! The arguments of `cargo xtask test`, and the environment variables that pass some of them to
//! tests.

use std::process::Command;

use clap::Args;

use crate::workspace::Workspace;

/// The package whose tests are files of `tests/tests`.
pub(super) const TESTS_PACKAGE: &str = "push-tests";

#[derive(Args, Debug)]
pub(crate) struct TestArguments {
    /// Only this package (repeatable); default: the whole workspace
    #[arg(short, long, value_name = "NAME")]
    pub(super) package: Vec<String>,
    /// Only this test file, such as tests/tests/NAME.rs (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(super) test: Vec<String>,
    /// Run the model test alone for this many hours, on all cores, optimised
    #[arg(long, value_name = "H", conflicts_with_all = ["package", "test", "filters"])]
    pub(super) model_hours: Option<f64>,
    /// Run the simulation alone, with new seeds, for this many hours, on all cores, optimised
    #[arg(long, value_name = "H", conflicts_with_all = ["package", "test", "model_hours"])]
    pub(super) hours: Option<f64>,
    /// How long the tests with a length run: wire, packet
    #[arg(long, value_name = "S")]
    pub(super) seconds: Option<u64>,
    /// How many pings inside TLS the kernel answers over the link of the wire test that loses
    #[arg(long, value_name = "N")]
    pub(super) pings: Option<u64>,
    /// How many lives of the server the crash test runs; it then also prints its counts
    #[arg(long, value_name = "N")]
    pub(super) rounds: Option<u32>,
    /// The seed of the tests with a seed: model, wire, packet, crash, simulation
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Only tests whose name contains one of these. If the first names a test file of tests/tests,
    /// it selects that file. `vm [6.1|6.12] [FILE...]`: in virtual machines with Debian's kernels
    pub(super) filters: Vec<String>,
    /// Arguments of the test binaries, for example `-- --nocapture`
    #[arg(last = true, value_name = "TEST BINARY ARGUMENTS")]
    pub(super) binaries: Vec<String>,
}

impl TestArguments {
    pub(super) fn set_lengths_and_seed(&self, cargo: &mut Command) {
        if let Some(seconds) = self.seconds {
            cargo.env("PUSH_WIRE_SECONDS", seconds.to_string());
            cargo.env("PUSH_FUZZ_SECONDS", seconds.to_string());
        }
        if let Some(pings) = self.pings {
            cargo.env("PUSH_WIRE_PINGS", pings.to_string());
        }
        if let Some(rounds) = self.rounds {
            cargo.env("PUSH_CRASH_ROUNDS", rounds.to_string());
        }
        if let Some(seed) = self.seed {
            for test in ["MODEL", "WIRE", "FUZZ", "CRASH", "SIMULATION"] {
                cargo.env(format!("PUSH_{test}_SEED"), seed.to_string());
            }
        }
    }

    /// Whether no package and no file is chosen by its flag.
    pub(super) fn is_of_workspace(&self) -> bool {
        self.package.is_empty() && self.test.is_empty()
    }

    /// The words that tell `cargo test` what is chosen, with the file that a filter has named.
    pub(super) fn selection<'a>(&'a self, file: Option<&'a str>) -> Vec<&'a str> {
        let mut words = Vec::new();
        if let Some(file) = file {
            words.extend(["--package", TESTS_PACKAGE, "--test", file]);
        } else if self.package.is_empty() {
            // push-ebpf has no tests of its own: its decisions are tested in push-common.
            words.extend(["--workspace", "--exclude", "push-ebpf"]);
        }
        words.extend(self.package.iter().flat_map(|package| ["--package", package.as_str()]));
        words.extend(self.test.iter().flat_map(|test| ["--test", test.as_str()]));
        words
    }

    /// The test file that the first filter names, if it names one, and the other filters.
    pub(super) fn file_and_filters(&self, workspace: &Workspace) -> (Option<&str>, &[String]) {
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
