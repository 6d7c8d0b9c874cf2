//! A sample disk of 64 MiB, made without any tool: what an old computer has, small enough for every test.
//!
//! | first sector | sectors | what |
//! |---|---|---|
//! | 0 | 1 | MBR with boot code and disk identifier |
//! | 1 | 62 | residue |
//! | 63 | 40000 | partition 1, bootable: FAT16 with files |
//! | 40063 | 4993 | gap with residue in the middle |
//! | 45056 | 80000 | extended partition 2 |
//! | 45119 | 16384 | partition 5: swap |
//! | 61503 | 1497 | gap |
//! | 63063 | 60000 | partition 6: no filesystem, its first 6 MiB in use |
//! | 125056 | 6016 | tail, residue at its end |
//!
//! The EBRs are sectors 45056 and 63000. Every call gives the same bytes.

mod fat16;

use crate::pattern;
use std::io::{Cursor, Result, Seek, SeekFrom, Write};

/// Bytes of the disk.
pub const SIZE: u64 = 131_072 * SECTOR as u64;
/// The disk identifier, as `sfdisk` prints it without `0x`.
pub const DISK_ID: u32 = 0x5e1f_5a3e;
/// Volume label of partition 1.
pub const FAT_LABEL: &str = "SAMPLE";
/// Volume identifier of partition 1; `blkid` prints `1998-0624`.
pub const FAT_ID: u32 = 0x1998_0624;
/// Label of partition 5.
pub const SWAP_LABEL: &str = "sampleswap";
/// UUID of partition 5: `53656c66-7361-6d65-2073-616d706c6531`.
pub const SWAP_UUID: [u8; 16] = *b"Selfsame sample1";

const SECTOR: usize = 512;
const BOOT: Entry = Entry { start: 63, sectors: 40_000, kind: 0x06 };
const EXTENDED: Entry = Entry { start: 45_056, sectors: 80_000, kind: 0x05 };
const SWAP: Entry = Entry { start: 45_119, sectors: 16_384, kind: 0x82 };
const SECOND_EBR: Entry = Entry { start: 63_000, sectors: 60_063, kind: 0x05 };
const DATA: Entry = Entry { start: 63_063, sectors: 60_000, kind: 0x83 };

/// An entry of a partition table, in sectors from the start of the disk.
#[derive(Clone, Copy)]
struct Entry {
    start: u32,
    sectors: u32,
    kind: u8,
}

impl Entry {
    /// The 16 bytes of the entry in a table that counts from sector `base`.
    fn bytes(self, base: u32, bootable: bool) -> [u8; 16] {
        // Cylinder, head and sector out of range: only the LBA fields count.
        const CHS: [u8; 3] = [0xFE, 0xFF, 0xFF];
        let mut entry = [0; 16];
        entry[0] = if bootable { 0x80 } else { 0 };
        entry[1..4].copy_from_slice(&CHS);
        entry[4] = self.kind;
        entry[5..8].copy_from_slice(&CHS);
        entry[8..12].copy_from_slice(&(self.start - base).to_le_bytes());
        entry[12..16].copy_from_slice(&self.sectors.to_le_bytes());
        entry
    }
}

/// Bytes and the sector that they begin at.
type Piece = (u32, Vec<u8>);

/// The whole disk.
pub fn disk() -> Vec<u8> {
    let mut disk = vec![0; usize::try_from(SIZE).unwrap_or_default()];
    for (sector, bytes) in pieces() {
        let start = sector as usize * SECTOR;
        disk[start..start + bytes.len()].copy_from_slice(&bytes);
    }
    disk
}

/// Writes the disk to an empty file, from its start; zeroes become holes.
///
/// # Errors
/// Those of `out`.
pub fn write_to(out: &mut (impl Write + Seek)) -> Result<()> {
    for (sector, bytes) in pieces() {
        out.seek(SeekFrom::Start(u64::from(sector) * SECTOR as u64))?;
        out.write_all(&bytes)?;
    }
    out.flush()
}

/// All that is not zero. The last piece ends where the disk ends.
fn pieces() -> Vec<Piece> {
    vec![
        (0, table_sector(&[BOOT.bytes(0, true), EXTENDED.bytes(0, false)])),
        (1, residue(1, 62)),
        (BOOT.start, fat16::volume(BOOT.start, BOOT.sectors)),
        (42_000, residue(2, 100)),
        (
            EXTENDED.start,
            table_sector(&[SWAP.bytes(EXTENDED.start, false), SECOND_EBR.bytes(EXTENDED.start, false)]),
        ),
        (SWAP.start, swap_header(SWAP.sectors)),
        // A page that was swapped out.
        (SWAP.start + 800, residue(3, 2048)),
        (SECOND_EBR.start, table_sector(&[DATA.bytes(SECOND_EBR.start, false)])),
        (DATA.start, residue(4, 12_288)),
        (131_072 - 34, residue(5, 34)),
    ]
}

/// An MBR or EBR: both carry boot code and the disk identifier here, since both are kept.
fn table_sector(entries: &[[u8; 16]]) -> Vec<u8> {
    // cli; hlt; jump back to the hlt.
    const CODE: &[u8] = &[0xFA, 0xF4, 0xEB, 0xFD];
    let mut sector = vec![0; SECTOR];
    let mut code = Cursor::new(&mut sector[..440]);
    // A cursor over memory that is large enough does not fail.
    let _ = code.write_all(CODE).and_then(|()| code.write_all(b"selfsame sample disk: nothing to boot"));
    sector[440..444].copy_from_slice(&DISK_ID.to_le_bytes());
    for (entry, place) in entries.iter().zip(sector[446..510].chunks_exact_mut(16)) {
        place.copy_from_slice(entry);
    }
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

/// The first page of a swap space of version 1 (Linux, `include/linux/swap.h`, `union swap_header`).
fn swap_header(sectors: u32) -> Vec<u8> {
    const PAGE: usize = 4096;
    let pages = sectors / (4096 / 512);
    let mut page = vec![0; PAGE];
    let version = 1_u32;
    let last_page = pages - 1;
    page[1024..1028].copy_from_slice(&version.to_le_bytes());
    page[1028..1032].copy_from_slice(&last_page.to_le_bytes());
    page[1036..1052].copy_from_slice(&SWAP_UUID);
    page[1052..1052 + SWAP_LABEL.len()].copy_from_slice(SWAP_LABEL.as_bytes());
    page[PAGE - 10..].copy_from_slice(b"SWAPSPACE2");
    page
}

/// Sectors that do not compress, others for each `seed`.
fn residue(seed: usize, sectors: usize) -> Vec<u8> {
    pattern((seed + sectors) * SECTOR).split_off(seed * SECTOR)
}
