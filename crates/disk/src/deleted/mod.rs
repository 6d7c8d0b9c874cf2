//! Deleted files: what is left of them, and whether their bytes may still be theirs.
//!
//! One table, `FINDERS`, one row a family of filesystems; a new one is a file and a row. Nothing here needs a
//! reader of [`crate::fs`], so it works where they refuse. Each finder says of every file what can be *proved*:
//! [`Chance::Intact`] is given only where each byte has a place that is free now, that nobody else claims, and
//! that nothing on the volume says was written to since. Everything less is [`Chance::Partial`].

mod bits;
mod claims;
mod content;
mod evidence;
mod exfat;
mod exfat_entry;
mod ext;
mod ext_log;
mod ext_map;
mod ext_names;
mod ext_space;
mod fat;
mod fat_entry;
mod jbd2;
mod names;
mod ntfs;
mod ntfs_record;
mod reads;

use crate::fs::Time;
use crate::probe;
use block::{Error, ErrorKind, Result, Source};
use content::Content;
use reads::Reads;
use std::fmt;

/// Files that are listed of one volume at most.
const FILES: usize = 200_000;
/// Runs of all of them together.
const RUNS: usize = 2_000_000;
/// Extents of the source that are looked at for all of them.
const EXTENTS: u64 = 5_000_000;

/// What can be said of the bytes of a deleted file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chance {
    /// All of them are still there.
    Intact,
    /// Some may be those of other files, or are not there; or nothing proves that they are its own.
    Partial,
    /// None of them is its own any more, or all are lost.
    Overwritten,
}

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Intact => "intact",
            Self::Partial => "partial",
            Self::Overwritten => "overwritten",
        })
    }
}

/// A file that was deleted, as far as it is known.
#[derive(Clone, Debug)]
pub struct DeletedFile {
    /// Tells it from all others of this volume, and is the same each time that it is read: a record, the byte
    /// of its entry, an inode.
    pub id: u64,
    /// One component, in the bytes of the filesystem; UTF-16 names as UTF-8. The first letter of a short name
    /// of FAT is gone, and `_` here. A stream of NTFS is `name:stream`.
    pub name: Option<Vec<u8>>,
    /// The folder that it was in: names with `/` between them, from the root, which is empty.
    pub folder: Option<Vec<u8>>,
    /// Bytes.
    pub size: u64,
    /// Content changed.
    pub modified: Option<Time>,
    /// Content read.
    pub accessed: Option<Time>,
    /// Metadata changed.
    pub changed: Option<Time>,
    /// Made.
    pub created: Option<Time>,
    /// Deleted.
    pub deleted: Option<Time>,
    /// What can be said of its bytes.
    pub chance: Chance,
    /// Why it is not [`Chance::Intact`].
    pub why: Option<&'static str>,
    content: Content,
}

impl DeletedFile {
    /// Its bytes in `source`, the volume that it was found on. Holes are [`block::ExtentKind::Zero`]; where its
    /// place is not known any more they are [`block::ExtentKind::Absent`]. What other files wrote over it is
    /// read as if it was its own: [`DeletedFile::chance`] says so. Fails with [`ErrorKind::Unsupported`] if its
    /// bytes are kept in a way that is not understood.
    pub fn open(&self, source: &Source) -> Result<Source> {
        self.content.open(source, self.size)
    }

    /// With these bytes and nothing else known.
    fn new(id: u64, size: u64, content: Content) -> Self {
        Self {
            id,
            name: None,
            folder: None,
            size,
            modified: None,
            accessed: None,
            changed: None,
            created: None,
            deleted: None,
            chance: Chance::Intact,
            why: None,
            content,
        }
    }

    /// Makes it no better than this, and keeps the first reason.
    fn worsen(&mut self, chance: Chance, why: &'static str) {
        self.chance = self.chance.max(chance);
        self.why.get_or_insert(why);
    }
}

/// What was found on a volume.
#[derive(Clone, Debug)]
pub struct Found {
    /// The filesystem, as blkid calls it: `ext4`.
    pub type_name: &'static str,
    /// In the order of the disk.
    pub files: Vec<DeletedFile>,
    /// Sentences: what was not covered. Always told to the user.
    pub missing: Vec<String>,
}

impl Found {
    fn new(type_name: &'static str) -> Self {
        Self { type_name, files: vec![], missing: vec![] }
    }

    /// Is there no room for another file with so many runs? Said once.
    fn is_full(&mut self, runs: usize, used: &mut usize) -> bool {
        *used = used.saturating_add(runs);
        let full = self.files.len() >= FILES || *used > RUNS;
        let words = "There are more deleted files than are listed here.";
        if full && !self.missing.iter().any(|said| said == words) {
            self.missing.push(words.to_owned());
        }
        full
    }
}

/// A row: who finds deleted files in these kinds of content.
struct Finder {
    /// As blkid calls them.
    types: &'static [&'static str],
    /// Finds them. Fails with [`ErrorKind::Corrupt`] where nothing can be made of the volume.
    find: fn(&Reads, &'static str) -> Result<Found>,
}

/// Every finder.
const FINDERS: &[Finder] = &[
    Finder { types: &["ext2", "ext3", "ext4", "ext4dev"], find: ext::find },
    Finder { types: &["ntfs"], find: ntfs::find },
    Finder { types: &["vfat"], find: fat::find },
    Finder { types: &["exfat"], find: exfat::find },
];

/// Can deleted files of this kind of content be looked for?
pub fn is_covered(content: &probe::Content) -> bool {
    FINDERS.iter().any(|finder| finder.types.contains(&content.type_name))
}

/// The deleted files of the filesystem on `source`, a partition or volume by itself. Fails with
/// [`ErrorKind::Unsupported`] where there is none, or none that this can be done for.
pub fn find(source: &Source) -> Result<Found> {
    let Some(content) = probe::identify(&**source)? else {
        return Err(Error::new(ErrorKind::Unsupported, "no filesystem that is known"));
    };
    let finder = FINDERS.iter().find(|finder| finder.types.contains(&content.type_name));
    let Some(finder) = finder else {
        let words = format!("deleted files of {} cannot be found yet", content.title);
        return Err(Error::new(ErrorKind::Unsupported, words));
    };
    let reads = Reads::new(source);
    let mut found = (finder.find)(&reads, content.type_name)?;
    let mut left = EXTENTS;
    for file in &mut found.files {
        // What nobody has read is not intact, whatever its filesystem says.
        let lost = file.content.lost(&**source, file.size, &mut left)?;
        lost.worsen(file, "some of it is not in this source", "none of it is in this source");
    }
    reads.finish(&mut found.missing);
    Ok(found)
}
