//! Files of exFAT (Microsoft, "exFAT file system specification" 1.00). A file is known by the place of its
//! first directory entry, and by whether its directory follows the table.

use super::clusters::{Clusters, ENTRY, Storage, Width, corrupt};
use super::names::Names;
use super::{Case, Condition, DirEntry, Each, FileKind, FileSystem, Info, Metadata, NodeId, Time, dos};
use crate::probe::{Content, StateKind};
use block::field::{bytes_at, u16_at, u32_at, u64_at};
use block::{ByteRange, Error, ErrorKind, Result, Source};
use std::num::NonZeroU64;
use std::sync::Arc;

/// No entry is where the boot sector is.
const ROOT: NodeId = NodeId::inode(0);
const FILE: u8 = 0x85;
const STREAM: u8 = 0xC0;
const NAME: u8 = 0xC1;
/// Entries of one file: itself, its stream, and a name of 255 characters, 15 an entry.
const MOST: usize = 19;
const READ_ONLY_TO_ARCHIVE: u16 = 0x27;
const DIRECTORY: u16 = 0x10;

struct Exfat {
    info: Info,
    clusters: Clusters,
    root_cluster: u32,
    names: Names,
}

/// Opens one.
pub(super) fn open(source: Source, content: &Content) -> Result<Box<dyn FileSystem>> {
    let mut boot = [0; 512];
    source.read_at(0, &mut boot)?;
    let (clusters, root_cluster) =
        parse(&source, &boot).ok_or_else(|| corrupt("the numbers in its boot sector make no sense"))?;
    let dirty = content.states.iter().any(|state| state.kind == StateKind::Dirty);
    let info = Info {
        type_name: content.type_name,
        engine: "selfsame",
        case: Case::Insensitive,
        condition: if dirty { Condition::Stale } else { Condition::Clean },
        missing: vec![],
    };
    Ok(Box::new(Exfat { info, clusters, root_cluster, names: Names::default() }))
}

fn parse(source: &Source, boot: &[u8]) -> Option<(Clusters, u32)> {
    let fat_offset = u64::from(u32_at(boot, 80)?);
    let fat_length = u64::from(u32_at(boot, 84)?);
    let cluster_heap_offset = u64::from(u32_at(boot, 88)?);
    let cluster_count = u64::from(u32_at(boot, 92)?);
    let first_cluster_of_root = u32_at(boot, 96)?;
    let volume_flags = u16_at(boot, 106)?;
    let [sector_shift, cluster_shift, number_of_fats] = bytes_at(boot, 108)?;
    if !(9..=12).contains(&sector_shift) || cluster_shift > 25 {
        return None;
    }
    let sector = 1_u64.checked_shl(sector_shift.into())?;
    let bytes = |sectors: u64| sectors.checked_mul(sector);
    let table = |number: u64| {
        let start = bytes(number.checked_mul(fat_length)?.checked_add(fat_offset)?)?;
        ByteRange::new(start, bytes(fat_length)?)
    };
    // With two tables one of them is in use, and the other one perhaps older.
    let active = u64::from(volume_flags & 1 != 0 && number_of_fats == 2);
    let clusters = Clusters {
        source: Source::clone(source),
        tables: vec![table(active)?],
        width: Width::Exfat,
        heap: bytes(cluster_heap_offset)?,
        size: NonZeroU64::new(sector.checked_shl(cluster_shift.into())?)?,
        count: cluster_count,
    };
    clusters.place(first_cluster_of_root)?;
    Some((clusters, first_cluster_of_root))
}

/// All entries of one file.
struct Set {
    at: u64,
    entries: Vec<[u8; ENTRY]>,
    /// How many there are to be.
    count: usize,
}

impl Set {
    /// `None` if it is not the first entry of a file.
    fn begin(at: u64, entry: &[u8; ENTRY]) -> Option<Self> {
        let [FILE, secondary_count] = bytes_at(entry, 0)? else { return None };
        Some(Self { at, entries: vec![*entry], count: usize::from(secondary_count).saturating_add(1) })
    }

    /// Its stream, if the set is whole.
    fn stream(&self) -> Option<&[u8; ENTRY]> {
        let whole = self.entries.len() == self.count.min(MOST);
        self.entries.get(1).filter(|entry| whole && entry.first() == Some(&STREAM))
    }

    fn name(&self) -> Option<Vec<u8>> {
        let [name_length] = bytes_at(self.stream()?, 3)?;
        let parts = self.entries.iter().skip(2).take_while(|entry| entry.first() == Some(&NAME));
        let units = parts.flat_map(|entry| (2..ENTRY).step_by(2).filter_map(|at| u16_at(entry, at)));
        let units: Vec<u16> = units.take(name_length.into()).collect();
        (units.len() == usize::from(name_length) && name_length > 0).then(|| dos::name(units))
    }

    fn attributes(&self) -> u16 {
        self.entries.first().and_then(|entry| u16_at(entry, 4)).unwrap_or(0)
    }

    /// Where its bytes are, how many, and how many of them were written.
    fn content(&self) -> Option<(Option<Storage>, u64, u64)> {
        let stream = self.stream()?;
        let [_, flags] = bytes_at(stream, 0)?;
        let (valid, first, len) = (u64_at(stream, 8)?, u32_at(stream, 20)?, u64_at(stream, 24)?);
        let storage = match (first, flags & 2 != 0) {
            (0, _) => None,
            (first, true) => Some(Storage::Row(first)),
            (first, false) => Some(Storage::Chain(first)),
        };
        Some((storage, len, valid))
    }

    /// The time at `at`, with its hundredths at `tenths` and its zone at `zone`.
    fn time(&self, at: usize, hundredths: Option<usize>, zone: usize) -> Option<Time> {
        let entry = self.entries.first()?;
        let byte = |at| bytes_at(entry, at).map(|[byte]: [u8; 1]| byte);
        let hundredths = hundredths.map_or(Some(0), byte)?;
        let mut time = dos::time(u16_at(entry, at.checked_add(2)?)?, u16_at(entry, at)?, hundredths)?;
        // Quarters of an hour, seven bits with a sign; without bit 7 the zone is not known.
        let zone = byte(zone)?;
        if zone & 0x80 != 0 {
            let quarters = i64::from(zone & 0x3F).saturating_sub(i64::from(zone & 0x40));
            time.seconds = time.seconds.saturating_sub(quarters.saturating_mul(900));
        }
        Some(time)
    }
}

impl Exfat {
    /// The entries of the file that a node is. They may go on in the next cluster of its directory.
    fn set(&self, node: NodeId) -> Result<Set> {
        let damaged = || corrupt("its directory entry is damaged");
        let mut cluster = self.clusters.of_place(node.inode).ok_or_else(damaged)?;
        let mut end = self.clusters.place(cluster).ok_or_else(damaged)?.end();
        let (mut at, mut entry) = (node.inode, [0; ENTRY]);
        self.clusters.source.read_at(at, &mut entry)?;
        let mut set = Set::begin(at, &entry).ok_or_else(damaged)?;
        while set.entries.len() < set.count.min(MOST) {
            at = at.saturating_add(32);
            if at >= end {
                let storage = if node.tree == 0 { Storage::Chain(cluster) } else { Storage::Row(cluster) };
                cluster = self.clusters.next(storage, cluster)?.ok_or_else(damaged)?;
                let place = self.clusters.place(cluster).ok_or_else(damaged)?;
                (at, end) = (place.start(), place.end());
            }
            self.clusters.source.read_at(at, &mut entry)?;
            set.entries.push(entry);
        }
        Ok(set)
    }
}

impl FileSystem for Exfat {
    fn info(&self) -> &Info {
        &self.info
    }

    fn root(&self) -> NodeId {
        ROOT
    }

    fn read_dir(&self, dir: NodeId, each: Each<'_>) -> Result<()> {
        let (storage, len) = if dir == ROOT {
            (Some(Storage::Chain(self.root_cluster)), None)
        } else {
            let set = self.set(dir)?;
            if set.attributes() & DIRECTORY == 0 {
                return Err(Error::new(ErrorKind::Usage, "it is not a directory"));
            }
            let (storage, len, _) = set.content().ok_or_else(|| corrupt("its directory entry is damaged"))?;
            (storage, Some(len))
        };
        let Some(storage) = storage else { return Ok(()) };
        let tree = u64::from(matches!(storage, Storage::Row(_)));
        let (mut set, mut damaged): (Option<Set>, u64) = (None, 0);
        self.clusters.entries(storage, len, &mut |at, entry| {
            let kind = entry.first().copied().unwrap_or(0);
            // Bit 7: in use; bit 6: it belongs to the one before.
            if kind & 0xC0 != 0xC0 {
                damaged = damaged.saturating_add(set.take().map_or(0, |_| 1));
                set = Set::begin(at, entry);
                return Ok(kind != 0);
            }
            let Some(open) = &mut set else { return Ok(true) };
            open.entries.push(*entry);
            if open.entries.len() < open.count.min(MOST) {
                return Ok(true);
            }
            let (node, name) = (NodeId { inode: open.at, tree }, open.name());
            let is_dir = open.attributes() & DIRECTORY != 0;
            set = None;
            let Some(name) = name else {
                damaged = damaged.saturating_add(1);
                return Ok(true);
            };
            let kind = Some(if is_dir { FileKind::Directory } else { FileKind::File });
            each(DirEntry { name, node, kind })
        })?;
        match damaged.saturating_add(set.map_or(0, |_| 1)) {
            0 => Ok(()),
            damaged => Err(corrupt(&format!("{damaged} of its directory entries are damaged"))),
        }
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        self.names.lookup(self, dir, name)
    }

    fn metadata(&self, node: NodeId) -> Result<Metadata> {
        if node == ROOT {
            return Ok(Metadata::new(FileKind::Directory, 0));
        }
        let set = self.set(node)?;
        let (_, len, _) = set.content().ok_or_else(|| corrupt("its directory entry is damaged"))?;
        let is_dir = set.attributes() & DIRECTORY != 0;
        let (kind, size) = if is_dir { (FileKind::Directory, 0) } else { (FileKind::File, len) };
        Ok(Metadata {
            allocated: len.checked_next_multiple_of(self.clusters.size.get()),
            attributes: Some((set.attributes() & READ_ONLY_TO_ARCHIVE).into()),
            created: set.time(8, Some(20), 22),
            modified: set.time(12, Some(21), 23),
            accessed: set.time(16, None, 24),
            ..Metadata::new(kind, size)
        })
    }

    fn open(&self, node: NodeId, stream: Option<&[u8]>) -> Result<Source> {
        if stream.is_some() {
            return Err(Error::new(ErrorKind::NotFound, "there are no streams besides the content"));
        }
        let set = if node == ROOT { None } else { Some(self.set(node)?) };
        let set = set.filter(|set| set.attributes() & DIRECTORY == 0);
        let set = set.ok_or_else(|| Error::new(ErrorKind::Usage, "it is not a file with content"))?;
        let (storage, len, valid) = set.content().ok_or_else(|| corrupt("its directory entry is damaged"))?;
        Ok(Arc::new(self.clusters.file(storage, len, valid)?))
    }

    fn read_link(&self, _: NodeId) -> Result<Vec<u8>> {
        Err(Error::new(ErrorKind::Usage, "it is not a symbolic link"))
    }
}
