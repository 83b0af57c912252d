//! `push-server user` and `scram-user`, with the real binary: what they write, what they say, and what a terminal shows.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::wait_for;
use push_tests::server::{PingPath, Server, server_binary};
use push_tests::skip::{Skip, TestResult};
use push_tests::stand_in;
use push_tests::wire::{Packet, Properties, Value, Version, property};
use rustix::pty::{self, OpenptFlags};
use rustix::termios::{LocalModes, tcgetattr};
use tempfile::TempDir;

claims! {
    user_is_set_listed_verified_and_removed,
    password_is_asked_for_twice_and_not_shown,
    passwords_that_differ_are_refused_and_nothing_is_written,
    user_of_both_kinds_is_let_in_by_a_password_and_challenged_by_scram,
    what_is_wrong_is_said_with_its_line_and_without_the_password,
    address_that_other_machines_reach_needs_users_or_the_flag_that_opens_it,
}

/// Exit codes.
const FAILED: i32 = 1;
const INVALID: i32 = 2;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("make a directory"))
    }

    fn users(&self) -> PathBuf {
        self.0.path().join("users")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.users()).expect("the file of users")
    }

    /// Runs `push-server user` with the file, and these words on standard input.
    fn user(&self, words: &[&str], input: &str) -> Result<(Option<i32>, String), Skip> {
        let output = self.run(words, input)?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8(said).expect("text")))
    }

    fn run(&self, words: &[&str], input: &str) -> Result<Output, Skip> {
        stand_in::not_for("has no such command")?;
        let mut child = Command::new(server_binary()?)
            .arg("user")
            .args(words)
            .arg("--file")
            .arg(self.users())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run the command");
        let mut stdin = child.stdin.take().expect("its input is piped");
        // It may not read any.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        Ok(child.wait_with_output().expect("its end"))
    }
}

fn user_is_set_listed_verified_and_removed() -> TestResult {
    let folder = Folder::new();
    assert_eq!(folder.user(&["set", "ada"], "pencil\nmore\n")?, (Some(0), String::new()));
    assert!(folder.text().starts_with("ada:$argon2id$v=19$m=19456,t=2,p=1$"), "{}", folder.text());
    let mode = fs::metadata(folder.users()).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let file = folder.0.path().join("password");
    fs::write(&file, "cr\u{e4}yon\r\n").expect("write a password");
    let of_file = ["--password-file", file.to_str().expect("a path of ours")];
    let with_file = |words: &[&str]| folder.user(&[words, &of_file].concat(), "");
    assert_eq!(with_file(&["set", "b\u{f6}b", "--scram"])?.0, Some(0));
    let (code, listed) = folder.user(&["list"], "")?;
    assert_eq!(code, Some(0));
    assert_eq!(
        listed,
        "ada argon2id m=19456,t=2,p=1\nb\u{f6}b argon2id m=19456,t=2,p=1\n\
         b\u{f6}b scram-sha-256 i=16384\n"
    );
    assert_eq!(folder.user(&["verify", "ada"], "pencil")?, (Some(0), String::new()));
    assert_eq!(folder.user(&["verify", "b\u{f6}b"], "cr\u{e4}yon")?.0, Some(0));
    assert_eq!(with_file(&["verify", "b\u{f6}b"])?.0, Some(0));
    let (code, said) = folder.user(&["verify", "ada"], "crayon")?;
    assert_eq!((code, &*said), (Some(FAILED), "error: that is not the password of \"ada\"\n"));
    assert_eq!(folder.user(&["set", "ada"], "chalk")?.0, Some(0));
    assert_eq!(folder.user(&["verify", "ada"], "pencil")?.0, Some(FAILED));
    assert_eq!(folder.user(&["remove", "b\u{f6}b"], "")?.0, Some(0));
    assert_eq!(folder.text().lines().count(), 1);
    for words in [["remove", "b\u{f6}b"], ["verify", "b\u{f6}b"]] {
        let (code, said) = folder.user(&words, "x")?;
        assert_eq!(code, Some(FAILED));
        assert!(said.contains("has no user \"b\u{f6}b\""), "{said}");
    }
    Ok(())
}

/// A command on a terminal of its own.
struct Terminal {
    child: Child,
    ours: File,
    shown: Vec<u8>,
}

impl Terminal {
    fn run(words: &str) -> Result<Self, Skip> {
        stand_in::not_for("has no such command")?;
        let ours = pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        pty::grantpt(&ours).and_then(|()| pty::unlockpt(&ours)).expect("a terminal to use");
        let name = pty::ptsname(&ours, Vec::new()).expect("the terminal's name");
        let theirs = OpenOptions::new()
            .read(true)
            .write(true)
            .open(name.to_str().expect("a plain name"))
            .expect("the other end");
        let share = || Stdio::from(theirs.try_clone().expect("share the terminal"));
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(server_binary()?)
            .args(words.split(' '))
            .stdin(share())
            .stdout(share())
            .stderr(share())
            .spawn()
            .map_err(|error| Skip::missing(format!("cannot run setsid: {error}")))?;
        Ok(Self { child, ours: ours.into(), shown: Vec::new() })
    }

    /// Types a line once the terminal has shown this, and shows what is typed no more.
    #[track_caller]
    fn answer(&mut self, prompt: &str, line: &str) {
        let seen_before = self.shown.len();
        while !String::from_utf8_lossy(&self.shown[seen_before..]).contains(prompt) {
            let mut byte = [0];
            self.ours.read_exact(&mut byte).expect("read from the terminal");
            self.shown.extend(byte);
        }
        wait_for("the terminal to hide what is typed", || {
            let modes = tcgetattr(&self.ours).expect("the terminal's modes").local_modes;
            (!modes.contains(LocalModes::ECHO)).then_some(())
        });
        self.ours.write_all(format!("{line}\n").as_bytes()).expect("type");
    }

    /// The exit code, and all that was shown.
    fn end(mut self) -> (Option<i32>, String) {
        // The last end that is closed is an error to read (EIO).
        let _ = self.ours.read_to_end(&mut self.shown);
        let status = self.child.wait().expect("its end");
        (status.code(), String::from_utf8_lossy(&self.shown).into_owned())
    }
}

fn password_is_asked_for_twice_and_not_shown() -> TestResult {
    let folder = Folder::new();
    let path = folder.users();
    let file = path.display();
    for words in [format!("user set ada --file {file}"), "scram-user ada".to_owned()] {
        let mut terminal = Terminal::run(&words)?;
        terminal.answer("password: ", "pencil-secret");
        terminal.answer("again: ", "pencil-secret");
        let (code, shown) = terminal.end();
        assert_eq!(code, Some(0), "{shown}");
        assert!(!shown.contains("pencil-secret"), "{shown}");
    }
    let mut terminal = Terminal::run(&format!("user verify ada --file {file}"))?;
    terminal.answer("password: ", "pencil-secret");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains("pencil-secret"), "{shown}");
    Ok(())
}

fn passwords_that_differ_are_refused_and_nothing_is_written() -> TestResult {
    let folder = Folder::new();
    let mut terminal = Terminal::run(&format!("user set ada --file {}", folder.users().display()))?;
    terminal.answer("password: ", "pencil");
    terminal.answer("again: ", "pencil ");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(FAILED));
    assert!(shown.contains("that is not the same password"), "{shown}");
    assert!(!folder.users().exists());
    Ok(())
}

fn user_of_both_kinds_is_let_in_by_a_password_and_challenged_by_scram() -> TestResult {
    let folder = Folder::new();
    assert_eq!(folder.user(&["set", "ada", "--scram"], "pencil")?.0, Some(0));
    assert_eq!(folder.user(&["set", "bob"], "crayon")?.0, Some(0));
    let users = folder.users();
    let server = Server::with(PingPath::User).flag("--users", users.to_str().expect("a path"));
    let server = server.start()?;
    for (name, password) in [("ada", "pencil"), ("bob", "crayon")] {
        let connect = Connect::new(Version::V311, name).login(name, password.as_bytes());
        Client::connect(server.target(), &connect).ping();
    }
    // e2e_scram has the whole exchange.
    let mut connect = Connect::new(Version::V5, "scram");
    connect.properties = Properties(vec![
        (property::AUTHENTICATION_METHOD, Value::Text("SCRAM-SHA-256".into())),
        (property::AUTHENTICATION_DATA, Value::Bytes(b"n,,n=ada,r=abc".to_vec())),
    ]);
    let mut client = Client::send_connect(server.target(), &connect);
    let iterations = client.expect("a challenge", |packet| match packet {
        Packet::Auth { properties, .. } => match properties.find(property::AUTHENTICATION_DATA) {
            Some(Value::Bytes(data)) => Some(data.ends_with(b",i=16384")),
            _ => None,
        },
        _ => None,
    });
    assert!(iterations);
    Ok(())
}

fn what_is_wrong_is_said_with_its_line_and_without_the_password() -> TestResult {
    let folder = Folder::new();
    let costly =
        "$argon2id$v=19$m=262145,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    for (line, why) in [
        ("bob:crayon", ":2: expected NAME:HASH"),
        (&*format!("bob:{costly}"), ":2: Argon2 with more than 256 MiB of memory"),
    ] {
        fs::write(folder.users(), format!("# users\n{line}\n")).expect("write the file");
        for words in [&["set", "ada"][..], &["list"], &["verify", "bob"]] {
            let (code, said) = folder.user(words, "pencil")?;
            assert_eq!(code, Some(FAILED), "{said}");
            assert!(said.contains(why) && !said.contains("crayon"), "{said}");
        }
        let path = folder.users();
        let (code, said) = run(&["run", "--users", path.to_str().expect("a path of ours")])?;
        assert_eq!(code, Some(FAILED), "{said}");
        assert!(said.contains(why) && said.contains("push-server user set"), "{said}");
        assert!(!said.contains("crayon"), "{said}");
    }
    for (name, password, why) in [("a:b", "x", "no colon"), ("ada", "", "at least one byte")] {
        let (code, said) = folder.user(&["set", name], password)?;
        assert_eq!(code, Some(FAILED));
        assert!(said.contains(why), "{said}");
    }
    Ok(())
}

/// Runs the server, which is to end by itself, with data and pins of its own.
fn run(words: &[&str]) -> Result<(Option<i32>, String), Skip> {
    let directory = tempfile::tempdir().expect("make a directory");
    let output = Command::new(server_binary()?)
        .args(words)
        .args(["--kernel-path", "off", "--http", "off", "--data-dir"])
        .arg(directory.path())
        .args(listens(words).then_some(["--listen", "127.0.0.1:0"]).into_iter().flatten())
        .output()
        .expect("run the server");
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Whether the words name no address.
fn listens(words: &[&str]) -> bool {
    !words.iter().any(|word| word.ends_with("listen"))
}

fn address_that_other_machines_reach_needs_users_or_the_flag_that_opens_it() -> TestResult {
    stand_in::not_for("starts otherwise")?;
    for listen in ["--listen", "--ws-listen"] {
        let (code, said) = run(&["run", listen, "0.0.0.0:0"])?;
        assert_eq!(code, Some(INVALID), "{said}");
        let begin = format!("error: {listen} = 0.0.0.0:0: expected an address that only this");
        assert!(said.starts_with(&begin), "{said}");
        assert!(said.contains("--anonymous always") && said.contains("--users"), "{said}");
    }
    let (code, said) = run(&["run", "--anonymous", "never"])?;
    assert_eq!(code, Some(INVALID), "{said}");
    // With either, it starts.
    let folder = Folder::new();
    assert_eq!(folder.user(&["set", "ada"], "pencil")?.0, Some(0));
    let users = folder.users();
    let users = users.to_str().expect("a path of ours");
    for (flag, value, code) in [("--anonymous", "always", 0), ("--users", users, 5)] {
        let server = Server::with(PingPath::User).flag("--ws-listen", "0.0.0.0:0");
        let server = server.flag(flag, value).start()?;
        let nobody = Connect::new(Version::V311, "nobody");
        let client = Client::open(server.target(), &nobody).expect("a CONNACK");
        assert_eq!(client.connack.code, code, "{flag}");
    }
    Ok(())
}
