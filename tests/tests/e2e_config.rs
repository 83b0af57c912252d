//! Flags, the configuration file, and what is said when they, or the machine, will not do.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use push_tests::claims;
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::server::server_binary;
use push_tests::skip::{Skip, TestResult, need_kernel_path_kernel, need_root};

/// Exit code for settings that cannot be.
const EXIT_SETTINGS: i32 = 2;
/// Exit code for a machine that will not do.
const EXIT_MEANS: i32 = 1;

claims! {
    invalid_values_name_key_value_and_what_is_allowed,
    a_good_file_passes_the_check_and_a_bad_one_does_not,
    a_flag_goes_over_the_file,
    a_log_filter_that_would_silence_the_server_is_refused_with_the_levels,
    the_check_finds_what_the_machine_lacks,
    an_unknown_key_gets_the_nearest_one,
    sizes_and_times_take_units,
    help_wraps_at_the_width_of_the_terminal,
    help_names_every_flag_and_version_is_printed,
    require_without_privilege_exits_naming_the_capability,
    auto_without_privilege_serves_on_the_user_path_and_says_why,
    too_few_descriptors_exit_naming_the_knob,
}

fn invalid_values_name_key_value_and_what_is_allowed() -> TestResult {
    for (flag, value, allowed) in [
        ("--kernel-path", "maybe", "auto"),
        ("--kernel-path", "maybe", "require"),
        ("--listen", "here", "port"),
        ("--http", "127.0.0.1", "port"),
        ("--shards", "0", "1"),
        ("--shards", "65", "64"),
        ("--max-connections", "0", "1"),
        ("--max-connections", "many", "1"),
        ("--max-packet-bytes", "1", "bytes"),
        ("--keep-alive-max-secs", "65536", "65535"),
        ("--connect-timeout-secs", "0", "1"),
    ] {
        let (code, said) = run(&["run", flag, value])?;
        assert_eq!(code, Some(EXIT_SETTINGS), "{flag} {value}: {said}");
        let key = flag.trim_start_matches('-');
        for part in [key, value, allowed] {
            let plain = said.to_lowercase().replace(['_', ','], "");
            assert!(plain.contains(part), "{flag} {value} is refused without `{part}`: {said}");
        }
    }
    Ok(())
}

fn a_good_file_passes_the_check_and_a_bad_one_does_not() -> TestResult {
    let (code, said) =
        check("listen = [\"127.0.0.1:1883\", \"[::1]:1883\"]\nshards = 2\ndurability = \"off\"\n")?;
    assert_eq!(code, Some(0), "{said}");
    for (text, parts) in [
        ("shards = 0\n", ["shards", "0"]),
        ("shards = \"two\"\n", ["shards", "two"]),
        ("kernel-path = \"maybe\"\n", ["kernel", "maybe"]),
        ("shard = 2\n", ["shard", "push.toml"]),
        ("shards = \n", ["push.toml", "1"]),
    ] {
        let (code, said) = check(text)?;
        assert_eq!(code, Some(EXIT_SETTINGS), "{text}: {said}");
        for part in parts {
            assert!(said.contains(part), "{text} is refused without `{part}`: {said}");
        }
    }
    let (code, said) = run(&["check-config", "/nowhere/push.toml"])?;
    assert_eq!(code, Some(EXIT_SETTINGS), "{said}");
    assert!(said.contains("/nowhere/push.toml"), "{said}");
    Ok(())
}

fn a_flag_goes_over_the_file() -> TestResult {
    let directory = tempfile::tempdir().expect("make a directory");
    let path = directory.path().join("push.toml");
    std::fs::write(&path, "listen = [\"127.0.0.1:0\"]\nhttp = \"127.0.0.1:0\"\nshards = 3\n")
        .expect("write the file");
    let file = path.to_str().expect("a plain path");
    let data = directory.path().join("data");
    let data = data.to_str().expect("a plain path");
    // The file's value is good and the flag's is not: that it is refused shows that it was taken.
    let (code, said) = run(&["run", "--config", file, "--data-dir", data, "--shards", "99"])?;
    assert_eq!(code, Some(EXIT_SETTINGS), "{said}");
    assert!(said.contains("99"), "{said}");
    // And the file's value is taken where there is no flag.
    std::fs::write(&path, "shards = 77\n").expect("write the file");
    let (code, said) = run(&["run", "--config", file, "--data-dir", data])?;
    assert_eq!(code, Some(EXIT_SETTINGS), "{said}");
    assert!(said.contains("77"), "{said}");
    Ok(())
}

fn a_log_filter_that_would_silence_the_server_is_refused_with_the_levels() -> TestResult {
    const LEVELS: &str = "error, warn, info, debug, trace, off";
    for filter in ["verbose", "inof", "info,push_server::shards=debug"] {
        let (code, said) = run(&["run", "--log", filter])?;
        assert_eq!(code, Some(EXIT_SETTINGS), "{filter}: {said}");
        assert!(said.contains(filter) && said.contains(LEVELS), "{said}");
    }
    let (code, said) = check("shards = 1\nlog = \"inof\"\n")?;
    assert_eq!(code, Some(EXIT_SETTINGS), "{said}");
    assert!(said.contains("push.toml:2: log = \"inof\"") && said.contains(LEVELS), "{said}");
    Ok(())
}

fn the_check_finds_what_the_machine_lacks() -> TestResult {
    let (code, said) = check(
        "scram-users = \"/nowhere/users\"\niface = [\"lo\", \"nosuch0\"]\n\
         data-dir = \"/proc/nowhere/data\"\nlisten = [\"192.0.2.1:1883\"]\n",
    )?;
    assert_eq!(code, Some(EXIT_SETTINGS), "{said}");
    for part in [
        "push.toml:1: users = /nowhere/users: cannot read",
        "push.toml:2: iface = nosuch0: ",
        "push.toml:3: data-dir = /proc/nowhere/data: ",
        "push.toml:4: listen = 192.0.2.1:1883: ",
    ] {
        assert!(said.contains(part), "the check does not say `{part}`: {said}");
    }
    Ok(())
}

fn an_unknown_key_gets_the_nearest_one() -> TestResult {
    let (code, said) = check("keep_alive_max = 60\n")?;
    assert_eq!(code, Some(EXIT_SETTINGS), "{said}");
    assert!(said.contains("push.toml:1: keep_alive_max: unknown key"), "{said}");
    assert!(said.contains("did you mean keep-alive-max-secs?"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    Ok(())
}

fn sizes_and_times_take_units() -> TestResult {
    let dir = tempfile::tempdir().expect("make a directory");
    let data = dir.path().join("data");
    let (code, said) = check(&format!(
        "max-packet-bytes = \"1MiB\"\noutbox-age-max-secs = \"7d\"\nkeep-alive-max-secs = 600\n\
         data-dir = {data:?}\n"
    ))?;
    assert_eq!(code, Some(0), "{said}");
    for line in
        ["max-packet-bytes = 1048576", "outbox-age-max-secs = 604800", "keep-alive-max-secs = 600"]
    {
        assert!(said.lines().any(|found| found == line), "no `{line}` in {said}");
    }
    assert!(!data.exists(), "the check leaves nothing behind");
    for (flag, value) in [("--max-packet-bytes", "64XB"), ("--outbox-age-max-secs", "7 moons")] {
        let (code, said) = run(&["run", flag, value])?;
        assert_eq!(code, Some(EXIT_SETTINGS), "{said}");
        assert!(said.contains("KiB") || said.contains("10m"), "{said}");
    }
    Ok(())
}

fn help_wraps_at_the_width_of_the_terminal() -> TestResult {
    for columns in [60, 100] {
        let output = Command::new(server_binary()?)
            .args(["run", "--help"])
            .env("COLUMNS", columns.to_string())
            .stdin(Stdio::null())
            .output()
            .expect("run the server");
        let help = text(&output);
        let longest = help.lines().map(|line| line.chars().count()).max();
        // clap breaks between words, so what it fills comes near the width.
        assert!((columns - 20..=columns).contains(&longest.unwrap_or(0)), "{longest:?}:\n{help}");
    }
    Ok(())
}

fn help_names_every_flag_and_version_is_printed() -> TestResult {
    let (code, said) = run(&["run", "--help"])?;
    assert_eq!(code, Some(0));
    for flag in [
        "--config",
        "--listen",
        "--iface",
        "--http",
        "--data-dir",
        "--shards",
        "--kernel-path",
        "--max-connections",
        "--max-packet-bytes",
        "--keep-alive-max-secs",
        "--log",
    ] {
        assert!(said.contains(flag), "the help does not name {flag}:\n{said}");
    }
    let (code, said) = run(&["--help"])?;
    assert_eq!(code, Some(0));
    for command in ["run", "check-config"] {
        assert!(said.contains(command), "the help does not name {command}:\n{said}");
    }
    let (code, said) = run(&["--version"])?;
    assert_eq!(code, Some(0));
    assert!(said.contains(env!("CARGO_PKG_VERSION")), "{said}");
    Ok(())
}

fn require_without_privilege_exits_naming_the_capability() -> TestResult {
    // Where the kernel is too old, that is the reason that is named.
    need_kernel_path_kernel()?;
    let home = tempfile::tempdir().expect("make a directory");
    let output = unprivileged("require", home.path())?
        .stdin(Stdio::null())
        .output()
        .expect("run the server");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(EXIT_MEANS), "{said}");
    assert!(said.contains("CAP_BPF") || said.contains("CAP_NET_ADMIN"), "{said}");
    Ok(())
}

fn auto_without_privilege_serves_on_the_user_path_and_says_why() -> TestResult {
    struct Killed(Child);
    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    need_kernel_path_kernel()?;
    let home = tempfile::tempdir().expect("make a directory");
    let log = home.path().join("log");
    let file = std::fs::File::create(&log).expect("create the log");
    let mut command = unprivileged("auto", home.path())?;
    command.stdin(Stdio::null()).stdout(file.try_clone().expect("share the log")).stderr(file);
    let mut server = Killed(command.spawn().expect("start the server"));
    let said = wait_for("the server to say why", || {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let ended = server.0.try_wait().expect("look after the server");
        assert!(ended.is_none(), "the server ended: {said}");
        (said.contains("CAP_BPF") || said.contains("CAP_NET_ADMIN")).then_some(said)
    });
    assert!(said.contains("answered in user space"), "{said}");
    Ok(())
}

fn too_few_descriptors_exit_naming_the_knob() -> TestResult {
    let directory = tempfile::tempdir().expect("make a directory");
    let output = Command::new("prlimit")
        .args(["--nofile=64:64", "--"])
        .arg(server_binary()?)
        .args(["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--shards", "1"])
        .args(["--kernel-path", "off", "--data-dir"])
        .arg(directory.path())
        .stdin(Stdio::null())
        .output()
        .expect("run the server");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(EXIT_MEANS), "{said}");
    for part in ["64", "descriptors", "ulimit -Hn"] {
        assert!(said.contains(part), "{said}");
    }
    Ok(())
}

/// The server as `nobody`, without capabilities, from a copy of the binary that `nobody` may run.
fn unprivileged(kernel_path: &str, home: &Path) -> Result<Command, Skip> {
    use std::os::unix::fs::PermissionsExt;
    need_root()?;
    let binary = home.join("push-server");
    std::fs::copy(server_binary()?, &binary).expect("copy the server");
    let mode = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(home, mode).expect("open the directory to all");
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(&binary)
        .args(["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .args(["--kernel-path", kernel_path, "--shards", "1", "--log", "info"])
        .arg("--data-dir")
        .arg(home.join("data"));
    Ok(command)
}

/// Runs `check-config` on a file push.toml with this text.
fn check(text: &str) -> Result<(Option<i32>, String), Skip> {
    let directory = tempfile::tempdir().expect("make a directory");
    let path = directory.path().join("push.toml");
    std::fs::write(&path, text).expect("write the file");
    run(&["check-config", path.to_str().expect("a plain path")])
}

/// Runs the server with arguments that end it; exit code, and what it said on both outputs.
fn run(arguments: &[&str]) -> Result<(Option<i32>, String), Skip> {
    // By `timeout`, because a value wrongly accepted would start a server that stays.
    let seconds = PATIENCE.min(Duration::from_secs(10)).as_secs().to_string();
    let output = Command::new("timeout")
        .arg(seconds)
        .arg(server_binary()?)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("run the server");
    Ok((output.status.code(), text(&output)))
}

fn text(output: &Output) -> String {
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr))
}
