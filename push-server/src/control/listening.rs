//! What the start says about where it listens: one line for each listener, with who answers the
//! heartbeats of those who connect there.

use std::io;

use tracing::info;

use super::observed::{Facts, Path};
use crate::kernel;

/// Logs a line for each listener.
pub(super) fn log(facts: &Facts) {
    for address in &facts.listening {
        let heartbeats = heartbeats(&facts.path, kernel::interfaces_for(&[*address]));
        info!(%address, protocol = "MQTT", heartbeats, "listening");
    }
    for address in &facts.websocket_listening {
        info!(%address, protocol = "MQTT over WebSocket", heartbeats = IN_FRAMES, "listening");
    }
    if let Some(address) = facts.http {
        info!(%address, protocol = "HTTP", "listening");
    }
}

const IN_FRAMES: &str = "user space: the kernel's programs do not read WebSocket's frames";

/// Names what answers the heartbeats of clients that connect over `interfaces`.
fn heartbeats(path: &Path, interfaces: io::Result<Vec<String>>) -> String {
    let attached = match path {
        Path::User { reason } => return format!("user space: {reason}"),
        Path::Kernel { interfaces, .. } => interfaces,
    };
    let Ok(interfaces) = interfaces else {
        return format!("kernel on {}, user space elsewhere", attached.join(", "));
    };
    let (kernel, user): (Vec<_>, Vec<_>) =
        interfaces.into_iter().partition(|name| attached.contains(name));
    match (kernel.is_empty(), user.is_empty()) {
        (true, true) => format!("kernel on {}, user space elsewhere", attached.join(", ")),
        (true, false) => format!("user space: no program is attached to {}", user.join(", ")),
        (false, true) => format!("kernel on {}", kernel.join(", ")),
        (false, false) => {
            let (kernel, user) = (kernel.join(", "), user.join(", "));
            format!("kernel on {kernel}; user space on {user}, where no program is attached")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::observed::tests::{kernel_path, user_path};
    use super::*;

    fn over(path: &Path, interfaces: &[&str]) -> String {
        heartbeats(path, Ok(interfaces.iter().map(|name| (*name).to_owned()).collect()))
    }

    #[test]
    fn who_answers_is_said_for_each_interface_of_a_listener() {
        // Attached to lo and eth0.
        let kernel = kernel_path(Vec::new());
        assert_eq!(over(&kernel, &["lo"]), "kernel on lo");
        assert_eq!(over(&kernel, &["wlan0"]), "user space: no program is attached to wlan0");
        assert_eq!(
            over(&kernel, &["eth0", "lo", "wlan0"]),
            "kernel on eth0, lo; user space on wlan0, where no program is attached"
        );
        let unknown = heartbeats(&kernel, Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(unknown, "kernel on lo, eth0, user space elsewhere");
        assert_eq!(over(&kernel, &[]), unknown);
        assert_eq!(over(&user_path(), &["lo"]), "user space: CAP_BPF is missing");
    }
}
