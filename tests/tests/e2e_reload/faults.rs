//! What is wrong with a file changes nothing: neither that file's part nor any other's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use push_tests::clients::{Client, Connect, connack_code};
use push_tests::server::{PingPath, Server};
use push_tests::skip::{TestResult, need_root};
use push_tests::users::line;
use push_tests::wire::Version;

use crate::rig::{
    Files, NOT_AUTHORIZED, OPEN_BUT_SECRETS, as_user, finish, reload, reload_well, settings_file,
    write,
};

/// What befalls a file.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Missing,
    /// Its writer has come half way.
    Half,
    Unreadable,
    Directory,
    Empty,
}

impl Fault {
    const ALL: [Self; 5] =
        [Self::Missing, Self::Half, Self::Unreadable, Self::Directory, Self::Empty];

    fn befall(self, file: &Path) {
        let text = fs::read_to_string(file).expect("a file");
        match self {
            Self::Missing => fs::remove_file(file).expect("remove a file"),
            // In the middle of a line.
            Self::Half => write(file, text.trim_end().split_at(text.trim_end().len() - 20).0),
            // Not even root without capabilities reads it.
            Self::Unreadable => {
                fs::set_permissions(file, fs::Permissions::from_mode(0o0)).expect("close it");
            }
            Self::Directory => {
                fs::remove_file(file).expect("remove a file");
                fs::create_dir(file).expect("make a directory");
            }
            Self::Empty => write(file, ""),
        }
    }

    fn end(self, file: &Path, text: &str) {
        if let Self::Directory = self {
            fs::remove_dir(file).expect("remove a directory");
        }
        write(file, text);
    }
}

pub(crate) fn each_fault_of_each_file_changes_nothing() -> TestResult {
    // Others start without the right to read everybody's files, and cannot lose it.
    need_root()?;
    let files = Files::new()?;
    let server = Server::with(PingPath::User).settings(files.settings_with_tls()).start()?;
    let target = server.target();
    let mut bob = Client::connect(target, &as_user("bob", "bob", "pencil"));
    bob.subscribe(&[("secret/#", 1)]);
    // What is right, and would change much.
    files.write("users", &(line("ada", "pencil") + &line("eve", "crayon")));
    files.write("rules.toml", OPEN_BUT_SECRETS);
    let settings = settings_file(&server);
    let mut faulty: Vec<_> =
        ["users", "rules.toml", "server.pem", "server.key", "ca.pem", "crl.pem"]
            .map(|name| files.path(name))
            .into();
    faulty.push(settings);
    for file in &faulty {
        let text = fs::read_to_string(file).expect("a file");
        for fault in Fault::ALL {
            let is_valid = match fault {
                // No users, and no rules, are some.
                Fault::Empty => {
                    ["users", "rules.toml", "push.toml"].iter().any(|name| file.ends_with(name))
                }
                _ => false,
            };
            if is_valid {
                continue;
            }
            fault.befall(file);
            let (exit, said) = reload(&server)?;
            let shown = file.display().to_string();
            assert!(exit == 1 && said.contains(&shown), "{fault:?} {shown}: {exit} {said}");
            if let Fault::Half = fault {
                let is_told = said.contains(&format!("{shown}:")) || said.contains("line ");
                assert!(is_told, "no line of {shown}: {said}");
            }
            assert_eq!(
                connack_code(target, &as_user("eve", "eve", "crayon")),
                NOT_AUTHORIZED,
                "{fault:?} {shown}"
            );
            assert_eq!(
                connack_code(target, &as_user("other", "bob", "pencil")),
                0,
                "{fault:?} {shown}"
            );
            assert_eq!(server.metrics().value("push_reload_last_success"), 0);
            assert_ne!(bob.publish("secret/x", b"x", 1), NOT_AUTHORIZED, "{fault:?} {shown}");
            fault.end(file, &text);
        }
    }
    reload_well(&server)?;
    assert_eq!(server.metrics().value("push_reload_last_success"), 1);
    assert_eq!(bob.wait_ending().reason, Some(NOT_AUTHORIZED));
    assert_eq!(connack_code(target, &as_user("eve", "eve", "crayon")), 0);
    finish(&server);
    Ok(())
}

/// mosquitto has let everybody in when its file of passwords could not be read (eclipse/mosquitto#588).
pub(crate) fn nothing_opens_because_a_file_cannot_be_read() -> TestResult {
    let files = Files::new()?;
    let server = files.server(PingPath::User).start()?;
    let nobody = Connect::new(Version::V5, "nobody");
    let closed = |why: &str| {
        for connect in [&nobody, &as_user("x", "mallory", "x"), &as_user("x", "ada", "")] {
            assert_eq!(
                connack_code(server.target(), connect),
                NOT_AUTHORIZED,
                "{why}: {connect:?}"
            );
        }
        assert_eq!(connack_code(server.target(), &as_user("ada", "ada", "pencil")), 0, "{why}");
    };
    fs::remove_file(files.path("users")).expect("remove the users");
    fs::remove_file(files.path("rules.toml")).expect("remove the rules");
    assert_eq!(reload(&server)?.0, 1);
    closed("files are missing");
    fs::remove_file(settings_file(&server)).expect("remove the settings");
    let (exit, said) = reload(&server)?;
    assert!(exit == 1 && said.contains("push.toml"), "{said}");
    closed("the settings are missing");
    files.write("users", "");
    files.write("rules.toml", "");
    let (ip, port) = (server.target().address.ip(), server.target().address.port());
    let settings = files.settings().replace("{ip}", &ip.to_string());
    write(&settings_file(&server), &settings.replace("{port}", &port.to_string()));
    reload_well(&server)?;
    // Nobody is a user then, and everybody needs to be one.
    for connect in [&nobody, &as_user("ada", "ada", "pencil")] {
        assert_eq!(connack_code(server.target(), connect), NOT_AUTHORIZED, "{connect:?}");
    }
    Ok(())
}
