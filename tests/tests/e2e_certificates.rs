//! Names in clients' certificates as users (`--certificate-user`), and users' names as client ids
//! (`--client-id-from-user`), with the real binary.

use std::fs;
use std::path::PathBuf;

use push_tests::certificates::{Authority, Issued, LOCAL_NAMES, Purpose};
use push_tests::clients::{Client, Connect, Gone};
use push_tests::foreign;
use push_tests::server::{PingPath, Server, ServerBuilder};
use push_tests::skip::TestResult;
use push_tests::tls::{self, Offer, TlsStream};
use push_tests::wire::{Value, Version, property};
use push_tests::{both_paths, claims, stand_in};
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use tempfile::TempDir;

both_paths! {
    name_in_a_certificate_is_the_user_without_a_password,
    resumed_connection_is_the_same_user,
    users_name_is_the_client_id_and_nobody_takes_over_anothers_session,
}

claims! {
    certificate_that_names_no_user_is_refused_unless_a_password_is_right,
    user_name_may_be_left_out_and_must_not_be_anothers,
    session_is_its_users_whether_a_certificate_a_token_or_a_password_proved_it,
    each_kind_of_name_is_its_own,
    client_without_a_certificate_is_known_by_its_password_or_not_at_all,
}

const BAD_USER_NAME: u8 = 0x86;
const NOT_AUTHORIZED: u8 = 0x87;
const CLIENT_ID_NOT_VALID: u8 = 0x85;

/// Iterations of a password's hash, which cost next to nothing.
const PENCIL_ITERATIONS: u32 = 1;

/// An authority, what it has issued, and a server's files.
struct Authorities {
    authority: Authority,
    directory: TempDir,
}

impl Authorities {
    fn new() -> Self {
        let directory = TempDir::new().expect("make a directory");
        let authority = Authority::new("the test's authority").expect("an authority");
        let server = authority.issue("server", &LOCAL_NAMES, Purpose::Server).expect("issue");
        server.write(directory.path(), "server").expect("write");
        fs::write(directory.path().join("ca.pem"), authority.pem()).expect("write");
        Self { authority, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A certificate with these common names and URIs, as files.
    fn client(&self, name: &str, subjects: &[&str], uris: &[&str]) -> [PathBuf; 2] {
        let issued = self.authority.issue_naming(subjects, uris).expect("issue");
        self.write(name, &issued)
    }

    fn write(&self, name: &str, issued: &Issued) -> [PathBuf; 2] {
        issued.write(self.directory.path(), name).expect("write");
        [self.path(&format!("{name}.pem")), self.path(&format!("{name}.key"))]
    }

    fn start(&self, path: PingPath, field: &str, mode: &str) -> ServerBuilder {
        let [cert, key, ca] = ["server.pem", "server.key", "ca.pem"].map(|name| self.text(name));
        Server::with(path)
            .flag("--tls-listen", "127.0.0.1:0")
            .flag("--tls-cert", &*cert)
            .flag("--tls-key", &*key)
            .flag("--tls-client-ca", &*ca)
            .flag("--tls-client-auth", mode)
            .flag("--certificate-user", field)
            .flag("--ping-rate", 0)
    }

    fn offer(&self) -> Offer {
        Offer::trusting(self.path("ca.pem"))
    }

    /// What comes of a CONNECT behind a handshake with this certificate.
    #[track_caller]
    fn open(&self, server: &Server, shown: Option<&[PathBuf; 2]>, connect: &Connect) -> Client {
        let offer = self.offer();
        let offer = match shown {
            Some(files) => offer.showing(files.clone()),
            None => offer,
        };
        over(tls::dial(&server.tls(), &offer.config()).expect("a handshake"), connect)
    }

    /// A file of users with one line.
    fn users(&self, name: &str, password: &str) -> String {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let (salt, mut hash) = (*b"twelve bytes", [0; 64]);
        let password = password.as_bytes();
        pbkdf2::pbkdf2_hmac::<sha2::Sha512>(password, &salt, PENCIL_ITERATIONS, &mut hash);
        let (salt, hash) = (STANDARD.encode(salt), STANDARD.encode(hash));
        let line = format!("{name}:$7${PENCIL_ITERATIONS}${salt}${hash}\n");
        fs::write(self.path("users"), line).expect("write");
        self.text("users")
    }
}

#[track_caller]
fn over(stream: TlsStream, connect: &Connect) -> Client {
    let mut client = Client::over(stream, connect.version);
    client.say_connect(connect);
    client.read_connack(push_tests::expectations::PATIENCE).expect("a CONNACK");
    client
}

#[track_caller]
fn counted(server: &Server, name: &str, label: &str, count: u64) {
    assert_eq!(server.metrics().value(&format!("{name}_total{{{label}}}")), count, "{label}");
}

fn name_in_a_certificate_is_the_user_without_a_password(path: PingPath) -> TestResult {
    stand_in::not_for("knows no names in certificates")?;
    foreign::need_mosquitto_clients()?;
    let these = Authorities::new();
    let files = these.client("ada", &["ada"], &[]);
    let acl = "[[allow]]\npublish = [\"from/%u/#\"]\nsubscribe = [\"from/#\"]\n";
    fs::write(these.path("acl.toml"), acl).expect("write");
    let server =
        these.start(path, "cn", "required").flag("--acl", &*these.text("acl.toml")).start()?;
    let target = server.tls();
    let [cert, key] = files.each_ref().map(|file| file.display().to_string());
    let ca = these.text("ca.pem");
    let shown = ["--cafile", &ca, "--cert", &cert, "--key", &key];
    for version in [Version::V31, Version::V311, Version::V5] {
        let arguments = [&shown[..], &["-t", "from/#"]].concat();
        let subscriber = foreign::Subscriber::start(&target, version, "%t %p", &arguments);
        for topic in ["from/eve/x", "from/ada/x"] {
            let message = ["-t", topic, "-q", "0", "-m", topic];
            foreign::mosquitto_pub(&target, version, &[&shown[..], &message].concat());
        }
        assert_eq!(subscriber.message(), "from/ada/x from/ada/x");
    }
    counted(&server, "push_authentications_accepted", "source=\"certificate\"", 9);
    // The other listener, without TLS, knows nobody; and nobody needs to be known there.
    let nobody = Connect::new(Version::V5, "nobody");
    Client::connect(server.target(), &nobody);
    let mut witness = these.open(&server, Some(&files), &Connect::new(Version::V311, "witness"));
    server.prove_path_by(&mut witness);
    Ok(())
}

fn resumed_connection_is_the_same_user(path: PingPath) -> TestResult {
    stand_in::not_for("knows no names in certificates")?;
    let these = Authorities::new();
    let [ada, eve] = ["ada", "eve"].map(|name| these.client(name, &[name], &[]));
    let server = these.start(path, "cn", "required").start()?;
    for (version, label) in [(&TLS12, "1.2"), (&TLS13, "1.3")] {
        let config = these.offer().showing(ada.clone()).version(version).resuming().config();
        let connect = Connect::new(Version::V5, &format!("device {label}")).persistent();
        for round in 0..3 {
            let stream = tls::dial(&server.tls(), &config).expect("a handshake");
            let is_resumed = stream.is_resumed();
            assert_eq!(is_resumed, round > 0, "{label}");
            let mut client = over(stream, &connect);
            // Its session is that user's, so it is one.
            assert_eq!((client.connack.code, client.connack.session_present), (0, round > 0));
            client.ping();
            client.disconnect();
        }
        let stranger = these.open(&server, Some(&eve), &connect);
        assert_eq!(stranger.connack.code, NOT_AUTHORIZED);
        let resumed = format!("result=\"completed\",resumed=\"yes\",version=\"{label}\"");
        counted(&server, "push_tls_handshakes", &resumed, 2);
    }
    counted(&server, "push_authentications_accepted", "source=\"certificate\"", 8);
    let mut witness = these.open(&server, Some(&ada), &Connect::new(Version::V311, "witness"));
    server.prove_path_by(&mut witness);
    Ok(())
}

fn certificate_that_names_no_user_is_refused_unless_a_password_is_right() -> TestResult {
    stand_in::not_for("knows no names in certificates")?;
    let these = Authorities::new();
    let none = these.client("none", &[], &["urn:device:7"]);
    let users = these.users("bob", "pencil");
    let server = these
        .start(PingPath::User, "cn", "required")
        .flag("--users", &*users)
        .flag("--anonymous", "always")
        .start()?;
    for (version, code) in [(Version::V31, 5), (Version::V311, 5), (Version::V5, NOT_AUTHORIZED)] {
        let connect = Connect::new(version, "c");
        let mut client = these.open(&server, Some(&none), &connect);
        assert_eq!(client.connack.code, code);
        assert_eq!(client.wait_ending().how, Gone::Closed);
        let bob = connect.clone().login("bob", b"pencil");
        assert_eq!(these.open(&server, Some(&none), &bob).connack.code, 0);
        let wrong = connect.login("bob", b"crayon");
        assert_eq!(these.open(&server, Some(&none), &wrong).connack.code, code);
    }
    server.wait_log("its certificate has no name of that kind (--certificate-user)");
    counted(&server, "push_authentications_refused", "reason=\"certificate\"", 3);
    counted(&server, "push_authentications_refused", "reason=\"wrong_password\"", 3);
    counted(&server, "push_authentications_accepted", "source=\"users\"", 3);
    counted(&server, "push_authentications_accepted", "source=\"anonymous\"", 0);
    // Elsewhere nobody needs a certificate to be nobody.
    Client::connect(server.target(), &Connect::new(Version::V5, "nobody"));
    let bob = Connect::new(Version::V311, "witness").login("bob", b"pencil");
    server.prove_path_by(&mut these.open(&server, Some(&none), &bob));
    Ok(())
}

fn user_name_may_be_left_out_and_must_not_be_anothers() -> TestResult {
    stand_in::not_for("knows no names in certificates")?;
    let these = Authorities::new();
    let ada = these.client("ada", &["ada"], &[]);
    let server = these.start(PingPath::User, "cn", "required").start()?;
    for (version, refused) in [(Version::V31, 4), (Version::V311, 4), (Version::V5, BAD_USER_NAME)]
    {
        for (user, code) in [("ada", 0), ("", 0), ("eve", refused), ("Ada", refused)] {
            // Whatever the password: none is asked for.
            let connect = Connect::new(version, "c").login(user, b"crayon");
            let client = these.open(&server, Some(&ada), &connect);
            assert_eq!(client.connack.code, code, "{version:?} {user}");
        }
    }
    counted(&server, "push_authentications_refused", "reason=\"other_name\"", 6);
    server.finish();
    Ok(())
}

fn session_is_its_users_whether_a_certificate_a_token_or_a_password_proved_it() -> TestResult {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use hmac::{Hmac, KeyInit, Mac};
    const SECRET: &[u8; 32] = b"this is a secret of 32 bytes, ok";
    stand_in::not_for("knows no names in certificates")?;
    let these = Authorities::new();
    let [ada, eve] = ["ada", "eve"].map(|name| these.client(name, &[name], &[]));
    let users = these.users("ada", "pencil");
    let keys = json!({ "keys": [{ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET) }] });
    fs::write(these.path("keys"), keys.to_string()).expect("write");
    let server = these
        .start(PingPath::User, "cn", "optional")
        .flag("--users", &*users)
        .flag("--jwt-keys", &*these.text("keys"))
        .start()?;
    let connect = Connect::new(Version::V5, "device").persistent();
    let parts = [json!({ "alg": "HS256" }), json!({ "sub": "ada", "exp": 4_000_000_000u64 })];
    let unsigned = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET).expect("any length will do");
    mac.update(unsigned.as_bytes());
    let token = format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
    let mut first = these.open(&server, Some(&ada), &connect);
    assert_eq!(first.connack.code, 0);
    first.subscribe(&[("mail", 1)]);
    first.disconnect();
    let by_token = connect.clone().login("", token.as_bytes());
    let by_password = connect.clone().login("ada", b"pencil");
    for again in [&by_token, &by_password, &connect] {
        let shown = std::ptr::eq(again, &connect).then_some(&ada);
        let client = these.open(&server, shown, again);
        assert_eq!((client.connack.code, client.connack.session_present), (0, true));
        client.disconnect();
    }
    let stranger = these.open(&server, Some(&eve), &connect);
    assert_eq!(stranger.connack.code, NOT_AUTHORIZED);
    for (source, count) in [("certificate", 3), ("jwt", 1), ("users", 1), ("anonymous", 0)] {
        let label = format!("source=\"{source}\"");
        counted(&server, "push_authentications_accepted", &label, count);
    }
    let witness = Connect::new(Version::V311, "witness");
    server.prove_path_by(&mut these.open(&server, Some(&ada), &witness));
    Ok(())
}

fn each_kind_of_name_is_its_own() -> TestResult {
    stand_in::not_for("knows no names in certificates")?;
    let these = Authorities::new();
    let uri = these.client("uri", &["ada"], &["urn:device:7"]);
    let two = these.client("two", &["ada"], &["urn:a", "urn:b"]);
    let host = these.authority.issue("ada", &["Device7.Example.org"], Purpose::Client);
    let host = these.write("host", &host.expect("issue"));
    for (field, shown, user) in [
        ("cn", &uri, Some("ada")),
        ("san-uri", &uri, Some("urn:device:7")),
        ("san-uri", &two, None),
        ("san-uri", &host, None),
        ("san-dns", &host, Some("device7.example.org")),
        ("san-dns", &uri, None),
    ] {
        let server = these
            .start(PingPath::User, field, "required")
            .switch("--client-id-from-user")
            .start()?;
        let client = these.open(&server, Some(shown), &Connect::new(Version::V5, "c"));
        let code = if user.is_some() { 0 } else { NOT_AUTHORIZED };
        assert_eq!(client.connack.code, code, "{field}");
        let told = client.connack.properties.find(property::ASSIGNED_CLIENT_IDENTIFIER);
        assert_eq!(told.cloned(), user.map(|user| Value::Text(user.to_owned())), "{field}");
        let counter = if user.is_some() { "accepted" } else { "refused" };
        let label =
            if user.is_some() { "source=\"certificate\"" } else { "reason=\"certificate\"" };
        counted(&server, &format!("push_authentications_{counter}"), label, 1);
    }
    Ok(())
}

fn client_without_a_certificate_is_known_by_its_password_or_not_at_all() -> TestResult {
    stand_in::not_for("knows no names in certificates")?;
    let these = Authorities::new();
    let users = these.users("bob", "pencil");
    let server = these.start(PingPath::User, "cn", "optional").flag("--users", &*users).start()?;
    let connect = Connect::new(Version::V5, "c");
    let code = |connect: &Connect| these.open(&server, None, connect).connack.code;
    assert_eq!(code(&connect), NOT_AUTHORIZED);
    assert_eq!(code(&connect.clone().login("bob", b"pencil")), 0);
    assert_eq!(code(&connect.login("bob", b"crayon")), NOT_AUTHORIZED);
    counted(&server, "push_authentications_refused", "reason=\"no_proof\"", 1);
    let bob = Connect::new(Version::V311, "witness").login("bob", b"pencil");
    server.prove_path_by(&mut these.open(&server, None, &bob));
    Ok(())
}

fn users_name_is_the_client_id_and_nobody_takes_over_anothers_session(
    path: PingPath,
) -> TestResult {
    stand_in::not_for("knows no names in certificates")?;
    let these = Authorities::new();
    let [ada, eve] = ["ada", "eve"].map(|name| these.client(name, &[name], &[]));
    let server = these
        .start(path, "cn", "required")
        .switch("--client-id-from-user")
        .flag("--client-id-bytes-max", 23)
        .start()?;
    let session = Connect::new(Version::V5, "ada").persistent();
    let mut first = these.open(&server, Some(&ada), &session);
    assert_eq!(first.connack.code, 0);
    assert_eq!(first.connack.properties.find(property::ASSIGNED_CLIENT_IDENTIFIER), None);
    first.subscribe(&[("mail", 1)]);
    // Under another user's name she is herself, and told so.
    let stranger = these.open(&server, Some(&eve), &session);
    assert_eq!((stranger.connack.code, stranger.connack.session_present), (0, false));
    let told = stranger.connack.properties.find(property::ASSIGNED_CLIENT_IDENTIFIER);
    assert_eq!(told, Some(&Value::Text("eve".to_owned())));
    first.assert_alive();
    // Whatever id she gives, it is one session: the second takes the first one over.
    let other = Connect::new(Version::V311, "another id").persistent();
    let second = these.open(&server, Some(&ada), &other);
    assert!(second.connack.session_present);
    assert_eq!(first.wait_ending().reason, Some(0x8E));
    // A client without a user has no name for an id, here at the listener without TLS.
    for (version, code) in [(Version::V311, 5), (Version::V5, NOT_AUTHORIZED)] {
        let connect = Connect::new(version, "nobody");
        let client = Client::open(server.target(), &connect).expect("a CONNACK");
        assert_eq!(client.connack.code, code);
    }
    counted(&server, "push_authentications_refused", "reason=\"no_user\"", 2);
    server.wait_log("it is no user, whose name would be its client id");
    let long = these.client("long", &["a name of more than 23 bytes"], &[]);
    let refused = these.open(&server, Some(&long), &Connect::new(Version::V5, "c"));
    assert_eq!(refused.connack.code, CLIENT_ID_NOT_VALID);
    let mut witness = these.open(&server, Some(&ada), &Connect::new(Version::V311, "witness"));
    server.prove_path_by(&mut witness);
    Ok(())
}
