//! Images that this kernel fills, and shows for comparison.

use crate::tree::{Tree, of_folder};
use std::path::{Path, PathBuf};
use testkit::tools::{has, run, shell};

/// An image mounted through a loop device until it is dropped.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// `None` where the kernel does not mount it, or only root may.
    pub(crate) fn new(test: &str, image: &Path, options: &str) -> Option<Self> {
        let on = image.with_extension("mounted");
        std::fs::create_dir_all(&on).unwrap();
        match shell(&format!("mount -o {options} \"$F\" '{}'", on.display()), image) {
            Ok(_) => Some(Self(on)),
            Err(error) => {
                println!("SKIPPED: {test}: needs mount: {}", error.trim());
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Who looks at all mounts just now holds this one for a moment.
        let line = "for n in 1 2 3 4 5; do umount \"$F\" && exit; sleep 0.5; done; umount -l \"$F\"";
        let _done = shell(line, &self.0);
    }
}

/// An image and what the kernel shows of it.
pub(crate) struct Made {
    dir: tempfile::TempDir,
    pub(crate) truth: Tree,
}

impl Made {
    pub(crate) fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.image()).unwrap()
    }
}

/// `mib` MiB, made by `mkfs`, a line in which `$F` is the image, mounted with `options`, filled, unmounted; the
/// truth is what a second mount shows, of the folder `below` in it.
pub(crate) fn made(
    (test, programs): (&str, &[&str]),
    (mib, mkfs, options, below): (u64, &str, &str, &str),
    fill: impl FnOnce(&Path),
) -> Option<Made> {
    if !has(test, programs) {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    run(&format!("truncate -s {mib}M \"$F\"; {mkfs} >&2"), &image);
    fill(Mounted::new(test, &image, &format!("loop{options}"))?.path());
    let truth = of_folder(&Mounted::new(test, &image, "loop,ro")?.path().join(below));
    Some(Made { dir, truth })
}

/// The same, but the image is what lies there while it is mounted, after `fill` and `stop` (a line in which `$F`
/// is the folder); the truth is what a mount shows that replays it.
pub(crate) fn left(
    (test, programs): (&str, &[&str]),
    (mib, mkfs, options, stop): (u64, &str, &str, &str),
    fill: impl FnOnce(&Path),
) -> Option<Made> {
    if !has(test, programs) {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let live = dir.path().join("live");
    run(&format!("truncate -s {mib}M \"$F\"; {mkfs} >&2"), &live);
    {
        let mounted = Mounted::new(test, &live, &format!("loop{options}"))?;
        fill(mounted.path());
        run(stop, mounted.path());
        run("sync \"$F\"; cp --sparse=always \"$F\" \"$(dirname \"$F\")/image\"", &live);
    }
    run("cp --sparse=always \"$F\" \"$F.replayed\"", &image);
    let replayed = image.with_extension("replayed");
    std::fs::rename(dir.path().join("image.replayed"), &replayed).unwrap();
    let truth = of_folder(Mounted::new(test, &replayed, "loop")?.path());
    Some(Made { dir, truth })
}
