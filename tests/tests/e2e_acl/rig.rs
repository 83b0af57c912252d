//! A file of rules and one of users, and clients that authenticate.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use push_tests::clients::{Client, Connect};
use push_tests::expectations::PATIENCE;
use push_tests::metrics::Metrics;
use push_tests::server::{PingPath, Server, ServerBuilder, Target, server_binary};
use push_tests::skip::Skip;
use push_tests::wire::{self, Packet, Properties, Value, Version, property};
use rsasl::mechname::Mechname;
use rsasl::prelude::{SASLClient, SASLConfig};
use tempfile::TempDir;

const METHOD: &str = "SCRAM-SHA-256";
const CONTINUE: u8 = 0x18;
/// Every user's.
const PASSWORD: &str = "pencil";
/// "Not authorized".
pub(crate) const NOT_AUTHORIZED: u8 = 0x87;
/// Exit code for settings and files that cannot be.
pub(crate) const EXIT_INVALID: i32 = 2;

/// All is allowed but what is secret.
pub(crate) const OPEN_BUT_SECRETS: &str = r##"
[[allow]]
publish = ["#"]
subscribe = ["#"]

[[deny]]
clients = ["stranger*"]
publish = ["secret/#"]
subscribe = ["secret/#"]
"##;

/// The files of a server.
pub(crate) struct Files {
    directory: TempDir,
}

impl Files {
    pub(crate) fn new(rules: &str) -> Self {
        let files = Self { directory: tempfile::tempdir().expect("make a directory") };
        files.write(rules);
        files
    }

    pub(crate) fn write(&self, rules: &str) {
        fs::write(self.rules(), rules).expect("write the rules");
    }

    pub(crate) fn rules(&self) -> PathBuf {
        self.directory.path().join("rules.toml")
    }

    /// A directory for what else a test needs.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Two shards with these rules.
    pub(crate) fn server(&self, path: PingPath) -> ServerBuilder {
        Server::with(path).flag("--acl", shown(&self.rules())).flag("--shards", 2)
    }

    /// The same, where these users can authenticate.
    pub(crate) fn server_with(
        &self,
        path: PingPath,
        users: &[&str],
    ) -> Result<ServerBuilder, Skip> {
        let lines: Vec<_> = users.iter().map(|name| scram_user(name)).collect::<Result<_, _>>()?;
        let file = self.directory.path().join("users");
        fs::write(&file, lines.concat()).expect("write the users");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("keep it");
        // Clients that give no name are nobody.
        Ok(self.server(path).flag("--users", shown(&file)).flag("--anonymous", "always"))
    }
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// What `push-server scram-user` prints.
fn scram_user(name: &str) -> Result<String, Skip> {
    let mut child = Command::new(server_binary()?)
        .args(["scram-user", name, "--iterations", "4096"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run scram-user");
    writeln!(child.stdin.take().expect("piped"), "{PASSWORD}").expect("say the password");
    let output = child.wait_with_output().expect("wait for scram-user");
    assert!(output.status.success());
    Ok(String::from_utf8(output.stdout).expect("text"))
}

/// Connects and proves to be a user, whatever the answer.
#[track_caller]
pub(crate) fn connect_as(target: &Target, user: &str, mut connect: Connect) -> Client {
    let credentials = SASLConfig::with_credentials(None, user.to_owned(), PASSWORD.to_owned());
    let method = Mechname::parse(METHOD.as_bytes()).expect("a mechanism's name");
    let sasl = SASLClient::new(credentials.expect("credentials"));
    let mut sasl = sasl.start_suggested(&[method]).expect("a mechanism of rsasl's");
    let mut first = Vec::new();
    sasl.step(None, &mut first).expect("a first message");
    connect.properties.0.extend(method_and(first).0);
    let mut client = Client::send_connect(target, &connect);
    let challenge = client.expect("an AUTH", |packet| match packet {
        Packet::Auth { properties, .. } => match properties.find(property::AUTHENTICATION_DATA) {
            Some(Value::Bytes(data)) => Some(data.clone()),
            _ => None,
        },
        _ => None,
    });
    let mut last = Vec::new();
    sasl.step(Some(&challenge), &mut last).expect("a server that does as it should");
    client.send(&wire::auth(CONTINUE, &method_and(last)));
    client.read_connack(PATIENCE).expect("a CONNACK");
    client
}

/// The same, and it is served.
#[track_caller]
pub(crate) fn user(target: &Target, user: &str, client_id: &str) -> Client {
    let client = connect_as(target, user, Connect::new(Version::V5, client_id));
    assert_eq!(client.connack.code, 0, "{user} was refused");
    client
}

/// A client that does not authenticate.
#[track_caller]
pub(crate) fn anybody(target: &Target, version: Version, client_id: &str) -> Client {
    Client::connect(target, &Connect::new(version, client_id))
}

fn method_and(data: Vec<u8>) -> Properties {
    Properties(vec![
        (property::AUTHENTICATION_METHOD, Value::Text(METHOD.to_owned())),
        (property::AUTHENTICATION_DATA, Value::Bytes(data)),
    ])
}

/// How often the rules said so.
pub(crate) fn counted(metrics: &Metrics, action: &str, result: &str) -> u64 {
    let labels = format!("{{action=\"{action}\",result=\"{result}\"}}");
    metrics.value(&format!("push_authorizations_total{labels}"))
}

/// Runs the binary; its exit code, standard output and standard error.
pub(crate) fn run(arguments: &[&str]) -> Result<(Option<i32>, String, String), Skip> {
    let output = Command::new(server_binary()?).args(arguments).stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = output.expect("run push-server");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ok((status.code(), text(stdout), text(stderr)))
}

/// The payload of the next message, as text.
#[track_caller]
pub(crate) fn next(client: &mut Client) -> String {
    let message = client.message();
    String::from_utf8(message.payload).expect("text")
}
