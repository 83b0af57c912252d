//! A server whose settings, users, rules and certificates are files of the test, and what a reload says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use push_tests::certificates::{Authority, Folder, LOCAL_NAMES, Purpose};
use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, Server, ServerBuilder, server_binary};
use push_tests::skip::Skip;
use push_tests::stand_in;
use push_tests::users::line;
use push_tests::wire::Version;
use tempfile::TempDir;

/// "Not authorized".
pub(crate) const NOT_AUTHORIZED: u8 = 0x87;

/// Everybody may do everything.
pub(crate) const OPEN: &str = "[[allow]]\npublish = [\"#\"]\nsubscribe = [\"#\"]\n";

/// The same, but for what is secret.
pub(crate) const OPEN_BUT_SECRETS: &str = "[[allow]]\npublish = [\"#\"]\nsubscribe = [\"#\"]\n\n\
     [[deny]]\nusers = [\"bob\"]\npublish = [\"secret/#\"]\nsubscribe = [\"secret/#\"]\n";

/// The files of a server.
pub(crate) struct Files {
    directory: TempDir,
    pub(crate) folder: Folder,
    pub(crate) authority: Authority,
}

impl Files {
    /// Ada's and Bob's password is `pencil`; everybody may do everything.
    pub(crate) fn new() -> Result<Self, Skip> {
        stand_in::not_for("has not our files")?;
        let directory = tempfile::tempdir().expect("make a directory");
        let folder = Folder::make(directory.path(), &LOCAL_NAMES).expect("make certificates");
        let authority = Authority::new("authority of this test").expect("make an authority");
        let files = Self { directory, folder, authority };
        files.write("ca.pem", &files.authority.pem());
        files.write("crl.pem", &files.authority.revoking(&[]).expect("make a list"));
        let own = files.authority.issue("server", &LOCAL_NAMES, Purpose::Server);
        let own = own.expect("issue a certificate");
        files.write("server.pem", &own.pem());
        files.write("server.key", &own.key_pem());
        files.write("users", &(line("ada", "pencil") + &line("bob", "pencil")));
        files.write("rules.toml", OPEN);
        Ok(files)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Replaces a file whole.
    pub(crate) fn write(&self, name: &str, text: &str) {
        write(&self.path(name), text);
    }

    /// Settings with users and rules.
    pub(crate) fn settings(&self) -> String {
        let (users, rules) = (self.shown("users"), self.shown("rules.toml"));
        format!("listen = '{{ip}}:{{port}}'\nshards = 2\nusers = '{users}'\nacl = '{rules}'\n")
    }

    /// The same, and a listener for TLS whose clients show certificates.
    pub(crate) fn settings_with_tls(&self) -> String {
        let [cert, key, ca, crl] =
            ["server.pem", "server.key", "ca.pem", "crl.pem"].map(|name| self.shown(name));
        let settings = self.settings();
        format!(
            "{settings}tls-listen = '{{ip}}:0'\ntls-cert = '{cert}'\ntls-key = '{key}'\n\
             tls-client-auth = 'required'\ntls-client-ca = '{ca}'\ntls-client-crl = '{crl}'\n\
             reload-secs = 0\nauth-failures = 0\n"
        )
    }

    pub(crate) fn server(&self, path: PingPath) -> ServerBuilder {
        Server::with(path).settings(self.settings())
    }
}

/// Replaces a file whole, for its owner alone.
pub(crate) fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("write a file");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("close it");
    fs::rename(&new, path).expect("put it in its place");
}

/// The settings file that a server was started with.
pub(crate) fn settings_file(server: &Server) -> PathBuf {
    server.directory().join("push.toml")
}

/// What it has, with the server's address in it.
pub(crate) fn settings_of(server: &Server) -> String {
    fs::read_to_string(settings_file(server)).expect("read the settings")
}

pub(crate) fn as_user(client_id: &str, name: &str, password: &str) -> Connect {
    Connect::new(Version::V5, client_id).login(name, password.as_bytes())
}

/// What `push-server reload` says: its exit code, and all lines.
pub(crate) fn reload(server: &Server) -> Result<(i32, String), Skip> {
    command(&["reload", "--socket", &server.admin_socket().display().to_string()])
}

/// The same of any command.
pub(crate) fn command(arguments: &[&str]) -> Result<(i32, String), Skip> {
    let output = Command::new(server_binary()?).args(arguments).output().expect("run a command");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("text");
    Ok((output.status.code().expect("an exit code"), said))
}

/// Has the server read its files again, which have to be right.
#[track_caller]
pub(crate) fn reload_well(server: &Server) -> Result<String, Skip> {
    let (code, said) = reload(server)?;
    assert_eq!(code, 0, "{said}\n{}", server.log());
    Ok(said)
}

/// How many clients a reload has sent away for this.
pub(crate) fn gone(server: &Server, reason: &str) -> u64 {
    server.metrics().value(&format!("push_reload_disconnects_total{{reason=\"{reason}\"}}"))
}

/// Ada is served, by the path that it is about.
#[track_caller]
pub(crate) fn finish(server: &Server) {
    let mut witness = Client::connect(server.target(), &as_user("witness", "ada", "pencil"));
    server.prove_path_by(&mut witness);
}

/// Stops in order.
#[track_caller]
pub(crate) fn stop(mut server: Server) {
    server.terminate();
    let (status, _) = server.wait_exit();
    assert!(status.success(), "{status}: {}", server.log());
}
