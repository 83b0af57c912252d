//! The one question that the kernel path has for a socket.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How many packets have reached the socket ahead of others (`tcpi_rcv_ooopack`, kernel 5.4).
pub(super) fn out_of_order_packets(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: the record is integers and bit fields; zeros are a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut bytes = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the buffer is `bytes` long, and the kernel writes no more than that.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut bytes,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let needed = std::mem::offset_of!(libc::tcp_info, tcpi_rcv_ooopack) + size_of::<u32>();
    if (bytes as usize) < needed {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    Ok(info.tcpi_rcv_ooopack)
}
