//! Reads files of PEM sections (RFC 7468), and says on which line a mistake is. What a section means
//! is its reader's to know.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject, SectionKind};
use zeroize::Zeroizing;

/// Bytes of the largest file: a list of some 400,000 revoked certificates.
pub(crate) const TLS_FILE_BYTES_MAX: u64 = 16 << 20;

const BEGIN: &[u8] = b"-----BEGIN ";
/// Of PKCS #8 (RFC 7468, section 11).
const ENCRYPTED_LABEL: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
/// Of older forms (RFC 1421, section 4.6.1.1).
const ENCRYPTED_HEADER: &[u8] = b"\nProc-Type: 4,ENCRYPTED";

/// What stands between a `BEGIN` and its `END`.
#[derive(Debug)]
pub(super) struct Section {
    /// The line of its `BEGIN`, counted from 1.
    pub(super) line: usize,
    pub(super) kind: SectionKind,
    /// Perhaps a key.
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// Why a file has no sections to offer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PemError {
    #[error(
        "cannot be read: {0}; the server reads it without capabilities, as it does again by a reload"
    )]
    Unreadable(#[from] io::Error),
    #[error("has {0} bytes: a file of TLS has at most {TLS_FILE_BYTES_MAX}")]
    TooLarge(u64),
    #[error("has no PEM section (-----BEGIN ...); openssl turns DER into PEM")]
    NoSection,
    #[error(
        "line {line}: the key is encrypted, and the server asks nobody for a passphrase; `openssl \
         pkey -in FILE -out NEW` decrypts it"
    )]
    Encrypted { line: usize },
    #[error("line {line}: {problem}")]
    Broken { line: usize, problem: &'static str },
}

/// The sections of a file, without those of unknown kinds.
pub(super) fn read(path: &Path) -> Result<Vec<Section>, PemError> {
    let text = content(path)?;
    sections(&text)
}

/// A file's bytes. The buffer has its size from the start: one that grew would leave copies of a key
/// in freed memory. A file that grows meanwhile is cut.
fn content(path: &Path) -> Result<Zeroizing<Vec<u8>>, PemError> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > TLS_FILE_BYTES_MAX {
        return Err(PemError::TooLarge(bytes));
    }
    let mut content = Zeroizing::new(vec![0; bytes as usize]);
    let mut filled = 0;
    while filled < content.len() {
        match file.read(&mut content[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    content.truncate(filled);
    Ok(content)
}

fn sections(text: &[u8]) -> Result<Vec<Section>, PemError> {
    let begins: Vec<_> = begins(text).collect();
    if begins.is_empty() {
        return Err(PemError::NoSection);
    }
    let ends = begins.iter().skip(1).map(|&(_, start)| start).chain([text.len()]);
    let mut sections = Vec::with_capacity(begins.len());
    for (&(line, start), end) in begins.iter().zip(ends) {
        let piece = &text[start..end];
        if is_encrypted(piece) {
            return Err(PemError::Encrypted { line });
        }
        match <(SectionKind, Vec<u8>)>::from_pem_slice(piece) {
            Ok((kind, der)) => sections.push(Section { line, kind, der: Zeroizing::new(der) }),
            Err(pem::Error::NoItemsFound) => {}
            Err(error) => return Err(PemError::Broken { line, problem: problem(&error) }),
        }
    }
    Ok(sections)
}

/// Line and offset of each line that begins a section.
fn begins(text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut offset = 0;
    let lines = text.split_inclusive(|&byte| byte == b'\n').enumerate();
    let starts = lines.map(move |(line, content)| {
        let start = offset;
        offset += content.len();
        (line + 1, start, content)
    });
    starts.filter(|(.., content)| content.starts_with(BEGIN)).map(|(line, start, _)| (line, start))
}

fn is_encrypted(piece: &[u8]) -> bool {
    piece.starts_with(ENCRYPTED_LABEL)
        || piece.windows(ENCRYPTED_HEADER.len()).any(|window| window == ENCRYPTED_HEADER)
}

/// Without what the section has: it may be a key.
fn problem(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => {
            "the section that begins here has no END: the file may not be written to its end"
        }
        pem::Error::IllegalSectionStart { .. } => "the BEGIN does not end with five dashes",
        pem::Error::Base64Decode(_) => "the section that begins here is not base64",
        _ => "the section that begins here cannot be decoded",
    }
}

#[cfg(test)]
mod tests;
