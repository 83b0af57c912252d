//! Claims about `[[listener]]` tables, Unix sockets and what may not stand together.

use super::*;

/// One of each key that is no default, as `to_toml` writes it.
const ALL_KEYS: &str = r#"
[[listener]]
name = "devices"
address = "0.0.0.0:8884"
protocol = "ws"
tls = true
client-certificate = "required"
anonymous = "always"
proxy-protocol = true
max-connections = 7
origins = ["https://app.example.org"]

[[listener]]
# name is not set
address = "/run/push.sock,mode=0600"
protocol = "mqtt"
tls = false
client-certificate = "none"
anonymous = "auto"
proxy-protocol = false
# max-connections is not set
origins = []
"#;

const TLS: &str =
    "trusted-proxies = '10.0.0.0/8'\ntls-cert = '/a'\ntls-key = '/a'\ntls-client-ca = '/ca'\n";

fn listeners(file: &str) -> Vec<Listener> {
    load(&[], file).expect("valid").config.listeners()
}

#[test]
fn tables_are_listeners_in_their_order_with_all_that_differs() {
    let found = listeners(&format!("{TLS}{ALL_KEYS}"));
    let [devices, local] = &found[..] else { panic!("two: {found:?}") };
    assert_eq!((&*devices.name, devices.address.to_string()), ("devices", "0.0.0.0:8884".into()));
    assert_eq!(devices.kind, ListenerKind::TlsWebSocket);
    assert_eq!(devices.client_auth, ClientAuthMode::Required);
    assert_eq!(devices.web_origins, ["https://app.example.org"]);
    assert_eq!((devices.anonymous, local.anonymous), (AnonymousMode::Always, AnonymousMode::Auto));
    assert_eq!((devices.connections_max, devices.proxy_protocol), (Some(7), true));
    assert_eq!((&*local.name, local.kind), ("/run/push.sock", ListenerKind::Mqtt));
    assert_eq!(local.address.path(), Some(Path::new("/run/push.sock")));
    assert_eq!(local.connections_max, None);
}

#[test]
fn effective_settings_with_tables_are_a_file_that_gives_them_again() {
    let config = load(&[], &format!("{TLS}{ALL_KEYS}")).expect("valid").config;
    let shown = config.to_toml();
    assert!(shown.contains("\nlisten = []\n") || shown.starts_with("listen = []\n"), "{shown}");
    assert!(shown.ends_with(ALL_KEYS), "{shown}");
    assert_eq!(load(&[], &shown).expect("valid").config.to_toml(), shown);
}

#[test]
fn what_a_table_does_not_say_is_as_for_all_and_its_name_is_its_address() {
    let file = "tls-client-auth = 'optional'\n[[listener]]\naddress = '[::1]:8883'\ntls = true\n";
    let found = listeners(&format!("{TLS}{file}"));
    assert_eq!((&*found[0].name, found[0].kind), ("[::1]:8883", ListenerKind::Tls));
    assert_eq!(found[0].client_auth, ClientAuthMode::Optional);
}

#[test]
fn addresses_are_listed_or_stand_in_tables_and_both_lines_are_named() {
    let table = "[[listener]]\naddress = '[::1]:2'\n";
    for (arguments, file, begin) in [
        (&[][..], "listen = '[::1]:1'\n", "push.toml:1: listen = [::1]:1: "),
        (&[], "\nunix-listen = '/run/a'\n", "push.toml:2: unix-listen = /run/a: "),
        (&["--ws-listen", "[::1]:1"], "", "--ws-listen = [::1]:1: "),
    ] {
        let line = file.lines().count() + 1;
        assert_eq!(
            refusals(arguments, &format!("{file}{table}")),
            [format!(
                "{begin}expected either addresses or [[listener]] tables, as there is one at \
                 push.toml:{line}"
            )]
        );
    }
    let none_listed = load(&[], &format!("listen = []\n{table}"));
    assert_eq!(none_listed.expect("one form").config.listeners().len(), 1);
}

#[test]
fn a_mistake_in_a_table_names_its_line_and_hides_no_other() {
    let file = "[[listener]]\naddress = '1883'\nprotocol = 'http'\n[[listener]]\nprotocl = 1\ntsl = 1\n\
                max-connections = 0\naddress = '[::1]:1'\n";
    let messages = refusals(&[], file);
    let begins = [
        "push.toml:2: listener.address = '1883': expected ADDR:PORT, as 127.0.0.1:1883 or \
         [::1]:1883, or the path of a Unix socket",
        "push.toml:3: listener.protocol = 'http': expected \"mqtt\" or \"ws\"",
        "push.toml:5: listener.protocl: unknown key; did you mean protocol?",
        "push.toml:6: listener.tsl: unknown key; the keys of a table are name, address, protocol, tls,",
        "push.toml:7: listener.max-connections = 0: expected a whole number from 1 to",
    ];
    assert_eq!(messages.len(), begins.len(), "{messages:?}");
    for (message, begin) in messages.iter().zip(begins) {
        assert!(message.starts_with(begin), "{messages:?}");
    }
}

#[test]
fn what_is_no_table_is_told_how_tables_begin() {
    for file in ["listener = '[::1]:1'", "listener = ['[::1]:1']", "[listener]\ntls = true"] {
        let messages = refusals(&[], file);
        let ends = "expected tables, each begun by [[listener]]";
        assert!(messages.len() == 1 && messages[0].ends_with(ends), "{messages:?}");
    }
    assert_eq!(
        refusals(&[], "[[listeners]]\ntls = true"),
        ["push.toml:1: listeners: unknown key; did you mean listener?"]
    );
}

#[test]
fn tables_contradict_each_other_and_other_settings_by_their_own_lines() {
    for (file, message) in [
        (
            "[[listener]]\ntls = false\n",
            "push.toml:1: listener.address = nothing: expected an address, or a path, in each table",
        ),
        (
            "[[listener]]\naddress = '[::1]:1'\n[[listener]]\naddress = '[::1]:1'\n",
            "push.toml:4: listener.address = [::1]:1: expected each address once",
        ),
        (
            "[[listener]]\naddress = '/a'\n[[listener]]\naddress = '/a,mode=0600'\n",
            "push.toml:4: listener.address = /a,mode=0600: expected each address once",
        ),
        (
            "[[listener]]\naddress = '[::1]:1'\nname = 'a'\n[[listener]]\nname = 'a'\n\
             address = '/a'\n",
            "push.toml:5: listener.name = a: expected each name once",
        ),
        (
            "[[listener]]\naddress = '127.0.0.1:9880'\n",
            "http (by default) = 127.0.0.1:9880: expected an address that is not one of \
             listener.address",
        ),
        (
            "[[listener]]\naddress = '/a'\nclient-certificate = 'optional'\n",
            "push.toml:3: listener.client-certificate = optional: expected tls = true with it",
        ),
        (
            "[[listener]]\naddress = '[::1]:1'\ntls = true\n",
            "push.toml:2: listener.address = [::1]:1: expected a certificate with it, by tls-cert \
             and tls-key",
        ),
        (
            "[[listener]]\naddress = '[::1]:1'\nproxy-protocol = true\n",
            "push.toml:3: listener.proxy-protocol = true: expected networks that proxies connect \
             from, by trusted-proxies",
        ),
        (
            "trusted-proxies = 'unix'\n[[listener]]\nproxy-protocol = true\naddress = '[::1]:1'\n",
            "push.toml:3: listener.proxy-protocol = true: expected networks that proxies connect \
             from, by trusted-proxies",
        ),
        (
            "trusted-proxies = '::1'\n[[listener]]\naddress = '/a'\nproxy-protocol = true\n",
            "push.toml:4: listener.proxy-protocol = true: expected unix among trusted-proxies",
        ),
        (
            "tls-cert = '/a'\ntls-key = '/a'\n[[listener]]\naddress = '[::1]:1'\ntls = true\n\
             client-certificate = 'required'\n",
            "push.toml:6: listener.client-certificate = required: expected a file of those who sign \
             clients' certificates, by tls-client-ca",
        ),
    ] {
        assert_eq!(refusals(&[], file), [message]);
    }
}

#[test]
fn origins_of_a_table_stand_in_the_place_of_those_for_all() {
    let table = |more: &str| format!("[[listener]]\naddress = '/a'\n{more}");
    let file = "ws-origins = 'https://All.example:443'\n";
    let own = table("protocol = 'ws'\norigins = 'https://own.example'\n");
    let found = listeners(&format!("{file}{own}"));
    assert_eq!(found[0].web_origins, ["https://own.example"]);
    let found = listeners(&format!("{file}{}", table("protocol = 'ws'\n")));
    assert_eq!(found[0].web_origins, ["https://all.example"]);
    let found = listeners(&format!("{file}{}", table("protocol = 'ws'\norigins = []\n")));
    assert!(found[0].web_origins.is_empty(), "all pages may connect here");
    assert_eq!(
        refusals(&[], &table("origins = 'https://a.example'\n")),
        ["push.toml:3: listener.origins = https://a.example: expected protocol = \"ws\" with it"]
    );
    assert_eq!(
        refusals(&["--ws-origins", "https://a.example"], ""),
        [
            "--ws-origins = https://a.example: expected a listener with it, by ws-listen or wss-listen"
        ]
    );
    let refused = flag_refusal(&["--ws-origins", "a.example"]);
    assert!(refused.contains("expected the origin of a page"), "{refused}");
}

#[test]
fn a_port_of_both_families_is_not_listened_at_twice() {
    let both = ["--anonymous", "always", "--listen", "[::]:1883", "--listen", "0.0.0.0:1883"];
    load(&both, "").expect("each for its own family");
    assert_eq!(
        refusals(&[&both[..], &["--listen-dual"]].concat(), ""),
        ["--listen = 0.0.0.0:1883: expected no port of [::]:1883, by listen-dual"]
    );
}

#[test]
fn a_server_may_listen_at_unix_sockets_alone() {
    let file = "listen = []\nunix-listen = '/run/push.sock'\n";
    let found = listeners(file);
    assert_eq!((&*found[0].name, found[0].kind), ("/run/push.sock", ListenerKind::Mqtt));
    assert_eq!(found[0].form, ListenerForm::List("unix-listen"));
    assert!(flag_refusal(&["--unix-listen", "push.sock"]).contains("expected an absolute path"));
}

#[test]
fn names_of_listeners_are_plain() {
    for name in ["a b", "", "a/b", "[::1]:1"] {
        let file = format!("[[listener]]\naddress = '/a'\nname = '{name}'\n");
        let messages = refusals(&[], &file);
        assert!(messages[0].contains("listener.name") && messages.len() == 1, "{messages:?}");
    }
}

#[test]
fn a_table_is_open_by_its_own_key_alone_where_it_has_one() {
    let reached = |more: &str| format!("[[listener]]\naddress = '0.0.0.0:1'\n{more}");
    let open = "expected an address that only this machine reaches, while nobody says who its clients are: add \
                --users FILE, --jwt-keys FILE or --auth-http URL, or let everybody in by anonymous = \"always\" in its table";
    let tls = "tls = true\nclient-certificate = 'required'\n";
    for (file, refused) in [
        (reached(""), Some(format!("push.toml:2: listener.address = 0.0.0.0:1: {open}"))),
        (reached("anonymous = 'always'\n"), None),
        (format!("anonymous = 'always'\n{}", reached("")), None),
        (
            format!("anonymous = 'always'\n{}", reached("anonymous = 'auto'\n")),
            Some(format!("push.toml:3: listener.address = 0.0.0.0:1: {open}")),
        ),
        (format!("users = '/u'\n{}", reached("")), None),
        (format!("users = '/u'\n{}", reached("anonymous = 'never'\n")), None),
        (format!("{TLS}{}", reached(tls)), None),
        (
            format!("{TLS}{}", reached(&tls.replace("required", "optional"))),
            Some(format!("push.toml:6: listener.address = 0.0.0.0:1: {open}")),
        ),
    ] {
        assert_eq!(refusals_if_any(&file), Vec::from_iter(refused), "{file}");
    }
}

#[test]
fn a_table_at_which_nobody_could_connect_is_refused_by_its_own_line() {
    let shut = "expected something that says who clients are with it, by users, jwt-keys or auth-http: nobody else could \
                connect";
    let tables = |one: &str, other: &str| {
        format!("[[listener]]\naddress = '/a'\n{one}\n[[listener]]\naddress = '/b'\n{other}\n")
    };
    for (file, refused) in [
        (
            tables("", "anonymous = 'never'"),
            Some(format!("push.toml:6: listener.anonymous = never: {shut}")),
        ),
        (
            format!("anonymous = 'never'\n{}", tables("", "anonymous = 'always'")),
            Some(format!("push.toml:1: anonymous = never: {shut}")),
        ),
        (
            format!(
                "anonymous = 'never'\n{}",
                tables("anonymous = 'auto'", "anonymous = 'always'")
            ),
            None,
        ),
    ] {
        assert_eq!(refusals_if_any(&file), Vec::from_iter(refused), "{file}");
    }
}

fn refusals_if_any(file: &str) -> Vec<String> {
    load(&[], file).err().unwrap_or_default()
}
