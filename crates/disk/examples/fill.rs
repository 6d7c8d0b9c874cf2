//! Makes an image of a filesystem that Linux has no driver to write, with a folder in it:
//! `fill hfsplus|hfsx|apfs FOLDER IMAGE MIB`. For `tests/acceptance/truth.sh`; the writers are not ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use ferrosys::apfs::{FormatOptions, VolumeName, VolumeRequest, format_to};
use ferrosys::{Metadata, Timestamp, TreeBuilder};
use fstool::block::{BlockDevice, FileBackend};
use fstool::fs::hfs_plus::{FormatOpts, HfsPlus};
use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// All below a folder, each behind the one that it is in.
fn below(folder: &Path) -> Vec<PathBuf> {
    let (mut left, mut all) = (vec![folder.to_owned()], vec![]);
    while let Some(dir) = left.pop() {
        let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort_unstable();
        left.extend(paths.iter().filter(|path| path.symlink_metadata().unwrap().is_dir()).cloned());
        all.extend(paths);
    }
    all
}

/// As it is called inside.
fn inside(folder: &Path, path: &Path) -> String {
    format!("/{}", path.strip_prefix(folder).unwrap().to_str().unwrap())
}

fn mode(meta: &fs::Metadata) -> u16 {
    u16::try_from(meta.mode() & 0o7777).unwrap()
}

/// Attributes of a file, as Linux calls them.
fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 64 << 10];
    let len = rustix::fs::llistxattr(path, &mut names).unwrap();
    let names = names[..len].split(|byte| *byte == 0).filter(|name| name.starts_with(b"user."));
    let value = |name: &[u8]| {
        let name = String::from_utf8(name.to_vec()).unwrap();
        let mut value = vec![0; 64 << 10];
        let len = rustix::fs::lgetxattr(path, &*name, &mut value).unwrap();
        (name, value[..len].to_vec())
    };
    names.map(value).collect()
}

fn hfsplus(folder: &Path, image: &Path, size: u64, case_sensitive: bool) {
    let mut options = FormatOpts::default();
    (options.catalog_nodes, options.attributes_nodes, options.case_sensitive) = (1200, 64, case_sensitive);
    let mut dev = FileBackend::create(image, size).unwrap();
    let mut hfs = HfsPlus::format(&mut dev, &options).unwrap();
    let mut names: HashMap<u64, String> = HashMap::new();
    for path in below(folder) {
        let (meta, to) = (path.symlink_metadata().unwrap(), inside(folder, &path));
        let (uid, gid, modified) = (meta.uid(), meta.gid(), u32::try_from(meta.mtime()).unwrap());
        if meta.is_dir() {
            hfs.create_dir(&mut dev, &to, mode(&meta), uid, gid, modified).unwrap();
        } else if meta.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            let target = target.to_str().unwrap();
            hfs.create_symlink(&mut dev, &to, target, mode(&meta), uid, gid, modified).unwrap();
        } else if let Some(first) = names.get(&meta.ino()) {
            hfs.create_hardlink(&mut dev, first, &to).unwrap();
        } else if meta.is_file() {
            let mut file = File::open(&path).unwrap();
            hfs.create_file(&mut dev, &to, &mut file, meta.len(), mode(&meta), uid, gid, modified).unwrap();
            for (name, value) in xattrs(&path) {
                hfs.set_xattr(&mut dev, &to, &name, &value).unwrap();
            }
            if meta.nlink() > 1 {
                names.insert(meta.ino(), to);
            }
        } else {
            panic!("{to} is of no kind that is made here");
        }
    }
    hfs.flush(&mut dev).unwrap();
    dev.sync().unwrap();
}

fn apfs(folder: &Path, image: &Path, size: u64) {
    let (mut tree, mut names) = (TreeBuilder::new(), HashMap::<u64, Vec<u8>>::new());
    for path in below(folder) {
        let (meta, to) = (path.symlink_metadata().unwrap(), inside(folder, &path).into_bytes());
        let time = Timestamp::from_secs(meta.mtime());
        let known = Metadata::new(mode(&meta), time).owned_by(meta.uid(), meta.gid());
        let kind = meta.file_type();
        tree = if kind.is_dir() {
            tree.directory(to, known)
        } else if kind.is_symlink() {
            tree.symlink(to, fs::read_link(&path).unwrap().as_os_str().as_bytes(), known)
        } else if kind.is_fifo() {
            tree.fifo(to, known)
        } else if let Some(first) = names.get(&meta.ino()) {
            tree.hardlink(to, first.clone(), known)
        } else {
            names.insert(meta.ino(), to.clone());
            let made = tree.file(to, fs::read(&path).unwrap(), known);
            xattrs(&path).into_iter().fold(made, |tree, (name, value)| tree.xattr(name.into_bytes(), value))
        };
    }
    let volume = VolumeRequest::new(VolumeName::new("truth").unwrap(), [2; 16]);
    let options = FormatOptions::new([1; 16], Timestamp::from_secs(1_700_000_000), volume);
    format_to(File::create_new(image).unwrap(), tree, size, options).unwrap();
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [kind, folder, image, mib] = &words[..] else { panic!("fill hfsplus|hfsx|apfs FOLDER IMAGE MIB") };
    let (folder, image) = (Path::new(folder), Path::new(image));
    let size = mib.parse::<u64>().unwrap() << 20;
    match kind.as_str() {
        "hfsplus" => hfsplus(folder, image, size, false),
        "hfsx" => hfsplus(folder, image, size, true),
        "apfs" => apfs(folder, image, size),
        _ => panic!("no kind of filesystem: {kind}"),
    }
}
