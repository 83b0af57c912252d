//! `cargo xtask test vm`: runs the tests that need the kernel in virtual machines with other
//! kernels than this machine's.
//!
//! A machine is qemu, fully emulated, with a Debian kernel and an initial memory file system of
//! everything that the tests need of this machine: [`image`]. It has no disk, no network and no
//! share, so nothing gets out. `cargo test` builds the test binaries.

mod image;
mod kernels;
mod machine;
mod packages;
mod qemu;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};

use image::Step;
use qemu::Qemu;

use super::arguments::{TESTS_PACKAGE, TestArguments};
use super::binaries::{self, TestBinary};
use super::environment::{
    LOAD_VARIABLE, PYTHON_VARIABLE, SERVER_VARIABLE, SKIPPED_FILE_VARIABLE,
    server_and_load_generator,
};
use super::tally::Tally;
use crate::build;
use crate::setup;
use crate::workspace::{Workspace, say};

/// A series of kernels; the newest on offer is run.
struct Series {
    /// Its first two numbers.
    name: &'static str,
    /// Whether the kernel path must work there. If so, no test may skip because it is missing.
    serves_kernel_path: bool,
    /// Tests that are left out on it.
    left_out: &'static [LeftOut],
}

/// Tests that are left out in a machine, and why.
struct LeftOut {
    binary: &'static str,
    /// They are the tests whose names contain this.
    test: &'static str,
    why: &'static str,
}

/// The series to run.
const SERIES: [Series; 2] = [
    Series { name: "6.1", serves_kernel_path: false, left_out: &[] },
    Series { name: "6.12", serves_kernel_path: true, left_out: &[] },
];

/// Test binaries that do not need the kernel, or read the source, which machines lack: the ordinary
/// run has them.
const NO_KERNEL: [&str; 7] =
    ["documents", "exit_codes", "load_generator", "model", "push-common", "statements", "xtask"];

/// Tests that are too heavy for an emulated machine with any kernel.
const TOO_MUCH: [LeftOut; 5] = [
    LeftOut {
        binary: "e2e_expiry",
        test: "a_silent_client_is_closed_on_time_and_its_will_delivered",
        why: "asserts 0.1 s for twelve clients at once; an emulated processor is late by more",
    },
    LeftOut {
        binary: "e2e_expiry",
        test: "expiry_is_on_time_over_veth",
        why: "asserts 0.1 s; an emulated processor is late by more",
    },
    LeftOut {
        binary: "e2e_hostile",
        test: "a_thousand_silent_connections_leave_others_served",
        why: "a thousand connections take minutes to make there",
    },
    LeftOut {
        binary: "e2e_ping",
        test: "two_thousand_clients_get_every_ping_answered",
        why: "asserts 8,000 pings in a few seconds",
    },
    LeftOut {
        binary: "wire",
        test: "load_over_",
        why: "loads of 200 devices, made for processors of full speed",
    },
];

/// Longest time of a test binary in a machine. The longest takes a tenth of it on this one, and
/// emulation is about ten times slower.
const BINARY_SECS_MAX: u64 = 900;

/// How long tests with a length run in a machine.
const LENGTH_SECS: u64 = 5;

/// Builds, boots every kernel that `arguments` name (all, if none), and adds up the counts.
pub(super) fn run(workspace: &Workspace, arguments: &TestArguments) -> Result<ExitCode> {
    let words = &arguments.filters[1..];
    let (kernels, tests): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| SERIES.iter().any(|series| series.name == **word));
    image::check_place(workspace)?;
    let tools = setup::build_needs(workspace)?;
    let test_tools = setup::vm_needs(workspace)?;
    let qemu = Qemu::find_or_download(&workspace.target().join("vm"))?;
    let object = build::ebpf_object(workspace, &tools)?;
    let [server, generator] = server_and_load_generator(workspace, &object)?;
    let mut binaries = test_binaries(workspace, &object, &tests)?;
    binaries.retain(|binary| {
        let wanted = tests.is_empty() || tests.iter().any(|word| binary.name == **word);
        wanted && !NO_KERNEL.contains(&binary.name.as_str())
    });
    if binaries.is_empty() {
        bail!("no test binary of these names is run in machines");
    }
    let seconds = arguments.seconds.unwrap_or(LENGTH_SECS).to_string();
    let mut environment = vec![
        (SERVER_VARIABLE.to_owned(), server.display().to_string()),
        (LOAD_VARIABLE.to_owned(), generator.display().to_string()),
        (PYTHON_VARIABLE.to_owned(), test_tools.python.display().to_string()),
        (SKIPPED_FILE_VARIABLE.to_owned(), image::SKIPPED_FILE.to_owned()),
        ("PUSH_EBPF_OBJECT".to_owned(), object.display().to_string()),
        ("PUSH_WIRE_SECONDS".to_owned(), seconds.clone()),
        ("PUSH_FUZZ_SECONDS".to_owned(), seconds),
    ];
    if let Some(seed) = arguments.seed {
        for test in ["WIRE", "FUZZ"] {
            environment.push((format!("PUSH_{test}_SEED"), seed.to_string()));
        }
    }
    let mut tally = Tally::default();
    for series in &SERIES {
        if !kernels.is_empty() && !kernels.iter().any(|name| *name == series.name) {
            continue;
        }
        let run = Run {
            workspace,
            qemu: &qemu,
            environment: &environment,
            arguments: &arguments.binaries,
            series,
        };
        tally.add(&format!("Linux {}", series.name), &run.all(&binaries)?);
    }
    tally.print();
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The run of one kernel.
struct Run<'a> {
    workspace: &'a Workspace,
    qemu: &'a Qemu,
    environment: &'a [(String, String)],
    arguments: &'a [String],
    series: &'a Series,
}

impl Run<'_> {
    /// Boots the kernel and runs every binary in it.
    fn all(&self, binaries: &[TestBinary]) -> Result<Tally> {
        let folder = self.workspace.target().join("vm");
        let kernel = kernels::find_or_download(&folder, self.series.name)?;
        say(format_args!("Linux {}: {}", self.series.name, kernel.release));
        let mut tally = Tally::default();
        let steps = self.steps(binaries, &mut tally);
        let mut environment = self.environment.to_vec();
        if self.series.serves_kernel_path {
            // If the kernel path must work, a test that skips without it fails.
            environment.push(("CI".to_owned(), "true".to_owned()));
        }
        let image = image::build(&image::Parts {
            folder: &folder.join(self.series.name),
            workspace: self.workspace,
            kernel: &kernel,
            steps: &steps,
            environment: &environment,
            arguments: self.arguments,
            binary_secs_max: BINARY_SECS_MAX,
        })?;
        let whole = Duration::from_secs(BINARY_SECS_MAX * (1 + steps.len() as u64 / 3));
        let ended = machine::run(self.qemu, &kernel, &image, whole, &mut tally)?;
        if !ended {
            tally.failed += 1;
        }
        Ok(tally)
    }

    /// The binaries to run. Adds the tests left out to the tally, by name.
    fn steps(&self, binaries: &[TestBinary], tally: &mut Tally) -> Vec<Step> {
        let left_out: Vec<&LeftOut> = self.series.left_out.iter().chain(&TOO_MUCH).collect();
        let mut steps = Vec::new();
        for binary in binaries {
            let mut skip = Vec::new();
            for left in left_out.iter().filter(|left| left.binary == binary.name) {
                skip.push(left.test);
                tally.skipped.push(format!("{}::{}: {}", left.binary, left.test, left.why));
            }
            steps.push(Step { binary: binary.clone(), skip });
        }
        steps
    }
}

/// Builds the tests of the workspace, or those of the named files, and returns their binaries.
fn test_binaries(
    workspace: &Workspace,
    object: &Path,
    named: &[&String],
) -> Result<Vec<TestBinary>> {
    let mut cargo = workspace.cargo();
    build::embed(&mut cargo, workspace, object);
    cargo.args(["test", "--package", TESTS_PACKAGE]);
    let folder = workspace.root().join("tests/tests");
    let is_file = |name: &str| {
        folder.join(format!("{name}.rs")).is_file() || folder.join(name).join("main.rs").is_file()
    };
    if !named.is_empty() && named.iter().all(|name| is_file(name)) {
        cargo.args(named.iter().flat_map(|name| ["--test", name.as_str()]));
    } else {
        cargo.args(["--package", "push-server"]);
    }
    let mut binaries = binaries::built_by(&mut cargo)?;
    binaries.retain(|binary| !binary.is_program);
    Ok(binaries)
}
