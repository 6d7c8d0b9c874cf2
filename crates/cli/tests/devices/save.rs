//! What `save` refuses to read or to write into, and that DEST is as it was.

use super::*;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;

const O_EXCL: i32 = 0o200;

fn save(source: &str, dest: &str, more: &[&str]) -> Output {
    selfsame(&[&["save", source, dest, "--name", "t", "--progress", "none"], more].concat())
}

/// Refused with this exit code and all of these words, and DEST is empty or was not made.
fn refuses(source: &str, dest: &Path, more: &[&str], code: i32, words: &[&str]) {
    refused(&save(source, text(dest), more), code, words);
    let made = dest.read_dir().map_or(0, Iterator::count);
    assert_eq!(made, 0, "{}", dest.display());
}

#[test]
fn a_source_that_changes_is_saved_only_live() {
    let lab = Lab::new();
    let Some(disk) = lab.ext4("source.img", 8 * MIB) else { return };
    let dest = lab.path("dest");
    let mounted = Mounted::at(&lab, "mnt", disk.word(), "noatime");
    refuses(disk.word(), &dest, &[], 5, &["is in use", "unmount it", "--live"]);

    let done = save(disk.word(), text(&dest), &["--live"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(said(&done).contains("mounted read-write: the copy may hold a torn state"), "{}", said(&done));
    let backup = dest.read_dir().unwrap().next().unwrap().unwrap().path();
    let manifest = std::fs::read(backup.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["disk"]["live"], true);

    drop(mounted);
    {
        // Mounted where nothing is written it keeps still.
        let _mounted = Mounted::at(&lab, "ro", disk.word(), "ro");
        for more in [&[][..], &["--live"]] {
            let done = save(disk.word(), text(&dest), more);
            assert_eq!(done.status.code(), Some(0), "{}", said(&done));
            assert!(!said(&done).contains("torn"), "{}", said(&done));
        }
    }
    let done = save(disk.word(), text(&dest), &["--live"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(!said(&done).contains("torn"), "live is permitted, not claimed: {}", said(&done));
}

#[test]
fn a_source_that_a_program_holds_is_refused() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("source.img", 8 * MIB) else { return };
    let dest = lab.path("dest");
    {
        let _alone = File::options().read(true).custom_flags(O_EXCL).open(disk.word()).unwrap();
        refuses(disk.word(), &dest, &[], 5, &["is in use", "--live"]);
    }
    {
        let _writer = File::options().write(true).open(disk.word()).unwrap();
        refuses(disk.word(), &dest, &[], 5, &["open for writing", "--live"]);
    }
    // The kernel hands a disk out alone although a loop device over it is mounted.
    tool("mkfs.ext4", &["-q", "-F", disk.word()]);
    let Some(above) = Disk::over(PathBuf::from(disk.word()), 512) else { return };
    let mounted = Mounted::at(&lab, "mnt", above.word(), "noatime");
    refuses(disk.word(), &dest, &[], 5, &[above.word(), "is mounted at", mounted.dir(), "--live"]);
    drop(mounted);
    // Mounted where nothing is written it keeps still.
    let _mounted = Mounted::at(&lab, "ro", above.word(), "ro");
    let done = save(disk.word(), text(&dest), &[]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
}

#[test]
fn a_backup_is_not_made_on_what_it_is_of() {
    let lab = Lab::new();
    let Some(disk) = lab.ext4("source.img", 32 * MIB) else { return };
    let mounted = Mounted::at(&lab, "mnt", disk.word(), "noatime");
    let dest = Path::new(mounted.dir()).join("backups");
    let itself = format!("lies on {} itself", disk.name());
    refuses(disk.word(), &dest, &["--live"], 5, &[&itself, "choose a folder on another disk"]);
    let file = lab.path("source.img");
    refuses(text(&file), &dest, &[], 5, &["lies on source.img itself", "choose a folder on another disk"]);
    assert!(!dest.exists());
    // Another disk goes there.
    lab.file("other.img", MIB);
    let done = save(text(&lab.path("other.img")), text(&dest), &[]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
}

#[test]
fn too_little_room_is_refused_before_the_start() {
    let lab = Lab::new();
    let Some(small) = lab.ext4("small.img", 8 * MIB) else { return };
    std::fs::write(lab.path("noise.img"), testkit::pattern(16 << 20)).unwrap();
    let mounted = Mounted::at(&lab, "mnt", small.word(), "noatime");
    let dest = Path::new(mounted.dir()).join("backups");
    for format in ["zst", "raw"] {
        let words = ["not enough room in", "are free", "Make room there or choose another folder"];
        refuses(text(&lab.path("noise.img")), &dest, &["--format", format], 1, &words);
        assert!(!dest.exists());
    }
}

#[test]
fn a_destination_in_memory_is_named() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("source.img", 8 * MIB) else { return };
    let tmpfs = Mounted::of_type(&lab, "tmpfs", "tmpfs", "none", "size=16M");
    let done = save(disk.word(), tmpfs.dir(), &[]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(said(&done).contains("is in memory: the backup is gone at the next start"), "{}", said(&done));
    // ramfs has no end: it would take all memory.
    let ramfs = Mounted::of_type(&lab, "ramfs", "ramfs", "none", "defaults");
    refuses(disk.word(), Path::new(ramfs.dir()), &[], 5, &["is only memory", "Mount a disk"]);
}

/// What a live system is: a root in memory, over what is read-only.
#[test]
fn the_root_of_a_live_system_is_no_destination() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("source.img", MIB) else { return };
    let root = Mounted::of_type(&lab, "tmpfs", "root", "none", "size=16M");
    let script = r#"set -e
        cd "$1"
        mkdir -p usr proc sys dev tmp
        for dir in usr proc sys dev; do mount --rbind /$dir $dir; done
        for link in bin lib lib64; do ln -s usr/$link $link; done
        touch tmp/selfsame && mount --bind "$2" tmp/selfsame
        exec chroot . /tmp/selfsame save "$3" /backups --name t --progress none"#;
    // A mount namespace of its own: all of these mounts go with it.
    let words = ["--mount", "sh", "-c", script, "sh", root.dir(), SELFSAME, disk.word()];
    let output = Command::new("unshare").args(words).output().unwrap();
    refused(&output, 5, &["/backups is only memory", "Mount a disk and choose a folder on it"]);
    assert!(!Path::new(root.dir()).join("backups").exists());
}

#[test]
fn words_that_name_nothing_are_refused() {
    let lab = Lab::new();
    let dest = lab.path("dest");
    refuses("nosuch", &dest, &[], 1, &["no such disk: nosuch", "disks now: "]);
    refuses("/dev/nosuch", &dest, &[], 1, &["no such disk: /dev/nosuch", "disks now: "]);
    refuses("./nosuch.img", &dest, &[], 1, &["no such file, folder or device: ./nosuch.img"]);
    let Some(disk) = lab.disk("source.img", MIB) else { return };
    refuses(disk.word(), &dest, &["--part", "3"], 2, &["no partition 3 to save"]);
}

#[test]
fn a_destination_that_fills_up_ends_cleanly() {
    let lab = Lab::new();
    let Some(small) = lab.ext4("small.img", 24 * MIB) else { return };
    // The estimate takes 128 samples, evenly spread, each half MiB here one from its beginning on: only zeroes.
    let mut bytes = testkit::pattern(64 << 20);
    bytes.chunks_mut(512 << 10).for_each(|half| half[..128 << 10].fill(0));
    std::fs::write(lab.path("tricky.img"), bytes).unwrap();
    for format in ["zst", "raw"] {
        let mounted = Mounted::at(&lab, format, small.word(), "noatime");
        let dest = Path::new(mounted.dir()).join("backups");
        let output = save(text(&lab.path("tricky.img")), text(&dest), &["--format", format]);
        refused(&output, 1, &[mounted.dir(), "No space left", "Make room there or choose another folder"]);
        let left: Vec<_> = dest.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        let [part] = &left[..] else { panic!("{left:?}") };
        assert!(text(part).ends_with(".part"), "{left:?}");
        std::fs::remove_dir_all(&dest).unwrap();
    }
}
