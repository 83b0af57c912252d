//! What the kernel path asks of a socket, and the two options it sets. Raw `getsockopt`, because no
//! library knows these options.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

/// How many packets have reached the socket before an earlier one (`tcpi_rcv_ooopack`, kernel 5.4).
pub(super) fn out_of_order_packets(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let (info, bytes) = tcp_info(socket)?;
    let needed = std::mem::offset_of!(libc::tcp_info, tcpi_rcv_ooopack) + size_of::<u32>();
    if bytes < needed {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    Ok(info.tcpi_rcv_ooopack)
}

/// Whether its timestamps are microseconds instead of milliseconds (a route's feature
/// `tcp_usec_ts`, kernel 6.7).
pub(super) fn has_fine_timestamps(socket: BorrowedFd<'_>) -> io::Result<bool> {
    /// `TCPI_OPT_USEC_TS` of `<linux/tcp.h>`, which libc does not name.
    const USEC_TS: u8 = 64;
    let (info, _) = tcp_info(socket)?;
    Ok(info.tcpi_options & USEC_TS != 0)
}

/// Whether the peer has acknowledged everything, FIN included: a socket that is closed now sends
/// nothing more.
pub(super) fn is_heard_out(socket: BorrowedFd<'_>) -> io::Result<bool> {
    /// States of `<net/tcp_states.h>`: FIN is acknowledged; the peer's is still to come, or has
    /// come.
    const FIN_WAIT2: u8 = 5;
    const TIME_WAIT: u8 = 6;
    const CLOSE: u8 = 7;
    let (info, _) = tcp_info(socket)?;
    Ok(matches!(info.tcpi_state, FIN_WAIT2 | TIME_WAIT | CLOSE))
}

/// Sets whether closing the socket, even by the process's death, sends a reset and nothing else.
pub(super) fn set_reset_on_close(socket: BorrowedFd<'_>, resets: bool) -> io::Result<()> {
    Ok(set_socket_linger(socket, resets.then_some(Duration::ZERO))?)
}

/// TCP's figures of the socket, and how many bytes of the record this kernel fills.
fn tcp_info(socket: BorrowedFd<'_>) -> io::Result<(libc::tcp_info, usize)> {
    // SAFETY: the record is integers and bit fields; zeros are a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let bytes = get(socket, (libc::IPPROTO_TCP, libc::TCP_INFO), &mut info)?;
    Ok((info, bytes))
}

/// The index of the interface that the connection came by (its handshake's last segment).
pub(super) fn arrival_interface(socket: BorrowedFd<'_>, is_ipv6: bool) -> io::Result<u32> {
    if is_ipv6 { arrival_ipv6(socket) } else { arrival_ipv4(socket) }
}

/// Binds the connection to this interface: it sends and receives by no other (`SO_BINDTOIFINDEX`).
pub(super) fn bind_to_interface(socket: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let index = c_int::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
    set(socket, (libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX), index)
}

/// `getsockopt(IP_PKTOPTIONS)` of `<linux/in.h>`, which libc does not name.
const IP_PKTOPTIONS: c_int = 9;
/// `IPV6_2292PKTOPTIONS` of `<linux/in6.h>`.
const IPV6_PKTOPTIONS: c_int = 6;

/// A control message as the kernel lays it out.
#[repr(C)]
struct Control<T> {
    header: libc::cmsghdr,
    info: T,
}

fn arrival_ipv4(socket: BorrowedFd<'_>) -> io::Result<u32> {
    set(socket, (libc::IPPROTO_IP, libc::IP_PKTINFO), 1)?;
    // SAFETY: integers only; zeros are a value.
    let mut control: Control<libc::in_pktinfo> = unsafe { std::mem::zeroed() };
    let bytes = get(socket, (libc::IPPROTO_IP, IP_PKTOPTIONS), &mut control)?;
    let found = bytes >= size_of_val(&control) && control.header.cmsg_type == libc::IP_PKTINFO;
    found.then_some(control.info.ipi_ifindex as u32).ok_or(io::ErrorKind::Unsupported.into())
}

fn arrival_ipv6(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // Switched off again, because the kernel would keep a copy of each segment.
    set(socket, (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO), 1)?;
    // SAFETY: integers only; zeros are a value.
    let mut control: Control<libc::in6_pktinfo> = unsafe { std::mem::zeroed() };
    let asked = get(socket, (libc::IPPROTO_IPV6, IPV6_PKTOPTIONS), &mut control);
    set(socket, (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO), 0)?;
    let bytes = size_of::<libc::cmsghdr>() + size_of::<libc::in6_pktinfo>();
    let found = asked? >= bytes && control.header.cmsg_type == libc::IPV6_PKTINFO;
    found.then_some(control.info.ipi6_ifindex).ok_or(io::ErrorKind::Unsupported.into())
}

/// Reads an option into `value`, plain old data. Returns how many bytes the kernel wrote.
fn get<T>(
    socket: BorrowedFd<'_>,
    (level, name): (c_int, c_int),
    value: &mut T,
) -> io::Result<usize> {
    let mut bytes = size_of::<T>() as libc::socklen_t;
    let value = (&raw mut *value).cast();
    // SAFETY: the buffer is `bytes` long, and the kernel writes no more than that.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, value, &raw mut bytes) };
    if result == 0 { Ok(bytes as usize) } else { Err(io::Error::last_os_error()) }
}

fn set(socket: BorrowedFd<'_>, (level, name): (c_int, c_int), value: c_int) -> io::Result<()> {
    let bytes = size_of::<c_int>() as libc::socklen_t;
    let value = (&raw const value).cast();
    // SAFETY: the buffer is `bytes` long, and the kernel only reads it.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, bytes) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests;
