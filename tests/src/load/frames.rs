//! Whole packets found in what was read, without a copy.

/// A packet in the bytes read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) first: u8,
    pub(super) body: &'a [u8],
}

/// A remaining length of more than four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The first packet of `input`, and what is behind it; `None`: it is not whole.
pub(super) fn split(input: &[u8]) -> Result<Option<(Frame<'_>, &[u8])>, Malformed> {
    let Some((&first, rest)) = input.split_first() else { return Ok(None) };
    let mut length = 0;
    for (at, &byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            let body = &rest[at + 1..];
            let found = body.split_at_checked(length);
            return Ok(found.map(|(body, behind)| (Frame { first, body }, behind)));
        }
    }
    if rest.len() < 4 { Ok(None) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_whole_or_not_found() {
        let input = [0xD0, 0, 0x40, 2, 0, 7, 0x30];
        let (first, rest) = split(&input).unwrap().unwrap();
        assert_eq!(first, Frame { first: 0xD0, body: &[] });
        let (second, rest) = split(rest).unwrap().unwrap();
        assert_eq!(second, Frame { first: 0x40, body: &[0, 7] });
        assert_eq!(split(rest), Ok(None));
        for cut in 3..6 {
            assert_eq!(split(&input[2..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn a_fifth_length_byte_is_malformed() {
        assert_eq!(split(&[0x32, 0xFF, 0xFF, 0xFF, 0xFF, 1]), Err(Malformed));
        assert_eq!(split(&[0x32, 0xFF, 0xFF]), Ok(None));
    }
}
