//! A small backup made byte by byte from docs/FORMAT.md, not by the writer. The fuzz targets use it too.

#![allow(dead_code, unreachable_pub, clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

use image::{Compressor, encode_stored, encode_zero, value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

pub const GRID: u64 = 64 << 10;
/// Plain bytes of a block in stored and zero frames (FORMAT 3.2).
pub const BLOCK: u64 = 128 << 10;
pub const ID: [u8; 16] = [7; 16];
/// Plain bytes of the two stored files.
pub const MBR: u64 = 1024;
pub const REST: u64 = 4 * GRID + 1024;
/// Could not be read: plain bytes of the second file.
pub const BAD: std::ops::Range<u64> = GRID + 512..GRID + 1024;

pub type Record = [u8; 64];

fn put<const N: usize>(bytes: &mut [u8], fields: [(usize, &[u8]); N]) {
    for (at, field) in fields {
        bytes[at..at + field.len()].copy_from_slice(field);
    }
}

/// FORMAT 5.2; `plain` and `stored`: offset and length.
pub fn frame(plain: (u64, u64), stored: (u64, u64), sort: u8, flags: u8, digest: [u8; 32]) -> Record {
    let low = |len: u64| u32::try_from(len).unwrap().to_le_bytes();
    let mut record = [0; 64];
    let (at, from) = (plain.0.to_le_bytes(), stored.0.to_le_bytes());
    let (len, kept) = (low(plain.1), low(stored.1));
    put(&mut record, [(0, &at), (8, &from), (16, &len), (20, &kept), (24, &[sort, flags]), (32, &digest)]);
    record
}

/// FORMAT 5.3.
pub fn extent(start: u64, len: u64, kind: u8) -> Record {
    let mut record = [0; 64];
    put(&mut record, [(0, &start.to_le_bytes()), (8, &len.to_le_bytes()), (16, &[kind])]);
    record
}

/// A page of records.
#[derive(Clone, Debug)]
pub struct Page {
    pub kind: u16,
    pub file: u32,
    pub records: Vec<Record>,
}

fn u64_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

impl Page {
    /// First plain byte, and the one behind the last.
    fn range(&self) -> (u64, u64) {
        let (Some(first), Some(last)) = (self.records.first(), self.records.last()) else { return (0, 0) };
        let len = match self.kind {
            1 => u32::from_le_bytes(last[16..20].try_into().unwrap()).into(),
            2 => u64_of(&last[8..]),
            _ => return (0, 0),
        };
        (u64_of(first), u64_of(last).wrapping_add(len))
    }

    /// FORMAT 5.1, with a right digest.
    pub fn bytes(&self, number: u32) -> Vec<u8> {
        let (first, end) = self.range();
        let mut page = vec![0; 65536];
        let (number, kind, file) = (number.to_le_bytes(), self.kind.to_le_bytes(), self.file.to_le_bytes());
        let count = u16::try_from(self.records.len()).unwrap().to_le_bytes();
        put(&mut page, [(0, b"SELFIDX1"), (8, &ID), (24, &number), (28, &kind), (30, &count), (32, &file)]);
        put(&mut page, [(40, &first.to_le_bytes()), (48, &end.to_le_bytes())]);
        let records = self.records.iter().take(1022).flatten().copied().collect::<Vec<u8>>();
        put(&mut page, [(96, &records)]);
        let digest = *blake3::hash(&page[..65504]).as_bytes();
        put(&mut page, [(65504, &digest)]);
        page
    }
}

/// An index with right digests.
pub struct Index {
    pub bytes: Vec<u8>,
    pub pages: u32,
    pub digest: String,
}

/// FORMAT 5.4.
pub fn index(pages: &[Page]) -> Index {
    let mut bytes = vec![];
    let mut directory: Vec<(u16, u32, u64, Record)> = vec![];
    for (number, page) in (0_u32..).zip(pages) {
        let whole = page.bytes(number);
        let (first, end) = page.range();
        let mut entry = [0; 64];
        let count = u16::try_from(page.records.len()).unwrap().to_le_bytes();
        let (kind, file) = (page.kind.to_le_bytes(), page.file.to_le_bytes());
        put(&mut entry, [(0, &first.to_le_bytes()), (8, &end.to_le_bytes()), (16, &number.to_le_bytes())]);
        put(&mut entry, [(20, &file), (24, &kind), (26, &count), (32, &whole[65504..])]);
        directory.push((page.kind, page.file, first, entry));
        bytes.extend(whole);
    }
    directory.sort();
    let records_end = bytes.len();
    for (number, entries) in (pages.len()..).zip(directory.chunks(1022)) {
        let records = entries.iter().map(|(.., entry)| *entry).collect();
        let page = Page { kind: 3, file: u32::MAX, records };
        bytes.extend(page.bytes(u32::try_from(number).unwrap()));
    }
    let digest = blake3::hash(&bytes[records_end..]).to_hex().to_string();
    Index { bytes, pages: u32::try_from(pages.len()).unwrap(), digest }
}

/// FORMAT 2, for files of these names, encodings, plain and stored lengths: one region each.
pub fn manifest(files: &[(&str, &str, u64, u64)], index: &Index) -> String {
    let (mut at, mut regions, mut list) = (0_u64, vec![], vec![]);
    for (number, (name, encoding, length, stored)) in files.iter().enumerate() {
        regions
            .push(format!(r#"{{"start":{at},"length":{length},"role":"gap","file":{number},"offset":0}}"#));
        list.push(format!(
            r#"{{"name":"{name}","encoding":"{encoding}","length":{length},
                "parts":[{{"name":"{name}","size":{stored}}}]}}"#
        ));
        at += length;
    }
    let grid = image::grid_for(at);
    format!(
        r#"{{"format":1,"requires":[],"backup_id":"{id}","name":"t","program":"by hand",
        "started":"2026-11-23T09:25:00Z","finished":"2026-11-23T09:26:00Z","grid":{grid},
        "disk":{{"size":{at},"sector_size":512,"physical_sector_size":0,"source":"t","kind":"image",
                "transport":"","model":"","serial":"","wwn":"","id":"0123456789"}},
        "table":{{"type":"none"}},"regions":[{regions}],"files":[{list}],
        "index":{{"name":"t.idx","pages":{pages},"digest":"{digest}"}},
        "totals":{{"data":{at},"zero":0,"absent":0,"bad":0}},
        "options":{{"format":"zst","level":1,"whole":false}},"sittings":[]}}"#,
        id = "07".repeat(16),
        regions = regions.join(","),
        list = list.join(","),
        pages = index.pages,
        digest = index.digest,
    )
}

/// The files of a backup, and the disk that they are; bad bytes of it are zero.
#[derive(Clone)]
pub struct Backup {
    pub disk: Vec<u8>,
    pub files: BTreeMap<String, Vec<u8>>,
    /// Of the second stored file.
    pub frames_end: u64,
}

/// Bytes that do not compress.
pub fn noise(len: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// All sorts of frames, a raw file, and bad bytes.
pub fn backup() -> Backup {
    let (cell, mbr) = (usize::try_from(GRID).unwrap(), noise(MBR));
    let mut plain = b"selfsame ".repeat(cell / 9 + 1);
    plain.truncate(cell);
    plain.extend(noise(GRID));
    plain[cell + 512..cell + 1024].fill(0);
    plain.resize(4 * cell, 0);
    plain.extend(b"tail".repeat(256));

    let (mut zst, mut frames, mut table) = (vec![], vec![], vec![]);
    let mut compressor = Compressor::new(1).unwrap();
    for (at, len, sort, flags) in
        [(0, GRID, 1, 1), (GRID, GRID, 2, 3), (2 * GRID, 2 * GRID, 3, 0), (4 * GRID, 1024, 1, 1)]
    {
        let bytes = &plain[usize::try_from(at).unwrap()..][..usize::try_from(len).unwrap()];
        let start = zst.len();
        match sort {
            1 => assert!(compressor.compress(bytes, &mut zst).unwrap()),
            2 => encode_stored(bytes, &mut zst),
            _ => encode_zero(len, &mut zst),
        }
        let kept = (zst.len() - start) as u64;
        let digest = if flags & 1 == 0 { [0; 32] } else { value(bytes, at, REST) };
        frames.push(frame((at, len), (start as u64, kept), sort, flags, digest));
        table.extend_from_slice(&u32::try_from(kept).unwrap().to_le_bytes());
        table.extend_from_slice(&u32::try_from(len).unwrap().to_le_bytes());
    }
    let frames_end = zst.len() as u64;
    zst.extend(0x184D_2A5E_u32.to_le_bytes());
    zst.extend(u32::try_from(table.len() + 9).unwrap().to_le_bytes());
    zst.extend(table);
    zst.extend(4_u32.to_le_bytes());
    zst.push(0);
    zst.extend(0x8F92_EAB1_u32.to_le_bytes());

    let index = index(&[
        Page { kind: 1, file: 0, records: vec![frame((0, MBR), (0, MBR), 2, 1, value(&mbr, 0, MBR))] },
        Page { kind: 1, file: 1, records: frames },
        Page { kind: 2, file: 1, records: vec![extent(BAD.start, BAD.end - BAD.start, 2)] },
    ]);
    let json = manifest(&[("t.mbr", "raw", MBR, MBR), ("t.zst", "zst", REST, zst.len() as u64)], &index);
    let disk = [&mbr[..], &plain].concat();
    let files = [
        ("manifest.json", json.into_bytes()),
        ("t.idx", index.bytes),
        ("t.mbr", mbr),
        ("t.zst", zst),
        ("RESTORE.txt", b"by hand\n".to_vec()),
    ];
    let mut backup =
        Backup { disk, files: files.map(|(name, bytes)| (name.to_owned(), bytes)).into(), frames_end };
    backup.seal();
    backup
}

impl Backup {
    /// Makes SHA256SUMS right.
    pub fn seal(&mut self) {
        self.files.remove("SHA256SUMS");
        let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
        let lines = self.files.iter().map(|(name, bytes)| format!("{}  {name}\n", hex(bytes)));
        let sums = lines.collect::<String>();
        self.files.insert("SHA256SUMS".to_owned(), sums.into_bytes());
    }

    /// Puts the files into a folder.
    pub fn write(&self, folder: &Path) {
        for (name, bytes) in &self.files {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }
}

/// Reads all of a disk in pieces of several sizes: what is given out is what was saved. Says whether
/// everything could be read but the bad bytes.
pub fn read_all(source: &dyn block::ReadAt, want: &[u8]) -> bool {
    let mut whole = source.size() == want.len() as u64;
    let bad = BAD.start + MBR..BAD.end + MBR;
    for piece in [700, 128 << 10, want.len()] {
        for (number, want) in want.chunks(piece).enumerate() {
            let start = (number * piece) as u64;
            let mut have = vec![0xAA; want.len()];
            match source.read_at(start, &mut have) {
                Ok(()) => assert!(have == want, "wrong bytes at {start}"),
                Err(_) => whole &= start < bad.end && bad.start < start + want.len() as u64,
            }
        }
    }
    let mut at = 0;
    while at < source.size() {
        let Ok(extent) = source.extent_at(at) else { return false };
        assert!(extent.range.start() == at && !extent.range.is_empty(), "{extent:?} at {at}");
        at = extent.range.end();
    }
    whole
}
