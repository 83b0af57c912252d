//! The network interfaces of the machine: which own an address, and which the programs can serve.
//! Those have an Ethernet header (lo, veth, Ethernet), and no two see the same packet.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::ptr;

/// One interface, as the kernel lists it.
#[derive(Clone, Debug, Default)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) up: bool,
    /// Whether its packets begin with an Ethernet header.
    pub(super) ethernet: bool,
    pub(super) addresses: Vec<IpAddr>,
}

/// The interfaces that own the listen addresses, sorted by name. An unspecified address means all
/// that are up and have an Ethernet header, except the ports of bridges and bonds: the bridge or
/// bond sees their packets again.
pub fn interfaces_for(addresses: &[SocketAddr]) -> io::Result<Vec<String>> {
    let all = list()?;
    let wanted: Vec<IpAddr> = addresses.iter().map(|address| address.ip().to_canonical()).collect();
    let any = wanted.iter().any(IpAddr::is_unspecified);
    let serves = |name: &str, interface: &Interface| {
        let owns = interface.addresses.iter().any(|address| wanted.contains(address));
        // All of 127.0.0.0/8 belongs to lo, which lists one address of it.
        let loops = wanted.iter().any(IpAddr::is_loopback)
            && interface.addresses.iter().any(IpAddr::is_loopback);
        let usable = interface.up && interface.ethernet && !is_port(name);
        owns || loops || (any && usable)
    };
    Ok(all.into_iter().filter(|(name, i)| serves(name, i)).map(|(name, _)| name).collect())
}

/// The names in `names` that this machine does not have.
pub fn missing_interfaces(names: &[String]) -> io::Result<Vec<String>> {
    let all = list()?;
    Ok(names.iter().filter(|name| !all.contains_key(*name)).cloned().collect())
}

/// The interfaces of this thread's network namespace, by name.
pub(super) fn list() -> io::Result<BTreeMap<String, Interface>> {
    let mut head = ptr::null_mut();
    // SAFETY: the call stores a list's head, or fails.
    if unsafe { libc::getifaddrs(&raw mut head) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut interfaces = BTreeMap::<String, Interface>::new();
    let mut next = head;
    // SAFETY: the list is intact until it is freed below.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        // SAFETY: every entry has a name, a C string.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy().into_owned();
        let interface = interfaces.entry(name).or_default();
        interface.up |= entry.ifa_flags & libc::IFF_UP as u32 != 0;
        // SAFETY: null, or a socket address of the family it names.
        let Some(address) = (unsafe { entry.ifa_addr.as_ref() }) else { continue };
        match i32::from(address.sa_family) {
            libc::AF_PACKET => {
                // SAFETY: of this family, as the kernel's netlink interface fills it.
                let link = unsafe { &*entry.ifa_addr.cast::<libc::sockaddr_ll>() };
                interface.index = link.sll_ifindex as u32;
                interface.ethernet =
                    matches!(link.sll_hatype, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK);
            }
            libc::AF_INET => {
                // SAFETY: of this family.
                let inet = unsafe { &*entry.ifa_addr.cast::<libc::sockaddr_in>() };
                let address = Ipv4Addr::from(u32::from_be(inet.sin_addr.s_addr));
                interface.addresses.push(address.into());
            }
            libc::AF_INET6 => {
                // SAFETY: of this family.
                let inet6 = unsafe { &*entry.ifa_addr.cast::<libc::sockaddr_in6>() };
                interface.addresses.push(Ipv6Addr::from(inet6.sin6_addr.s6_addr).into());
            }
            _ => {}
        }
    }
    // SAFETY: the list of the call above, freed once.
    unsafe { libc::freeifaddrs(head) };
    Ok(interfaces)
}

/// The first pair (lower, upper) that would both see the same packet, as a bridge and its port do,
/// or a macvlan and its parent: the second would translate it again. A VLAN device and its parent
/// are no such pair, because the parent sees tagged packets, which the programs leave alone.
pub(super) fn stacked(names: &[String]) -> Option<(String, String)> {
    for upper in names {
        for lower in names {
            let link = Path::new("/sys/class/net").join(upper).join(format!("lower_{lower}"));
            if link.exists() && !is_vlan(upper) {
                return Some((lower.clone(), upper.clone()));
            }
        }
    }
    None
}

fn is_port(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).join("master").exists()
}

fn is_vlan(name: &str) -> bool {
    let event = Path::new("/sys/class/net").join(name).join("uevent");
    std::fs::read_to_string(event).is_ok_and(|text| text.lines().any(|line| line == "DEVTYPE=vlan"))
}

#[cfg(test)]
mod tests;
