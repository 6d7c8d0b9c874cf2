//! ISO 9660 with Rock Ridge, else with Joliet, else as it is.
//!
//! Read here: of Rock Ridge the known crates keep names at most, and to put links, devices, deep directories and
//! continued areas beside a crate's records takes as much as to read the records.

mod record;
mod rock;

use super::bytes::{self, Fields, corrupt, wide};
use super::recent::{Add, Listings};
use super::runs::{Run, Runs};
use super::{Case, Condition, DirEntry, Each, FileKind, FileSystem, Info, Metadata, NodeId};
use crate::probe;
use block::{Error, ErrorKind, Result, Source};
use record::{Record, plain_name};
use rock::Rock;
use std::sync::Arc;

/// Bytes of a sector: no record lies in two.
const SECTOR: u64 = 2048;
/// Bytes of the area that a record may go on in.
const LARGEST_AREA: u32 = 64 << 10;
/// Pieces of one file, each just under 4 GiB.
const MOST_PIECES: usize = 4096;

/// Which names are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// With bytes to skip in front of what Rock Ridge keeps.
    RockRidge(u8),
    Joliet,
    Plain,
}

/// A node is the place of its record in bytes: of a directory its own record in itself, of other files the one in
/// their directory, as Linux counts them. Two names of one file are therefore two nodes.
struct Iso {
    info: Info,
    source: Source,
    block_size: u64,
    root: NodeId,
    names: Names,
    listings: Listings,
}

/// Opens one.
pub(super) fn open(source: Source, _: &probe::Content) -> Result<Box<dyn FileSystem>> {
    let (mut primary, mut joliet) = (None, None);
    for number in 16..64_u64 {
        let vd = bytes::read(&*source, number.saturating_mul(SECTOR), SECTOR, "a volume descriptor")?;
        let f = Fields::new(&vd, "a volume descriptor");
        match (f.u8(0)?, f.slice(1, 5)?) {
            (255, b"CD001") => break,
            (1, b"CD001") if primary.is_none() => primary = Some(vd),
            (2, b"CD001") if matches!(f.slice(88, 3)?, b"%/@" | b"%/C" | b"%/E") => joliet = Some(vd),
            (_, b"CD001") => {}
            _ => break,
        }
    }
    let Some(primary) = primary else {
        return Err(Error::new(ErrorKind::Unsupported, "no primary volume descriptor"));
    };
    let mut iso = Iso {
        info: Info {
            type_name: "iso9660",
            engine: "selfsame",
            case: Case::Sensitive,
            condition: Condition::Clean,
            missing: vec![],
        },
        source,
        block_size: 0,
        root: NodeId::inode(0),
        names: Names::Plain,
        listings: Listings::new(Case::Insensitive),
    };
    iso.enter(&primary)?;
    let size = u64::from(Fields::new(&primary, "its descriptor").u32(80)?).saturating_mul(iso.block_size);
    if size > iso.source.size() {
        iso.info.missing.push("it is longer than what it lies on: files at its end are cut off".to_owned());
    }
    // An unreadable root still leaves the names of Joliet.
    match (iso.rock_ridge(), joliet) {
        (Ok(Some(skip)), _) => {
            iso.names = Names::RockRidge(skip);
            iso.listings = Listings::new(Case::Sensitive);
        }
        (_, Some(joliet)) => {
            iso.names = Names::Joliet;
            iso.enter(&joliet)?;
        }
        (rock_ridge, None) => drop(rock_ridge?),
    }
    if !matches!(iso.names, Names::RockRidge(_)) {
        iso.info.case = Case::Insensitive;
    }
    Ok(Box::new(iso))
}

impl Iso {
    /// Takes block size and root of a volume descriptor.
    fn enter(&mut self, descriptor: &[u8]) -> Result<()> {
        let f = Fields::new(descriptor, "its descriptor");
        self.block_size = f.u16(128)?.into();
        if !matches!(self.block_size, 512 | 1024 | 2048) {
            return Err(corrupt(format!("blocks of {} bytes", self.block_size)));
        }
        let root = Record::read(f.slice(156, 34)?)?;
        let Some((root, _)) = root else { return Err(corrupt("no root directory")) };
        self.root = self.place(root.block);
        Ok(())
    }

    /// The node of the directory at this block.
    fn place(&self, block: u64) -> NodeId {
        NodeId::inode(block.saturating_mul(self.block_size))
    }

    /// The bytes from a node's record to the end of its sector.
    fn sector_from(&self, at: u64) -> Result<Vec<u8>> {
        let len = SECTOR.saturating_sub(at % SECTOR).min(self.source.size().saturating_sub(at));
        bytes::read(&*self.source, at, len, "a directory record")
    }

    /// Is there Rock Ridge, and what is to be skipped?
    fn rock_ridge(&self) -> Result<Option<u8>> {
        let sector = self.sector_from(self.root.inode)?;
        let Some((record, _)) = Record::read(&sector)? else {
            return Err(corrupt("an empty root directory"));
        };
        Ok(Rock::read(record.system, &|block, offset, len| self.area(block, offset, len))?.skip)
    }

    /// An area that a record goes on in.
    fn area(&self, block: u32, offset: u32, len: u32) -> Result<Vec<u8>> {
        let at = u64::from(block).saturating_mul(self.block_size).saturating_add(offset.into());
        bytes::read(&*self.source, at, len.min(LARGEST_AREA).into(), "an area of Rock Ridge")
    }

    fn rock(&self, record: &Record<'_>) -> Result<Rock> {
        let Names::RockRidge(skip) = self.names else { return Ok(Rock::default()) };
        // The root's own record is the one place where nothing is skipped.
        let skip = if record.name == [0] && record.block.saturating_mul(self.block_size) == self.root.inode {
            0
        } else {
            skip.into()
        };
        let system = record.system.get(skip..).unwrap_or(&[]);
        Rock::read(system, &|block, offset, len| self.area(block, offset, len))
    }

    fn name(&self, record: &Record<'_>, rock: &mut Rock) -> Vec<u8> {
        match (self.names, rock.name.take()) {
            (Names::Joliet, _) => {
                let name = bytes::utf16(bytes::units(record.name));
                name.strip_suffix(b";1").map(<[u8]>::to_vec).unwrap_or(name)
            }
            (_, Some(name)) => name,
            (_, None) => plain_name(record.name),
        }
    }

    /// Every name of a directory.
    fn list(&self, dir: NodeId, add: Add<'_>) -> Result<()> {
        let sector = self.sector_from(dir.inode)?;
        let own = Record::read(&sector)?.map(|(record, _)| record);
        let Some(own) = own.filter(|own| own.is_directory() && own.name == [0]) else {
            return Err(Error::new(ErrorKind::NotFound, "not a directory"));
        };
        let content = bytes::read(&*self.source, dir.inode, own.size.into(), "a directory")?;
        let mut going_on = false;
        for (number, sector) in (0_u64..).zip(content.chunks(2048)) {
            let start = dir.inode.saturating_add(number.saturating_mul(SECTOR));
            let mut inside = 0_usize;
            while let Some((record, len)) = Record::read(sector.get(inside..).unwrap_or(&[]))? {
                let at = start.saturating_add(wide(inside));
                inside = inside.saturating_add(len);
                let goes_on = std::mem::replace(&mut going_on, record.has_more());
                if record.is_dot() || record.is_associated() || goes_on {
                    continue;
                }
                let mut rock = self.rock(&record)?;
                if rock.moved {
                    continue;
                }
                let name = self.name(&record, &mut rock);
                let (node, kind) = match rock.child {
                    Some(block) => (self.place(block.into()), FileKind::Directory),
                    None if record.is_directory() => (self.place(record.block), FileKind::Directory),
                    None => (NodeId::inode(at), kind(&record, &rock)),
                };
                add(DirEntry { name, node, kind: Some(kind) })?;
            }
        }
        Ok(())
    }

    /// The pieces of a file: its record and those behind it that go on with it; and bytes of all.
    fn pieces(&self, node: NodeId) -> Result<(Vec<Run>, u64)> {
        let (mut at, mut first, mut size) = (node.inode, None::<Vec<u8>>, 0_u64);
        let mut pieces = vec![];
        while pieces.len() < MOST_PIECES {
            let sector = self.sector_from(at)?;
            let Some((record, len)) = Record::read(&sector)? else {
                // The next record begins the next sector.
                at = at.saturating_add(wide(sector.len()));
                if sector.is_empty() || at % SECTOR != 0 || pieces.is_empty() {
                    break;
                }
                continue;
            };
            if record.interleaved {
                return Err(Error::new(ErrorKind::Unsupported, "its content is interleaved"));
            }
            if first.get_or_insert_with(|| record.name.to_vec()) != record.name {
                break;
            }
            let start = record.block.saturating_mul(self.block_size);
            pieces.push(Run { len: record.size.into(), at: Some(start) });
            size = size.saturating_add(record.size.into());
            if !record.has_more() {
                return Ok((pieces, size));
            }
            at = at.saturating_add(wide(len));
        }
        Err(corrupt("a file whose last record is missing"))
    }
}

/// What sort of file a record is that is not a directory.
fn kind(record: &Record<'_>, rock: &Rock) -> FileKind {
    match (rock.owned, &rock.target) {
        _ if record.is_directory() => FileKind::Directory,
        (_, Some(_)) => FileKind::Symlink,
        (Some(owned), None) => FileKind::of_mode(owned.mode, || rock.device),
        (None, None) => FileKind::File,
    }
}

impl FileSystem for Iso {
    fn info(&self) -> &Info {
        &self.info
    }

    fn root(&self) -> NodeId {
        self.root
    }

    fn read_dir(&self, dir: NodeId, each: Each<'_>) -> Result<()> {
        self.listings.read_dir(dir, each, |add| self.list(dir, add))
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        self.listings.lookup(dir, name, |add| self.list(dir, add))
    }

    fn metadata(&self, node: NodeId) -> Result<Metadata> {
        let sector = self.sector_from(node.inode)?;
        let Some((record, _)) = Record::read(&sector)? else { return Err(corrupt("a record that is empty")) };
        let rock = self.rock(&record)?;
        let kind = kind(&record, &rock);
        let size = match (kind, rock.zisofs, &rock.target) {
            (FileKind::File, Some(size), _) => size.into(),
            (FileKind::File, None, _) if record.has_more() => self.pieces(node)?.1,
            (FileKind::File, None, _) => record.size.into(),
            (FileKind::Symlink, _, Some(target)) => wide(target.len()),
            _ => 0,
        };
        let mut known = Metadata::new(kind, size);
        known.modified = rock.modified.or(record.modified);
        (known.accessed, known.changed, known.created) = (rock.accessed, rock.changed, rock.created);
        match rock.owned {
            Some(owned) => {
                known.mode = u16::try_from(owned.mode & 0o7777).ok();
                (known.uid, known.gid) = (Some(owned.uid), Some(owned.gid));
                known.links = owned.links.max(1);
            }
            None => known.attributes = Some(record.attributes()),
        }
        Ok(known)
    }

    fn open(&self, node: NodeId, stream: Option<&[u8]>) -> Result<Source> {
        let sector = self.sector_from(node.inode)?;
        let Some((record, _)) = Record::read(&sector)? else { return Err(corrupt("a record that is empty")) };
        let rock = self.rock(&record)?;
        if stream.is_some() || kind(&record, &rock) != FileKind::File {
            return Err(Error::new(ErrorKind::NotFound, "no such content"));
        }
        if rock.zisofs.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "it is compressed with zisofs"));
        }
        let (pieces, size) = self.pieces(node)?;
        Ok(Arc::new(Runs::new(Arc::clone(&self.source), size, pieces)?))
    }

    fn read_link(&self, node: NodeId) -> Result<Vec<u8>> {
        let sector = self.sector_from(node.inode)?;
        let Some((record, _)) = Record::read(&sector)? else { return Err(corrupt("a record that is empty")) };
        let target = self.rock(&record)?.target;
        target.ok_or_else(|| Error::new(ErrorKind::NotFound, "not a symbolic link"))
    }
}
