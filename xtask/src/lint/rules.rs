//! The architecture's "Who may import whom" as a table, and the check of a source file against it.

use super::source::Source;

/// Paths that a part of the tree must not name.
struct Rule {
    /// Files whose path from the workspace's root starts with one of these.
    within: &'static [&'static str],
    /// Except those that start with one of these.
    except: &'static [&'static str],
    /// Beginnings of paths that they must not name, in whole segments.
    forbidden: &'static [&'static str],
    /// Whether unit tests may name them.
    tests_may: bool,
    /// Why, for the reader of the message.
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        within: &["push-common/src/"],
        // Its thread-local exists under a feature of the tests' own.
        except: &["push-common/src/mutant.rs"],
        forbidden: &[
            "std",
            "alloc",
            "libc",
            "rustix",
            "tokio",
            "io_uring",
            "aya_ebpf",
            "push_server",
        ],
        tests_may: true,
        why: "push-common imports `core` only",
    },
    Rule {
        within: &["push-ebpf/src/"],
        except: &[],
        forbidden: &["std", "alloc", "aya", "libc", "push_server"],
        tests_may: false,
        why: "push-ebpf imports push-common and aya-ebpf",
    },
    Rule {
        within: &["push-server/src/mqtt/", "push-server/src/broker/"],
        except: &[],
        forbidden: &[
            "crate::ring",
            "crate::shard",
            "crate::kernel",
            "crate::store",
            "crate::control",
            "crate::transport",
            "tokio",
            "io_uring",
            "aya",
            "libc",
        ],
        tests_may: false,
        why: "mqtt and broker are sans I/O: only `shard` joins the parts",
    },
    Rule {
        within: &["push-server/src/access/"],
        except: &[],
        forbidden: &[
            "crate::config",
            "crate::control",
            "crate::kernel",
            "crate::mqtt",
            "crate::ring",
            "crate::shard",
            "crate::store",
            "crate::transport",
            "tokio",
            "io_uring",
            "aya",
            "libc",
        ],
        tests_may: false,
        why: "access is pure: it knows topics, and no other room",
    },
    Rule {
        within: &["push-server/src/transport/"],
        except: &[],
        forbidden: &[
            "crate::broker",
            "crate::control",
            "crate::kernel",
            "crate::mqtt",
            "crate::ring",
            "crate::shard",
            "crate::store",
            "std::net",
            "tokio",
            "io_uring",
            "aya",
            "libc",
        ],
        tests_may: false,
        why: "transport is sans I/O and knows no MQTT: only `shard` joins the parts",
    },
    Rule {
        within: &[
            "push-server/src/mqtt/",
            "push-server/src/access/",
            "push-server/src/broker/",
            "push-server/src/transport/",
        ],
        except: &[],
        forbidden: &[
            "std::fs",
            "std::time::Instant::now",
            "std::time::SystemTime",
            "Instant::now",
            "SystemTime::now",
            "socket2",
            "rustix",
        ],
        tests_may: false,
        why: "mqtt, access, broker and transport never read a clock, a socket or a file",
    },
    Rule {
        within: &["push-server/src/ring/", "push-server/src/kernel/", "push-server/src/store/"],
        except: &[],
        forbidden: &[
            "crate::mqtt",
            "crate::transport",
            "crate::shard",
            "crate::control",
            "mqttbytes",
        ],
        tests_may: false,
        why: "ring, kernel and store know no MQTT: only `shard` joins the parts",
    },
    Rule {
        within: &["push-server/src/ring/"],
        except: &[],
        forbidden: &["crate::broker", "crate::kernel", "crate::store"],
        tests_may: false,
        why: "ring knows no other room",
    },
    Rule {
        within: &["push-server/src/kernel/"],
        except: &[],
        forbidden: &["crate::broker", "crate::ring", "crate::store"],
        tests_may: false,
        why: "kernel knows no other room",
    },
    Rule {
        within: &["push-server/src/shard/"],
        except: &["push-server/src/shard/thread.rs", "push-server/src/shard/thread/"],
        forbidden: &[
            "crate::kernel",
            "crate::ring",
            "crate::shard::thread",
            "crate::store::Clocks::now",
            "Clocks::now",
            "std::fs",
            "std::net::TcpListener",
            "std::net::TcpStream",
            "std::os",
            "std::thread",
            "std::time::Instant",
            "std::time::SystemTime",
            "libc",
            "rand",
            "rustix",
            "socket2",
        ],
        tests_may: false,
        why: "of shard only `thread` sees the machine: what else a shard needs of it is a port",
    },
    Rule {
        within: &["push-server/src/store/"],
        except: &[],
        forbidden: &["crate::ring", "crate::kernel", "crate::config", "libc"],
        tests_may: true,
        why: "store knows topics and messages, and no other room",
    },
    Rule {
        within: &["push-server/src/store/api/"],
        except: &[],
        forbidden: &[
            "crate::store::embedded",
            "crate::store::memory",
            "std::fs",
            "std::path",
            "std::thread",
        ],
        tests_may: false,
        why: "store::api is an interface: it knows no implementation and no file system",
    },
    Rule {
        within: &["push-server/src/shard/"],
        except: &["push-server/src/shard/thread.rs", "push-server/src/shard/thread/"],
        forbidden: &["crate::store::embedded"],
        tests_may: false,
        why: "of shard only `thread` knows which store there is: the rest uses store::api",
    },
    Rule {
        within: &["push-server/src/"],
        except: &["push-server/src/store/embedded/"],
        forbidden: &["fjall", "postcard"],
        tests_may: false,
        why: "store::embedded is the only user of fjall and of its records' encoding",
    },
    Rule {
        within: &["push-server/src/"],
        except: &["push-server/src/ring/"],
        forbidden: &["io_uring"],
        tests_may: false,
        why: "ring is the only user of io-uring",
    },
    Rule {
        within: &["push-server/src/"],
        except: &["push-server/src/kernel/"],
        forbidden: &["aya", "aya_log"],
        tests_may: false,
        why: "kernel is the only user of aya",
    },
    Rule {
        within: &["push-server/src/"],
        except: &["push-server/src/control/", "push-server/src/main.rs"],
        forbidden: &["tokio", "axum"],
        tests_may: false,
        why: "tokio only in control and main",
    },
    Rule {
        within: &["push-server/src/"],
        except: &["push-server/src/transport/"],
        forbidden: &["tungstenite", "ppp"],
        tests_may: false,
        why: "transport is the only user of tungstenite and ppp",
    },
    Rule {
        within: &["push-server/src/"],
        except: &["push-server/src/transport/", "push-server/src/control/"],
        forbidden: &["rustls"],
        tests_may: true,
        why: "only transport speaks TLS by rustls, and only control configures it",
    },
    Rule {
        within: &["push-server/src/"],
        except: &["push-server/src/mqtt/codec"],
        forbidden: &["mqttbytes"],
        tests_may: false,
        why: "mqtt::codec is the only user of mqttbytes",
    },
];

/// The breaches of rules in `file` (its path from the workspace's root), a line each.
pub(crate) fn violations(file: &str, source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for rule in RULES.iter().filter(|rule| rule.covers(file)) {
        for path in &source.paths {
            if path.in_tests && rule.tests_may {
                continue;
            }
            if rule.forbidden.iter().any(|forbidden| begins_with(&path.segments, forbidden)) {
                let name = path.segments.join("::");
                found.push(format!("{file}:{}: {name}: {}", path.line, rule.why));
            }
        }
    }
    for line in &source.allow_lines {
        found.push(format!("{file}:{line}: suppress lints by #[expect(lint, reason = \"...\")]"));
    }
    found
}

/// The module that `file` is, as a path in its crate.
pub(crate) fn module_of(file: &str) -> Vec<String> {
    let inside = file.split_once("/src/").map_or("", |(_, inside)| inside);
    let inside = if inside.starts_with("bin/") { "main.rs" } else { inside };
    let mut module = vec!["crate".to_owned()];
    let name = inside.strip_suffix(".rs").unwrap_or(inside);
    module.extend(name.split('/').map(str::to_owned));
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main" | "")) {
        module.pop();
    }
    module
}

impl Rule {
    fn covers(&self, file: &str) -> bool {
        let starts = |folders: &[&str]| folders.iter().any(|folder| file.starts_with(folder));
        starts(self.within) && !starts(self.except)
    }
}

fn begins_with(segments: &[String], beginning: &str) -> bool {
    let mut segments = segments.iter();
    beginning.split("::").all(|wanted| segments.next().is_some_and(|segment| segment == wanted))
}

#[cfg(test)]
mod tests;
