//! Writes a FAT16 volume (Microsoft, "FAT: General Overview of On-Disk Format", 1.03).

use super::{FAT_ID, FAT_LABEL, SECTOR};
use crate::pattern;

const SECTORS_PER_CLUSTER: usize = 4;
const CLUSTER: usize = SECTORS_PER_CLUSTER * SECTOR;
const RESERVED: usize = 1;
const ROOT_ENTRIES: usize = 512;
const ENTRY: usize = 32;
const MEDIA: u8 = 0xF8;
const ATTR_VOLUME_ID: u8 = 0x08;
const ATTR_DIRECTORY: u8 = 0x10;
const ATTR_ARCHIVE: u8 = 0x20;
/// 12:00 on 24 June 1998, in the two words of a directory entry.
const TIME: u16 = 12 << 11;
const DATE: u16 = (1998 - 1980) << 9 | 6 << 5 | 24;

/// The first bytes of the volume, up to the last cluster in use: `NOTE.TXT`, `PHOTO.JPG` and `LETTERS/JUNE.TXT`.
pub(super) fn volume(first_sector: u32, sectors: u32) -> Vec<u8> {
    let mut clusters = Clusters::default();
    let note_bytes = b"Meet me at the station at noon.\r\n";
    let note = clusters.add(note_bytes);
    let photo_bytes = pattern(300_000);
    let photo = clusters.add(&photo_bytes);

    let letter_bytes: Vec<u8> =
        (1..=400).flat_map(|n| format!("line {n} of a long letter\r\n").into_bytes()).collect();
    let letter = clusters.add(&letter_bytes);
    // A directory knows its own cluster: the next one that is given out. Its parent is the root: 0.
    let letters = clusters.next();
    let directory = [
        entry(".", ATTR_DIRECTORY, letters, 0),
        entry("..", ATTR_DIRECTORY, 0, 0),
        entry("JUNE    TXT", ATTR_ARCHIVE, letter, letter_bytes.len()),
    ];
    clusters.add(&directory.concat());

    let mut root = [
        entry(FAT_LABEL, ATTR_VOLUME_ID, 0, 0),
        entry("NOTE    TXT", ATTR_ARCHIVE, note, note_bytes.len()),
        entry("PHOTO   JPG", ATTR_ARCHIVE, photo, photo_bytes.len()),
        entry("LETTERS", ATTR_DIRECTORY, letters, 0),
    ]
    .concat();
    root.resize(ROOT_ENTRIES * ENTRY, 0);

    // Two bytes for each cluster and two reserved entries. This is an upper bound: it leaves the tables
    // themselves in the count of clusters.
    let fat_sectors = ((sectors as usize / SECTORS_PER_CLUSTER + 2) * 2).div_ceil(SECTOR);
    let mut fat: Vec<u8> = clusters.table.iter().flat_map(|next| next.to_le_bytes()).collect();
    fat.resize(fat_sectors * SECTOR, 0);
    [boot_sector(first_sector, sectors, fat_sectors), fat.clone(), fat, root, clusters.bytes].concat()
}

/// The data area as it grows, and its allocation table.
struct Clusters {
    /// The table's words; the first two are reserved.
    table: Vec<u16>,
    bytes: Vec<u8>,
}

impl Default for Clusters {
    fn default() -> Self {
        Self { table: vec![0xFF00 | u16::from(MEDIA), 0xFFFF], bytes: vec![] }
    }
}

impl Clusters {
    /// The cluster that the next call of `add` begins at.
    fn next(&self) -> u16 {
        word(self.table.len())
    }

    /// Appends a file that is not empty; its first cluster.
    fn add(&mut self, content: &[u8]) -> u16 {
        const END_OF_CHAIN: u16 = 0xFFFF;
        let first = self.next();
        for _ in 1..content.len().div_ceil(CLUSTER) {
            self.table.push(self.next() + 1);
        }
        self.table.push(END_OF_CHAIN);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(CLUSTER), 0);
        first
    }
}

/// The boot sector with its BIOS parameter block; fields under the specification's names.
fn boot_sector(hidden: u32, sectors: u32, fat_sectors: usize) -> Vec<u8> {
    let mut sector = vec![0; SECTOR];
    let mut put = |offset: usize, bytes: &[u8]| sector[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0, &[0xEB, 0x3C, 0x90]); // BS_jmpBoot
    put(3, b"MSDOS5.0"); // BS_OEMName
    put(11, &word(SECTOR).to_le_bytes()); // BPB_BytsPerSec
    put(13, &word(SECTORS_PER_CLUSTER).to_le_bytes()[..1]); // BPB_SecPerClus
    put(14, &word(RESERVED).to_le_bytes()); // BPB_RsvdSecCnt
    put(16, &[2]); // BPB_NumFATs
    put(17, &word(ROOT_ENTRIES).to_le_bytes()); // BPB_RootEntCnt
    put(19, &word(sectors as usize).to_le_bytes()); // BPB_TotSec16
    put(21, &[MEDIA]); // BPB_Media
    put(22, &word(fat_sectors).to_le_bytes()); // BPB_FATSz16
    put(24, &63_u16.to_le_bytes()); // BPB_SecPerTrk
    put(26, &255_u16.to_le_bytes()); // BPB_NumHeads
    put(28, &hidden.to_le_bytes()); // BPB_HiddSec
    put(36, &[0x80, 0, 0x29]); // BS_DrvNum, BS_Reserved1, BS_BootSig
    put(39, &FAT_ID.to_le_bytes()); // BS_VolID
    put(43, &padded(FAT_LABEL)); // BS_VolLab
    put(54, b"FAT16   "); // BS_FilSysType
    put(62, &[0xFA, 0xF4, 0xEB, 0xFD]); // cli; hlt; jump back
    put(510, &[0x55, 0xAA]);
    sector
}

/// A directory entry; `name` is 8 + 3 characters without the dot, or shorter.
fn entry(name: &str, attributes: u8, cluster: u16, size: usize) -> Vec<u8> {
    let mut entry = vec![0; ENTRY];
    let mut put = |offset: usize, bytes: &[u8]| entry[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0, &padded(name)); // DIR_Name
    put(11, &[attributes]); // DIR_Attr
    put(22, &TIME.to_le_bytes()); // DIR_WrtTime
    put(24, &DATE.to_le_bytes()); // DIR_WrtDate
    put(26, &cluster.to_le_bytes()); // DIR_FstClusLO
    put(28, &u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes()); // DIR_FileSize
    entry
}

/// Eleven bytes, filled up with spaces.
fn padded(name: &str) -> [u8; 11] {
    let mut bytes = [b' '; 11];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

/// A number of this small volume in the width that FAT16 has for it.
fn word(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}
