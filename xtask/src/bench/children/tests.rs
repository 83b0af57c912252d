use super::*;

fn log_path(test: &str) -> PathBuf {
    std::env::temp_dir().join(format!("xtask-{test}-{}.log", std::process::id()))
}

fn shell(script: &str, test: &str) -> (Child, PathBuf) {
    let log = log_path(test);
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::null());
    (Child::start("the shell", &mut command, &log).unwrap(), log)
}

#[test]
fn dropped_child_is_gone() {
    let (child, log) = shell("exec sleep 600", "drop");
    let process = PathBuf::from(format!("/proc/{}", child.pid()));
    assert!(process.exists());
    drop(child);
    assert!(!process.exists());
    fs::remove_file(log).unwrap();
}

#[test]
fn end_of_a_child_is_told_with_its_last_words() {
    let (mut child, log) = shell("read line; echo no such port >&2; exit 3", "words");
    child.check_alive().unwrap();
    drop(child.take_stdin());
    let error = loop {
        if let Err(error) = child.check_alive() {
            break error.to_string();
        }
    };
    assert!(error.contains("exit status: 3") && error.contains("no such port"), "{error}");
    fs::remove_file(log).unwrap();
}

#[test]
fn wish_to_stop_ends_a_sleep() {
    let interrupt = Interrupt(Arc::new(AtomicBool::new(true)));
    assert!(interrupt.sleep(Duration::from_secs(600)).is_err());
}
