//! The embedded database: its trees, its tuning, and what its errors mean. The only user of fjall.
//!
//! All trees share one journal; so a group of changes is atomic, and one sync covers it. The
//! database's own threads move the journal into sorted tables and merge those.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{CompressionType, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::encode::{LAYOUT, LAYOUT_BEFORE};
use super::error::StoreError;
use super::journal::{self, JournalError};
use super::options::{Durability, StoreOptions};
use super::private;

pub(super) use fjall::Slice;

/// The database's directory, in the data directory.
const DATABASE: &str = "db";
/// Its name while it is made for the first time.
const DATABASE_NEW: &str = "db.new";
/// Exists while batches are written without waiting for the disk.
const UNSYNCED: &str = "unsynced";
/// Holds the number of a journal that existed, so that a missing one is noticed.
const NEWEST_JOURNAL: &str = "newest-journal";
/// Written and removed to find out whether the disk can be written.
const PROBE: &str = "probe";
/// Bytes of the probe: with less room, opening again would fail again at once.
const PROBE_BYTES: usize = 1 << 20;

/// Bytes of a tree's changes in memory from which they are written out as a table. 32 MiB: most
/// outbox entries are gone by then, and only their removal is written.
const MEMTABLE_BYTES: u64 = 32 << 20;
/// Bytes of all journals from which the trees that keep them are written out. 128 MiB bounds what a
/// start reads again, and the memory that takes.
const JOURNALS_BYTES: u64 = 128 << 20;
/// Threads of the database. 2: one may merge while the other writes out.
const WORKERS: usize = 2;
/// Most tables that the database keeps open.
const FILES_MAX: usize = 200;
/// Most descriptors that a store takes: its tables, its journals, the tables that are being
/// written, and directories.
pub const DESCRIPTORS_MAX: u64 = FILES_MAX as u64 + 40;
/// Bytes of a block. 16 KiB, since outboxes are read in order.
const BLOCK_BYTES: u32 = 16 << 10;

/// Pending tables and merges at which writing pauses. The database pauses at 4 and 20 itself, but
/// then waits for ever if its threads have failed; this file checks them.
const PENDING_TABLES_MAX: usize = 3;
const UNMERGED_TABLES_MAX: usize = 16;
const PRESSURE_PAUSE: Duration = Duration::from_millis(2);

/// The trees of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub(super) enum Tree {
    Meta,
    Sessions,
    Subscriptions,
    Outbox,
    Bodies,
    ExactlyOnce,
    Retained,
}

const TREES: [(Tree, &str); 7] = [
    (Tree::Meta, "meta"),
    (Tree::Sessions, "sessions"),
    (Tree::Subscriptions, "subscriptions"),
    (Tree::Outbox, "outbox"),
    (Tree::Bodies, "bodies"),
    (Tree::ExactlyOnce, "exactly-once"),
    (Tree::Retained, "retained"),
];

/// The key of the layout's number in `Meta`.
const LAYOUT_KEY: &[u8] = b"layout";

/// Why the database failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatabaseError {
    #[error(transparent)]
    Fjall(#[from] fjall::Error),
    #[error("the database's own threads failed earlier")]
    Poisoned,
    #[error("the database panicked")]
    Panicked,
}

/// An open database.
pub(super) struct Database {
    trees: [Keyspace; TREES.len()],
    database: fjall::Database,
    persist: PersistMode,
    dir: PathBuf,
    noted_journal: Cell<u64>,
}

/// Changes to make together.
pub(super) struct Batch {
    changes: fjall::OwnedWriteBatch,
    bytes: u64,
}

/// Keeps other servers out of a data directory while it lives.
#[derive(Debug)]
pub struct DirectoryLock {
    _locked: File,
}

/// Locks a data directory for this process, and makes it if it is missing.
///
/// # Errors
/// Another process has locked it, or it cannot be made or read.
pub fn lock_directory(dir: &Path) -> Result<DirectoryLock, StoreError> {
    let io = |source| StoreError::Io { dir: dir.to_owned(), source };
    private::make_dir(dir).map_err(io)?;
    let locked = File::open(dir).map_err(io)?;
    match locked.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(StoreError::InUse(dir.to_owned())),
        Err(fs::TryLockError::Error(source)) => return Err(io(source)),
    }
    private::warn_if_open(dir).map_err(io)?;
    Ok(DirectoryLock { _locked: locked })
}

impl Batch {
    /// Bytes of its keys and values.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Database {
    /// Opens the database in a locked data directory, and makes it if it is missing.
    pub(super) fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let dir = &options.dir;
        let io = |source| StoreError::Io { dir: dir.clone(), source };
        probe(dir).map_err(io)?;
        if !dir.join(DATABASE).try_exists().map_err(io)? {
            create(options)?;
        }
        let path = dir.join(DATABASE);
        let closed = private::close_tree(&path).map_err(io)?;
        if closed > 0 {
            tracing::info!("{closed} files of {} could be read by others, no more", path.display());
        }
        // If one of these is missing, fjall begins a new database on top of the old one, or removes
        // the tree. The first tree is fjall's own.
        let current = |tree: usize| path.join(format!("keyspaces/{tree}/current"));
        for needed in (0..=TREES.len()).map(current).chain([path.join("version")]) {
            if !needed.try_exists().map_err(io)? {
                return Err(damaged(dir, format!("{} is missing", needed.display())));
            }
        }
        let unsynced = dir.join(UNSYNCED);
        let newest = fs::read_to_string(dir.join(NEWEST_JOURNAL)).ok();
        let newest = newest.and_then(|text| text.trim().parse().ok());
        let cut = journal::check(&path, newest, unsynced.try_exists().map_err(io)?)
            .map_err(|error| explain_journal(error, dir))?;
        if cut > 0 {
            tracing::warn!(
                bytes = cut,
                "the end of the journal was being written when the server or the machine died, and \
                 is cut off: nothing in it was acknowledged, unless --durability was os and the \
                 machine lost power"
            );
        }
        let opened = Self::open_at(&path, options)?;
        // Opening has synced the journal.
        match options.durability {
            Durability::Os => File::create(&unsynced).and_then(|_| File::open(dir)?.sync_all()),
            Durability::Fsync => remove_if_there(&unsynced),
        }
        .map_err(io)?;
        opened.note_journals();
        Ok(opened)
    }

    /// Notes which journals exist. Call it now and then; a late or failed note does no harm.
    pub(super) fn note_journals(&self) {
        if let Ok(Some(newest)) = journal::newest(&self.dir.join(DATABASE))
            && newest != self.noted_journal.replace(newest)
        {
            let _ = fs::write(self.dir.join(NEWEST_JOURNAL), format!("{newest}\n"));
        }
    }

    fn open_at(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let dir = &options.dir;
        let opening = || -> Result<Self, fjall::Error> {
            let database = fjall::Database::builder(path)
                .cache_size(options.cache_bytes)
                .journal_compression(CompressionType::None)
                .manual_journal_persist(true)
                .max_cached_files(Some(FILES_MAX))
                .max_journaling_size(JOURNALS_BYTES)
                .worker_threads(WORKERS)
                .open()?;
            let mut trees = Vec::with_capacity(TREES.len());
            for (_, name) in TREES {
                trees.push(database.keyspace(name, tree_options)?);
            }
            let trees = trees.try_into().map_err(|_| fjall::Error::Unrecoverable)?;
            let persist = match options.durability {
                Durability::Fsync => PersistMode::SyncData,
                Durability::Os => PersistMode::Buffer,
            };
            Ok(Self { trees, database, persist, dir: dir.clone(), noted_journal: Cell::new(0) })
        };
        // Damaged files can trigger assertions in the database.
        let opened = catch_unwind(AssertUnwindSafe(opening))
            .unwrap_or_else(|_| Err(fjall::Error::Unrecoverable))
            .map_err(|error| explain(error, dir))?;
        opened.check_layout(dir)?;
        Ok(opened)
    }

    /// The note lies in the same journal as the new layout's first records, and before them.
    fn note_layout(&self) -> Result<(), DatabaseError> {
        let mut batch = self.batch(1);
        self.change(&mut batch, Tree::Meta, LAYOUT_KEY, Some(Slice::from(LAYOUT.to_be_bytes())));
        self.commit(batch).map(drop)
    }

    fn check_layout(&self, dir: &Path) -> Result<(), StoreError> {
        let unknown =
            |found| StoreError::UnknownLayout { dir: dir.to_owned(), found, known: LAYOUT };
        match self.read(Tree::Meta, LAYOUT_KEY) {
            Ok(Some(value)) => match <[u8; 4]>::try_from(&*value).map(u32::from_be_bytes) {
                Ok(LAYOUT) => Ok(()),
                Ok(LAYOUT_BEFORE) => self.note_layout().map_err(|error| error.at_start(dir)),
                Ok(other) => Err(unknown(other.to_string())),
                Err(_) => Err(unknown("no number".to_owned())),
            },
            Ok(None) => Err(unknown("none".to_owned())),
            Err(error) => Err(damaged(dir, error.to_string())),
        }
    }

    /// An empty batch.
    pub(super) fn batch(&self, changes: usize) -> Batch {
        let changes = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), changes);
        Batch { changes, bytes: 0 }
    }

    /// Adds a change: a new value, or `None` to remove.
    pub(super) fn change(&self, batch: &mut Batch, tree: Tree, key: &[u8], value: Option<Slice>) {
        batch.bytes += key.len() as u64;
        match value {
            Some(value) => {
                batch.bytes += value.len() as u64;
                batch.changes.insert(self.tree(tree), key, value);
            }
            None => batch.changes.remove(self.tree(tree), key),
        }
    }

    /// Makes the changes of a batch, and waits as long as the durability requires. Returns how long
    /// it waited for the disk, if it did. After an error none of the changes is certain, and the
    /// database must be dropped.
    pub(super) fn commit(&self, batch: Batch) -> Result<Option<Duration>, DatabaseError> {
        self.await_capacity()?;
        batch.changes.commit()?;
        let started = Instant::now();
        self.database.persist(self.persist)?;
        Ok((self.persist != PersistMode::Buffer).then(|| started.elapsed()))
    }

    /// Waits until the database's threads have caught up.
    fn await_capacity(&self) -> Result<(), DatabaseError> {
        loop {
            let behind = self.trees.iter().any(|tree| {
                tree.sealed_memtable_count() >= PENDING_TABLES_MAX
                    || tree.l0_table_count() >= UNMERGED_TABLES_MAX
            });
            if !behind {
                return Ok(());
            }
            // Nothing is buffered, so this only tells whether the threads are alive.
            self.database.persist(PersistMode::Buffer).map_err(|_| DatabaseError::Poisoned)?;
            std::thread::sleep(PRESSURE_PAUSE);
        }
    }

    /// The value of a key.
    pub(super) fn read(&self, tree: Tree, key: &[u8]) -> Result<Option<Slice>, DatabaseError> {
        Ok(self.tree(tree).get(key)?)
    }

    /// Keys and values from `from` on while keys begin with `prefix`, in order.
    pub(super) fn scan(
        &self,
        tree: Tree,
        prefix: &[u8],
        from: &[u8],
    ) -> impl Iterator<Item = Result<(Slice, Slice), DatabaseError>> + use<> {
        let prefix = prefix.to_vec();
        self.tree(tree)
            .range::<&[u8], _>(from..)
            .map(|guard| guard.into_inner().map_err(DatabaseError::from))
            .take_while(move |found| {
                found.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix))
            })
    }

    /// Keys that begin with `prefix`, in order.
    pub(super) fn keys(
        &self,
        tree: Tree,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<Slice, DatabaseError>> + use<> {
        self.tree(tree).prefix(prefix).map(|guard| guard.key().map_err(DatabaseError::from))
    }

    /// Bytes on disk; `None` if that is unknown.
    pub(super) fn disk_bytes(&self) -> Option<u64> {
        self.database.disk_space().ok()
    }

    fn tree(&self, tree: Tree) -> &Keyspace {
        &self.trees[tree as usize]
    }
}

fn tree_options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .manual_journal_persist(true)
        .max_memtable_size(MEMTABLE_BYTES)
        .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
        .data_block_compression_policy(CompressionPolicy::disabled())
        // The store never looks up a key that is not there.
        .filter_policy(FilterPolicy::all(FilterPolicyEntry::None))
        .expect_point_read_hits(true)
}

/// Makes the database under another name first, so that one under its own name is complete.
fn create(options: &StoreOptions) -> Result<(), StoreError> {
    let dir = &options.dir;
    let io = |source| StoreError::Io { dir: dir.clone(), source };
    let path = dir.join(DATABASE_NEW);
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    {
        let opening = || -> Result<(), fjall::Error> {
            let database = fjall::Database::builder(&path).worker_threads(1).open()?;
            for (_, name) in TREES {
                database.keyspace(name, tree_options)?;
            }
            let meta = database.keyspace(TREES[Tree::Meta as usize].1, tree_options)?;
            meta.insert(LAYOUT_KEY, LAYOUT.to_be_bytes())?;
            database.persist(PersistMode::SyncAll)
        };
        opening().map_err(|error| explain(error, dir))?;
    }
    fs::rename(&path, dir.join(DATABASE)).map_err(io)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
}

/// Checks that the disk can be written.
pub(super) fn probe(dir: &Path) -> io::Result<()> {
    let path = dir.join(PROBE);
    let written = write_probe(&path);
    // Remove it in any case, above all if the disk is full.
    let removed = remove_if_there(&path);
    written.and(removed)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn write_probe(path: &Path) -> io::Result<()> {
    use io::Write as _;
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(&vec![0x5a; PROBE_BYTES])?;
    file.sync_data()
}

impl DatabaseError {
    /// The error in words, for the operator who starts the server.
    pub(super) fn at_start(self, dir: &Path) -> StoreError {
        match self {
            Self::Fjall(error) => explain(error, dir),
            other => damaged(dir, other.to_string()),
        }
    }
}

/// Why the database could not be opened, in words for the operator.
fn explain(error: fjall::Error, dir: &Path) -> StoreError {
    let io = |source: io::Error| {
        // fjall reads at an offset past the end of a file that is too short: an invalid argument.
        use io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
        if matches!(source.kind(), NotFound | UnexpectedEof | InvalidData | InvalidInput) {
            damaged(dir, format!("a file is missing or too short: {source}"))
        } else {
            StoreError::Io { dir: dir.to_owned(), source }
        }
    };
    match error {
        fjall::Error::Locked => StoreError::InUse(dir.to_owned()),
        fjall::Error::InvalidVersion(found) => StoreError::UnknownLayout {
            dir: dir.to_owned(),
            found: found.map_or_else(|| "none".to_owned(), |v| format!("of database format {v}")),
            known: LAYOUT,
        },
        fjall::Error::Io(source) => io(source),
        fjall::Error::Storage(fjall::LsmError::Io(source)) => io(source),
        other => damaged(dir, other.to_string()),
    }
}

fn explain_journal(error: JournalError, dir: &Path) -> StoreError {
    match error {
        JournalError::Io { source, .. } => StoreError::Io { dir: dir.to_owned(), source },
        other => damaged(dir, other.to_string()),
    }
}

fn damaged(dir: &Path, detail: String) -> StoreError {
    StoreError::Damaged { dir: dir.to_owned(), detail }
}

#[cfg(test)]
mod tests;
