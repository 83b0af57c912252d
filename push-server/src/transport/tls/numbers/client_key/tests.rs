//! Tests of `client_key`: how explicit nonces are foretold.

use super::*;

impl Suite {
    /// Any record of a client's, in TLS 1.2 with ChaCha20-Poly1305.
    pub(in crate::transport::tls::numbers) fn sealed(
        &self,
        secrets: &Secrets,
        number: u64,
        kind: ContentType,
        content: &[u8],
    ) -> Vec<u8> {
        let aad = make_tls12_aad(number, kind, ProtocolVersion::TLSv1_2, content.len());
        let nonce = Nonce::new(&Iv::from(secrets.iv), number).0;
        let mut record = Vec::new();
        (self.with_key)(self.cipher, &secrets.key[..self.cipher.key_bytes()], &mut |seal| {
            let mut content = content.to_vec();
            let tag = seal(nonce, &aad, &mut content).expect("short");
            let len = ((content.len() + tag.len()) as u16).to_be_bytes();
            record = [&[kind.into(), 3, 3], &len[..], &content, &tag].concat();
        });
        record
    }
}

/// How many of the nonces that `nonce` makes of numbers are foretold, and whether none is foretold wrongly.
fn foretold(start: u64, nonce: impl Fn(u64) -> u64) -> (usize, bool) {
    let mut explicit = Explicit::Either;
    let (mut right, mut is_never_wrong) = (0, true);
    for number in 0..64 {
        let expected = explicit.nonce(start, number);
        right += usize::from(expected == Some(nonce(number)));
        is_never_wrong &= expected.is_none_or(|expected| expected == nonce(number));
        explicit = explicit.after(start, number, nonce(number));
    }
    (right, is_never_wrong)
}

#[test]
fn counted_and_mixed_nonces_are_foretold_but_where_both_ways_part_first() {
    for start in [0, 1, 2, 7, 8, 0x5A5A_5A5A_5A5A_5A5A, u64::MAX - 1, u64::MAX] {
        for (right, is_never_wrong) in
            [foretold(start, |n| start.wrapping_add(n)), foretold(start, |n| start ^ n)]
        {
            assert!(right >= 63 && is_never_wrong, "{start:#x}: {right} of 64");
        }
    }
}

#[test]
fn random_nonces_are_not_foretold() {
    let (right, _) =
        foretold(7, |n| if n == 0 { 7 } else { n.wrapping_mul(0x9E37_79B9_7F4A_7C15) });
    assert!(right <= 1, "the first is what the others are compared with: {right}");
}

#[test]
fn who_leaves_its_way_is_never_foretold_again() {
    let explicit = Explicit::Either.after(0, 1, 1).after(0, 2, 9).after(0, 3, 3);
    assert_eq!(explicit, Explicit::Unknown);
    assert_eq!(explicit.nonce(0, 4), None);
}
