//! Volumes with wrong bytes where their structures lie: whatever comes out, it comes out.

use super::{Volume, ready, set_reparse};
use crate::tree;
use block::{ByteRange, Source, extents};
use disk::fs::FileSystem;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::Memory;
use testkit::tools::run;

const CASES: usize = 600;

/// A repeatable sequence (Marsaglia's xorshift64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Of everything in a small volume.
fn image() -> Vec<u8> {
    let volume = Volume::new("24M", "-c 1024");
    volume.mounted("compression,streams_interface=windows", |dir| {
        let packed = dir.join("packed");
        fs::create_dir(&packed).unwrap();
        run("setfattr -h -v 0x00000800 -n system.ntfs_attrib_be \"$F\"", &packed);
        tree::grow(dir, 150);
        fs::write(packed.join("text"), b"text to be packed ".repeat(9000)).unwrap();
        fs::write(dir.join("file"), b"main").unwrap();
        fs::write(dir.join("file:stream"), testkit::pattern(3000)).unwrap();
        fs::create_dir(dir.join("junction")).unwrap();
        let names = [&[0, 0, 4, 0, 4, 0, 4, 0][..], b"a\0b\0c\0d\0"].concat();
        set_reparse(&dir.join("junction"), 0xA000_0003, &names);
        // Pieces, so that there is a list of attributes.
        let mut files = ["one", "two"].map(|name| fs::File::create(dir.join(name)).unwrap());
        for _ in 0..300 {
            for file in &mut files {
                std::io::Write::write_all(file, &[7; 1024]).unwrap();
                file.sync_all().unwrap();
            }
        }
    });
    fs::read(volume.image()).unwrap()
}

/// Everything that can be asked; what is said of failures.
fn walk(fs: &dyn FileSystem, said: &mut Vec<String>) -> usize {
    let (mut seen, mut left, mut read) = (BTreeSet::new(), vec![fs.root()], 0_u64);
    while let Some(dir) = left.pop() {
        let mut entries = vec![];
        let listed = fs.read_dir(dir, &mut |entry| {
            entries.push(entry);
            Ok(true)
        });
        said.extend(listed.err().map(|error| error.to_string()));
        for entry in entries {
            said.extend(fs.lookup(dir, &entry.name).err().map(|error| error.to_string()));
            if !seen.insert(entry.node) {
                continue;
            }
            let meta = match fs.metadata(entry.node) {
                Ok(meta) => meta,
                Err(error) => {
                    said.push(error.to_string());
                    continue;
                }
            };
            if meta.kind.letter() == 'd' {
                left.push(entry.node);
            }
            said.extend(fs.read_link(entry.node).err().map(|error| error.to_string()));
            let streams =
                fs.streams(entry.node).unwrap_or_default().into_iter().map(|stream| Some(stream.name));
            for stream in [None].into_iter().chain(streams) {
                let Ok(file) = fs.open(entry.node, stream.as_deref()) else { continue };
                for extent in extents(&*file, ByteRange::span(0, file.size())).take(400).flatten() {
                    let range = ByteRange::span(
                        extent.range.start(),
                        extent.range.end().min(extent.range.start() + (1 << 18)),
                    );
                    let mut buf = vec![0; (range.end() - range.start()) as usize];
                    said.extend(file.read_at(range.start(), &mut buf).err().map(|error| error.to_string()));
                    read += range.len();
                }
                // A volume of 24 MiB has no more; what lies is not read for ever.
                if read > 64 << 20 {
                    return seen.len();
                }
            }
        }
    }
    seen.len()
}

#[test]
fn ntfs_damaged() {
    if !ready("ntfs_damaged", &["setfattr"]) {
        return;
    }
    let image = image();
    let structures: Vec<usize> = (0..image.len() / 512)
        .map(|sector| sector * 512)
        .filter(|at| [&b"FILE"[..], b"INDX"].iter().any(|magic| image[*at..].starts_with(magic)))
        .collect();
    assert!(structures.len() > 200);
    let (mut random, mut refused, mut names) = (Random(20_260_101), 0, 0);
    let mut longest = Duration::ZERO;
    for case in 0..CASES {
        let mut bytes = image.clone();
        for _ in 0..1 + random.below(12) {
            let structure = structures[random.below(structures.len())];
            // Not where the sum of a torn write is, which would only be found.
            let at = structure + random.below(if case % 2 == 0 { 510 } else { 120 });
            bytes[at] = match random.below(4) {
                0 => 0,
                1 => 0xFF,
                2 => bytes[at].wrapping_add(1),
                _ => random.below(256) as u8,
            };
        }
        if case % 20 == 0 {
            let at = random.below(0x50);
            bytes[at] ^= 1 << random.below(8);
        }
        let began = Instant::now();
        let disk: Source = Arc::new(Memory::new(bytes));
        let mut said = vec![];
        match disk::fs::open(&disk) {
            Ok(fs) => names += walk(&*fs, &mut said),
            Err(error) => {
                refused += 1;
                said.push(error.to_string());
            }
        }
        longest = longest.max(began.elapsed());
        let panicked = said.iter().find(|words| words.contains("gave up") || words.contains("mistake"));
        assert_eq!(panicked, None, "case {case}");
    }
    println!("{CASES} cases, {refused} not opened, {} names each, longest {longest:?}", names / CASES);
    assert!(longest < Duration::from_secs(10));
    assert!(refused < CASES / 2 && names / CASES > 100, "too much is refused: {refused}, {names}");
}

/// A directory one block of which is lost: all other names are listed and found, and then it is said.
#[test]
fn ntfs_directory_with_a_hole() {
    if !ready("ntfs_directory_with_a_hole", &[]) {
        return;
    }
    let volume = Volume::new("32M", "");
    volume.mounted("", |dir| tree::grow(dir, 2500));
    let image = fs::read(volume.image()).unwrap();
    let whole: Source = Arc::new(Memory::new(image.clone()));
    let whole = disk::fs::open(&whole).unwrap();
    let many = whole.lookup(whole.root(), b"many").unwrap().unwrap();
    let list = |fs: &dyn FileSystem| {
        let mut entries = vec![];
        let result = fs.read_dir(many, &mut |entry| {
            entries.push((entry.name, entry.node));
            Ok(true)
        });
        (entries, result)
    };
    let (all, result) = list(&*whole);
    result.unwrap();
    assert_eq!(all.len(), 2500);
    // Each in turn, so that once it is one that leads to others.
    let blocks: Vec<usize> =
        (0..image.len() / 4096).map(|n| n * 4096).filter(|at| image[*at..].starts_with(b"INDX")).collect();
    let (mut hurt, mut worst) = (0, 2500);
    for at in blocks {
        let mut bytes = image.clone();
        bytes[at + 510] ^= 0x55;
        let disk: Source = Arc::new(Memory::new(bytes));
        let fs = disk::fs::open(&disk).unwrap();
        let (names, result) = list(&*fs);
        if names.len() == 2500 {
            continue;
        }
        assert_eq!(result.unwrap_err().kind(), block::ErrorKind::Corrupt);
        (hurt, worst) = (hurt + 1, worst.min(names.len()));
        for (name, node) in names.iter().step_by(97) {
            assert_eq!(fs.lookup(many, name).unwrap(), Some(*node));
        }
        let lost = all.iter().find(|entry| !names.contains(entry)).unwrap();
        assert!(fs.lookup(many, &lost.0).is_err());
    }
    println!("each of {hurt} blocks was lost; {worst} names are left at least");
    assert!(hurt > 50 && worst > 2400, "{hurt}, {worst}");
}
