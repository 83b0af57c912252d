//! Who goes after a reload, and who stays.

use push_tests::certificates::{Issued, Purpose};
use push_tests::clients::{Client, Connect, connack_code};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::tls::{self, Offer};
use push_tests::users::line;
use push_tests::wire::Version;

use crate::rig::{
    Files, NOT_AUTHORIZED, OPEN_BUT_SECRETS, as_user, finish, gone, reload_well, settings_file,
    settings_of, stop, write,
};

pub(crate) fn users_that_are_gone_or_changed_go_and_others_stay(path: PingPath) -> TestResult {
    let files = Files::new()?;
    files.write("users", &["ada", "bob", "eve"].map(|name| line(name, "pencil")).concat());
    let server = files.server(path).start()?;
    let connect = |name| Client::connect(server.target(), &as_user(name, name, "pencil"));
    let [mut ada, mut bob, mut eve] = ["ada", "bob", "eve"].map(connect);
    let old = Connect { version: Version::V311, ..as_user("old", "bob", "pencil") };
    let mut old = Client::connect(server.target(), &old);
    // A reload that changes nothing sends nobody away.
    reload_well(&server)?;
    [&mut ada, &mut bob, &mut eve, &mut old].into_iter().for_each(Client::ping);
    files.write("users", &(line("ada", "pencil") + &line("eve", "crayon")));
    reload_well(&server)?;
    assert_eq!(bob.wait_ending().reason, Some(NOT_AUTHORIZED));
    assert_eq!(old.wait_ending().reason, None, "MQTT 3.1.1 has no DISCONNECT of the server's");
    assert_eq!(eve.wait_ending().reason, Some(NOT_AUTHORIZED));
    assert_eq!((gone(&server, "user"), gone(&server, "password")), (2, 1));
    server.wait_log("a reload: there is no such user any more");
    assert_eq!(connack_code(server.target(), &as_user("bob", "bob", "pencil")), NOT_AUTHORIZED);
    Client::connect(server.target(), &as_user("eve", "eve", "crayon"));
    server.prove_path_by(&mut ada);
    Ok(())
}

pub(crate) fn who_may_not_be_anonymous_any_more_goes() -> TestResult {
    let files = Files::new()?;
    let settings = files.settings() + "anonymous = 'always'\n";
    let server = Server::with(PingPath::User).settings(settings).start()?;
    let mut nobody = Client::connect(server.target(), &Connect::new(Version::V5, "nobody"));
    let mut ada = Client::connect(server.target(), &as_user("ada", "ada", "pencil"));
    let settings = settings_of(&server).replace("'always'", "'never'");
    write(&settings_file(&server), &settings);
    let said = reload_well(&server)?;
    assert!(said.contains("changed: anonymous\n"), "{said}");
    assert_eq!(nobody.wait_ending().reason, Some(NOT_AUTHORIZED));
    assert_eq!(gone(&server, "anonymous"), 1);
    assert_eq!(connack_code(server.target(), &Connect::new(Version::V5, "nobody")), NOT_AUTHORIZED);
    ada.ping();
    finish(&server);
    Ok(())
}

/// A certificate of a client, in files; and a client that has shown it.
fn with_certificate(files: &Files, server: &Server, name: &str) -> (Issued, Client) {
    let issued = files.authority.issue(name, &[], Purpose::Client).expect("issue a certificate");
    let pair = ["pem", "key"].map(|end| format!("{name}.{end}"));
    files.write(&pair[0], &issued.pem());
    files.write(&pair[1], &issued.key_pem());
    let offer = Offer::new(&files.folder).showing(pair.map(|name| files.path(&name)));
    let stream = tls::dial(&server.tls(), &offer.config()).expect("a handshake");
    let mut client = Client::accepted_over(stream, &as_user(name, "ada", "pencil"));
    client.ping();
    (issued, client)
}

pub(crate) fn a_revoked_certificate_ends_its_connection() -> TestResult {
    let files = Files::new()?;
    let server = Server::with(PingPath::User).settings(files.settings_with_tls()).start()?;
    let (lost, mut lost_client) = with_certificate(&files, &server, "lost");
    let (_, mut kept_client) = with_certificate(&files, &server, "kept");
    files.write("crl.pem", &files.authority.revoking(&[&lost]).expect("make a list"));
    reload_well(&server)?;
    assert_eq!(lost_client.wait_ending().reason, Some(NOT_AUTHORIZED));
    assert_eq!(gone(&server, "certificate"), 1);
    kept_client.ping();
    // From now on the server looks by itself; and another authority signs.
    let settings = settings_of(&server).replace("reload-secs = 0", "reload-secs = 1");
    write(&settings_file(&server), &settings);
    let said = reload_well(&server)?;
    assert!(said.contains("changed: reload-secs\n"), "{said}");
    kept_client.ping();
    let other = push_tests::certificates::Authority::new("another one").expect("an authority");
    files.write("ca.pem", &other.pem());
    files.write("crl.pem", &other.revoking(&[]).expect("make a list"));
    assert_eq!(kept_client.wait_ending().reason, Some(NOT_AUTHORIZED));
    assert_eq!(gone(&server, "certificate"), 2);
    finish(&server);
    Ok(())
}

pub(crate) fn a_subscription_that_is_denied_ends_the_connection_and_is_gone() -> TestResult {
    let files = Files::new()?;
    let data = files.path("data");
    let start = || files.server(PingPath::User).data_dir(&data).start();
    let server = start()?;
    let subscribed = |name: &str| {
        let connect = as_user(name, name, "pencil").persistent();
        let mut client = Client::connect(server.target(), &connect);
        assert_eq!(
            client.subscribe(&[("secret/#", 1), ("open/#", 1), ("$share/g/secret/#", 1)]),
            [1, 1, 1]
        );
        client
    };
    let [mut ada, mut bob] = ["ada", "bob"].map(subscribed);
    files.write("rules.toml", OPEN_BUT_SECRETS);
    reload_well(&server)?;
    assert_eq!(bob.wait_ending().reason, Some(NOT_AUTHORIZED));
    assert_eq!(gone(&server, "subscription"), 1);
    ada.ping();
    server.wait_metric("push_subscriptions", |count| count == 4);
    // Also on the disk.
    finish(&server);
    stop(server);
    let server = start()?;
    assert_eq!(server.metrics().value("push_subscriptions"), 4);
    let connect =
        |name: &str| Client::connect(server.target(), &as_user(name, name, "pencil").persistent());
    let mut bob = connect("bob");
    assert!(bob.connack.session_present);
    let mut writer = Client::connect(server.target(), &as_user("writer", "ada", "pencil"));
    writer.publish("secret/1", b"no", 1);
    writer.publish("open/1", b"yes", 1);
    assert_eq!(bob.message().topic, "open/1");
    assert_eq!(bob.subscribe(&[("secret/#", 1)]), [NOT_AUTHORIZED]);
    finish(&server);
    Ok(())
}

pub(crate) fn whoever_is_away_comes_back_without_what_is_denied_now() -> TestResult {
    let files = Files::new()?;
    let server = files.server(PingPath::User).start()?;
    let connect = as_user("bob", "bob", "pencil").persistent();
    let mut bob = Client::connect(server.target(), &connect);
    bob.subscribe(&[("secret/#", 1), ("open/#", 1)]);
    bob.disconnect();
    files.write("rules.toml", OPEN_BUT_SECRETS);
    reload_well(&server)?;
    let mut writer = Client::connect(server.target(), &as_user("writer", "ada", "pencil"));
    writer.publish("secret/1", b"while away", 1);
    writer.publish("open/1", b"while away", 1);
    let mut bob = Client::connect(server.target(), &connect);
    assert!(bob.connack.session_present);
    let message = bob.message();
    assert_eq!(message.topic, "open/1", "what waited is asked about again");
    bob.acknowledge(&message);
    server.wait_metric("push_subscriptions", |count| count == 1);
    assert_eq!(gone(&server, "subscription"), 0, "it stays");
    server.wait_metric("push_publishes_dropped_total{reason=\"denied\"}", |count| count == 1);
    finish(&server);
    Ok(())
}
