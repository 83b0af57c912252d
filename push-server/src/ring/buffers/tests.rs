use super::*;

fn options(buffers: u16, buffer_bytes: u32) -> RingOptions {
    RingOptions { entries: 8, buffers, buffer_bytes }
}

#[test]
fn sizes_that_the_kernel_would_refuse_are_named() {
    for (buffers, bytes) in [(0, 64), (3, 64), (1 << 15 | 1, 64), (4, 0)] {
        let Err(error) = ReceiveBuffers::new(&options(buffers, bytes)) else {
            panic!("{buffers} buffers of {bytes} bytes were taken");
        };
        assert!(error.to_string().contains("power of two"), "{error}");
    }
}

#[test]
fn a_buffer_or_length_that_cannot_be_is_not_lent() {
    let mut buffers = ReceiveBuffers::new(&options(2, 64)).expect("little memory");
    assert!(buffers.lend(2, 1).is_none());
    assert!(buffers.lend(0, 65).is_none());
    assert_eq!(buffers.free(), 2);
}

#[test]
fn a_recycled_buffer_is_free_again() {
    let mut buffers = ReceiveBuffers::new(&options(2, 64)).expect("little memory");
    let piece = buffers.lend(1, 64).expect("a buffer that exists");
    assert_eq!(buffers.free(), 1);
    assert_eq!(buffers.bytes(&piece), [0; 64]);
    buffers.recycle(piece);
    assert_eq!(buffers.free(), 2);
}

#[test]
#[should_panic(expected = "by the ring that received it")]
fn a_piece_of_another_ring_is_refused() {
    let mut one = ReceiveBuffers::new(&options(2, 64)).expect("little memory");
    let mut other = ReceiveBuffers::new(&options(2, 64)).expect("little memory");
    let piece = one.lend(0, 8).expect("a buffer that exists");
    other.recycle(piece);
}
