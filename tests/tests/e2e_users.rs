//! User name and password of CONNECT against a file of users, with the real binary. The file is mosquitto's own, or
//! has lines of its form that cost little.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use push_tests::clients::{Client, Connect, Gone, connack_code};
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::foreign::{self, By};
use push_tests::server::{PingPath, Place, Server, ServerBuilder};
use push_tests::skip::{Skip, TestResult, need_root};
use push_tests::target::Target;
use push_tests::users::line;
use push_tests::wire::{Login, Version};
use push_tests::{both_paths, claims, stand_in};
use rustix::process::Signal;
use tempfile::TempDir;

both_paths! {
    clients_of_others_are_let_in_with_the_password_and_not_without,
    who_is_refused_is_told_by_its_version_and_counted_by_the_reason,
    changed_password_counts_at_once_after_sighup_though_the_old_one_is_remembered,
    session_is_its_users_whether_scram_or_a_password_proved_it,
    users_let_a_server_listen_where_other_machines_reach_it,
    a_listener_says_for_its_clients_whether_they_may_be_nobody,
}

claims! {
    password_file_of_mosquitto_admits_and_denies_as_mosquitto_does,
    clients_that_come_again_cost_no_hash,
    client_that_waits_for_a_hash_delays_nobody,
    passwords_beyond_the_queue_are_refused_as_busy,
    password_whose_client_has_given_up_is_not_hashed,
    passwords_and_hashes_are_in_no_log,
    memory_of_a_process_with_users_is_nobody_elses_to_read,
}

const NOT_AUTHORIZED: u8 = 0x87;
const SERVER_BUSY: u8 = 0x89;

/// A hash that takes seconds to check, and 256 MiB: the costliest that is read.
const SLOW: &str =
    "$argon2id$v=19$m=262144,t=16,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

/// Questions that may wait, as docs/limits.md says.
const QUESTIONS_MAX: usize = 1_024;

/// A file of users.
struct Users(TempDir);

impl Users {
    fn new(text: &str) -> Self {
        let this = Self(tempfile::tempdir().expect("make a directory"));
        this.write(text);
        this
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("users")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).expect("write the file");
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(self.path(), mode).expect("keep the file to ourselves");
    }

    fn start(&self, path: PingPath) -> ServerBuilder {
        let file = self.path();
        Server::with(path)
            .flag("--users", file.to_str().expect("a path of ours"))
            .flag("--auth-failures", 0)
            .flag("--address-waiting-max", 0)
    }
}

fn as_user(version: Version, client_id: &str, name: &str, password: &str) -> Connect {
    Connect::new(version, client_id).login(name, password.as_bytes())
}

fn clients_of_others_are_let_in_with_the_password_and_not_without(path: PingPath) -> TestResult {
    stand_in::not_for("has no users of ours")?;
    foreign::need_mosquitto_clients()?;
    let users = Users::new(&(line("ada", "pencil") + &line("b\u{f6}b", "cr\u{e4}yon")));
    let server = users.start(path).start()?;
    let target = server.target();
    for version in [Version::V31, Version::V311, Version::V5] {
        let ada = ["-u", "ada", "-P", "pencil"];
        let subscriber = foreign::Subscriber::start(
            target,
            version,
            "%t %p",
            &[&ada[..], &["-t", "a/#"]].concat(),
        );
        let message = ["-t", "a/b", "-q", "1", "-m", "hello"];
        let bob = ["-u", "b\u{f6}b", "-P", "cr\u{e4}yon"];
        foreign::mosquitto_pub(target, version, &[&bob[..], &message].concat());
        assert_eq!(subscriber.message(), "a/b hello");
        for (name, password) in [("ada", "crayon"), ("eve", "pencil"), ("ada", "")] {
            let login = ["-u", name, "-P", password];
            let arguments = [&login[..], &message].concat();
            let is_let_in = foreign::mosquitto_pub_is_let_in(target, version, &arguments);
            assert!(!is_let_in, "{name} {password}");
        }
        assert!(!foreign::mosquitto_pub_is_let_in(target, version, &message), "without a name");
        assert_eq!(subscriber.unexpected(), [""; 0]);
        let paho = |case, login: &[&str]| foreign::paho_with(By::Tcp, target, version, case, login);
        paho("qos", &["--user", "ada", "--password", "pencil"])?;
        paho("refused", &["--user", "ada", "--password", "crayon"])?;
        paho("refused", &["--user", "eve", "--password", "pencil"])?;
        paho("refused", &[])?;
    }
    let mut witness = Client::connect(target, &as_user(Version::V5, "witness", "ada", "pencil"));
    server.prove_path_by(&mut witness);
    Ok(())
}

fn who_is_refused_is_told_by_its_version_and_counted_by_the_reason(path: PingPath) -> TestResult {
    stand_in::not_for("has no users of ours")?;
    let users = Users::new(&line("ada", "pencil"));
    let server = users.start(path).start()?;
    for (version, expected) in
        [(Version::V31, 5), (Version::V311, 5), (Version::V5, NOT_AUTHORIZED)]
    {
        let nobody = Connect::new(version, "c");
        let mut no_password = nobody.clone();
        no_password.login = Login { user_name: Some("ada".into()), password: None };
        for connect in [
            as_user(version, "c", "ada", "crayon"),
            as_user(version, "c", "eve", "pencil"),
            as_user(version, "c", "", ""),
            no_password,
            nobody,
        ] {
            let mut client = Client::open(server.target(), &connect).expect("a CONNACK");
            assert_eq!(client.connack.code, expected, "{connect:?}");
            assert_eq!(client.wait_ending().how, Gone::Closed);
        }
        assert_eq!(connack_code(server.target(), &as_user(version, "c", "ada", "pencil")), 0);
    }
    let metrics = server.metrics();
    for (reason, count) in [("wrong_password", 3), ("unknown_user", 6), ("no_proof", 6)] {
        let name = format!("push_authentications_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(metrics.value(&name), count, "{reason}");
    }
    assert_eq!(metrics.value("push_authentications_total{result=\"refused\"}"), 15);
    assert_eq!(metrics.value("push_authentications_total{result=\"accepted\"}"), 3);
    assert_eq!(metrics.value("push_authentications_accepted_total{source=\"users\"}"), 3);
    assert_eq!(metrics.value("push_passwords_checked_total{by=\"hash\"}"), 10);
    assert_eq!(metrics.value("push_passwords_checked_total{by=\"memory\"}"), 2);
    assert_eq!(metrics.value("push_passwords_remembered"), 1);
    let log = server.log();
    for why in ["the password is wrong", "there is no such user", "it does not authenticate"] {
        assert!(log.contains(&format!("not authorized: {why}")), "{why}: {log}");
    }
    let ada = as_user(Version::V311, "witness", "ada", "pencil");
    let mut witness = Client::connect(server.target(), &ada);
    server.prove_path_by(&mut witness);
    Ok(())
}

fn changed_password_counts_at_once_after_sighup_though_the_old_one_is_remembered(
    path: PingPath,
) -> TestResult {
    stand_in::not_for("has no users of ours")?;
    let users = Users::new(&line("ada", "pencil"));
    let server = users.start(path).start()?;
    let old = as_user(Version::V5, "old", "ada", "pencil");
    let new = as_user(Version::V5, "new", "ada", "crayon");
    let mut client = Client::connect(server.target(), &old);
    assert_eq!(connack_code(server.target(), &new), NOT_AUTHORIZED);
    users.write(&line("ada", "crayon"));
    server.signal(Signal::HUP);
    wait_for("the users to be read again", || {
        (server.log().matches("1 users from").count() == 2).then_some(())
    });
    assert_eq!(
        connack_code(server.target(), &as_user(Version::V5, "x", "ada", "pencil")),
        NOT_AUTHORIZED
    );
    assert_eq!(connack_code(server.target(), &new), 0);
    // A file that is not valid changes nothing.
    users.write("ada:crayon\n");
    server.signal(Signal::HUP);
    wait_for("the refusal of the file", || {
        server.log().contains("SIGHUP: nothing was changed: ").then_some(())
    });
    // Whoever had the old password is gone.
    assert_eq!(client.wait_ending().reason, Some(NOT_AUTHORIZED));
    let mut client = Client::connect(server.target(), &new);
    server.prove_path_by(&mut client);
    Ok(())
}

fn session_is_its_users_whether_scram_or_a_password_proved_it(path: PingPath) -> TestResult {
    stand_in::not_for("has no users of ours")?;
    let users = Users::new(&(line("ada", "pencil") + &line("bob", "crayon")));
    let server = users.start(path).flag("--anonymous", "always").start()?;
    let connect = |name, password| as_user(Version::V5, "device", name, password).persistent();
    let mut ada = Client::connect(server.target(), &connect("ada", "pencil"));
    ada.subscribe(&[("mail", 1)]);
    ada.disconnect();
    assert_eq!(connack_code(server.target(), &connect("bob", "crayon")), NOT_AUTHORIZED);
    assert_eq!(connack_code(server.target(), &Connect::new(Version::V5, "device")), NOT_AUTHORIZED);
    let ada = Client::connect(server.target(), &connect("ada", "pencil"));
    assert!(ada.connack.session_present);
    server.finish();
    Ok(())
}

/// Over veth, so the address is one that another machine could reach.
fn users_let_a_server_listen_where_other_machines_reach_it(path: PingPath) -> TestResult {
    stand_in::not_for("has no users of ours")?;
    let users = Users::new(&line("ada", "pencil"));
    let server = users.start(path).place(Place::VethV4).start()?;
    assert_eq!(connack_code(server.target(), &Connect::new(Version::V5, "nobody")), NOT_AUTHORIZED);
    let ada = as_user(Version::V5, "witness", "ada", "pencil");
    let mut witness = Client::connect(server.target(), &ada);
    server.prove_path_by(&mut witness);
    Ok(())
}

fn a_listener_says_for_its_clients_whether_they_may_be_nobody(path: PingPath) -> TestResult {
    stand_in::not_for("has no users of ours")?;
    let users = Users::new(&line("ada", "pencil"));
    let settings = "[[listener]]\naddress = '{ip}:{port}'\n\
                    [[listener]]\nname = 'open'\naddress = '{ip}:0'\nanonymous = 'always'\n\
                    [[listener]]\nname = 'shut'\naddress = '{ip}:0'\nanonymous = 'never'\n";
    for (flag, elsewhere) in [(None, NOT_AUTHORIZED), (Some("always"), 0)] {
        let server = users.start(path).settings(settings);
        let server = flag.into_iter().fold(server, |server, mode| server.flag("--anonymous", mode));
        let server = server.start()?;
        let [open, shut] = ["open", "shut"].map(|name| server.listener_called(name));
        let nobody = Connect::new(Version::V5, "nobody");
        let listeners = [(&open, 0), (&shut, NOT_AUTHORIZED), (server.target(), elsewhere)];
        for (target, expected) in listeners {
            assert_eq!(connack_code(target, &nobody), expected, "{target:?}");
            assert_eq!(connack_code(target, &as_user(Version::V311, "c", "ada", "pencil")), 0);
            assert_eq!(connack_code(target, &as_user(Version::V311, "c", "ada", "crayon")), 5);
        }
        let metrics = server.metrics();
        let let_in = listeners.iter().filter(|(_, code)| *code == 0).count() as u64;
        let name = "push_authentications_accepted_total{source=\"anonymous\"}";
        assert_eq!(metrics.value(name), let_in);
        let name = "push_authentications_refused_total{reason=\"no_proof\"}";
        assert_eq!(metrics.value(name), 3 - let_in);
        let told = "listener=shut reason=not authorized: it does not authenticate";
        assert!(server.log().contains(told), "{}", server.log());
        let ada = as_user(Version::V5, "witness", "ada", "pencil");
        server.prove_path_by(&mut Client::connect(server.target(), &ada));
    }
    Ok(())
}

/// mosquitto beside ours, with the same file.
struct Mosquitto(Child, Target);

impl Mosquitto {
    fn start(users: &Users) -> Result<Self, Skip> {
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr();
        let address: SocketAddr = port.expect("an address");
        let file = users.0.path().join("mosquitto.conf");
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous false\npassword_file {}\nuser root\n",
            address.port(),
            users.path().display()
        );
        fs::write(&file, text).expect("write its settings");
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Skip::missing(format!("cannot run mosquitto: {error}")))?;
        let this = Self(child, Target::at(address));
        wait_for("mosquitto to listen", || this.1.connect(None).ok());
        Ok(this)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A line by mosquitto's own program.
fn mosquitto_passwd(users: &Users, name: &str, password: &str, hash: &str) -> TestResult {
    let added = Command::new("mosquitto_passwd")
        .args(["-b", "-H", hash])
        .arg(users.path())
        .args([name, password])
        .output()
        .map_err(|error| Skip::missing(format!("cannot run mosquitto_passwd: {error}")))?;
    assert!(added.status.success(), "{added:?}");
    Ok(())
}

fn password_file_of_mosquitto_admits_and_denies_as_mosquitto_does() -> TestResult {
    stand_in::not_for("is the other side of the comparison")?;
    let users = Users::new("");
    let known = [
        ("ada", "pencil", "sha512-pbkdf2"),
        ("bob", "crayon", "sha512"),
        ("two words", "p\u{e4}ss w\u{f6}rd", "sha512-pbkdf2"),
        ("Ada", "chalk", "sha512-pbkdf2"),
    ];
    for (name, password, hash) in known {
        mosquitto_passwd(&users, name, password, hash)?;
    }
    let text = fs::read_to_string(users.path()).expect("the file");
    assert!(text.contains("$7$") && text.contains("$6$"), "{text}");
    let ours = users.start(PingPath::User).start()?;
    let theirs = Mosquitto::start(&users)?;
    let names = known.map(|(name, ..)| Some(name)).into_iter();
    let names = names.chain([Some("eve"), Some("ADA"), Some("two  words"), Some(""), None]);
    let passwords = known.map(|(_, password, _)| Some(password)).into_iter();
    let passwords: Vec<_> =
        passwords.chain([Some("Pencil"), Some("pencil "), Some(""), None]).collect();
    let (mut cases, mut admitted, mut differ) = (0, 0, Vec::new());
    for name in names {
        for password in &passwords {
            for version in [Version::V31, Version::V311, Version::V5] {
                // Only MQTT 5 allows it.
                if name.is_none() && password.is_some() && version != Version::V5 {
                    continue;
                }
                let mut connect = Connect::new(version, "case");
                connect.login = Login {
                    user_name: name.map(str::to_owned),
                    password: password.map(|password| password.as_bytes().to_vec()),
                };
                let [ours, theirs] = [ours.target(), &theirs.1].map(|target| {
                    Client::open(target, &connect).is_ok_and(|c| c.connack.code == 0)
                });
                cases += 1;
                admitted += u32::from(ours);
                if ours != theirs {
                    differ.push(format!("{version:?} {name:?} {password:?}: ours {ours}"));
                }
            }
        }
    }
    assert!(differ.is_empty(), "of {cases} cases these differ: {differ:#?}");
    assert!(cases >= 200, "{cases}");
    assert_eq!(admitted, 12, "each of four users, by three versions");
    assert!(ours.log().contains("1 of the users have hashes of SHA-512 alone"), "{}", ours.log());
    Ok(())
}

fn clients_that_come_again_cost_no_hash() -> TestResult {
    const CLIENTS: usize = 10_000;
    stand_in::not_for("has no metrics")?;
    let mut text = String::new();
    for number in 0..CLIENTS {
        write!(text, "{}", line(&format!("user-{number}"), "pencil")).expect("into memory");
    }
    let users = Users::new(&text);
    let server = users.start(PingPath::User).start()?;
    for round in 0..2 {
        for number in 0..CLIENTS {
            let user = format!("user-{number}");
            Client::connect(server.target(), &as_user(Version::V311, &user, &user, "pencil"));
        }
        let metrics = server.metrics();
        assert_eq!(metrics.value("push_passwords_checked_total{by=\"hash\"}"), CLIENTS as u64);
        let by_memory = metrics.value("push_passwords_checked_total{by=\"memory\"}");
        assert_eq!(by_memory, (round * CLIENTS) as u64);
    }
    assert_eq!(server.metrics().value("push_passwords_remembered"), CLIENTS as u64);
    Ok(())
}

fn client_that_waits_for_a_hash_delays_nobody() -> TestResult {
    stand_in::not_for("hashes while others wait")?;
    let users = Users::new(&format!("slow:{SLOW}\n"));
    let server = users.start(PingPath::User).flag("--anonymous", "always").flag("--shards", 1);
    let server = server.start()?;
    let slow = |client_id| as_user(Version::V5, client_id, "slow", "wrong");
    let _waiting = ["first", "second"].map(|id| Client::send_connect(server.target(), &slow(id)));
    // The other one is being hashed.
    server.wait_metric("push_passwords_waiting", |waiting| waiting == 1);
    let mut others: Vec<_> = (0..50)
        .map(|number| {
            let connect = Connect::new(Version::V311, &format!("other-{number}"));
            let mut client = Client::connect(server.target(), &connect);
            client.subscribe(&[("t", 1)]);
            client
        })
        .collect();
    others[0].publish("t", b"x", 1);
    others.iter_mut().for_each(|client| assert_eq!(client.message().payload, b"x"));
    // All of that came before the hash did: on the one shard, it would have waited.
    let checked = server.metrics().value("push_passwords_checked_total{by=\"hash\"}");
    assert_eq!(checked, 0);
    // Nor does a hash hold up a stop.
    server.finish();
    Ok(())
}

fn passwords_beyond_the_queue_are_refused_as_busy() -> TestResult {
    const BEYOND: usize = 4;
    stand_in::not_for("has no such queue")?;
    let users = Users::new(&format!("slow:{SLOW}\n"));
    let server = users.start(PingPath::User).flag("--anonymous", "always");
    let server = server.flag("--connect-timeout-secs", 60).start()?;
    // The first one is under way for as long as the others need to come.
    let waiting: Vec<_> = (0..QUESTIONS_MAX)
        .map(|number| {
            let connect = as_user(Version::V311, &format!("c-{number}"), "slow", "wrong");
            Client::send_connect(server.target(), &connect)
        })
        .collect();
    server.wait_metric("push_passwords_waiting", |count| count == QUESTIONS_MAX as u64 - 1);
    for (version, expected) in [(Version::V311, 3), (Version::V5, SERVER_BUSY)] {
        for number in 0..BEYOND / 2 {
            let connect = as_user(version, &format!("beyond-{number}"), "slow", "wrong");
            assert_eq!(connack_code(server.target(), &connect), expected);
        }
    }
    let metrics = server.metrics();
    for name in [
        "push_limits_hit_total{limit=\"auth_queue\"}",
        "push_authentications_refused_total{reason=\"busy\"}",
    ] {
        assert_eq!(metrics.value(name), BEYOND as u64, "{name}");
    }
    // Who needs no password is served all the same.
    Client::connect(server.target(), &Connect::new(Version::V5, "nobody")).ping();
    drop(waiting);
    Ok(())
}

fn password_whose_client_has_given_up_is_not_hashed() -> TestResult {
    const CLIENTS: u64 = 20;
    stand_in::not_for("has no such queue")?;
    let users = Users::new(&format!("slow:{SLOW}\n"));
    let server = users.start(PingPath::User).flag("--connect-timeout-secs", 1).start()?;
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let connect = as_user(Version::V5, &format!("c-{number}"), "slow", "wrong");
            Client::send_connect(server.target(), &connect)
        })
        .collect();
    for client in &mut clients {
        client.read_connack(PATIENCE).expect("a CONNACK");
        assert_eq!(client.connack.code, 0x88, "nobody answered in time");
    }
    server.wait_metric("push_passwords_waiting", |waiting| waiting == 0);
    let metrics = server.metrics();
    let refused = "push_authentications_refused_total{reason=\"unanswered\"}";
    assert_eq!(metrics.value(refused), CLIENTS);
    // A hash takes more than a second, so the others were too late when the first was done.
    std::thread::sleep(Duration::from_millis(100));
    let hashed = server.metrics().value("push_passwords_checked_total{by=\"hash\"}");
    assert_eq!(hashed, 1);
    Ok(())
}

fn passwords_and_hashes_are_in_no_log() -> TestResult {
    stand_in::not_for("logs otherwise")?;
    let lines = line("ada", "pencil-secret") + &line("bob", "crayon-secret");
    let users = Users::new(&lines);
    let server = users.start(PingPath::User).flag("--log", "trace").start()?;
    for (name, password) in
        [("ada", "pencil-secret"), ("ada", "chalk-secret"), ("eve", "chalk-secret")]
    {
        connack_code(server.target(), &as_user(Version::V5, "c", name, password));
    }
    let log = server.log();
    let hashes = lines.lines().filter_map(|line| line.rsplit_once('$')).map(|(_, hash)| hash);
    for secret in ["pencil-secret", "chalk-secret"].into_iter().chain(hashes) {
        assert!(!log.contains(secret), "the log tells {secret}");
    }
    Ok(())
}

/// As with keys of TLS: e2e_tls_settings also sees that no core is written.
fn memory_of_a_process_with_users_is_nobody_elses_to_read() -> TestResult {
    /// `setpriv` takes no empty list.
    const HELD: [&str; 1] = ["net_bind_service"];
    const NOBODY: u32 = 65_534;
    stand_in::not_for("is another program")?;
    need_root()?;
    let users = Users::new(&line("ada", "pencil"));
    for path in [users.0.path(), &users.path()] {
        std::os::unix::fs::chown(path, Some(NOBODY), None).expect("give it away");
    }
    // Files of /proc belong to root if the process may not be dumped, else to its user.
    let owner = |server: &Server| {
        let environment = format!("/proc/{}/environ", server.pid());
        fs::metadata(environment).expect("a process").uid()
    };
    let plain = Server::with(PingPath::User).as_nobody_with(&HELD).start()?;
    assert_eq!(owner(&plain), NOBODY, "without users");
    let server = users.start(PingPath::User).as_nobody_with(&HELD).start()?;
    assert_eq!(owner(&server), 0, "with users");
    Ok(())
}
