//! exFAT, made by `mkfs.exfat` and filled by exfat-fuse.

use crate::fat::as_fat_keeps_it;
use crate::tree::{self, assert_same, of_filesystem, of_folder};
use crate::{find, open};
use disk::fs::Condition;
use std::fs;
use std::path::{Path, PathBuf};
use testkit::LoopDevice;
use testkit::tools::{has, run};

/// A volume mounted by FUSE, unmounted when it is dropped: what was written is in the image then.
pub(crate) struct Mounted(pub(crate) PathBuf, Option<LoopDevice>);

impl Mounted {
    pub(crate) fn new(image: &Path) -> Option<Self> {
        let device = LoopDevice::attach(image, 512)?;
        let dir = image.with_extension("mounted");
        fs::create_dir_all(&dir).unwrap();
        run(&format!("TZ=UTC mount.exfat-fuse \"$F\" {} > /dev/null", dir.display()), device.path());
        Some(Self(dir, Some(device)))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _done = testkit::tools::shell("umount \"$F\"", &self.0);
        // What the process of the filesystem still writes behind it goes through the device.
        if let Some(device) = self.1.take() {
            let line = "n=0; while pgrep -f \"mount.exfat-fuse $F \" > /dev/null && [ $n -lt 50 ]; do sleep 0.1; \
                        n=$((n + 1)); done; blockdev --flushbufs \"$F\"";
            let _done = testkit::tools::shell(line, device.path());
        }
    }
}

#[test]
fn five_thousand_entries_of_exfat() {
    if !has("five_thousand_entries_of_exfat", &["mkfs.exfat", "mount.exfat-fuse"]) {
        return;
    }
    for (count, options) in [(5000, "-c 4k"), (300, "-c 512"), (300, "-c 128k")] {
        let dir = tempfile::tempdir().unwrap();
        let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
        fs::create_dir(&tree).unwrap();
        tree::grow(&tree, count);
        run(&format!("truncate -s 128M \"$F\"; mkfs.exfat {options} -L LABEL \"$F\""), &image);
        let Some(mounted) = Mounted::new(&image) else { return };
        run(&format!("cp -r --preserve=timestamps {}/. \"$F\"", tree.display()), &mounted.0);
        drop(mounted);
        let fs = open(&image);
        assert_eq!((fs.info().type_name, fs.info().condition), ("exfat", Condition::Clean));
        let truth = as_fat_keeps_it(of_folder(&tree));
        println!("{options}: {} entries", truth.len());
        assert_same(&truth, &as_fat_keeps_it(of_filesystem(&*fs, &[])));
    }
}

/// Files that lie in pieces and follow the table, others in its gaps, one that was cut short and grown.
#[test]
fn pieces_and_what_was_never_written() {
    if !has("pieces_and_what_was_never_written", &["mkfs.exfat", "mount.exfat-fuse"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    run("truncate -s 16M \"$F\"; mkfs.exfat -c 4k \"$F\"", &image);
    let Some(mounted) = Mounted::new(&image) else { return };
    let line = "cd \"$F\"; n=0; while [ $n -lt 60 ]; do head -c 4096 /dev/urandom >> one; head -c 4096 /dev/urandom >> two; \
                n=$((n + 1)); done; rm one; seq 40000 > gaps; truncate -s 1000 gaps; truncate -s 200000 gaps; \
                touch -d '2011-12-13 14:15:16 UTC' gaps; mkdir folder; n=0; while [ $n -lt 300 ]; do \
                : > folder/a-name-of-some-length-$n; n=$((n + 1)); done";
    run(line, &mounted.0);
    let truth = as_fat_keeps_it(of_folder(&mounted.0));
    drop(mounted);
    let fs = open(&image);
    assert_same(&truth, &as_fat_keeps_it(of_filesystem(&*fs, &[])));
    let file = fs.open(find(&*fs, "TWO"), None).unwrap();
    let range = block::ByteRange::span(0, file.size());
    assert!(block::extents(&*file, range).map(Result::unwrap).count() > 1);
    let meta = fs.metadata(find(&*fs, "gaps")).unwrap();
    assert_eq!((meta.modified.unwrap().seconds, meta.mode), (1_323_785_716, None));
}
