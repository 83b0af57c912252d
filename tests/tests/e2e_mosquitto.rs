//! mosquitto's own clients against the server: what every MQTT user tries first.

use push_tests::both_paths;
use push_tests::expectations::{SILENCE, wait_for};
use push_tests::foreign::{Subscriber, mosquitto_pub, need_mosquitto_clients};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{VERSIONS, Version};

both_paths! {
    messages_arrive_at_every_qos_in_both_versions,
    clients_of_mqtt_3_1_are_served_and_counted,
    the_lower_of_both_qos_is_delivered,
    a_retained_message_meets_later_subscribers_until_cleared,
    a_killed_clients_will_is_published_and_a_leaving_ones_is_not,
    wildcards_match_what_they_should,
    four_publishers_at_once_lose_nothing_and_keep_their_order,
    properties_of_mqtt_5_are_passed_on,
    mosquittos_own_pings_are_answered,
}

fn messages_arrive_at_every_qos_in_both_versions(path: PingPath) -> TestResult {
    need_mosquitto_clients()?;
    let server = Server::with(path).start()?;
    let target = server.target();
    for version in VERSIONS {
        for qos in ["0", "1", "2"] {
            let subscriber =
                Subscriber::start(target, version, "%t %q %p", &["-t", "a/b", "-q", qos]);
            mosquitto_pub(target, version, &["-t", "a/b", "-q", qos, "-m", "hello world"]);
            assert_eq!(subscriber.message(), format!("a/b {qos} hello world"));
            assert_eq!(subscriber.unexpected(), Vec::<String>::new());
        }
    }
    server.finish();
    Ok(())
}

fn clients_of_mqtt_3_1_are_served_and_counted(path: PingPath) -> TestResult {
    need_mosquitto_clients()?;
    let server = Server::with(path).start()?;
    let target = server.target();
    for qos in ["0", "1", "2"] {
        let arguments = ["-t", "a/b", "-q", qos];
        let old = Subscriber::start(target, Version::V31, "%t %q %p", &arguments);
        let new = Subscriber::start(target, Version::V5, "%t %q %p", &arguments);
        for version in [Version::V31, Version::V5] {
            mosquitto_pub(target, version, &["-t", "a/b", "-q", qos, "-m", "hello"]);
            assert_eq!(old.message(), format!("a/b {qos} hello"));
            assert_eq!(new.message(), format!("a/b {qos} hello"));
        }
    }
    let subscriber = Subscriber::start(target, Version::V31, "%p", &["-t", "x", "-k", "5"]);
    subscriber.wait_ping();
    server.wait_metric("push_connects_accepted_total{version=\"3.1\"}", |count| count == 7);
    server.finish();
    Ok(())
}

fn the_lower_of_both_qos_is_delivered(path: PingPath) -> TestResult {
    need_mosquitto_clients()?;
    let server = Server::with(path).start()?;
    let target = server.target();
    for (published, subscribed, delivered) in
        [("2", "0", "0"), ("0", "2", "0"), ("2", "1", "1"), ("1", "2", "1")]
    {
        let subscriber =
            Subscriber::start(target, Version::V5, "%q %p", &["-t", "q", "-q", subscribed]);
        mosquitto_pub(target, Version::V311, &["-t", "q", "-q", published, "-m", "x"]);
        assert_eq!(subscriber.message(), format!("{delivered} x"));
    }
    server.finish();
    Ok(())
}

fn a_retained_message_meets_later_subscribers_until_cleared(path: PingPath) -> TestResult {
    need_mosquitto_clients()?;
    let server = Server::with(path).start()?;
    let target = server.target();
    for version in VERSIONS {
        mosquitto_pub(target, version, &["-t", "kept", "-q", "1", "-r", "-m", "first"]);
        mosquitto_pub(target, version, &["-t", "kept", "-q", "1", "-r", "-m", "second"]);
        let subscriber = Subscriber::start(target, version, "%r %p", &["-t", "kept"]);
        assert_eq!(subscriber.message(), "1 second");
        // To a subscription that is there already, RETAIN is 0 [MQTT-3.3.1-9].
        mosquitto_pub(target, version, &["-t", "kept", "-q", "1", "-r", "-m", "third"]);
        assert_eq!(subscriber.message(), "0 third");
        mosquitto_pub(target, version, &["-t", "kept", "-q", "1", "-r", "-n"]);
        let later = Subscriber::start(target, version, "%r %p", &["-t", "kept"]);
        std::thread::sleep(SILENCE);
        assert_eq!(later.unexpected(), Vec::<String>::new(), "the cleared message came");
    }
    server.finish();
    Ok(())
}

fn a_killed_clients_will_is_published_and_a_leaving_ones_is_not(path: PingPath) -> TestResult {
    need_mosquitto_clients()?;
    let server = Server::with(path).start()?;
    let target = server.target();
    for version in VERSIONS {
        let watcher = Subscriber::start(target, version, "%t %p", &["-t", "wills/#", "-q", "1"]);
        let with_will = |topic: &'static str| {
            let will = ["--will-topic", topic, "--will-payload", "gone", "--will-qos", "1"];
            let arguments = [&["-t", "leave", "-C", "1"], &will[..]].concat();
            Subscriber::start(target, version, "%p", &arguments)
        };
        let leaving = with_will("wills/leaves");
        mosquitto_pub(target, version, &["-t", "leave", "-m", "now"]);
        leaving.wait_exit();
        with_will("wills/killed").kill();
        assert_eq!(watcher.message(), "wills/killed gone");
        std::thread::sleep(SILENCE);
        assert_eq!(watcher.unexpected(), Vec::<String>::new());
    }
    server.finish();
    Ok(())
}

fn wildcards_match_what_they_should(path: PingPath) -> TestResult {
    need_mosquitto_clients()?;
    let server = Server::with(path).start()?;
    let target = server.target();
    let subscribe =
        |filter| Subscriber::start(target, Version::V311, "%t", &["-t", filter, "-q", "1"]);
    let plus = subscribe("home/+/temp");
    let hash = subscribe("home/#");
    let all = subscribe("#");
    let topics = ["home/kitchen/temp", "home", "home/a/b/temp", "other/kitchen/temp"];
    for topic in topics {
        mosquitto_pub(target, Version::V5, &["-t", topic, "-q", "1", "-m", "21"]);
    }
    assert_eq!(all.messages(4), topics);
    assert_eq!(hash.messages(3), ["home/kitchen/temp", "home", "home/a/b/temp"]);
    assert_eq!(plus.messages(1), ["home/kitchen/temp"]);
    for subscriber in [&plus, &hash, &all] {
        assert_eq!(subscriber.unexpected(), Vec::<String>::new());
    }
    server.finish();
    Ok(())
}

fn four_publishers_at_once_lose_nothing_and_keep_their_order(path: PingPath) -> TestResult {
    const MESSAGES_EACH: usize = 200;
    // That is mosquitto 2.0.11, at QoS 2 in MQTT 5.
    stand_in::not_for("sends more than the client's Receive Maximum")?;
    need_mosquitto_clients()?;
    let server = Server::with(path).start()?;
    let target = server.target();
    // In MQTT 5 mosquitto_sub announces a Receive Maximum of 20 and goes when more is sent to it.
    for (version, qos) in [(Version::V311, "1"), (Version::V5, "1"), (Version::V5, "2")] {
        let subscriber = Subscriber::start(target, version, "%t %p", &["-t", "load/+", "-q", qos]);
        std::thread::scope(|scope| {
            for publisher in 0..4 {
                scope.spawn(move || {
                    let topic = format!("load/{publisher}");
                    for_each_line(target, &["-t", &topic, "-q", qos], MESSAGES_EACH);
                });
            }
        });
        let mut next = [0; 4];
        for message in subscriber.messages(4 * MESSAGES_EACH) {
            let (topic, number) = message.split_once(' ').expect("topic and payload");
            let publisher: usize = topic["load/".len()..].parse().expect("a publisher");
            assert_eq!(number.parse(), Ok(next[publisher]), "from publisher {publisher}");
            next[publisher] += 1;
        }
        assert_eq!(subscriber.unexpected(), Vec::<String>::new(), "more than was sent");
    }
    server.finish();
    Ok(())
}

fn properties_of_mqtt_5_are_passed_on(path: PingPath) -> TestResult {
    need_mosquitto_clients()?;
    let server = Server::with(path).start()?;
    let target = server.target();
    // content type, correlation data, response topic, payload format, user properties
    let format = "%C|%D|%R|%F|%P|%p";
    let subscriber = Subscriber::start(target, Version::V5, format, &["-t", "p", "-q", "1"]);
    let properties = [
        ["content-type", "text/plain"],
        ["correlation-data", "request-7"],
        ["response-topic", "answers/7"],
        ["payload-format-indicator", "1"],
    ];
    let mut arguments = vec!["-t", "p", "-q", "1", "-m", "content"];
    for [name, value] in &properties {
        arguments.extend(["-D", "publish", name, value]);
    }
    for [name, value] in [["b", "first"], ["a", "second"]] {
        arguments.extend(["-D", "publish", "user-property", name, value]);
    }
    mosquitto_pub(target, Version::V5, &arguments);
    let expected = "text/plain|request-7|answers/7|1|b:first a:second|content";
    assert_eq!(subscriber.message(), expected);
    server.finish();
    Ok(())
}

fn mosquittos_own_pings_are_answered(path: PingPath) -> TestResult {
    need_mosquitto_clients()?;
    let server = Server::with(path).start()?;
    // mosquitto_sub allows no keep alive below 5 seconds.
    let subscriber =
        Subscriber::start(server.target(), Version::V311, "%p", &["-t", "x", "-k", "5"]);
    subscriber.wait_ping();
    subscriber.wait_ping();
    let metrics = server.metrics();
    wait_for("a counted ping", || {
        (metrics.kernel_pings() + metrics.user_pings() >= 2 || metrics.text().is_empty())
            .then_some(())
    });
    server.finish();
    Ok(())
}

/// Publishes the numbers 0 to `count` - 1 by one `mosquitto_pub -l`, a message a line.
fn for_each_line(target: &push_tests::server::Target, arguments: &[&str], count: usize) {
    use std::io::Write;
    let mut child = target
        .command("mosquitto_pub")
        .args(["-h", &target.address.ip().to_string()])
        .args(["-p", &target.address.port().to_string()])
        .args(arguments)
        .arg("-l")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("start mosquitto_pub");
    let lines: String = (0..count).map(|number| format!("{number}\n")).collect();
    let mut input = child.stdin.take().expect("its input is piped");
    input.write_all(lines.as_bytes()).expect("write to mosquitto_pub");
    drop(input);
    assert!(child.wait().expect("wait for mosquitto_pub").success());
}
