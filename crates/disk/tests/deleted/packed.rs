//! Deleted files that NTFS or Windows compressed.

use super::made::{Mounted, noise};
use block::Source;
use disk::deleted::{Chance, DeletedFile, Found, find};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::tools::run;

/// A volume in a folder that goes away.
struct Volume {
    folder: tempfile::TempDir,
    image: PathBuf,
}

impl Volume {
    /// `None` where one cannot be made and mounted; then says so.
    fn new(test: &str, options: &str) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        if !is_root {
            println!("SKIPPED: {test}: needs root");
        }
        if !is_root || !testkit::tools::has(test, &["mkfs.ntfs", "ntfs-3g", "setfattr"]) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        run(&format!("truncate -s 64M \"$F\"; mkfs.ntfs -q -F -Q {options} \"$F\""), &image);
        fs::create_dir(folder.path().join("mounted")).unwrap();
        Some(Self { folder, image })
    }

    fn mounted(&self, work: impl FnOnce(&Path)) {
        let dir = self.folder.path().join("mounted");
        let options = "compression,streams_interface=windows";
        run(&format!("ntfs-3g -o {options} \"$F\" '{}'", dir.display()), &self.image);
        let mounted = Mounted(dir);
        work(&mounted.0);
        run("sync", &self.image);
    }

    fn found(&self) -> (Source, Found) {
        let size = fs::metadata(&self.image).unwrap().len();
        let source: Source = Arc::new(testkit::ImageFile::open(&self.image, size).unwrap());
        let found = find(&source).unwrap();
        (source, found)
    }
}

fn named<'a>(found: &'a Found, name: &str) -> &'a DeletedFile {
    let is_it = |file: &&DeletedFile| file.name.as_deref() == Some(name.as_bytes());
    found.files.iter().find(is_it).unwrap_or_else(|| panic!("{name} is not found"))
}

fn bytes(file: &DeletedFile, source: &Source) -> block::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.size).unwrap()];
    file.open(source)?.read_at(0, &mut bytes)?;
    Ok(bytes)
}

fn text(len: usize) -> Vec<u8> {
    (0..).flat_map(|n| format!("line {n} of a file that is packed\n").into_bytes()).take(len).collect()
}

#[test]
fn compressed_by_ntfs() {
    for options in ["-c 4096", "-c 512"] {
        let Some(volume) = Volume::new("compressed_by_ntfs", options) else { return };
        let mut files = BTreeMap::new();
        for len in [3000, 65_535, 65_536, 65_537, 300_000] {
            files.insert(format!("text{len}"), text(len));
            files.insert(format!("mixed{len}"), [text(len), noise("packed", len), text(len)].concat());
        }
        // Units that are packed, plain and holes in turn.
        files.insert("holes".to_owned(), [text(70_000), vec![0; 300_000], noise("holes", 90_000)].concat());
        volume.mounted(|dir| {
            let packed = dir.join("packed");
            fs::create_dir(&packed).unwrap();
            run("setfattr -h -v 0x00000800 -n system.ntfs_attrib_be \"$F\"", &packed);
            for (name, content) in &files {
                fs::write(packed.join(name), content).unwrap();
            }
            let holes = File::options().write(true).open(packed.join("holes")).unwrap();
            holes.set_len(70_000).unwrap();
            holes.write_all_at(&files["holes"][370_000..], 370_000).unwrap();
            fs::write(packed.join("stays"), text(100_000)).unwrap();
        });
        volume.mounted(|dir| {
            for name in files.keys() {
                fs::remove_file(dir.join("packed").join(name)).unwrap();
            }
        });
        let (source, found) = volume.found();
        let mut places = 0;
        for (name, content) in &files {
            let file = named(&found, name);
            assert_eq!((file.chance, file.why), (Chance::Intact, None), "{options} {name}");
            assert!(bytes(file, &source).unwrap() == *content, "{options} {name}");
            places += usize::from(content.len() > 4096);
        }
        assert!(places > 5);
        // Others have their place now.
        volume.mounted(|dir| {
            for n in 0.. {
                if fs::write(dir.join(format!("full{n}")), noise("full", 1 << 20)).is_err() {
                    break;
                }
            }
        });
        let (source, found) = volume.found();
        for file in found.files.iter().filter(|file| file.size > 4096) {
            assert_ne!(file.chance, Chance::Intact, "{:?}", file.name);
            let _other = bytes(file, &source);
        }
    }
}

/// Chunks that could not be packed are stored as they are; the table in front says where each but the first is.
fn stored(content: &[u8], chunk: usize) -> Vec<u8> {
    let starts = (chunk..content.len()).step_by(chunk).map(|at| u32::try_from(at).unwrap());
    [starts.flat_map(u32::to_le_bytes).collect(), content.to_vec()].concat()
}

#[test]
fn compressed_by_windows() {
    let Some(volume) = Volume::new("compressed_by_windows", "") else { return };
    let files = [("small", noise("small", 300)), ("large", noise("large", 100_001))];
    // Kept elsewhere: shared by deduplication, in the cloud.
    let elsewhere = [("shared", 0x8000_0013_u32), ("cloud", 0x9000_001A)];
    volume.mounted(|dir| {
        let make = |name: &str, len: usize, tag: u32, data: &[u8], packed: &[u8]| {
            File::create(dir.join(name)).unwrap().set_len(len as u64).unwrap();
            if !packed.is_empty() {
                fs::write(dir.join(format!("{name}:WofCompressedData")), packed).unwrap();
            }
            let length = u16::try_from(data.len()).unwrap();
            let value = [&tag.to_le_bytes()[..], &length.to_le_bytes(), &[0, 0], data].concat();
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            run(&format!("setfattr -h -n system.ntfs_reparse_data -v 0x{hex} \"$F\""), &dir.join(name));
        };
        for (name, content) in &files {
            let info = [1, 2, 1, 0].map(u32::to_le_bytes).concat();
            make(name, content.len(), 0x8000_0017, &info, &stored(content, 4096));
        }
        for (name, tag) in elsewhere {
            make(name, 50_000, tag, &[0; 16], &[]);
        }
        run("setfattr -h -v 0x00401000 -n system.ntfs_attrib_be \"$F\"", &dir.join("cloud"));
    });
    volume.mounted(|dir| {
        for name in files.iter().map(|(name, _)| *name).chain(elsewhere.map(|(name, _)| name)) {
            fs::remove_file(dir.join(name)).unwrap();
        }
    });
    let (source, found) = volume.found();
    for (name, content) in &files {
        let file = named(&found, name);
        assert_eq!(
            (file.chance, file.why, file.size),
            (Chance::Intact, None, content.len() as u64),
            "{name}"
        );
        assert!(bytes(file, &source).unwrap() == *content, "{name}");
    }
    for (name, _) in elsewhere {
        let file = named(&found, name);
        assert_ne!(file.chance, Chance::Intact, "{name}");
        assert!(file.open(&source).is_err(), "{name}");
    }
    let streams = found.files.iter().filter_map(|file| file.name.as_deref());
    assert_eq!(streams.filter(|name| name.contains(&b':')).count(), 0);
}
