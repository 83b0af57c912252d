//! Web pages: MQTT.js in a browser, and which pages may connect.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use push_tests::both_paths;
use push_tests::claims;
use push_tests::expectations::PATIENCE;
use push_tests::foreign::{By, mqtt_js, node_modules};
use push_tests::server::{PingPath, Server};
use push_tests::skip::{Skip, TestResult};
use push_tests::websocket::{WebClient, dial};
use push_tests::wire::Version;
use tempfile::TempDir;

both_paths! {
    a_page_in_chromium_connects_publishes_hears_itself_and_pings,
}

claims! {
    a_page_of_another_origin_is_refused_in_chromium,
    requests_say_by_their_origin_whether_they_are_let_in,
}

const REFUSED: &str = "push_websocket_origins_refused_total";

/// What the page does: it subscribes, publishes to itself, and waits for answers to its pings.
const SCRIPT: &str = r#"
const report = (what) => fetch("/said?" + encodeURIComponent(what));
const options = { keepalive: 1, reconnectPeriod: 0, protocolVersion: 5, clientId: "page" };
const client = mqtt.connect("ws://SERVER/mqtt", options);
let pongs = 0;
client.on("connect", () => client.subscribe("pages", { qos: 1 }, () =>
  client.publish("pages", "hello from a page", { qos: 1 })));
client.on("message", (topic, payload) => report("heard " + topic + " " + payload));
client.on("packetreceive", (packet) => {
  if (packet.cmd === "pingresp" && ++pongs === 4) report("pings answered");
});
client.on("close", () => report("closed"));
"#;

/// A web server with a page that connects to an MQTT server, and what the page reports.
struct Site {
    address: SocketAddr,
    said: Receiver<String>,
}

impl Site {
    /// With a page for the MQTT server at `server`.
    fn start(server: SocketAddr) -> Result<Self, Skip> {
        let library = node_modules("mqtt")?.join("mqtt/dist/mqtt.min.js");
        let library = std::fs::read_to_string(&library)
            .map_err(|error| Skip::missing(format!("{}: {error}", library.display())))?;
        let script = SCRIPT.replace("SERVER", &server.to_string());
        let page = format!(
            "<!DOCTYPE html><meta charset=utf-8><title>MQTT</title><script src=/mqtt.js></script>\
             <script>{script}</script>"
        );
        let listener = TcpListener::bind("127.0.0.1:0").expect("find a free port");
        let address = listener.local_addr().expect("ask for the port");
        let (sender, said) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (page, library, sender) = (page.clone(), library.clone(), sender.clone());
                // Browsers open connections that they do not use at once.
                std::thread::spawn(move || {
                    answer(stream, &page, &library, |said| {
                        let _ = sender.send(said);
                    });
                });
            }
        });
        Ok(Self { address, said })
    }

    /// What the page reports next.
    #[track_caller]
    fn said(&self) -> String {
        self.said.recv_timeout(PATIENCE).expect("a report of the page")
    }
}

/// Answers one request.
fn answer(mut stream: TcpStream, page: &str, library: &str, say: impl Fn(String)) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut request = String::new();
    if reader.read_line(&mut request).is_err() {
        return;
    }
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
        line.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (kind, body) = match path.split_once('?') {
        Some(("/said", said)) => {
            say(said.replace("%20", " "));
            ("text/plain", "")
        }
        _ if path == "/mqtt.js" => ("text/javascript", library),
        _ if path == "/" => ("text/html", page),
        _ => ("text/plain", ""),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
}

/// A browser without a window, on one page; killed when dropped.
struct Browser {
    child: Child,
    _profile: TempDir,
}

impl Browser {
    fn open(url: &str) -> Result<Self, Skip> {
        let program = ["chromium", "/usr/bin/chromium"].map(PathBuf::from);
        let runs = |program: &&PathBuf| {
            Command::new(program).arg("--version").output().is_ok_and(|said| said.status.success())
        };
        let program = program.iter().find(runs);
        let program = program.ok_or_else(|| Skip::missing("no chromium (Debian: chromium)"))?;
        let profile = tempfile::tempdir().expect("make a directory");
        let child = Command::new(program)
            // Root has no sandbox; and it is to ask nobody but the page.
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start chromium");
        Ok(Self { child, _profile: profile })
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn a_page_in_chromium_connects_publishes_hears_itself_and_pings(path: PingPath) -> TestResult {
    let web = "127.0.0.1:0";
    // The page's own origin is known only when its server has a port.
    let server = Server::with(path).flag("--ws-listen", web).start()?;
    let site = Site::start(server.websocket().address)?;
    let _browser = Browser::open(&format!("http://{}/", site.address))?;
    assert_eq!(site.said(), "heard pages hello from a page");
    assert_eq!(site.said(), "pings answered");
    let metrics = server.metrics();
    let (kernel, user) = (metrics.kernel_pings(), metrics.user_pings());
    match path {
        PingPath::Kernel => assert!(kernel >= 2, "{kernel} by the kernel, {user} not"),
        PingPath::User => assert_eq!(kernel, 0),
    }
    server.finish();
    Ok(())
}

fn a_page_of_another_origin_is_refused_in_chromium() -> TestResult {
    // Two servers for one page each way, because origins have ports: the first one's page is right.
    let listener = TcpListener::bind("127.0.0.1:0").expect("find a free port");
    let web = listener.local_addr().expect("ask for the port");
    drop(listener);
    let site = Site::start(web)?;
    let own = format!("http://{}", site.address);
    let server = Server::with(PingPath::User)
        .flag("--ws-listen", web)
        .flag("--ws-origins", &*own)
        .start()?;
    // The same page by the host's other name is of another origin.
    let other = format!("http://localhost:{}/", site.address.port());
    let browser = Browser::open(&other)?;
    assert_eq!(site.said(), "closed");
    server.wait_metric(REFUSED, |count| count > 0);
    drop(browser);
    let _browser = Browser::open(&format!("{own}/"))?;
    assert_eq!(site.said(), "heard pages hello from a page");
    server.finish();
    Ok(())
}

fn requests_say_by_their_origin_whether_they_are_let_in() -> TestResult {
    let server = Server::with(PingPath::User)
        .flag("--ws-listen", "127.0.0.1:0")
        .flag("--ws-origins", "https://app.example.org")
        .flag("--ws-origins", "http://127.0.0.1:8080")
        .start()?;
    let target = server.websocket();
    // Programs say no origin.
    WebClient::open(target.address, Version::V5);
    mqtt_js(By::WebSocket, &target, Version::V5, "qos")?;
    for (origin, status) in [
        ("https://app.example.org", "101"),
        ("http://127.0.0.1:8080", "101"),
        ("https://app.example.org.evil.example", "403"),
        ("http://app.example.org", "403"),
        ("null", "403"),
    ] {
        let mut stream = dial(target.address);
        let request = format!(
            "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: mqtt\r\nOrigin: {origin}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("send");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{origin}");
    }
    server.wait_metric(REFUSED, |count| count == 3);
    server.finish();
    Ok(())
}
