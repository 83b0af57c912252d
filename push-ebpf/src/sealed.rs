//! Heartbeats inside TLS: the flow's answer table, what the ingress program reads of it before it takes
//! the lock, and the note that it runs low. It decides nothing: the splice does.

use core::ptr;

use push_common::answer_table::{KernelTable, RecordShape};
use push_common::counter::Counter;
use push_common::heartbeat::Heartbeat;
use push_common::low_tables;
use push_common::shared_word::SharedWord;
use push_common::slot::{Slot, SlotView};
use push_common::splice::Sealed;

use crate::maps::{FlowCell, LOW_TABLES, LOW_TABLES_ROW, TABLES, count};
use crate::parse::{Scratch, Tcp, forgotten};
use crate::word::Word;

/// An answer table as the programs reach it.
pub(crate) type Table = KernelTable<Word>;

const _: () = assert!(size_of::<Table>() == size_of::<KernelTable<u64>>());
const _: () = assert!(align_of::<Table>() == align_of::<KernelTable<u64>>());

/// The flow's answer table; `None`: its heartbeats are in clear. (A sealed flow without one would never be
/// answered, so nothing would ever be pending on it.)
///
/// Call it again right before the lock, rather than keep what it returned: the verifier then takes both cases
/// for one until the splice asks which it is.
#[inline(always)]
pub(crate) fn table_of(cell: *mut FlowCell) -> Option<&'static Table> {
    // SAFETY: the element lives as long as the program; the field never changes.
    let index = unsafe { ptr::read_volatile(&raw const (*cell).flow.table) };
    let table = TABLES.get_ptr(index)?.cast::<Table>();
    // SAFETY: the element lives as long as the program and has this layout (asserted above); everybody
    // reaches it by whole words.
    Some(unsafe { &*table })
}

/// Whether a segment of a sealed flow is the PINGREQ that can come next, by the rules' order of reads: the
/// slot was read before; then the claim word, `tx`, and the table. What is read of `tx` and of the table
/// goes to `view` and `scratch`.
#[inline(always)]
pub(crate) fn is_request(
    cell: *mut FlowCell,
    slot: Option<*mut Slot>,
    view: &mut SlotView,
    heartbeat: Heartbeat,
    tcp: &Tcp,
    scratch: &mut Scratch,
) -> bool {
    let shape = RecordShape::of(heartbeat);
    // Of another length, it is not all in `payload`, or has something behind it.
    let has_length = tcp.segment.payload_bytes == u32::from(shape.record_bytes());
    let mut is_request = false;
    if tcp.followed
        && has_length
        && !tcp.segment.fragment
        && let Some(table) = table_of(cell)
    {
        scratch.sealed = Sealed::look(table);
        read_tx_again(slot, view);
        is_request = scratch.sealed.compare(table, shape, &scratch.payload);
        if !is_request {
            count(Counter::NotExpected);
        }
    }
    forgotten(is_request, &mut scratch.is_request)
}

/// Reads `tx` as it is after the look at the claim word. The slot may have changed hands since it was read.
#[inline(always)]
fn read_tx_again(slot: Option<*mut Slot>, view: &mut SlotView) {
    let Some(slot) = slot else { return };
    // SAFETY: the element lives as long as the program, and the word is aligned.
    view.tx = unsafe { ptr::read_volatile(&raw const (*slot).tx) } as u32;
    // SAFETY: as above.
    if unsafe { ptr::read_volatile(&raw const (*slot).generation) } != view.generation {
        *view = SlotView::NONE;
    }
}

/// Tells the shard that the table of the flow's connection runs low.
#[inline(always)]
pub(crate) fn note_low(cell: *mut FlowCell, slot: *mut Slot) {
    // SAFETY: the element lives as long as the program; the field never changes.
    let index = unsafe { ptr::read_volatile(&raw const (*cell).flow.slot) };
    // SAFETY: the element lives as long as the program, and the word is aligned.
    let shard = unsafe { ptr::read_volatile(&raw const (*slot).shard) };
    let (place, bit) = low_tables::place(LOW_TABLES_ROW.load(), shard, index);
    let Some(word) = LOW_TABLES.get_ptr(place) else { return };
    // SAFETY: the element lives as long as the program, and is a word that everybody reaches whole.
    let word = unsafe { &*word.cast::<Word>() };
    // A plain look first: if the bit is set, the cache line may stay with the CPU that has it.
    if word.load() & bit == 0 {
        word.fetch_or(bit);
    }
}
