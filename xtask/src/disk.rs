//! The disk that is measured on: made on the spot of this machine's files, noise, and nothing.

use crate::Result;
use crate::loop_device::LoopDevice;
use crate::place::Place;
use crate::shell::{Shell, is_root};
use rustix::fs::SeekFrom;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Files of this machine that fill the filesystem.
const FILES: &str = "/usr";
/// Larger files are left out, so that no single one decides.
const LARGEST: u64 = 20_000_000;

/// How a disk of so many MiB is cut, in MiB: about 60 % of it is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// All of it.
    pub(crate) size: u64,
    /// Start and length of the ext4 partition.
    pub(crate) files: (u64, u64),
    /// Of the one with noise.
    noise: (u64, u64),
    /// Of the empty one, of type swap.
    pub(crate) empty: (u64, u64),
}

impl Shape {
    /// For a disk of `size` MiB.
    pub(crate) fn new(size: u64) -> Self {
        let part = |percent: u64| size * percent / 100;
        let files = (1, part(62));
        let noise = (files.0 + files.1, part(12));
        Self { size, files, noise, empty: (noise.0 + noise.1, part(12)) }
    }
}

/// A disk and how to read it.
pub(crate) struct Disk {
    /// The file.
    pub(crate) image: PathBuf,
    /// The file as a device, which announces no holes; `None` without root.
    device: Option<LoopDevice>,
    /// How it is cut.
    pub(crate) shape: Shape,
}

/// The noise is the same in every run: a cipher of zeroes.
const MAKE: &str = r#"
truncate -s "${SIZE}M" "$IMG"
sfdisk --quiet "$IMG" <<END
label: dos
label-id: 0x5e1f5a3e
unit: sectors
start=$((FILES_AT * 2048)), size=$((FILES_LEN * 2048)), type=83, bootable
start=$((NOISE_AT * 2048)), size=$((NOISE_LEN * 2048)), type=83
start=$((EMPTY_AT * 2048)), size=$((EMPTY_LEN * 2048)), type=82
END
mke2fs -q -F -t ext4 -m 0 -i 8192 -L files -U 5e1f5a3e-0000-4000-8000-000000000000 \
    -E "offset=$((FILES_AT << 20)),nodiscard" -d "$STAGE" "$IMG" "$((FILES_LEN << 10))k"
head -c "${NOISE_LEN}M" /dev/zero | openssl enc -aes-128-ctr -nosalt -K 5e1f5a3e -iv 0 2>/dev/null |
    dd of="$IMG" bs=1M seek="$NOISE_AT" iflag=fullblock conv=notrunc status=none
"#;

impl Disk {
    /// Makes one of `size` MiB in `place`.
    pub(crate) fn make(place: &Place, size: u64) -> Result<Self> {
        let shape = Shape::new(size);
        let (image, stage) = (place.join("disk.img"), place.join("stage"));
        println!("disk: {size} MiB are being made");
        stage_files(place, &stage, (size << 20) * 41 / 100)?;
        let mut shell = Shell::new();
        shell.set("IMG", &image);
        shell.set("STAGE", &stage);
        shell.set("SIZE", size.to_string());
        for (name, (at, len)) in [("FILES", shape.files), ("NOISE", shape.noise), ("EMPTY", shape.empty)] {
            shell.set(&format!("{name}_AT"), at.to_string());
            shell.set(&format!("{name}_LEN"), len.to_string());
        }
        shell.run(MAKE)?;
        std::fs::remove_dir_all(&stage)?;
        let device = if is_root() { LoopDevice::attach(&image, "-r") } else { Err("not root".into()) };
        let device = device
            .inspect_err(|error| {
                println!("disk: no loop device ({error}): the file itself is read, and its holes are known");
            })
            .ok();
        let disk = Self { image, device, shape };
        let filled: u64 = disk.filled()?.iter().map(|range| range.end - range.start).sum();
        println!("disk: {}, {} MiB of {size} are not empty", disk.source().display(), filled >> 20);
        Ok(disk)
    }

    /// What is read: the device, or the file.
    pub(crate) fn source(&self) -> &Path {
        self.device.as_ref().map_or(&self.image, LoopDevice::path)
    }

    /// Is it a device?
    pub(crate) fn is_device(&self) -> bool {
        self.device.is_some()
    }

    /// Where the file is not a hole, in bytes.
    pub(crate) fn filled(&self) -> Result<Vec<Range<u64>>> {
        let file = File::open(&self.image)?;
        let mut ranges = vec![];
        let mut at = 0;
        // ENXIO: nothing but a hole up to the end.
        while let Ok(start) = rustix::fs::seek(&file, SeekFrom::Data(at)) {
            let end = rustix::fs::seek(&file, SeekFrom::Hole(start))?;
            ranges.push(start..end);
            at = end;
        }
        Ok(ranges)
    }
}

/// Copies files of this machine to `stage`, in the order of their paths, until there are `goal` bytes.
fn stage_files(place: &Place, stage: &Path, goal: u64) -> Result<()> {
    let mut list = tempfile::NamedTempFile::new_in(place.path())?;
    let mut left = goal;
    choose(Path::new(FILES), &mut left, &mut |path| {
        list.write_all(path.as_os_str().as_encoded_bytes())?;
        list.write_all(b"\0")
    })?;
    if left > 0 {
        println!("disk: {FILES} has {} MiB less than wanted", left >> 20);
    }
    list.flush()?;
    let mut shell = Shell::new();
    shell.set("LIST", list.path());
    shell.set("STAGE", stage);
    shell.run(
        "mkdir \"$STAGE\"; tar -cf - -P --null --no-recursion -T \"$LIST\" 2>/dev/null | tar -xf - -C \"$STAGE\"",
    )?;
    Ok(())
}

/// Passes on the files below `folder`, sorted, until they are `left` bytes.
fn choose(folder: &Path, left: &mut u64, take: &mut dyn FnMut(&Path) -> std::io::Result<()>) -> Result<()> {
    // What this user may not read is left out.
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if *left == 0 {
            break;
        }
        let Ok(found) = path.symlink_metadata() else { continue };
        if found.is_dir() {
            choose(&path, left, take)?;
        } else if found.is_file() && found.len() < LARGEST && File::open(&path).is_ok() {
            *left = left.saturating_sub(found.len());
            take(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_each_other_and_leave_the_end_empty() {
        for size in [64, 256, 4096] {
            let shape = Shape::new(size);
            assert_eq!(shape.noise.0, shape.files.0 + shape.files.1);
            assert_eq!(shape.empty.0, shape.noise.0 + shape.noise.1);
            assert!(shape.empty.0 + shape.empty.1 < size);
        }
    }

    #[test]
    fn files_are_taken_in_order_until_there_are_enough() {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Shell::new();
        shell.set("F", folder.path());
        shell
            .run("cd \"$F\"; mkdir b; head -c 10 /dev/zero | tee a c b/x b/y >/dev/null; ln -s a aa")
            .unwrap();
        let (mut left, mut taken) = (25, vec![]);
        choose(folder.path(), &mut left, &mut |path| {
            taken.push(path.strip_prefix(folder.path()).unwrap().to_owned());
            Ok(())
        })
        .unwrap();
        assert_eq!((left, taken), (0, ["a", "b/x", "b/y"].map(PathBuf::from).to_vec()));
    }
}
