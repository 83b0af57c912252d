//! Checks the database's journals before the database reads them.
//!
//! fjall 3.1 silently cuts a journal at the first byte it does not understand, refuses one whose
//! last batch a power loss has torn, and does not notice a missing one. So this file distinguishes
//! the unfinished end, which it cuts off, from damage before it, which it refuses: nothing was
//! written after a torn batch, since each batch is synced before the next.
//!
//! Journals are `N.jnl`, counting up without gaps; all but the last are complete. A journal is a
//! sequence of batches, then zeros. A batch: `1`, count of items (4), sequence number (8); for each
//! item `2`, type, compression (1 each), tree (8), length of key (2), of value (4), of value as
//! stored (4), key, value; or `4`, tree (8); then `3`, xxh3 of all items (8), `FJL` 3. Numbers are
//! little-endian.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

const EXTENSION: &str = "jnl";
const TAG_START: u8 = 1;
const TAG_ITEM: u8 = 2;
const TAG_END: u8 = 3;
const TAG_CLEAR: u8 = 4;
const TRAILER: [u8; 4] = *b"FJL\x03";
/// Bytes of an item's head after its tag.
const ITEM_HEAD_BYTES: usize = 20;
/// Bytes read at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// Bytes after a broken batch that are searched for whole ones.
const SEARCHED_BYTES_MAX: u64 = 64 << 20;

/// Why the database would lose something by reading its journals.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error("there is no journal")]
    None,
    #[error("journal {0}.{EXTENSION} is missing")]
    Missing(u64),
    #[error("{} is damaged at byte {at}", path.display())]
    Damaged { path: PathBuf, at: u64 },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Checks the journals in `dir`, and cuts off the batch that was being written when the process or
/// the machine died. Returns how many bytes it cut off.
///
/// `newest`: the number of a journal that has existed; the last one found must not be older.
/// `may_be_torn`: whether batches were written without waiting for the disk, so that after a power
/// loss a later batch may be whole while an earlier one is not.
pub(super) fn check(
    dir: &Path,
    newest: Option<u64>,
    may_be_torn: bool,
) -> Result<u64, JournalError> {
    let journals = list(dir)?;
    for pair in journals.windows(2) {
        if pair[0].0 + 1 != pair[1].0 {
            return Err(JournalError::Missing(pair[0].0 + 1));
        }
    }
    let ((number, last), complete) = journals.split_last().ok_or(JournalError::None)?;
    if let Some(newest) = newest.filter(|newest| newest > number) {
        return Err(JournalError::Missing(newest));
    }
    for (_, path) in complete {
        let (at, rest) = examine(path).map_err(|source| io_error(path, source))?;
        if rest != Rest::Nothing {
            return Err(JournalError::Damaged { path: path.clone(), at });
        }
    }
    let (at, rest) = examine(last).map_err(|source| io_error(last, source))?;
    match rest {
        Rest::Nothing => Ok(0),
        Rest::Whole if !may_be_torn => Err(JournalError::Damaged { path: last.clone(), at }),
        Rest::Whole | Rest::Torn => cut(last, at).map_err(|source| io_error(last, source)),
    }
}

/// The number of the last journal in `dir`.
pub(super) fn newest(dir: &Path) -> Result<Option<u64>, JournalError> {
    Ok(list(dir)?.last().map(|&(number, _)| number))
}

/// Numbers and paths of all journals, in order.
fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, JournalError> {
    let mut journals = Vec::new();
    for found in fs::read_dir(dir).map_err(|source| io_error(dir, source))? {
        let path = found.map_err(|source| io_error(dir, source))?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let (Some(number), true) = (number, path.extension().is_some_and(|e| e == EXTENSION)) {
            journals.push((number, path));
        }
    }
    journals.sort_unstable();
    Ok(journals)
}

/// What follows the whole batches of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// The end, or zeros only.
    Nothing,
    /// A broken batch.
    Torn,
    /// A broken batch, and a whole one after it.
    Whole,
}

/// The offset where the whole batches end, and what follows.
fn examine(path: &Path) -> io::Result<(u64, Rest)> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut reader = Reader { file: BufReader::with_capacity(CHUNK_BYTES, file), at: 0, len };
    let mut whole_to = 0;
    let mut last = None;
    while let Some(number) = reader.skip_batch()? {
        // The checksum does not cover the sequence number, but that must count up.
        if last >= Some(number) {
            return Ok((whole_to, Rest::Whole));
        }
        whole_to = reader.at;
        last = Some(number);
    }
    reader.go_to(whole_to)?;
    let mut rest = Vec::new();
    reader.file.by_ref().take(SEARCHED_BYTES_MAX).read_to_end(&mut rest)?;
    if rest.iter().all(|&byte| byte == 0) {
        return Ok((whole_to, Rest::Nothing));
    }
    for (at, bytes) in rest.windows(TRAILER.len()).enumerate() {
        if bytes == TRAILER {
            reader.go_to(whole_to + (at + TRAILER.len()) as u64)?;
            if reader.skip_batch()?.is_some() {
                return Ok((whole_to, Rest::Whole));
            }
        }
    }
    Ok((whole_to, Rest::Torn))
}

fn cut(path: &Path, at: u64) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).open(path)?;
    let len = file.metadata()?.len();
    file.set_len(at)?;
    file.sync_all()?;
    Ok(len - at)
}

fn io_error(path: &Path, source: io::Error) -> JournalError {
    JournalError::Io { path: path.to_owned(), source }
}

struct Reader {
    file: BufReader<File>,
    at: u64,
    len: u64,
}

impl Reader {
    /// Skips a batch, and returns its sequence number. `None`: there is no whole batch; the
    /// position is undefined then.
    fn skip_batch(&mut self) -> io::Result<Option<u64>> {
        if self.take()? != Some([TAG_START]) {
            return Ok(None);
        }
        let (Some(count), Some(number)) = (self.take()?, self.take()?) else { return Ok(None) };
        let mut hasher = Xxh3::new();
        for _ in 0..u32::from_le_bytes(count) {
            if !self.skip_item(&mut hasher)? {
                return Ok(None);
            }
        }
        let is_whole = self.take()? == Some([TAG_END])
            && self.take()? == Some(hasher.digest().to_le_bytes())
            && self.take()? == Some(TRAILER);
        Ok(is_whole.then(|| u64::from_le_bytes(number)))
    }

    fn skip_item(&mut self, hasher: &mut Xxh3) -> io::Result<bool> {
        let Some(tag) = self.take::<1>()? else { return Ok(false) };
        hasher.update(&tag);
        match tag[0] {
            TAG_CLEAR => {
                let Some(tree) = self.take::<8>()? else { return Ok(false) };
                hasher.update(&tree);
                Ok(true)
            }
            TAG_ITEM => {
                let Some(head) = self.take::<ITEM_HEAD_BYTES>()? else { return Ok(false) };
                hasher.update(&head);
                let key = u16::from_le_bytes([head[10], head[11]]);
                let stored = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
                self.skip_hashing(u64::from(key) + u64::from(stored), hasher)
            }
            _ => Ok(false),
        }
    }

    /// Skips bytes in chunks, since the length may be wrong.
    fn skip_hashing(&mut self, mut bytes: u64, hasher: &mut Xxh3) -> io::Result<bool> {
        if bytes > self.len.saturating_sub(self.at) {
            return Ok(false);
        }
        let mut chunk = [0; 1_024];
        while bytes > 0 {
            let part = usize::try_from(bytes).unwrap_or(chunk.len()).min(chunk.len());
            self.file.read_exact(&mut chunk[..part])?;
            hasher.update(&chunk[..part]);
            self.at += part as u64;
            bytes -= part as u64;
        }
        Ok(true)
    }

    /// The next bytes; `None` if there are fewer.
    fn take<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        if self.len.saturating_sub(self.at) < N as u64 {
            return Ok(None);
        }
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(Some(bytes))
    }

    fn go_to(&mut self, at: u64) -> io::Result<()> {
        self.at = at;
        self.file.seek(SeekFrom::Start(at)).map(drop)
    }
}

#[cfg(test)]
mod tests;
