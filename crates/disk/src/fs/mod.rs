//! Files inside a volume: one trait, [`FileSystem`], and one table of those who can read what, `READERS`.
//!
//! A reader is a module here with its row; several may know one kind of filesystem, and the next one is tried
//! where one refuses. Kept crates do most of the parsing; all of them stand behind [`open`], which puts a
//! cache below them and a guard around them: a panic is an error, and so is a call that does not end.

mod apfs;
mod btrfs;
mod bytes;
mod cache;
mod civil;
mod clusters;
mod cursor;
pub(crate) mod dos;
mod exfat;
mod ext;
mod fat;
mod guard;
mod hfsplus;
mod iso;
mod names;
mod node;
pub(crate) mod ntfs;
mod pool;
mod recent;
mod runs;
mod squashfs;
mod sums;
mod udf;
mod xfs;

pub(crate) use cache::Cache;
pub use guard::in_reader;
pub use node::{Case, Condition, DirEntry, Each, FileKind, Info, Metadata, NodeId, Stream, Time, Xattr};

use crate::probe::{self, Content};
use block::{Error, ErrorKind, Result, Source};
use std::sync::Arc;

/// The files of one volume, for reading. Nodes are addressed by [`NodeId`], never by path; any number of
/// threads may ask. What cannot be read because the source has it bad or absent is an error of that kind.
pub trait FileSystem: Send + Sync {
    /// What it is, and what is not covered.
    fn info(&self) -> &Info;

    /// The topmost directory.
    fn root(&self) -> NodeId;

    /// Calls `each` for every name in a directory, but `.` and `..`, in the order of the disk. Where it is damaged,
    /// or holds what can be no name (empty, with a slash or a zero byte), for what can be read of it, and then fails.
    fn read_dir(&self, dir: NodeId, each: Each<'_>) -> Result<()>;

    /// The file of this name, by the rules of the filesystem for upper and lower case. Readers that need
    /// not look through the whole directory do better than this.
    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        let (case, mut found) = (self.info().case, None);
        self.read_dir(dir, &mut |entry| {
            // An exact match wins where a directory holds several.
            if entry.name == name || (found.is_none() && case.same(&entry.name, name)) {
                found = Some(entry.node);
            }
            Ok(entry.name != name)
        })?;
        Ok(found)
    }

    /// What is known of a file.
    fn metadata(&self, node: NodeId) -> Result<Metadata>;

    /// Its content, or one of its streams by name. Holes are [`block::ExtentKind::Zero`] extents, where the
    /// reader knows them. Fails with [`ErrorKind::NotFound`] if there is no such stream.
    fn open(&self, node: NodeId, stream: Option<&[u8]>) -> Result<Source>;

    /// Where a symbolic link leads, in the bytes of the filesystem.
    fn read_link(&self, node: NodeId) -> Result<Vec<u8>>;

    /// Streams besides the content.
    fn streams(&self, _node: NodeId) -> Result<Vec<Stream>> {
        Ok(vec![])
    }

    /// Extended attributes.
    fn xattrs(&self, _node: NodeId) -> Result<Vec<Xattr>> {
        Ok(vec![])
    }
}

/// A row: who reads these kinds of content.
struct Reader {
    /// As blkid calls them.
    types: &'static [&'static str],
    /// Opens one. Fails with [`ErrorKind::Unsupported`] where it uses a feature that the reader does not know.
    open: fn(Source, &Content) -> Result<Box<dyn FileSystem>>,
}

/// Every reader; of several for one kind the better one first.
const READERS: &[Reader] = &[
    Reader { types: &["ext2", "ext3", "ext4", "ext4dev"], open: ext::open },
    Reader { types: &["apfs"], open: apfs::open },
    Reader { types: &["btrfs"], open: btrfs::open },
    Reader { types: &["exfat"], open: exfat::open },
    Reader { types: &["hfsplus"], open: hfsplus::open },
    Reader { types: &["iso9660"], open: iso::open },
    Reader { types: &["ntfs"], open: ntfs::open },
    Reader { types: &["squashfs"], open: squashfs::open },
    Reader { types: &["udf"], open: udf::open },
    Reader { types: &["vfat"], open: fat::open },
    Reader { types: &["xfs"], open: xfs::open },
];

/// Can files of this kind of content be listed?
pub fn is_readable(content: &Content) -> bool {
    READERS.iter().any(|reader| reader.types.contains(&content.type_name))
}

/// Opens the filesystem on `source`, a partition or volume by itself. Fails with [`ErrorKind::Unsupported`]
/// where there is none, or none that can be read, with what each reader said.
pub fn open(source: &Source) -> Result<Arc<dyn FileSystem>> {
    let Some(content) = probe::identify(&**source)? else {
        return Err(Error::new(ErrorKind::Unsupported, "no filesystem that is known"));
    };
    let source: Source = Arc::new(cache::Cache::new(Arc::clone(source)));
    let mut refusals: Vec<Error> = vec![];
    for reader in READERS.iter().filter(|reader| reader.types.contains(&content.type_name)) {
        let opened = guard::guarded(|| (reader.open)(Arc::clone(&source), &content));
        match opened {
            Ok(opened) => return Ok(Arc::new(guard::Guard(opened))),
            // Bytes that nobody has are no reason to try another reader, unless it needs less of them.
            Err(error) => refusals.push(error),
        }
    }
    let title = &content.title;
    let Some(first) = refusals.first() else {
        return Err(Error::new(ErrorKind::Unsupported, format!("files of {title} cannot be read yet")));
    };
    let kind = first.kind();
    let said: Vec<_> = refusals.iter().map(ToString::to_string).collect();
    Err(Error::new(kind, format!("files of {title} cannot be read: {}", said.join("; "))))
}
