//! Filesystems with changed metadata: no panic, no hang, and no map that leaves the volume.

use super::made::{KINDS, Kind};
use super::{map_of, map_of_source};
use block::{ByteRange, ReadAt, Result};
use disk::used::Exactness;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::ImageFile;

/// Changed images of each kind.
const CASES: u64 = 60;
/// No case may take longer.
const SLOWEST: Duration = Duration::from_secs(10);

/// An image file with bytes changed, and where it was read.
struct Changed {
    image: ImageFile,
    bytes: BTreeMap<u64, u8>,
    seen: std::sync::Mutex<Vec<ByteRange>>,
}

impl ReadAt for Changed {
    fn size(&self) -> u64 {
        self.image.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.image.read_at(offset, buf)?;
        let end = offset + buf.len() as u64;
        self.seen.lock().unwrap().push(ByteRange::span(offset, end));
        for (at, byte) in self.bytes.range(offset..end) {
            buf[(at - offset) as usize] = *byte;
        }
        Ok(())
    }
}

fn changed(image: &Path, bytes: BTreeMap<u64, u8>) -> Changed {
    let size = std::fs::metadata(image).unwrap().len();
    Changed { image: ImageFile::open(image, size).unwrap(), bytes, seen: std::sync::Mutex::default() }
}

/// A repeatable sequence (Marsaglia's xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}

/// How many of the changed images still had a map.
fn storm(image: &Path, name: &str) -> u64 {
    let whole = changed(image, BTreeMap::new());
    map_of_source(&whole).unwrap();
    let seen = whole.seen.into_inner().unwrap();
    let mut random =
        Random(name.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte)) | 1);
    let mut maps = 0;
    for _ in 0..CASES {
        let mut bytes = BTreeMap::new();
        for _ in 0..=random.below(12) {
            let place = seen[random.below(seen.len() as u64) as usize];
            // Headers are at the front of what is read.
            let reach = if random.below(2) == 0 { place.len().min(512) } else { place.len() };
            let at = place.start() + random.below(reach);
            let value = [0, 0xFF, random.below(256), 1 << random.below(8)][random.below(4) as usize];
            for at in at..at + [1, 1, 4, 8][random.below(4) as usize] {
                bytes.insert(at, value as u8);
            }
        }
        let began = Instant::now();
        let map = map_of_source(&changed(image, bytes));
        assert!(began.elapsed() < SLOWEST, "{name}");
        maps += u64::from(map.is_some_and(|map| !matches!(map.exactness(), Exactness::Unknown(_))));
    }
    maps
}

#[test]
fn changed_metadata_gives_no_map_or_one_of_this_volume() {
    for kind in KINDS {
        if kind.can("changed_metadata_gives_no_map_or_one_of_this_volume") {
            let folder = tempfile::tempdir().unwrap();
            let image = kind.filled(folder.path());
            println!("{}: {} of {CASES} with a map", kind.name, storm(&image, kind.name));
        }
    }
}

/// Byte `at` of the first place that holds `magic`, changed by `change`: the map must be whole, for a reason.
fn whole_after(kind: &Kind, image: &Path, at: u64, change: u8) {
    let mut byte = [0];
    changed(image, BTreeMap::new()).read_at(at, &mut byte).unwrap();
    let map = map_of_source(&changed(image, BTreeMap::from([(at, byte[0] ^ change)])));
    let whole = map
        .as_ref()
        .is_none_or(|map| matches!(map.exactness(), Exactness::Unknown(_)) && map.free_bytes() == 0);
    assert!(whole, "{} byte {at}: {map:?}", kind.name);
}

#[test]
fn counts_that_contradict_each_other_are_no_map() {
    let test = "counts_that_contradict_each_other_are_no_map";
    for (name, pick) in [("ext4 without sums, 1 KiB", 2), ("XFS", 1), ("btrfs, xxhash", 1), ("FAT32", 1)] {
        let kind = Kind::find(name);
        if !kind.can(test) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let image = kind.filled(folder.path());
        assert_eq!(*map_of(&image).exactness(), Exactness::Exact);
        let u32_at = |at: u64| {
            let mut bytes = [0; 4];
            changed(&image, BTreeMap::new()).read_at(at, &mut bytes).unwrap();
            bytes
        };
        match pick {
            // A block of the first group's bitmap, of its counter, of the place of its inode table.
            2 => {
                let bitmap = u64::from(u32::from_le_bytes(u32_at(2048))) * 1024;
                for at in [bitmap, bitmap + 40, 2048 + 12] {
                    whole_after(&kind, &image, at, 0x10);
                }
            }
            _ if name == "XFS" => {
                // The counter of the first group, and its first free run.
                let root = u64::from(u32::from_be_bytes(u32_at(512 + 16))) * 4096;
                for at in [512 + 55, root + 56 + 3, root + 56 + 7] {
                    whole_after(&kind, &image, at, 1);
                }
            }
            _ if name == "FAT32" => {
                // The entry of the root directory in both tables; the media byte.
                let fat = u64::from(u16::from_le_bytes([u32_at(14)[0], u32_at(14)[1]])) * 512;
                whole_after(&kind, &image, fat, 1);
            }
            _ => whole_after(&kind, &image, (64 << 10) + 0x78 + 1, 1),
        }
    }
}
