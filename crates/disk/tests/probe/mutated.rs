//! Images with one byte changed where superblocks lie: our verdict must stay that of blkid.

use super::{Image, blkid_tag, hand, hostile, made};
use disk::probe::{Content, StateKind, identify};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes changed in each image.
const CHANGES: usize = 24;
/// Where the superblocks of all kinds lie, from the start: first byte and how many.
const FRONT: [(u64, u64); 6] =
    [(0, 9 << 10), (16 << 10, 512), (32 << 10, 8192), (64 << 10, 2048), (128 << 10, 8192), (256 << 10, 2048)];
/// From the end.
const BACK: [(u64, u64); 4] = [(257 * 512, 512), (64 << 10, 4096), (8 << 10, 4096), (4096, 4096)];

/// Cases with a checksum of the superblock, and a byte under it that is nothing but a name or padding.
const CHECKSUMS: [(&str, u64); 9] = [
    ("ext4", 1024 + 0x78),
    ("exfat", 200),
    ("xfs", 108),
    ("btrfs", (64 << 10) + 0x12B),
    ("f2fs-checksum", 1024 + 0x7C),
    ("apfs", 1000),
    ("erofs-checksum", 1024 + 64),
    ("bcache-cache", 4096 + 72),
    ("bcache-backing", 4096 + 72),
];

/// A repeatable sequence (Marsaglia's xorshift64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Sectors at those places that hold something.
fn sectors(image: &Image) -> Vec<u64> {
    let back = BACK.iter().filter_map(|(before, len)| Some((image.1.checked_sub(*before)?, *len)));
    let places = FRONT.into_iter().chain(back);
    let mut sectors: Vec<u64> = places.flat_map(|(at, len)| at / 512..(at + len) / 512).collect();
    sectors.sort_unstable();
    sectors.dedup();
    let holds = |sector: &u64| {
        let mut bytes = [0; 512];
        image.0.read_exact_at(&mut bytes, sector * 512).is_ok() && bytes != [0; 512]
    };
    sectors.into_iter().filter(holds).collect()
}

fn said(content: Option<&Content>) -> Option<&str> {
    content.map(|content| content.type_name)
}

/// What changed verdicts there are that blkid does not share.
fn mutate(name: &str, path: &Path) -> Option<String> {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let image = Image(file, size);
    let sectors = sectors(&image);
    // A seed of its own, so that a new case does not change the others.
    let mut random = Random(name.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte)));
    let mut wrong = vec![];
    for _ in 0..CHANGES {
        let at = sectors[random.below(sectors.len() as u64) as usize] * 512 + random.below(512);
        let mut old = [0];
        image.0.read_exact_at(&mut old, at).unwrap();
        let new = match random.below(4) {
            0 => 0,
            1 => 0xFF,
            2 => old[0] ^ (1 << random.below(8)),
            _ => random.next() as u8,
        };
        image.0.write_all_at(&[new], at).unwrap();
        let content = identify(&image).unwrap();
        let blkid = blkid_tag(path, "TYPE");
        image.0.write_all_at(&old, at).unwrap();
        // blkid says nothing of what has two contents.
        let two = content.as_ref().is_some_and(|content| !content.also.is_empty());
        // A wrong checksum, which we say, is no reason for blkid 2.38 not to name it; for later ones it is.
        let same = said(content.as_ref()) == blkid.as_deref();
        let newer = blkid.is_none() && content.as_ref().is_some_and(is_damaged);
        if !(same || newer || two && blkid.is_none()) {
            let got = said(content.as_ref());
            wrong.push(format!("byte {at} from {:#x} to {new:#x}: blkid {blkid:?}, we {got:?}", old[0]));
        }
    }
    hostile::storm(name, &image, &sectors, &mut random);
    (!wrong.is_empty()).then(|| wrong.join("\n    "))
}

pub(crate) fn is_damaged(content: &Content) -> bool {
    content.states.iter().any(|state| state.kind == StateKind::Damaged)
}

/// One byte under a checksum: named all the same, and said to be damaged.
fn under_checksum(path: &Path, at: u64) -> Option<String> {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let image = Image(file.try_clone().unwrap(), file.metadata().unwrap().len());
    let whole = identify(&image).unwrap().unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    let content = identify(&image).unwrap().unwrap();
    file.write_all_at(&byte, at).unwrap();
    let right = content.type_name == whole.type_name && is_damaged(&content);
    (!right).then(|| format!("byte {at} under the checksum: {content:?}"))
}

#[test]
fn mutated_as_blkid_says() {
    made::each("mutated_as_blkid_says", |name, path| {
        let at = CHECKSUMS.iter().find(|(case, _)| *case == name);
        at.and_then(|(_, at)| under_checksum(path, *at)).or_else(|| mutate(name, path))
    });
}

#[test]
fn mutated_by_hand_as_blkid_says() {
    if !super::has("blkid", "mutated_by_hand_as_blkid_says") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let mut wrong = vec![];
    for (name, disk, written) in hand::images() {
        disk.write(&path);
        if written.is_some() {
            // What blkid 2.38 does not know at all cannot be compared.
            let image = Image(std::fs::File::open(&path).unwrap(), std::fs::metadata(&path).unwrap().len());
            hostile::storm(name, &image, &sectors(&image), &mut Random(7));
            continue;
        }
        wrong.extend(mutate(name, &path).map(|why| format!("{name}: {why}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
