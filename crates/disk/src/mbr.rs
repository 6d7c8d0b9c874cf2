//! The MBR and its chain of EBRs, accepted and numbered as Linux does (block/partitions/msdos.c).

use crate::gpt::PRIMARY;
use crate::partition::{Partition, TypeId};
use crate::reader::Reader;
use crate::slices;
use block::field::{bytes_at, u16_at, u32_at};
use block::{Lba, Result, SectorSize};
use std::collections::HashSet;

/// Linux numbers partitions below this.
pub(crate) const NUMBERS: u32 = 256;
/// EBRs followed at most: more than Linux has numbers for, even with empty ones between them.
const LINKS: usize = 1024;
/// EBRs in a row that hold no partition, after which Linux gives up.
const FRUITLESS: u32 = 100;

/// A partition table in sector 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mbr {
    /// The disk signature at byte 440.
    pub disk_id: u32,
    /// Sectors that hold EBRs, in chain order.
    pub ebrs: Vec<Lba>,
}

/// One of the four entries of an MBR or EBR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    boot_ind: u8,
    sys_ind: u8,
    start_sect: u32,
    nr_sects: u32,
}

impl Entry {
    fn parse(bytes: &[u8; 16]) -> Option<Self> {
        let [boot_ind, _, _, _, sys_ind, ..] = *bytes;
        Some(Self { boot_ind, sys_ind, start_sect: u32_at(bytes, 8)?, nr_sects: u32_at(bytes, 12)? })
    }

    pub(crate) fn is_used(self) -> bool {
        self.nr_sects != 0
    }

    pub(crate) fn is_extended(self) -> bool {
        self.is_used() && matches!(self.sys_ind, 0x05 | 0x0F | 0x85)
    }

    /// Of the kind that hides a GPT from programs that do not know GPT.
    pub(crate) fn is_protective(self) -> bool {
        self.sys_ind == 0xEE
    }

    /// In use beside a protective one, which makes the MBR a hybrid.
    pub(crate) fn is_hybrid(self) -> bool {
        self.sys_ind != 0 && !self.is_protective()
    }

    pub(crate) fn start(self) -> Lba {
        Lba(self.start_sect.into())
    }

    pub(crate) fn sectors(self) -> u64 {
        self.nr_sects.into()
    }

    fn partition(self, number: u32, base: Lba, sector: SectorSize) -> Partition {
        // 33 bits of sectors of at most 2^16 bytes always fit.
        let first = Lba(base.0.saturating_add(self.start_sect.into()));
        Partition {
            number,
            range: sector.range(first, self.sectors()).unwrap_or_default(),
            type_id: TypeId::Mbr(self.sys_ind),
            bootable: self.boot_ind == 0x80,
            attributes: 0,
            name: None,
            guid: None,
            extended: self.is_extended(),
            logical: number > 4,
        }
    }
}

/// What sector 0 is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sector0 {
    /// No table and no boot sector of a filesystem.
    Other,
    /// A filesystem begins here, on the whole disk.
    Superfloppy,
    /// A table.
    Table { disk_id: u32, entries: [Entry; 4] },
}

impl Sector0 {
    /// `sectors` is how many the disk has.
    pub(crate) fn parse(sector: &[u8], sectors: u64) -> Self {
        let (Some(disk_id), Some(entries)) = (u32_at(sector, 440), entries(sector)) else {
            return Self::Other;
        };
        let is_gpts = |entry: &Entry| entry.is_protective() && entry.start() == PRIMARY;
        if entries.iter().any(is_gpts) {
            // UEFI and Linux do not look at its boot indicators.
            return Self::Table { disk_id, entries };
        }
        let floppy = is_boot_sector(sector);
        if entries.iter().any(|entry| !matches!(entry.boot_ind, 0 | 0x80)) {
            return if floppy { Self::Superfloppy } else { Self::Other };
        }
        // A boot sector with a real table in it exists (some boot loaders leave both).
        let plausible = |e: &Entry| e.start_sect > 0 && e.start().0.saturating_add(e.sectors()) <= sectors;
        let mut used = entries.iter().filter(|entry| entry.is_used()).peekable();
        if floppy && (used.peek().is_none() || !used.all(plausible)) {
            return Self::Superfloppy;
        }
        Self::Table { disk_id, entries }
    }
}

/// The four entries, if the sector ends in the signature 55 AA.
fn entries(sector: &[u8]) -> Option<[Entry; 4]> {
    if bytes_at(sector, 510)? != [0x55, 0xAA] {
        return None;
    }
    let (table, []) = sector.get(446..510)?.as_chunks() else { return None };
    let [a, b, c, d] = *table else { return None };
    Some([Entry::parse(&a)?, Entry::parse(&b)?, Entry::parse(&c)?, Entry::parse(&d)?])
}

/// Surely an EBR: signed, with entries, and no boot sector of something else.
pub(crate) fn is_ebr(sector: &[u8]) -> bool {
    let clean = |entry: &Entry| matches!(entry.boot_ind, 0 | 0x80);
    entries(sector).is_some_and(|all| all.iter().all(clean) && all.into_iter().any(Entry::is_used))
        && !is_boot_sector(sector)
}

/// The types of the four entries, if the sector ends in the signature 55 AA.
pub(crate) fn types(sector: &[u8]) -> Option<[u8; 4]> {
    Some(entries(sector)?.map(|entry| entry.sys_ind))
}

/// Where in sector 0 the protective entry lies, if no other entry is in use.
pub(crate) fn lone_protective(sector: &[u8]) -> Option<usize> {
    let entries = entries(sector)?;
    let offsets = [446, 462, 478, 494];
    let (at, _) = offsets.into_iter().zip(entries).find(|(_, entry)| entry.is_protective())?;
    entries.into_iter().all(|entry| !entry.is_hybrid()).then_some(at)
}

/// Does a FAT, NTFS or exFAT begin in this sector? For FAT what msdos.c looks at, and the jump.
fn is_boot_sector(sector: &[u8]) -> bool {
    let fat = || {
        let (sec_per_clus, reserved) = (*sector.get(13)?, u16_at(sector, 14)?);
        let (fats, media) = (*sector.get(16)?, *sector.get(21)?);
        let jumps = matches!(sector.first()?, 0xEB | 0xE9);
        let valid_media = media >= 0xF8 || media == 0xF0;
        Some(jumps && sec_per_clus.is_power_of_two() && reserved != 0 && fats != 0 && valid_media)
    };
    let oem_id = bytes_at(sector, 3);
    [*b"NTFS    ", *b"EXFAT   "].map(Some).contains(&oem_id) || fat().unwrap_or(false)
}

/// The partitions of a table, primary ones by slot, logical ones behind them in chain order.
pub(crate) fn read(
    disk: &mut Reader<'_>,
    disk_id: u32,
    entries: [Entry; 4],
) -> Result<(Mbr, Vec<Partition>)> {
    let (mut partitions, mut chain) = (vec![], Chain { ebrs: vec![], logical: vec![], next: 5 });
    for (number, entry) in (1..).zip(entries).filter(|(_, entry)| entry.is_used()) {
        partitions.push(entry.partition(number, Lba(0), disk.sector));
        if entry.is_extended() {
            chain.follow(disk, entry)?;
        }
    }
    slices::find(disk, &partitions, chain.next)?;
    partitions.append(&mut chain.logical);
    Ok((Mbr { disk_id, ebrs: chain.ebrs }, partitions))
}

/// The logical partitions met so far.
struct Chain {
    ebrs: Vec<Lba>,
    logical: Vec<Partition>,
    next: u32,
}

impl Chain {
    /// Links count from the start of the extended partition, partitions from their EBR.
    fn follow(&mut self, disk: &mut Reader<'_>, extended: Entry) -> Result<()> {
        let (first, size) = (extended.start(), extended.sectors());
        let (mut this, mut this_size) = (first, size);
        let mut fruitless = 0u32;
        let mut seen: HashSet<Lba> = self.ebrs.iter().copied().collect();
        loop {
            if !seen.insert(this) {
                disk.damage(format!(
                    "the chain of EBRs comes back to LBA {this}; Linux counts its partitions again"
                ));
                return Ok(());
            }
            if self.ebrs.len() >= LINKS {
                disk.damage(format!("only the first {LINKS} EBRs are followed"));
                return Ok(());
            }
            if fruitless >= FRUITLESS || self.next >= NUMBERS {
                disk.damage("more EBRs than Linux follows");
                return Ok(());
            }
            if this > disk.last() {
                disk.damage(format!("the EBR at LBA {this} lies beyond the end of the disk"));
                return Ok(());
            }
            let Some(sector) = disk.read(this, 1, "the EBR")? else { return Ok(()) };
            let Some(entries) = entries(&sector) else {
                if this == first {
                    disk.note(format!("the extended partition at LBA {first} holds no EBR"));
                } else {
                    disk.damage(format!("no EBR at LBA {this}, where the chain goes on"));
                }
                return Ok(());
            };
            self.ebrs.push(this);
            fruitless = fruitless.saturating_add(1);
            for (slot, entry) in entries.into_iter().enumerate() {
                if entry.is_used() && !entry.is_extended() && self.next < NUMBERS {
                    // Slots 3 and 4 sometimes hold garbage.
                    let (offs, len) = (u64::from(entry.start_sect), entry.sectors());
                    let behind = this.0.saturating_add(offs).saturating_add(len);
                    let garbage =
                        offs.saturating_add(len) > this_size || behind > first.0.saturating_add(size);
                    if slot < 2 || !garbage {
                        self.logical.push(entry.partition(self.next, this, disk.sector));
                        self.next = self.next.saturating_add(1);
                        fruitless = 0;
                    }
                }
            }
            let Some(link) = entries.into_iter().find(|entry| entry.is_extended()) else { return Ok(()) };
            this = Lba(first.0.saturating_add(link.start_sect.into()));
            this_size = link.sectors();
        }
    }
}
