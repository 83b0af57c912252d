//! Finds whole packets in the bytes read, without a copy.

/// A packet in the bytes read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) first: u8,
    pub(super) body: &'a [u8],
}

/// A remaining length of more than four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The first packet of `input`, and the bytes after it; `None`: it is incomplete.
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
mod tests;
