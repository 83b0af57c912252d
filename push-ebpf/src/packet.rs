//! A packet as the programs see it: reads, writes, checksums and its length, by helpers only, so
//! that it does not matter where a device has put the bytes. It knows no header but the offset of
//! the first.

use core::ptr;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{
    bpf_l4_csum_replace, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
};
use push_common::answer_table::Record;
use push_common::mac::Mac;

/// Bytes before the IP header on the devices we attach to (Ethernet, veth, lo).
pub(crate) const L2_BYTES: u32 = 14;

/// The most bytes that a heartbeat's record has.
pub(crate) const RECORD_BYTES_MAX: usize = size_of::<Record>();

/// A packet, by its context.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    pub(crate) skb: *mut __sk_buff,
}

impl Packet {
    /// Copies `N` bytes at `offset`; `None` when the packet is shorter.
    #[inline(always)]
    pub(crate) fn load<const N: usize>(self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        // SAFETY: the destination has `N` bytes.
        let failed = unsafe {
            bpf_skb_load_bytes(self.skb.cast(), offset, bytes.as_mut_ptr().cast(), N as u32)
        };
        if failed == 0 { Some(bytes) } else { None }
    }

    /// Copies both addresses of the Ethernet header straight to their destination, because the
    /// stack is full.
    #[inline(always)]
    pub(crate) fn load_link(self, link: &mut [Mac; 2]) -> Option<()> {
        let to = ptr::from_mut(link).cast();
        // SAFETY: the destination has as many bytes, and any bytes are addresses.
        let failed =
            unsafe { bpf_skb_load_bytes(self.skb.cast(), 0, to, size_of::<[Mac; 2]>() as u32) };
        if failed == 0 { Some(()) } else { None }
    }

    /// Length, link layer included.
    #[inline(always)]
    pub(crate) fn len(self) -> u32 {
        // SAFETY: `skb` is the context of the running program.
        unsafe { (*self.skb).len }
    }

    #[inline(always)]
    pub(crate) fn iface(self) -> u32 {
        // SAFETY: `skb` is the context of the running program.
        unsafe { (*self.skb).ifindex }
    }

    #[inline(always)]
    pub(crate) fn protocol(self) -> u32 {
        // SAFETY: `skb` is the context of the running program.
        unsafe { (*self.skb).protocol }
    }

    /// Whether it has a VLAN tag. Tag 0 only gives a priority: such a packet belongs to the device
    /// itself, and offsets hold, since the tag lies beside the packet.
    #[inline(always)]
    pub(crate) fn has_vlan_tag(self) -> bool {
        const VLAN_ID: u32 = 0x0FFF;
        // SAFETY: `skb` is the context of the running program.
        let present = unsafe { (*self.skb).vlan_present != 0 };
        // SAFETY: as above.
        present && unsafe { (*self.skb).vlan_tci } & VLAN_ID != 0
    }

    #[inline(always)]
    pub(crate) fn store<T>(self, offset: u32, value: &T) -> Option<()> {
        let from = ptr::from_ref(value).cast();
        // SAFETY: the helper reads `size_of::<T>()` bytes of `value`.
        done(unsafe { bpf_skb_store_bytes(self.skb, offset, from, size_of::<T>() as u32, 0) })
    }

    /// Writes the first `bytes` of a record, at least one.
    #[inline(always)]
    pub(crate) fn store_record(self, offset: u32, record: &Record, bytes: u32) -> Option<()> {
        let from = ptr::from_ref(record).cast();
        let bytes = bounded_by::<RECORD_BYTES_MAX>(bytes);
        // SAFETY: the helper reads at most `RECORD_BYTES_MAX` bytes of `record`, which has as many.
        done(unsafe { bpf_skb_store_bytes(self.skb, offset, from, bytes, 0) })
    }

    /// Corrects the checksum of a transport header at `offset`.
    #[inline(always)]
    pub(crate) fn fix_sum(self, offset: u32, difference: u32) -> Option<()> {
        // SAFETY: the helper takes no pointer but the context.
        done(unsafe { bpf_l4_csum_replace(self.skb, offset, 0, u64::from(difference), 0) })
    }

    #[inline(always)]
    pub(crate) fn set_len(self, bytes: u32) -> Option<()> {
        if self.len() == bytes {
            return Some(());
        }
        // SAFETY: the helper takes no pointer but the context.
        done(unsafe { bpf_skb_change_tail(self.skb, bytes, 0) })
    }
}

/// The same number, which lies in `1..=MAX`, shown to the verifier to do so; `MAX` is a power of
/// two. The volatile read hides from the compiler that it does so anyway, lest the mask be
/// optimised away.
#[inline(always)]
pub(crate) fn bounded_by<const MAX: usize>(number: u32) -> u32 {
    const { assert!(MAX.is_power_of_two()) };
    // SAFETY: a local variable.
    let number = unsafe { ptr::read_volatile(&raw const number) };
    (number.wrapping_sub(1) & (MAX as u32 - 1)) + 1
}

/// A helper's result: 0 is success.
#[inline(always)]
pub(crate) fn done(result: i64) -> Option<()> {
    if result == 0 { Some(()) } else { None }
}
