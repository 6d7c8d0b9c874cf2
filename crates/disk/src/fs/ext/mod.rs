//! Files of ext2, ext3 and ext4. The structures on the disk and the replay of the journal are those of
//! `ferrosys`; the way from an inode to its bytes is ours, so that features it refuses can be read too.

mod blocks;
mod dir;
mod file;
mod map;
mod sums;
mod superblock;
mod xattr;

use super::cursor::{Cursor, failed};
use super::names::Names;
use super::pool::Pool;
use super::{Case, Condition, DirEntry, Each, FileKind, FileSystem, Info, Metadata, NodeId, Time, Xattr};
use crate::probe::Content;
use block::{Error, ErrorKind, ReadAt, Result, Source};
use blocks::{Blocks, Replayed};
use ferrosys::ext::ondisk::{GroupDescriptor, Inode, InodeFlags, SuperBlock};
use ferrosys::ext::{OpenOptions, ReadPolicy, Reader, Timestamp};
use file::{File, Inline};
use map::Node;
use std::collections::HashSet;
use std::sync::Arc;
use sums::Sums;
use superblock::Geometry;
use xattr::{Stored, Value};

/// Inode of the topmost directory.
const ROOT: u32 = 2;
/// In `i_flags`.
const ENCRYPTED: u32 = 0x800;
const HUGE_FILE: u32 = 0x4_0000;
const INLINE_DATA: u32 = 0x1000_0000;
/// Bytes of a symbolic link's target, as everywhere in Linux.
const LONGEST_LINK: u64 = 4096;
/// Bytes of all extended attributes of a file that have inodes of their own.
const LARGEST_ATTRIBUTES: u32 = 8 << 20;

/// An open filesystem.
struct Ext {
    info: Info,
    geometry: Geometry,
    sums: Sums,
    blocks: Arc<Blocks>,
    names: Names,
    concurrency: usize,
}

/// Opens one.
pub(super) fn open(source: Source, content: &Content) -> Result<Box<dyn FileSystem>> {
    let mut bytes = vec![0; SuperBlock::SIZE];
    source.read_at(superblock::SUPERBLOCK_AT, &mut bytes)?;
    let mut sb = SuperBlock::read_from(&bytes).map_err(failed)?;
    let mut missing = superblock::check_features(&sb)?;
    let (condition, mut replayed) = (Condition::Clean, None);
    let condition = if superblock::needs_recovery(&sb) {
        match replay(&source) {
            Ok((pool, newer, skipped)) => {
                (sb, replayed) = (newer, Some(pool));
                if skipped > 0 {
                    missing.push(format!("{skipped} blocks of its journal are damaged and were left out"));
                }
                Condition::Replayed
            }
            Err(error) => {
                missing.push(format!("its journal could not be replayed: {error}"));
                Condition::Stale
            }
        }
    } else if superblock::was_left_open(&sb) {
        Condition::Stale
    } else {
        condition
    };
    let geometry = Geometry::new(&sb)?;
    let blocks = Arc::new(Blocks::new(&source, replayed, &geometry));
    let info =
        Info { type_name: content.type_name, engine: "ferrosys", case: Case::Sensitive, condition, missing };
    let concurrency = source.concurrency();
    let sums = Sums::new(&sb);
    let ext = Ext { info, geometry, sums, blocks, names: Names::default(), concurrency };
    if FileKind::of_mode(ext.inode(ROOT)?.inode.mode.into(), || (0, 0)) != FileKind::Directory {
        return Err(superblock::corrupt("its topmost directory"));
    }
    Ok(Box::new(ext))
}

/// Replays the journal in memory: readers that see its blocks, the superblock it leaves, and how many copies
/// in it are damaged.
fn replay(source: &Source) -> Result<(Replayed, SuperBlock, u32)> {
    let from = Source::clone(source);
    // Leniently, because one damaged copy in the journal is no reason to leave out all the others, and because
    // features are judged here.
    let options = OpenOptions::new().policy(ReadPolicy::Lenient);
    let open = move || Reader::open_with(Cursor::new(&from), &options).map_err(failed);
    let pool: Replayed = Pool::new(open)?;
    let (skipped, sb) = pool.with(|reader| {
        let done = reader.journal_replay().ok_or_else(|| {
            let words = "it is on another device, damaged, or of a kind that is not known";
            Error::new(ErrorKind::Unsupported, words)
        })?;
        Ok((done.skipped, reader.superblock().clone()))
    })?;
    superblock::check_features(&sb)?;
    Ok((pool, sb, skipped))
}

impl Ext {
    fn inode(&self, number: u32) -> Result<Node> {
        let none = || Error::new(ErrorKind::Corrupt, format!("there is no inode {number}"));
        let (group, within) = self.geometry.inode_place(number).ok_or_else(none)?;
        let mut bytes = vec![0; self.geometry.inode.into()];
        self.blocks.read(self.inode_table(group)?, within, &mut bytes)?;
        let sums = self.sums.of_file(number, &bytes)?;
        let mut inode = Inode::read_from(&bytes, self.geometry.inode).map_err(failed)?;
        // The upper halves mean something else where the features for them are not there.
        if !self.geometry.huge_file {
            inode.blocks &= u64::from(u32::MAX);
        }
        if !self.geometry.wide {
            inode.file_acl &= u64::from(u32::MAX);
        }
        Ok(Node { inode, sums })
    }

    /// Where the inodes of a group begin, by its descriptor or, if that cannot be read, a copy of it.
    fn inode_table(&self, group: u64) -> Result<u64> {
        let read = |(block, at)| {
            let mut bytes = vec![0; self.geometry.descriptor];
            self.blocks.read(block, at, &mut bytes)?;
            let group = GroupDescriptor::read_from(&bytes, self.geometry.descriptor).map_err(failed)?;
            match group.inode_table {
                table if (1..self.geometry.blocks).contains(&table) => Ok(table),
                _ => Err(superblock::corrupt("the place of its inodes")),
            }
        };
        let place = self.geometry.descriptor_place(group);
        read(place.ok_or_else(|| superblock::corrupt("its number of groups"))?).or_else(|error| {
            let copies = self.geometry.descriptor_copies(group);
            copies.into_iter().find_map(|place| read(place).ok()).ok_or(error)
        })
    }

    /// The inode of a file that is in use.
    fn node(&self, node: NodeId) -> Result<Node> {
        let number = u32::try_from(node.inode).unwrap_or(0);
        let node = self.inode(number)?;
        if node.inode.mode == 0 || node.inode.links_count == 0 {
            return Err(Error::new(ErrorKind::Corrupt, format!("inode {number} has no file in it")));
        }
        Ok(node)
    }

    fn kind(inode: &Inode) -> FileKind {
        FileKind::of_mode(inode.mode.into(), || device(inode))
    }

    /// Content for those that may not be read without a key is an error.
    fn content(&self, node: Node) -> Result<Source> {
        let inode = &node.inode;
        let flags = inode.flags.bits();
        if flags & ENCRYPTED != 0 {
            return Err(Error::new(ErrorKind::Unsupported, "it is encrypted, and its key is not here"));
        }
        if flags & INLINE_DATA == 0 {
            return Ok(Arc::new(File::new(&self.blocks, node, self.concurrency)?));
        }
        let mut bytes = [&inode.block[..], &self.inline_rest(inode)?].concat();
        let size = usize::try_from(inode.size).unwrap_or(usize::MAX);
        if size > bytes.len() {
            return Err(superblock::corrupt("the size of a file inside its inode"));
        }
        bytes.truncate(size);
        Ok(Arc::new(Inline(bytes)))
    }

    /// What does not fit where the block numbers would be.
    fn inline_rest(&self, inode: &Inode) -> Result<Vec<u8>> {
        let stored = xattr::in_inode(&inode.inline_xattr)?;
        match stored.into_iter().find(Stored::is_inline_data).map(|stored| stored.value) {
            Some(Value::Here(value)) => Ok(value),
            Some(Value::Inode(number, size)) => self.value_of(number, size),
            None => Ok(vec![]),
        }
    }

    /// The value of an attribute that has an inode of its own.
    fn value_of(&self, number: u32, size: u32) -> Result<Vec<u8>> {
        let content = File::new(&self.blocks, self.inode(number)?, 1)?;
        let mut value = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        content.read_at(0, &mut value)?;
        Ok(value)
    }
}

impl FileSystem for Ext {
    fn info(&self) -> &Info {
        &self.info
    }

    fn root(&self) -> NodeId {
        NodeId::inode(ROOT.into())
    }

    fn read_dir(&self, dir: NodeId, each: Each<'_>) -> Result<()> {
        let node = self.node(dir)?;
        let inode = &node.inode;
        let flags = inode.flags.bits();
        if Self::kind(inode) != FileKind::Directory {
            return Err(Error::new(ErrorKind::Usage, "it is not a directory"));
        }
        if flags & ENCRYPTED != 0 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "its names are encrypted, and their key is not here",
            ));
        }
        let mut give = |(entries, damage): (Vec<DirEntry>, Result<()>)| {
            for entry in entries {
                if !each(entry)? {
                    return Ok((false, Ok(())));
                }
            }
            Ok((true, damage))
        };
        if flags & INLINE_DATA != 0 {
            // In front of the names is the number of the directory that it is in.
            let (more, damage) = give(dir::names(inode.block.get(4..).unwrap_or(&[]), &self.geometry))?;
            if !more {
                return Ok(());
            }
            damage?;
            return give(dir::names(&self.inline_rest(inode)?, &self.geometry))?.1;
        }
        // The 512-byte sectors tell what the 32 bits of its size cannot.
        if inode.blocks > u64::from(u32::MAX) / 512 {
            return Err(Error::new(ErrorKind::Unsupported, "a directory of more than 4 GiB"));
        }
        let (mut at, blocks) = (0, inode.size.div_ceil(self.blocks.size.get()));
        let (mut seen, mut failure) = (HashSet::new(), Ok(()));
        while at < blocks {
            let run = map::find(&self.blocks, &node, at)?;
            let count = run.count.min(blocks.saturating_sub(at));
            for n in 0..run.start.map_or(0, |_| count) {
                let number = run.start.unwrap_or(0).saturating_add(n);
                if !seen.insert(number) {
                    return Err(Error::new(ErrorKind::Corrupt, format!("block {number} is in it twice")));
                }
                // A block that is damaged or that nobody has hides its own names alone.
                let block = match self.blocks.block(number) {
                    Ok(block) => block,
                    Err(error) => {
                        failure = failure.and(Err(error));
                        continue;
                    }
                };
                failure = failure.and(node.sums.check_directory(number, &block));
                let (more, damage) = give(dir::names(&block, &self.geometry))?;
                if !more {
                    return Ok(());
                }
                failure = failure.and(damage);
            }
            at = at.saturating_add(count);
        }
        failure
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        self.names.lookup(self, dir, name)
    }

    fn metadata(&self, node: NodeId) -> Result<Metadata> {
        let inode = self.node(node)?.inode;
        let unit = if inode.flags.bits() & HUGE_FILE != 0 && self.geometry.huge_file {
            self.blocks.size.get()
        } else {
            512
        };
        let created = Inode::has_crtime(self.geometry.inode, inode.extra_isize).then_some(inode.crtime);
        Ok(Metadata {
            allocated: inode.blocks.checked_mul(unit),
            links: inode.links_count.into(),
            mode: Some(inode.mode & 0o7777),
            uid: Some(inode.uid),
            gid: Some(inode.gid),
            modified: Some(time(inode.mtime)),
            accessed: Some(time(inode.atime)),
            changed: Some(time(inode.ctime)),
            created: created.map(time),
            ..Metadata::new(Self::kind(&inode), inode.size)
        })
    }

    fn open(&self, node: NodeId, stream: Option<&[u8]>) -> Result<Source> {
        let node = self.node(node)?;
        if stream.is_some() {
            return Err(Error::new(ErrorKind::NotFound, "there are no streams besides the content"));
        }
        if Self::kind(&node.inode) != FileKind::File {
            return Err(Error::new(ErrorKind::Usage, "it is not a file with content"));
        }
        self.content(node)
    }

    fn read_link(&self, node: NodeId) -> Result<Vec<u8>> {
        let node = self.node(node)?;
        let inode = &node.inode;
        if Self::kind(inode) != FileKind::Symlink {
            return Err(Error::new(ErrorKind::Usage, "it is not a symbolic link"));
        }
        let len = Some(inode.size).filter(|size| *size <= LONGEST_LINK);
        let len = len.and_then(|len| usize::try_from(len).ok());
        let mut target = vec![0; len.ok_or_else(|| superblock::corrupt("the length of a link"))?];
        // A short one lies where the block numbers would be: then no blocks are its own, but for those of
        // its attributes.
        let attributes = if inode.file_acl == 0 { 0 } else { self.geometry.cluster / 512 };
        let elsewhere = inode.flags.bits() & (ENCRYPTED | INLINE_DATA | InodeFlags::EXTENTS.bits()) != 0;
        match inode.block.get(..target.len()) {
            Some(short) if !elsewhere && inode.blocks <= attributes => target.copy_from_slice(short),
            _ => self.content(node)?.read_at(0, &mut target)?,
        }
        Ok(target)
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        let inode = self.node(node)?.inode;
        let mut stored = xattr::in_inode(&inode.inline_xattr)?;
        if inode.file_acl != 0 {
            let block = self.blocks.block(inode.file_acl)?;
            self.sums.check_attributes(inode.file_acl, &block)?;
            stored.append(&mut xattr::in_block(&block)?);
        }
        let (mut shown, mut left) = (vec![], LARGEST_ATTRIBUTES);
        for mut attribute in stored {
            if attribute.is_inline_data() {
                continue;
            }
            let value = match std::mem::replace(&mut attribute.value, Value::Here(vec![])) {
                Value::Here(value) => value,
                Value::Inode(number, size) => {
                    left = left
                        .checked_sub(size)
                        .ok_or_else(|| superblock::corrupt("the size of its attributes"))?;
                    self.value_of(number, size)?
                }
            };
            shown.extend(attribute.shown(value)?);
        }
        Ok(shown)
    }
}

fn time(time: Timestamp) -> Time {
    // What a damaged inode may say beyond a second is none.
    Time { seconds: time.secs, nanos: Some(time.nanos).filter(|nanos| *nanos < 1_000_000_000).unwrap_or(0) }
}

/// Major and minor of a device, in the old form of 16 bits or the new one behind it.
fn device(inode: &Inode) -> (u32, u32) {
    let word = |at| block::field::u32_at(&inode.block, at).unwrap_or(0);
    match (word(0), word(4)) {
        (0, new) => ((new >> 8) & 0xFFF, (new & 0xFF) | ((new >> 12) & 0xF_FF00)),
        (old, _) => ((old >> 8) & 0xFF, old & 0xFF),
    }
}
