//! Directories of FAT12, FAT16 and FAT32, read only (Microsoft, "FAT: General Overview of On-Disk Format" 1.03).

use block::field::{bytes_at, u16_at, u32_at};
use block::{ByteRange, Error, ErrorKind, ReadAt, Result};
use std::cell::Cell;

/// Bytes that looking around in one volume may read in all.
const BUDGET: u64 = 8 << 20;
/// Bytes of a directory entry.
const ENTRY: usize = 32;
/// Entries of one directory that are looked at: what a directory may have (65536 of 32 bytes), much less.
const ENTRIES: usize = 16 << 10;
/// A name has at most 20 long entries of 13 characters.
const LONGEST: usize = 20;

/// How wide the numbers of the table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Fat12,
    Fat16,
    Fat32,
}

/// A FAT volume, of which directories can be listed.
pub(crate) struct Fat<'a> {
    source: &'a dyn ReadAt,
    /// Bytes of a cluster.
    pub(crate) cluster: u64,
    /// The table that counts, in bytes.
    pub(crate) table: ByteRange,
    /// Its copy, if there is one that is kept up to date.
    pub(crate) copy: Option<ByteRange>,
    pub(crate) width: Width,
    /// The root directory of FAT12 and FAT16; empty on FAT32.
    pub(crate) root: ByteRange,
    /// The first cluster of the root directory of FAT32.
    pub(crate) root_cluster: u32,
    /// Where cluster 2 begins.
    pub(crate) data: u64,
    /// Clusters there are; they count from 2.
    pub(crate) clusters: u64,
    left: Cell<u64>,
}

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The long name if it has one that belongs to it. Text from the disk.
    pub(crate) name: String,
    pub(crate) is_dir: bool,
    /// Where it begins; 0: it is empty, or the root.
    pub(crate) cluster: u32,
}

impl<'a> Fat<'a> {
    /// `None` if the first sector is none of a FAT volume. Fails as [`ReadAt::read_at`] does.
    pub(crate) fn open(source: &'a dyn ReadAt) -> Result<Option<Self>> {
        let mut sector = [0; 512];
        if source.size() < 512 {
            return Ok(None);
        }
        source.read_at(0, &mut sector)?;
        Ok(Self::parse(source, &sector))
    }

    fn parse(source: &'a dyn ReadAt, boot: &[u8]) -> Option<Self> {
        let bytes_per_sec = u64::from(u16_at(boot, 11)?);
        let [sec_per_clus] = bytes_at(boot, 13)?;
        let rsvd_sec_cnt = u64::from(u16_at(boot, 14)?);
        let [num_fats] = bytes_at(boot, 16)?;
        let root_ent_cnt = u64::from(u16_at(boot, 17)?);
        let tot_sec = match u16_at(boot, 19)? {
            0 => u64::from(u32_at(boot, 32)?),
            small => u64::from(small),
        };
        let (fat_sz, wide) = match u16_at(boot, 22)? {
            0 => (u64::from(u32_at(boot, 36)?), true),
            small => (u64::from(small), false),
        };
        let sane = bytes_per_sec.is_power_of_two()
            && (512..=4096).contains(&bytes_per_sec)
            && sec_per_clus.is_power_of_two()
            && rsvd_sec_cnt != 0
            && num_fats != 0
            && fat_sz != 0
            && bytes_at(boot, 510)? == [0x55, 0xAA];
        if !sane {
            return None;
        }
        let bytes = |sectors: u64| sectors.checked_mul(bytes_per_sec);
        let root_sectors = root_ent_cnt.checked_mul(32)?.div_ceil(bytes_per_sec);
        let fats = fat_sz.checked_mul(num_fats.into())?.checked_add(rsvd_sec_cnt)?;
        let first_data = fats.checked_add(root_sectors)?;
        let clusters = tot_sec.checked_sub(first_data)?.checked_div(sec_per_clus.into())?;
        let width = match (wide, clusters) {
            (true, _) => Width::Fat32,
            (false, 0..4085) => Width::Fat12,
            (false, _) => Width::Fat16,
        };
        // With bit 7 set only the table that bits 0 to 3 name is kept up to date.
        let ext_flags = u16_at(boot, 40)?;
        let alone = wide && ext_flags & 0x80 != 0;
        let active = if alone { ext_flags & 0xF } else { 0 };
        let fat_start = fat_sz.checked_mul(active.into())?.checked_add(rsvd_sec_cnt)?;
        let table = ByteRange::new(bytes(fat_start)?, bytes(fat_sz)?)?;
        Some(Self {
            source,
            cluster: bytes(sec_per_clus.into())?,
            table,
            copy: ByteRange::new(table.end(), table.len()).filter(|_| num_fats > 1 && !alone),
            width,
            root: ByteRange::new(bytes(fats)?, bytes(root_sectors)?)?,
            root_cluster: if wide { u32_at(boot, 44)? } else { 0 },
            data: bytes(first_data)?,
            clusters,
            left: Cell::new(BUDGET),
        })
    }

    /// The bytes of a range; fails with [`ErrorKind::Corrupt`] beyond the end of the volume, and with
    /// [`ErrorKind::Unsupported`] when more was read than looking around may take.
    fn read(&self, range: ByteRange) -> Result<Vec<u8>> {
        if range.end() > self.source.size() {
            return Err(
                Error::new(ErrorKind::Corrupt, "a FAT that leads beyond its volume").with_range(range)
            );
        }
        let Some(left) = self.left.get().checked_sub(range.len()) else {
            return Err(Error::new(ErrorKind::Unsupported, "directories of more than 8 MiB"));
        };
        self.left.set(left);
        let mut bytes = vec![0; usize::try_from(range.len()).unwrap_or(0)];
        self.source.read_at(range.start(), &mut bytes)?;
        Ok(bytes)
    }

    /// The cluster behind this one; `None` at the end of its chain, or where it leads out of the volume.
    fn next(&self, cluster: u32) -> Result<Option<u32>> {
        let number = u64::from(cluster);
        let (at, len) = match self.width {
            Width::Fat12 => (number.saturating_add(number / 2), 2),
            Width::Fat16 => (number.saturating_mul(2), 2),
            Width::Fat32 => (number.saturating_mul(4), 4),
        };
        let start = self.table.start().saturating_add(at);
        let range = ByteRange::span(start, start.saturating_add(len));
        if !self.table.covers(range) {
            return Ok(None);
        }
        let bytes = self.read(range)?;
        let next = match self.width {
            Width::Fat12 => {
                let pair = u16_at(&bytes, 0).unwrap_or(0);
                u32::from(if cluster % 2 == 1 { pair >> 4 } else { pair & 0x0FFF })
            }
            Width::Fat16 => u16_at(&bytes, 0).unwrap_or(0).into(),
            Width::Fat32 => u32_at(&bytes, 0).unwrap_or(0) & 0x0FFF_FFFF,
        };
        Ok(self.place(next).map(|_| next))
    }

    /// The bytes of a cluster; `None` if there is no such one.
    pub(crate) fn place(&self, cluster: u32) -> Option<ByteRange> {
        let index = u64::from(cluster).checked_sub(2).filter(|index| *index < self.clusters)?;
        ByteRange::new(self.data.checked_add(index.checked_mul(self.cluster)?)?, self.cluster)
    }

    /// The entries of the root directory.
    pub(crate) fn root(&self) -> Result<Vec<Entry>> {
        if self.width == Width::Fat32 {
            return self.list(self.root_cluster);
        }
        Ok(entries(&self.read(self.root)?))
    }

    /// The entries of the directory that begins at this cluster, in its order. A chain that comes back to
    /// itself ends where it has had more entries than are looked at.
    pub(crate) fn list(&self, first: u32) -> Result<Vec<Entry>> {
        let mut bytes = vec![];
        let mut at = Some(first);
        while let Some((cluster, place)) = at.and_then(|cluster| Some((cluster, self.place(cluster)?))) {
            bytes.extend(self.read(place)?);
            let ended = bytes.chunks_exact(ENTRY).any(|entry| entry.first() == Some(&0));
            if ended || bytes.len() / ENTRY >= ENTRIES {
                break;
            }
            at = self.next(cluster)?;
        }
        Ok(entries(&bytes))
    }
}

/// The files and directories of a directory's bytes, without `.`, `..` and the volume's label.
fn entries(bytes: &[u8]) -> Vec<Entry> {
    const LABEL: u8 = 0x08;
    const DIRECTORY: u8 = 0x10;
    const LONG: u8 = 0x0F;
    let mut found = vec![];
    let mut long = Long::default();
    for entry in bytes.as_chunks::<ENTRY>().0.iter().take(ENTRIES) {
        let [first, .., _, _, _, _, _, _, _, _] = *entry;
        let Some([attr]) = bytes_at(entry, 11) else { continue };
        match first {
            0 => break,
            0xE5 => {
                long = Long::default();
                continue;
            }
            _ => {}
        }
        if attr & 0x3F == LONG {
            long.add(entry);
            continue;
        }
        let name = std::mem::take(&mut long);
        if attr & LABEL != 0 || first == b'.' {
            continue;
        }
        let Some(short) = bytes_at::<11>(entry, 0) else { continue };
        let name = name.of(&short).unwrap_or_else(|| short_name(entry));
        let (high, low) = (u16_at(entry, 20).unwrap_or(0), u16_at(entry, 26).unwrap_or(0));
        let cluster = (u32::from(high) << 16) | u32::from(low);
        found.push(Entry { name, is_dir: attr & DIRECTORY != 0, cluster });
    }
    found
}

/// A long name as it is gathered: its last part comes first.
#[derive(Default)]
struct Long {
    /// The parts, in the order of the directory.
    parts: Vec<[u16; 13]>,
    /// The number of the next one.
    next: u8,
    checksum: u8,
}

impl Long {
    fn add(&mut self, entry: &[u8; ENTRY]) {
        const LAST: u8 = 0x40;
        let [ord, .., _] = *entry;
        let checksum = bytes_at(entry, 13).map_or(0, |[checksum]: [u8; 1]| checksum);
        let number = ord & 0x1F;
        if ord & LAST != 0 && number != 0 && usize::from(number) <= LONGEST {
            *self = Self { parts: vec![], next: number, checksum };
        } else if number == 0 || number != self.next || checksum != self.checksum {
            *self = Self::default();
            return;
        }
        let places = [1usize, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
        self.parts.push(places.map(|at| u16_at(entry, at).unwrap_or(0)));
        self.next = self.next.saturating_sub(1);
    }

    /// The name, if it is whole and of the entry with this short name.
    fn of(self, short: &[u8; 11]) -> Option<String> {
        let sum = short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        if self.parts.is_empty() || self.next != 0 || sum != self.checksum {
            return None;
        }
        let units = self.parts.iter().rev().flatten().copied().take_while(|unit| *unit != 0);
        let name: String = char::decode_utf16(units).map(|c| c.unwrap_or('\u{FFFD}')).collect();
        (!name.is_empty()).then_some(name)
    }
}

/// `SHIMX64.EFI` of the eleven bytes; the two halves in small letters where the entry says so. What is not
/// ASCII is replaced: it would need the code page of whoever wrote it.
pub(crate) fn short_name(entry: &[u8; ENTRY]) -> String {
    let small = bytes_at(entry, 12).map_or(0, |[flags]: [u8; 1]| flags);
    let half = |at: std::ops::Range<usize>, flag: u8| -> String {
        let text = entry.get(at).unwrap_or_default().iter().map(|byte| match byte {
            0x20..0x7F => char::from(*byte),
            _ => '\u{FFFD}',
        });
        let text: String = text.collect();
        let text = text.trim_end();
        if small & flag != 0 { text.to_ascii_lowercase() } else { text.to_owned() }
    };
    match (half(0..8, 0x08), half(8..11, 0x10)) {
        (name, extension) if extension.is_empty() => name,
        (name, extension) => format!("{name}.{extension}"),
    }
}
