//! The exit codes and messages that scripts and supervisors rely on, with the real binary. Nothing
//! here gets as far as serving.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output};

fn push_server(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_push-server"));
    command.args(arguments).output().expect("the binary runs")
}

fn check_config(text: &str) -> (Output, String) {
    let mut file = tempfile::NamedTempFile::new().expect("file");
    file.write_all(text.as_bytes()).expect("write");
    let path = file.path().display().to_string();
    (push_server(&["check-config", &path]), path)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_valid_file_prints_the_effective_settings_and_exits_with_0() {
    let (output, _) = check_config("shards = 3\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let settings = String::from_utf8_lossy(&output.stdout);
    assert!(settings.contains("\nshards = 3\n") && settings.contains("\nreceive-max = 64\n"));
    let (again, _) = check_config(&settings);
    assert_eq!(again.stdout, output.stdout, "what is printed is a file that gives the same");
}

#[test]
fn an_invalid_file_prints_its_mistakes_and_exits_with_2() {
    let (output, path) = check_config("sharts = 3\nshards = 0\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let errors = stderr(&output);
    let errors: Vec<_> = errors.lines().collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].starts_with(&format!("error: {path}:1: sharts: unknown key")), "{errors:?}");
    assert!(errors[1].starts_with(&format!("error: {path}:2: shards = 0: ")), "{errors:?}");
}

#[test]
fn an_invalid_flag_exits_with_2() {
    let output = push_server(&["run", "--shards", "0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("'0' for '--shards <N>'"), "{}", stderr(&output));
}

#[test]
fn an_http_port_in_use_exits_with_1_and_names_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = taken.local_addr().expect("address").to_string();
    let flags = ["--kernel-path", "off", "--durability", "off", "--listen", "127.0.0.1:0"];
    let output = push_server(&[&["run", "--http", &address], &flags[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    let log = stderr(&output);
    // Before it a line may tell that the start has waited for the address.
    let error = log.lines().last().unwrap_or_default();
    assert!(error.contains(&format!("cannot listen on {address} for http")), "{log}");
    assert!(error.contains("choose another by --http"), "{log}");
    assert_eq!(error.matches("in use").count(), 1, "every cause once: {log}");
}
