//! The volume: its header, its trees, and where the bytes of a fork lie.

use super::super::bytes::{self, Fields, corrupt};
use super::super::runs::{Run, Runs};
use super::super::{Condition, Xattr};
use super::record::{self, Fork};
use super::tree::{self, Tree};
use block::{ByteRange, Error, ErrorKind, Result, Slice, Source};
use std::sync::Arc;

/// Numbers of files that every volume has.
const EXTENTS: u32 = 3;
const CATALOG: u32 = 4;
const ATTRIBUTES: u32 = 8;
/// The two forks in the tree of further extents.
const CONTENT: u8 = 0;
pub(super) const RESOURCES: u8 = 0xFF;
/// Bytes of the attributes of a file.
const LARGEST_ATTRIBUTES: u64 = 16 << 20;
/// The attribute that says how a file is compressed.
pub(super) const PACKING: &[u8] = b"com.apple.decmpfs";

/// In the attributes of the volume.
const UNMOUNTED: u32 = 1 << 8;
const JOURNALED: u32 = 1 << 13;

pub(super) struct Volume {
    source: Source,
    block_size: u64,
    overflow: Option<Tree>,
    pub(super) catalog: Tree,
    attributes: Option<Tree>,
    pub(super) is_sensitive: bool,
    pub(super) condition: Condition,
    pub(super) missing: Vec<String>,
}

impl Volume {
    pub(super) fn open(source: Source) -> Result<Self> {
        let source = unwrapped(source)?;
        let head = bytes::read(&*source, 1024, 512, "its volume header")?;
        let f = Fields::new(&head, "its volume header");
        let block_size = u64::from(f.be32(40)?);
        if !block_size.is_power_of_two() || block_size < 512 {
            return Err(corrupt(format!("blocks of {block_size} bytes")));
        }
        let fork = |number: usize| Fork::read(f, number.saturating_mul(80).saturating_add(112));
        let overflow = fork(1)?;
        let open = |fork: &Fork, more, id, what| -> Result<Tree> {
            Tree::open(place(&source, block_size, fork, more, id, CONTENT)?, what)
        };
        let overflow = match overflow.blocks {
            0 => None,
            _ => Some(open(&overflow, None, EXTENTS, "the tree of extents")?),
        };
        let catalog = open(&fork(2)?, overflow.as_ref(), CATALOG, "the catalog")?;
        let attributes = fork(3)?;
        let mut missing = vec![];
        let attributes = match attributes.blocks {
            0 => None,
            _ => match open(&attributes, overflow.as_ref(), ATTRIBUTES, "the tree of attributes") {
                Ok(tree) => Some(tree),
                Err(error) => {
                    missing.push(format!("extended attributes and compressed files: {error}"));
                    None
                }
            },
        };
        let flags = f.be32(4)?;
        let mut condition = if flags & UNMOUNTED == 0 { Condition::Stale } else { Condition::Clean };
        // A journal that cannot be read is one that nobody replays.
        let journal = Some(f.be32(12)?).filter(|block| *block != 0 && flags & JOURNALED != 0);
        if journal.is_some_and(|block| journal_has_changes(&source, block_size, block).unwrap_or(true)) {
            condition = Condition::Stale;
            missing
                .push("its journal holds changes that are not applied: the newest may be missing".to_owned());
        }
        let is_sensitive = f.slice(0, 2)? == b"HX" && catalog.compare == 0xBC;
        Ok(Self { source, block_size, overflow, catalog, attributes, is_sensitive, condition, missing })
    }

    /// The bytes of a fork of file `id`.
    pub(super) fn fork(&self, fork: &Fork, id: u32, which: u8) -> Result<Source> {
        place(&self.source, self.block_size, fork, self.overflow.as_ref(), id, which)
    }

    pub(super) fn content(&self, fork: &Fork, id: u32) -> Result<Source> {
        self.fork(fork, id, CONTENT)
    }

    /// The attributes of file `id`: all, or the one of this name; names as they are on the disk.
    pub(super) fn attributes(&self, id: u32, only: Option<&[u8]>) -> Result<Vec<Xattr>> {
        let Some(attributes) = &self.attributes else { return Ok(vec![]) };
        let (mut found, mut total) = (vec![], 0_u64);
        let key = |record: &[u8]| Fields::new(record, "an attribute").be32(4);
        attributes.walk(&|record| Ok(key(record)?.cmp(&id)), &mut |_, record| {
            if key(record)? != id {
                return Ok(false);
            }
            let name = tree::name(Fields::new(record, "an attribute"), 12)?;
            let name = bytes::utf16(name);
            if only.is_some_and(|only| only != name) {
                return Ok(true);
            }
            let f = Fields::new(tree::body(record)?, "an attribute");
            let value = match f.be32(0)? {
                0x10 => f.slice(16, bytes::narrow(f.be32(12)?.into()))?.to_vec(),
                0x20 => {
                    let fork = Fork::read(f, 8)?;
                    if fork.size > LARGEST_ATTRIBUTES {
                        return Err(corrupt("an attribute of more than 16 MiB"));
                    }
                    let value = place(&self.source, self.block_size, &fork, None, id, CONTENT)?;
                    bytes::read(&*value, 0, fork.size, "an attribute")?
                }
                // More pieces of one before.
                0x30 => return Ok(true),
                other => return Err(corrupt(format!("an attribute of kind {other}"))),
            };
            total = total.saturating_add(bytes::wide(value.len()));
            if total > LARGEST_ATTRIBUTES {
                return Err(corrupt("attributes of more than 16 MiB"));
            }
            found.push(Xattr { name, value });
            Ok(only.is_none())
        })?;
        Ok(found)
    }
}

/// The volume in its wrapper of HFS, if it has one.
fn unwrapped(source: Source) -> Result<Source> {
    let head = bytes::read(&*source, 1024, 512, "its volume header")?;
    let f = Fields::new(&head, "its volume header");
    if f.slice(0, 2)? != b"BD" {
        return Ok(source);
    }
    let block_size = u64::from(f.be32(20)?);
    let start = u64::from(f.be16(28)?).saturating_mul(512);
    let start = start.saturating_add(u64::from(f.be16(126)?).saturating_mul(block_size));
    let len = u64::from(f.be16(128)?).saturating_mul(block_size);
    let end = start.saturating_add(len).min(source.size());
    Ok(Arc::new(Slice::new(source, ByteRange::span(start, end))?))
}

/// The bytes of a fork: its first pieces, and those in the tree of further ones.
fn place(
    source: &Source,
    block_size: u64,
    fork: &Fork,
    more: Option<&Tree>,
    id: u32,
    which: u8,
) -> Result<Source> {
    let mut extents: Vec<(u32, u32)> = fork.extents.iter().copied().filter(|(_, count)| *count > 0).collect();
    let blocks = |extents: &[(u32, u32)]| extents.iter().map(|(_, count)| u64::from(*count)).sum::<u64>();
    let mut known = blocks(&extents);
    if known < fork.blocks.into() {
        let Some(more) = more else { return Err(Error::new(ErrorKind::Unsupported, "it is in many pieces")) };
        let sought = (id, which, u32::try_from(known).unwrap_or(u32::MAX));
        let key = |record: &[u8]| -> Result<_> {
            let f = Fields::new(record, "a record of extents");
            Ok((f.be32(4)?, f.u8(2)?, f.be32(8)?))
        };
        more.walk(&|record| Ok(key(record)?.cmp(&sought)), &mut |_, record| {
            let (file, fork_kind, start) = key(record)?;
            if (file, fork_kind) != (id, which) || known >= fork.blocks.into() {
                return Ok(false);
            }
            if u64::from(start) != known {
                return Err(corrupt("a file with a gap between its extents"));
            }
            let next = record::extents(Fields::new(tree::body(record)?, "a record of extents"), 0)?;
            let next: Vec<_> = next.into_iter().filter(|(_, count)| *count > 0).collect();
            known = known.saturating_add(blocks(&next));
            extents.extend(next);
            Ok(true)
        })?;
    }
    let run = |(start, count): (u32, u32)| Run {
        len: u64::from(count).saturating_mul(block_size),
        at: Some(u64::from(start).saturating_mul(block_size)),
    };
    Ok(Arc::new(Runs::new(Arc::clone(source), fork.size, extents.into_iter().map(run))?))
}

/// Is there something between the start and the end of the journal?
fn journal_has_changes(source: &Source, block_size: u64, block: u32) -> Result<bool> {
    let info =
        bytes::read(&**source, u64::from(block).saturating_mul(block_size), 52, "the journal's place")?;
    let f = Fields::new(&info, "the journal's place");
    // Bit 1: on another device; bit 2: never used.
    match f.be32(0)? {
        flags if flags & 4 != 0 => return Ok(false),
        flags if flags & 1 == 0 => return Ok(true),
        _ => {}
    }
    let head = bytes::read(&**source, f.be64(36)?, 40, "the journal")?;
    let f = Fields::new(&head, "the journal");
    // In the order of the machine that wrote it; equal is equal in both.
    Ok(f.u64(8)? != f.u64(16)?)
}
