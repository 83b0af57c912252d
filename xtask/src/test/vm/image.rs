//! The contents of a machine: an initial memory file system with the programs, libraries and test
//! binaries of this machine at their own paths, the kernel's modules, and a script as its first
//! process.
//!
//! It only has what the tests use: a missing program shows as a skipped test, by name.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::kernels::Kernel;
use crate::test::binaries::TestBinary;
use crate::workspace::{Workspace, checked_output, find_program, output_of};

/// The file in a machine where tests report that they skipped.
pub(super) const SKIPPED_FILE: &str = "/run/skipped-tests";

/// File systems that the machine mounts, which hide files of the image below them. `/tmp` and
/// `/run` are the image's own, which is in memory anyway.
const MOUNTED: [&str; 3] = ["/dev", "/proc", "/sys"];

/// The prefix of the line before a test binary's output.
pub(super) const RUNNING: &str = "vm: running ";
/// The prefix of a line about a skipped test.
pub(super) const SKIPPED: &str = "vm: SKIPPED ";
/// The prefix of a line about a binary that ended without libtest's count.
pub(super) const BROKEN: &str = "vm: broken: ";
/// The last line.
pub(super) const DONE: &str = "vm: done";

/// Kernel modules that tests use, if the kernel has them as modules.
const MODULES: [&str; 11] = [
    "veth",
    "tun",
    "dummy",
    "bridge",
    "8021q",
    "bonding",
    "macvlan",
    "sch_ingress",
    "cls_bpf",
    "sch_netem",
    "tcp_diag",
];

/// Programs that tests and the script run.
const PROGRAMS: [&str; 22] = [
    "bash",
    "cat",
    "chmod",
    "env",
    "ethtool",
    "grep",
    "insmod",
    "ip",
    "mkdir",
    "mosquitto",
    "mosquitto_pub",
    "mosquitto_sub",
    "mount",
    "prlimit",
    "rm",
    "setpriv",
    "sleep",
    "stdbuf",
    "tc",
    "tee",
    "timeout",
    "uname",
];

/// Files that programs read.
const FILES: [&str; 12] = [
    "/bin",
    "/etc/group",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/protocols",
    "/lib",
    "/lib64",
    "/sbin",
    "/usr/libexec/coreutils/libstdbuf.so",
    "/var/run",
];

/// Folders that the tests' Python does not need: half of the image.
const NOT_NEEDED: [&str; 9] = [
    "config-3.11-x86_64-linux-gnu",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pip",
    "pkg_resources",
    "pydoc_data",
    "setuptools",
    "tkinter",
];

/// One run of a test binary in a machine.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) binary: TestBinary,
    /// Tests to leave out: those whose names contain one of these.
    pub(super) skip: Vec<&'static str>,
}

/// The parts of an image.
pub(super) struct Parts<'a> {
    /// The folder to make it in, which is emptied first.
    pub(super) folder: &'a Path,
    pub(super) workspace: &'a Workspace,
    pub(super) kernel: &'a Kernel,
    pub(super) steps: &'a [Step],
    pub(super) environment: &'a [(String, String)],
    /// Arguments of every binary.
    pub(super) arguments: &'a [String],
    pub(super) binary_secs_max: u64,
}

/// A finished image.
#[derive(Debug)]
pub(super) struct Image {
    /// For `-initrd`.
    pub(super) file: PathBuf,
    /// The file for the kernel's messages.
    pub(super) console: PathBuf,
}

/// Refuses, before building, a checkout that the tests would not see in a machine.
pub(super) fn check_place(workspace: &Workspace) -> Result<()> {
    for folder in [workspace.root(), workspace.target()] {
        if let Some(mounted) = hiding(folder) {
            bail!(
                "{} cannot be seen in a machine, which mounts a file system of its own at {mounted}; \
                 use a checkout elsewhere",
                folder.display()
            );
        }
    }
    Ok(())
}

/// The file system that would hide `folder`.
fn hiding(folder: &Path) -> Option<&'static str> {
    MOUNTED.into_iter().find(|mounted| folder.starts_with(mounted))
}

/// Makes the image.
pub(super) fn build(parts: &Parts<'_>) -> Result<Image> {
    let own = parts.folder.join("own");
    if parts.folder.exists() {
        fs::remove_dir_all(parts.folder)
            .with_context(|| format!("cannot clear {}", parts.folder.display()))?;
    }
    for folder in ["dev", "proc", "sys", "tmp", "run", "modules", "root"] {
        fs::create_dir_all(own.join(folder)).context("cannot make folders of the image")?;
    }
    let mut modules = Vec::new();
    for file in parts.kernel.modules(&MODULES)? {
        let name = file.file_name().context("a module without a name")?.to_owned();
        fs::copy(&file, own.join("modules").join(&name)).context("cannot copy a module")?;
        modules.push(name.to_string_lossy().into_owned());
    }
    let mut host = HostFiles::default();
    for (_, value) in parts.environment {
        if value.starts_with('/') && Path::new(value).is_file() {
            own_binary(&mut host, &own, Path::new(value))?;
        }
    }
    for step in parts.steps {
        own_binary(&mut host, &own, &step.binary.path)?;
    }
    host.add_programs(&PROGRAMS)?;
    host.add_python(&parts.workspace.tools().join("venv"))?;
    host.add_tree(&parts.workspace.root().join("tests/tests/clients"))?;
    for file in FILES {
        if Path::new(file).symlink_metadata().is_ok() {
            host.add(Path::new(file))?;
        }
    }
    let init = own.join("init");
    fs::write(&init, script(parts, &modules)).context("cannot write the script")?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;

    let file = parts.folder.join("initrd");
    let mut archive = archive(Path::new("/"), &host.names())?;
    archive.extend(archive_of_tree(&own)?);
    fs::write(&file, archive).with_context(|| format!("cannot write {}", file.display()))?;
    fs::remove_dir_all(&own).context("cannot remove the image's folder")?;
    Ok(Image { file, console: parts.folder.join("console.log") })
}

/// Adds a binary of ours at its own path, without debug information.
fn own_binary(host: &mut HostFiles, own: &Path, binary: &Path) -> Result<()> {
    host.add(binary)?;
    host.add_libraries(&[binary.to_owned()])?;
    let copy = own.join(binary.strip_prefix("/").context("a path from the root")?);
    let folder = copy.parent().context("a file in a folder")?;
    fs::create_dir_all(folder).context("cannot make a folder of the image")?;
    let stripped = output_of(Command::new("strip").arg("-o").arg(&copy).arg(binary));
    if stripped.is_some() {
        host.files.remove(binary);
    }
    Ok(())
}

/// The first process.
fn script(parts: &Parts<'_>, modules: &[String]) -> String {
    let mut text = format!("#!/bin/bash\n{FUNCTION}{SET_UP}");
    for module in modules {
        // A bond or a dummy that a module makes by itself would disturb the tests.
        let options = match module.split('.').next() {
            Some("bonding") => " max_bonds=0",
            Some("dummy") => " numdummies=0",
            _ => "",
        };
        let _ = writeln!(text, "insmod /modules/{module}{options}");
    }
    for (name, value) in parts.environment {
        let _ = writeln!(text, "export {name}={}", quoted(value));
    }
    text.push_str("echo \"vm: $(uname -sr)\"\n");
    for step in parts.steps {
        let _ = writeln!(text, "run {}", call(step, parts));
    }
    let _ = writeln!(text, "echo '{DONE}'\nsleep 1\necho b >/proc/sysrq-trigger\nsleep 60");
    text
}

const SET_UP: &str = "\
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
mount -t devtmpfs dev /dev
exec </dev/null >/dev/ttyS1 2>&1
mount -t proc proc /proc
mount -t sysfs sys /sys
chmod 1777 /tmp
mount -t bpf bpf /sys/fs/bpf
ip link set lo up
ulimit -n 20000
";

/// Runs a test binary: name, folder, and its command line.
const FUNCTION: &str = r#"run() {
    name=$1; cd "$2"; shift 2
    echo "vm: running $name"
    : >$PUSH_SKIPPED_FILE; chmod 666 $PUSH_SKIPPED_FILE
    "$@" 2>&1 | tee /run/output; status=${PIPESTATUS[0]}
    if ! grep -q '^test result: ' /run/output; then
        echo "vm: broken: $name ended with $status"
    fi
    while read -r line; do echo "vm: $line"; done <$PUSH_SKIPPED_FILE
}
"#;

fn call(step: &Step, parts: &Parts<'_>) -> String {
    let secs_max = parts.binary_secs_max;
    let (name, folder) = (quoted(&step.binary.name), quoted(&step.binary.folder.to_string_lossy()));
    let binary = quoted(&step.binary.path.to_string_lossy());
    let mut line = format!("{name} {folder} timeout -k 10 {secs_max} {binary} --test-threads 2");
    for test in &step.skip {
        let _ = write!(line, " --skip {}", quoted(test));
    }
    for argument in parts.arguments {
        let _ = write!(line, " {}", quoted(argument));
    }
    line
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Files of this machine, by their paths, with symbolic links in their folders resolved.
#[derive(Debug, Default)]
struct HostFiles {
    files: BTreeSet<PathBuf>,
}

impl HostFiles {
    /// Adds a file, or a symbolic link and its target, and the folders above.
    fn add(&mut self, path: &Path) -> Result<()> {
        let unknown = || format!("cannot find {}", path.display());
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        // A folder that is a link, such as /lib, is a link in the image too.
        for ancestor in parent.ancestors() {
            if ancestor.is_symlink() {
                self.files.insert(ancestor.to_owned());
            }
        }
        let folder = fs::canonicalize(parent).with_context(unknown)?;
        let path = folder.join(name);
        let is_link = path.symlink_metadata().with_context(unknown)?.is_symlink();
        let target = is_link.then(|| fs::read_link(&path)).transpose().with_context(unknown)?;
        for ancestor in folder.ancestors().filter(|ancestor| *ancestor != Path::new("/")) {
            self.files.insert(ancestor.to_owned());
        }
        if self.files.insert(path)
            && let Some(target) = target
        {
            self.add(&folder.join(target))?;
        }
        Ok(())
    }

    fn add_tree(&mut self, folder: &Path) -> Result<()> {
        self.add(folder)?;
        let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let entry = entry?;
            if NOT_NEEDED.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                self.add_tree(&entry.path())?;
            } else if entry.path().exists() {
                self.add(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Adds programs and their libraries; skips those that this machine lacks.
    fn add_programs(&mut self, names: &[&str]) -> Result<()> {
        let found: Vec<PathBuf> = names.iter().filter_map(find_program).collect();
        for program in &found {
            self.add(program)?;
        }
        self.add_libraries(&found)
    }

    /// Adds the libraries that the dynamic linker loads for `programs`.
    fn add_libraries(&mut self, programs: &[PathBuf]) -> Result<()> {
        // ldd fails for a static program, but lists the libraries of the others all the same.
        let output = Command::new("ldd").args(programs).stderr(Stdio::null()).output();
        let text = output.context("cannot run ldd")?.stdout;
        for library in libraries(&String::from_utf8_lossy(&text)) {
            self.add(Path::new(library))?;
        }
        Ok(())
    }

    /// Adds a virtual environment, the Python that made it, and its library.
    fn add_python(&mut self, environment: &Path) -> Result<()> {
        let python = environment.join("bin/python");
        let ask = "import sysconfig; print(sysconfig.get_path('stdlib'))";
        let library = checked_output(Command::new(&python).args(["-c", ask]))?;
        let library = Path::new(library.trim());
        self.add_tree(environment)?;
        self.add_tree(library)?;
        let extensions = fs::read_dir(library.join("lib-dynload")).into_iter().flatten().flatten();
        let mut loaded: Vec<PathBuf> = extensions.map(|entry| entry.path()).collect();
        loaded.push(python);
        self.add_libraries(&loaded)
    }

    /// Their names for cpio; a folder comes before its contents.
    fn names(&self) -> Vec<&Path> {
        self.files.iter().filter_map(|path| path.strip_prefix("/").ok()).collect()
    }
}

/// The paths in ldd's output.
fn libraries(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.trim().split_once(" (0x"))
        .map(|(library, _)| library.rsplit_once("=> ").map_or(library, |(_, path)| path))
        .filter(|library| library.starts_with('/'))
        .collect()
}

fn archive_of_tree(folder: &Path) -> Result<Vec<u8>> {
    fn walk(folder: &Path, names: &mut Vec<PathBuf>) -> Result<()> {
        let mut entries = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            names.push(entry.path());
            if entry.file_type()?.is_dir() {
                walk(&entry.path(), names)?;
            }
        }
        Ok(())
    }
    let mut paths = Vec::new();
    walk(folder, &mut paths).context("cannot list the image's folder")?;
    let names: Vec<&Path> =
        paths.iter().filter_map(|path| path.strip_prefix(folder).ok()).collect();
    archive(folder, &names)
}

/// An archive of files below `folder`, owned by root, in the format that the kernel unpacks.
fn archive(folder: &Path, names: &[&Path]) -> Result<Vec<u8>> {
    let mut list = Vec::new();
    for name in names {
        list.extend_from_slice(name.as_os_str().as_bytes());
        list.push(0);
    }
    let mut cpio = Command::new("cpio");
    cpio.args(["--quiet", "--create", "--null", "--format=newc", "--owner=0:0"]);
    let mut child = cpio
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cpio")?;
    let mut stdin = child.stdin.take().context("no stdin of cpio")?;
    let feeding = std::thread::spawn(move || stdin.write_all(&list));
    let output = child.wait_with_output().context("cannot read of cpio")?;
    let fed = feeding.join().is_ok_and(|fed| fed.is_ok());
    if !fed || !output.status.success() {
        bail!("cpio failed ({})", output.status);
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests;
