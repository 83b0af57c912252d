//! `push-load` inside layers against the real server: every mode, and what it has counted.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use push_tests::server::PingPath;
use push_tests::skip::TestResult;
use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::rig::Rig;

/// What is around MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layers {
    Tls,
    WebSocket,
    WebSocketTls,
}

pub(crate) fn the_load_generator_works_inside_all_layers(path: PingPath) -> TestResult {
    let rig = Rig::start_with(path, |server| server.websocket())?;
    for layers in [Layers::Tls, Layers::WebSocket, Layers::WebSocketTls] {
        let run = |arguments: &str| {
            let done = Load::start(&rig, layers, arguments).end();
            println!("{layers:?}, {arguments}: {done}");
            done
        };
        let before = rig.server.metrics().kernel_pings();
        let ping = run("ping --clients 20 --rate 200 --seconds 1 --v5");
        let kernel = rig.server.metrics().kernel_pings() - before;
        let is_answered = path == PingPath::Kernel && layers != Layers::WebSocketTls;
        assert_eq!(kernel > 0, is_answered, "{kernel} by the kernel, {layers:?}");
        assert_eq!(counts(&ping, ["missing", "closed", "bad"]), [0; 3], "{ping}");
        assert!(count(&ping, "answered") >= 100, "{ping}");
        let connects = run("connects --clients 8 --seconds 1");
        assert!(count(&connects, "connects_measured") > 8, "{connects}");
        assert_eq!(count(&connects, "connects"), count(&connects, "goodbyes"), "{connects}");
        assert_eq!(count(&connects, "resumed_measured"), 0, "{connects}");
        let publish = run("publish --clients 5 --publishers 2 --messages 500");
        assert_eq!(count(&publish, "missing"), 0, "{publish}");
        assert_eq!(count(&publish, "delivered"), 500, "{publish}");
        for shape in ["fan-out --qos 0", "fan-in --publishers 5 --qos 1"] {
            let clients = if shape.starts_with("fan-in") { 1 } else { 5 };
            let carried = run(&format!(
                "throughput --seconds 1 --clients {clients} --payload-bytes 20000 --shape {shape}"
            ));
            assert_eq!(count(&carried, "missing"), 0, "{carried}");
            assert!(count(&carried, "delivered") > 5, "{carried}");
        }
        if layers == Layers::WebSocket {
            continue;
        }
        for version in ["1.2", "1.3"] {
            let resumed = run(&format!(
                "connects --clients 8 --seconds 1 --warmup-s 1 --tls-resume --tls-version {version}"
            ));
            let measured = count(&resumed, "connects_measured");
            assert_eq!(count(&resumed, "resumed_measured"), measured, "{resumed}");
        }
    }
    rig.finish();
    Ok(())
}

#[track_caller]
fn count(summary: &Value, key: &str) -> u64 {
    summary[key].as_u64().unwrap_or_else(|| panic!("no {key} in {summary}"))
}

#[track_caller]
fn counts<const N: usize>(summary: &Value, keys: [&str; N]) -> [u64; N] {
    keys.map(|key| count(summary, key))
}

/// The load generator as a process; killed when dropped.
pub(crate) struct Load {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Load {
    /// Starts it with these arguments, against a listener of the server with these layers.
    pub(crate) fn start(rig: &Rig, layers: Layers, arguments: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_push-load"));
        command.args(arguments.split(' '));
        let target = match layers {
            Layers::Tls => rig.server.tls(),
            Layers::WebSocket => rig.server.websocket(),
            Layers::WebSocketTls => rig.server.websocket_tls(),
        };
        command.args(["--target", &target.address.to_string()]);
        if layers != Layers::WebSocket {
            command.arg("--tls").arg(rig.certificates.folder.ca());
        }
        if layers != Layers::Tls {
            command.arg("--ws");
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start push-load");
        let lines = BufReader::new(child.stdout.take().expect("its output is piped"));
        Self { child, lines }
    }

    /// Its next line.
    #[track_caller]
    pub(crate) fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("read from push-load");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Ends it by a signal, and returns its last line.
    #[track_caller]
    pub(crate) fn stop(self) -> Value {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, Signal::TERM).expect("signal push-load");
        self.end()
    }

    /// Closes its stdin, and returns its last line.
    #[track_caller]
    pub(crate) fn end(mut self) -> Value {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("read from push-load");
        assert!(self.child.wait().expect("wait for push-load").success());
        let last = rest.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{rest:?}: {error}"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
