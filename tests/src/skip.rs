//! Tests that cannot run here report it: on stdout, and in the file that `cargo xtask test` counts.

use std::fs::OpenOptions;
use std::io::Write;

/// The environment variable with the path of that file; each skipped test appends a line.
const SKIPPED_FILE_VARIABLE: &str = "PUSH_SKIPPED_FILE";

/// Why a test cannot run here.
#[derive(Debug)]
pub struct Skip {
    why: String,
    kernel_path: bool,
}

/// The result of a test body: the claim holds, or could not be tried. A false claim panics.
pub type TestResult = Result<(), Skip>;

impl Skip {
    /// A foreign part is missing: a tool, an interpreter, a binary.
    pub fn missing(why: impl Into<String>) -> Self {
        Self { why: why.into(), kernel_path: false }
    }

    /// The kernel path, or a network namespace, is not available. Never an excuse in CI.
    pub fn kernel_path(why: impl Into<String>) -> Self {
        Self { why: why.into(), kernel_path: true }
    }
}

/// Whether this process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Skips the test without root.
pub fn need_root() -> TestResult {
    if is_root() { Ok(()) } else { Err(Skip::kernel_path("needs root")) }
}

/// The first kernel that serves the kernel path (TCX).
const KERNEL_PATH_MIN: (u32, u32) = (6, 6);

/// Skips the test if the kernel is too old for the kernel path.
pub fn need_kernel_path_kernel() -> TestResult {
    match old_kernel() {
        Some(release) => {
            Err(Skip::kernel_path(format!("kernel {release} is older than 6.6 (TCX)")))
        }
        None => Ok(()),
    }
}

/// The release of this kernel, if it is too old for the kernel path.
pub fn old_kernel() -> Option<String> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|number| number.parse().ok());
    let version: (u32, u32) = (number()?, number()?);
    (version < KERNEL_PATH_MIN).then_some(release)
}

/// Ends a test: reports it by `name` if it was skipped.
///
/// # Panics
/// CI runs as root, and the test skipped the kernel path: there it must be available.
pub fn report(name: &str, result: TestResult) {
    let Err(skip) = result else { return };
    let on_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(
        !(skip.kernel_path && on_ci && is_root()),
        "{name} may not be skipped on CI as root: {}",
        skip.why
    );
    let line = format!("SKIPPED {name}: {}\n", skip.why.replace('\n', " "));
    print!("{line}");
    if let Some(file) = std::env::var_os(SKIPPED_FILE_VARIABLE) {
        // One write of one short line, so that appends of parallel tests do not mix.
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        if let Err(error) = written {
            panic!("cannot report a skipped test to {}: {error}", file.display());
        }
    }
}
