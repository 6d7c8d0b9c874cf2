//! Files that Windows compresses from outside. wimlib packs into image files of Windows what is the same row
//! of chunks; here they become the stream that such a file has.

use super::{Volume, ready, set_reparse};
use crate::open;
use block::ErrorKind;
use std::fs::{self, File};
use std::path::Path;
use testkit::tools::run;

/// What wimlib makes of a file: its table and chunks.
fn packed(volume: &Volume, content: &[u8], options: &str) -> Vec<u8> {
    let folder = volume.beside("captured");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("file"), content).unwrap();
    run(&format!("rm -f \"$F.wim\"; wimcapture \"$F\" \"$F.wim\" {options} >&2"), &folder);
    let image = fs::read(volume.beside("captured.wim")).unwrap();
    let number = |at: usize, len: usize| {
        image[at..at + len].iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    // The table of resources is named in the header; of each the size, flags, place and plain size.
    let (size, table) = (number(48, 7), number(56, 8));
    let entry = (table..table + size)
        .step_by(50)
        .find(|at| number(at + 16, 8) == content.len() && image[at + 7] & 2 == 0);
    let entry = entry.expect("the file is in the image");
    assert!(image[entry + 7] & 4 != 0, "it is not packed");
    image[number(entry + 8, 8)..][..number(entry, 7)].to_vec()
}

/// Machine code, text, what cannot be packed, and one byte over and over.
fn contents() -> Vec<Vec<u8>> {
    let mut program = fs::read("/proc/self/exe").unwrap();
    program.truncate(700_001);
    let text = (0..20_000).map(|n| format!("line {n} of a file that is packed\n")).collect::<String>();
    let mixed =
        [&testkit::pattern(40_000)[..], &[b'x'; 100_000], &testkit::pattern(3000), &program[..5000]].concat();
    vec![
        program,
        text.into_bytes(),
        mixed,
        vec![0; 65_536],
        b"short, short, short, short, short, short".repeat(9),
    ]
}

fn info(provider: u32, algorithm: u32) -> Vec<u8> {
    [1, provider, 1, algorithm].map(u32::to_le_bytes).concat()
}

fn make(dir: &Path, name: &str, content: &[u8], packed: &[u8], info: &[u8]) {
    let file = File::create(dir.join(name)).unwrap();
    file.set_len(content.len() as u64).unwrap();
    drop(file);
    fs::write(dir.join(format!("{name}:WofCompressedData")), packed).unwrap();
    set_reparse(&dir.join(name), 0x8000_0017, info);
}

#[test]
fn ntfs_compressed_by_windows() {
    if !ready("ntfs_compressed_by_windows", &["wimcapture", "setfattr"]) {
        return;
    }
    let volume = Volume::new("64M", "");
    let methods = [
        (0, "--compress=XPRESS --chunk-size=4K"),
        (1, "--compress=LZX:100 --chunk-size=32K"),
        (2, "--compress=XPRESS --chunk-size=8K"),
        (3, "--compress=XPRESS --chunk-size=16K"),
        (1, "--compress=LZX:20 --chunk-size=32K"),
    ];
    let mut files = vec![];
    for (n, (algorithm, options)) in methods.into_iter().enumerate() {
        for (m, content) in contents().into_iter().enumerate() {
            let packed = packed(&volume, &content, options);
            files.push((format!("file{n}-{m}"), algorithm, content, packed));
        }
    }
    volume.mounted("streams_interface=windows", |dir| {
        for (name, algorithm, content, packed) in &files {
            make(dir, name, content, packed, &info(2, *algorithm));
        }
        let (_, _, content, packed) = &files[0];
        make(dir, "image", content, packed, &info(1, 0));
        make(dir, "unknown", content, packed, &info(2, 9));
    });
    let fs = open(&volume.image());
    for (name, _, content, packed) in &files {
        let node = fs.lookup(fs.root(), name.as_bytes()).unwrap().unwrap();
        let meta = fs.metadata(node).unwrap();
        assert_eq!((meta.kind.letter(), meta.size), ('-', content.len() as u64), "{name}");
        assert!(meta.allocated.unwrap() < packed.len() as u64 + 4096);
        assert_eq!(fs.streams(node).unwrap(), []);
        let file = fs.open(node, None).unwrap();
        let mut bytes = vec![0; content.len()];
        file.read_at(0, &mut bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(bytes == *content, "{name}");
        let (from, to) = (content.len() / 3, content.len() / 3 * 2);
        file.read_at(from as u64, &mut bytes[..to - from]).unwrap();
        assert!(bytes[..to - from] == content[from..to], "{name}");
    }
    for name in ["image", "unknown"] {
        let node = fs.lookup(fs.root(), name.as_bytes()).unwrap().unwrap();
        assert_eq!(fs.open(node, None).err().unwrap().kind(), ErrorKind::Unsupported, "{name}");
    }
    println!("{} files packed by wimlib are right", files.len());
}

/// Damaged chunks are errors or other bytes, never a panic and never more than the file.
#[test]
fn ntfs_compressed_by_windows_and_damaged() {
    if !ready("ntfs_compressed_by_windows_and_damaged", &["wimcapture", "setfattr"]) {
        return;
    }
    let volume = Volume::new("32M", "");
    let content: Vec<u8> = contents().swap_remove(0)[..100_000].to_vec();
    let mut random = crate::ntfs::damaged::Random(11);
    let mut files = vec![];
    for (algorithm, options) in
        [(0, "--compress=XPRESS --chunk-size=4K"), (1, "--compress=LZX --chunk-size=32K")]
    {
        let packed = packed(&volume, &content, options);
        for n in 0..60 {
            let mut packed = packed.clone();
            for _ in 0..1 + n % 4 {
                let at = random.below(packed.len());
                packed[at] ^= 1 << random.below(8);
            }
            if n % 10 == 9 {
                packed.truncate(random.below(packed.len()));
            }
            files.push((format!("{algorithm}-{n}"), algorithm, packed));
        }
    }
    volume.mounted("streams_interface=windows", |dir| {
        for (name, algorithm, packed) in &files {
            make(dir, name, &content, packed, &info(2, *algorithm));
        }
    });
    let (fs, mut errors) = (open(&volume.image()), 0);
    for (name, ..) in &files {
        let node = fs.lookup(fs.root(), name.as_bytes()).unwrap().unwrap();
        let file = fs.open(node, None).unwrap();
        let mut bytes = vec![0; content.len()];
        if let Err(error) = file.read_at(0, &mut bytes) {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(!error.to_string().contains("gave up"), "{error}");
            errors += 1;
        }
    }
    assert!(errors > 20, "{errors}");
}
