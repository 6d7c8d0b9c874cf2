//! UDF 1.02 to 2.60 on blocks of 512 to 4096 bytes, but for media that are written once.
//!
//! Read here: the crate `fstool` knows files by path only and looks each path up from the root.

mod entry;
mod volume;

use super::bytes::{self, Fields, corrupt, narrow};
use super::recent::{Add, Listings};
use super::{Case, Condition, DirEntry, Each, FileKind, FileSystem, Info, Metadata, NodeId};
use crate::probe;
use block::{Error, ErrorKind, Result, Source};
use entry::Entry;
use volume::{Address, Volume, kind};

/// The kind of the descriptor of a name.
const NAME: u16 = 257;
/// Bits of what is said of a name.
const DIRECTORY: u8 = 2;
const DELETED: u8 = 4;
const PARENT: u8 = 8;
/// Bytes of the target of a link.
const LONGEST_TARGET: u64 = 64 << 10;

/// A node: a block, and its partition.
struct Udf {
    info: Info,
    volume: Volume,
    listings: Listings,
}

/// Opens one.
pub(super) fn open(source: Source, _: &probe::Content) -> Result<Box<dyn FileSystem>> {
    let volume = Volume::open(source)?;
    let mut missing = vec![];
    if volume.condition == Condition::Stale {
        missing.push("it was being written: its newest files may be missing".to_owned());
    }
    let info = Info {
        type_name: "udf",
        engine: "selfsame",
        case: Case::Sensitive,
        condition: volume.condition,
        missing,
    };
    let udf = Udf { info, volume, listings: Listings::new(Case::Sensitive) };
    // Without the root nothing is worth opening.
    udf.entry(udf.root())?;
    Ok(Box::new(udf))
}

fn node(address: Address) -> NodeId {
    NodeId { inode: address.block.into(), tree: address.partition.into() }
}

/// A name or a part of a target: the first byte says how many bytes a character takes. What cannot be in a name is
/// an underscore, as Linux has it.
fn name(field: &[u8]) -> Vec<u8> {
    let plain = |unit: u16| if matches!(unit, 0 | 0x2F) { 0x5F } else { unit };
    match field {
        [8 | 254, latin @ ..] => bytes::utf16(latin.iter().map(|byte| plain((*byte).into()))),
        [16 | 255, wide @ ..] => bytes::utf16(bytes::units(wide).map(plain)),
        _ => vec![],
    }
}

impl Udf {
    fn entry(&self, node: NodeId) -> Result<Entry> {
        let address = u32::try_from(node.inode).ok().zip(u16::try_from(node.tree).ok());
        let (block, partition) = address.ok_or_else(|| corrupt("no such file"))?;
        Entry::read(&self.volume, Address { block, partition })
    }

    fn list(&self, dir: NodeId, add: Add<'_>) -> Result<()> {
        let entry = self.entry(dir)?;
        if entry.kind()? != FileKind::Directory {
            return Err(Error::new(ErrorKind::NotFound, "not a directory"));
        }
        let content = entry.open(&self.volume)?;
        let content = bytes::read(&*content, 0, entry.size, "a directory")?;
        let mut rest = &content[..];
        while !rest.is_empty() {
            let f = Fields::new(rest, "a name in a directory");
            if kind(rest) != Some(NAME) {
                return Err(corrupt("a directory with something else than names"));
            }
            let (flags, len, private) = (f.u8(18)?, usize::from(f.u8(19)?), usize::from(f.u16(36)?));
            let name = name(f.slice(private.saturating_add(38), len)?);
            if flags & (DELETED | PARENT) == 0 && !name.is_empty() {
                let kind = (flags & DIRECTORY != 0).then_some(FileKind::Directory);
                add(DirEntry { name, node: node(Address::read(f, 20)?), kind })?;
            }
            // They are padded to four bytes, but for what the end of the directory may cut off.
            let taken = private.saturating_add(len).saturating_add(38).next_multiple_of(4);
            rest = rest.get(taken..).unwrap_or(&[]);
        }
        Ok(())
    }
}

impl FileSystem for Udf {
    fn info(&self) -> &Info {
        &self.info
    }

    fn root(&self) -> NodeId {
        node(self.volume.root)
    }

    fn read_dir(&self, dir: NodeId, each: Each<'_>) -> Result<()> {
        self.listings.read_dir(dir, each, |add| self.list(dir, add))
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        self.listings.lookup(dir, name, |add| self.list(dir, add))
    }

    fn metadata(&self, node: NodeId) -> Result<Metadata> {
        let mut known = self.entry(node)?.metadata()?;
        if known.kind == FileKind::Symlink {
            known.size = bytes::wide(self.read_link(node)?.len());
        }
        Ok(known)
    }

    fn open(&self, node: NodeId, stream: Option<&[u8]>) -> Result<Source> {
        let entry = self.entry(node)?;
        if stream.is_some() || entry.kind()? != FileKind::File {
            return Err(Error::new(ErrorKind::NotFound, "no such content"));
        }
        entry.open(&self.volume)
    }

    fn read_link(&self, node: NodeId) -> Result<Vec<u8>> {
        let entry = self.entry(node)?;
        if entry.kind()? != FileKind::Symlink {
            return Err(Error::new(ErrorKind::NotFound, "not a symbolic link"));
        }
        if entry.size > LONGEST_TARGET {
            return Err(corrupt(format!("a link with a target of {} bytes", narrow(entry.size))));
        }
        let content = entry.open(&self.volume)?;
        entry.target(&bytes::read(&*content, 0, entry.size, "the target of a link")?)
    }
}
