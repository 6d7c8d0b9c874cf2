//! States worth a warning, in images that got them in the real way where a tool or the kernel makes them so.

use super::{has, recognise, shell};
use disk::probe::StateKind;
use std::path::{Path, PathBuf};
use testkit::LoopDevice;

/// A folder for one test, removed with it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn image(&self) -> PathBuf {
        self.0.path().join("image")
    }

    /// Output of a line of the shell that must not fail.
    fn run(&self, line: &str) -> String {
        let output = self.try_run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn try_run(&self, line: &str) -> std::process::Output {
        shell(line, self.0.path(), &self.image())
    }
}

/// What is said of an image, less what only says where it belongs.
fn states(image: &Path) -> Vec<StateKind> {
    recognise(image).unwrap().states.iter().map(|state| state.kind).collect()
}

/// A filesystem mounted through a loop device until it is dropped.
struct Mounted(PathBuf, Option<LoopDevice>);

impl Mounted {
    fn new(folder: &Folder, options: &str, test: &str) -> Option<Self> {
        let device = LoopDevice::attach(&folder.image(), 512)?;
        let place = folder.0.path().join("mounted");
        std::fs::create_dir_all(&place).unwrap();
        let line = format!("mount -o {options} {} {}", device.path().display(), place.display());
        let mounted = shell(&line, folder.0.path(), &folder.image());
        if !mounted.status.success() {
            println!("SKIPPED: {test}: needs mount: {}", String::from_utf8_lossy(&mounted.stderr).trim());
            return None;
        }
        Some(Self(place, Some(device)))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _done = std::process::Command::new("umount").arg(&self.0).output();
        self.1.take();
    }
}

/// Mounts, writes, and looks at a copy made while it is mounted; then at the image after the unmount.
fn journal(test: &str, mkfs: &str, mib: u64, oracle: impl Fn(&Folder, bool)) {
    if !has(mkfs.split(' ').next().unwrap(), test) {
        return;
    }
    let folder = Folder::new();
    folder.run(&format!("truncate -s {mib}M $F; {mkfs} $F"));
    assert_eq!(states(&folder.image()), [StateKind::Clean]);
    oracle(&folder, true);
    {
        let Some(_mounted) = Mounted::new(&folder, "rw", test) else { return };
        folder.run("seq 9999 > mounted/one; sync mounted/one; seq 99 > mounted/two; sync -f mounted");
        folder.run("cp --sparse=always $F copy");
    }
    // Closed properly, and then the copy of the time when it was not.
    assert_eq!(states(&folder.image()), [StateKind::Clean]);
    oracle(&folder, true);
    folder.run("mv copy $F");
    assert_eq!(states(&folder.image()), [StateKind::JournalReplay], "{:?}", recognise(&folder.image()));
    oracle(&folder, false);
}

fn dumpe2fs(folder: &Folder, clean: bool) {
    let said = folder.run("dumpe2fs -h $F");
    assert_eq!(said.contains("needs_recovery"), !clean, "{said}");
}

#[test]
fn ext3_needs_recovery() {
    journal("ext3_needs_recovery", "mkfs.ext3 -q", 16, dumpe2fs);
}

#[test]
fn ext4_needs_recovery() {
    journal("ext4_needs_recovery", "mkfs.ext4 -q", 16, dumpe2fs);
}

fn logprint(folder: &Folder, clean: bool) {
    let said = folder.run("xfs_logprint -t $F");
    assert_eq!(said.contains("<CLEAN>"), clean, "{said}");
    assert_eq!(said.contains("<DIRTY>"), !clean, "{said}");
}

#[test]
fn xfs_needs_recovery() {
    journal("xfs_needs_recovery", "mkfs.xfs -q", 320, logprint);
}

#[test]
fn xfs_with_stripes_needs_recovery() {
    journal("xfs_with_stripes_needs_recovery", "mkfs.xfs -q -l su=256k", 320, logprint);
}

#[test]
fn xfs_version_4_is_clean() {
    if has("mkfs.xfs", "xfs_version_4_is_clean") {
        let folder = Folder::new();
        folder.run("truncate -s 320M $F; mkfs.xfs -q -m crc=0 $F");
        assert_eq!(states(&folder.image()), [StateKind::Clean]);
        logprint(&folder, true);
    }
}

#[test]
fn btrfs_log_tree() {
    let test = "btrfs_log_tree";
    if !has("mkfs.btrfs", test) {
        return;
    }
    let folder = Folder::new();
    let log_root = |folder: &Folder| {
        let said = folder.run("btrfs inspect-internal dump-super $F");
        said.lines().any(|line| line.starts_with("log_root\t") && !line.ends_with("\t0"))
    };
    folder.run("truncate -s 128M $F; mkfs.btrfs -q $F");
    assert!(states(&folder.image()).is_empty() && !log_root(&folder));
    let mut logged = false;
    // A commit between the sync and the copy empties the log again: then once more.
    for turn in 0..9 {
        {
            // A new file that is synced alone goes to the log, until the next commit.
            let Some(_mounted) = Mounted::new(&folder, "rw,commit=300", test) else { return };
            folder.run(&format!("seq 9 > mounted/first; sync -f mounted; seq 9 > mounted/{turn}"));
            folder.run(&format!("sync mounted/{turn}; cp --sparse=always $F copy"));
        }
        assert!(states(&folder.image()).is_empty());
        folder.run("mv $F whole; mv copy $F");
        logged = log_root(&folder);
        let want: &[StateKind] = if logged { &[StateKind::JournalReplay] } else { &[] };
        assert_eq!(states(&folder.image()), want);
        if logged {
            break;
        }
        folder.run("mv whole $F");
    }
    assert!(logged);
}

/// One byte of an image, changed by a function.
fn change(image: &Path, at: u64, how: impl Fn(u8) -> u8) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(image).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[how(byte[0])], at).unwrap();
}

#[test]
fn fat_dirty() {
    if !has("mkfs.fat", "fat_dirty") {
        return;
    }
    // The flag that Linux sets in the boot sector, which fsck.fat reads, for each width.
    for (width, mib, flag) in [(12, 2, 0x25), (16, 32, 0x25), (32, 64, 0x41)] {
        let folder = Folder::new();
        folder.run(&format!("truncate -s {mib}M $F; mkfs.fat -F {width} $F"));
        let dirty = || {
            let said = folder.try_run("fsck.fat -n $F");
            String::from_utf8_lossy(&said.stdout).contains("Dirty bit is set")
        };
        assert!(!dirty() && states(&folder.image()).is_empty());
        change(&folder.image(), flag, |byte| byte | 1);
        assert!(dirty());
        assert_eq!(states(&folder.image()), [StateKind::Dirty], "FAT{width}");
    }
}

#[test]
fn fat_dirty_as_windows_says() {
    if !has("mkfs.fat", "fat_dirty_as_windows_says") {
        return;
    }
    // ClnShutBitMask: the highest bit but that of the media, in the second entry of the table. The
    // table begins behind the reserved sectors: 4 with FAT16 of this size, 32 with FAT32.
    for (width, mib, entry, bit) in [(16, 32, 3, 0x80), (32, 64, 7, 0x08)] {
        let folder = Folder::new();
        folder.run(&format!("truncate -s {mib}M $F; mkfs.fat -F {width} $F"));
        let said = folder.try_run("fsck.fat -nv $F");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let first = said.lines().find(|line| line.contains("First FAT starts at byte")).unwrap();
        let start: u64 = first.split_whitespace().nth(5).unwrap().parse().unwrap();
        change(&folder.image(), start + entry, |byte| byte & !bit);
        assert_eq!(states(&folder.image()), [StateKind::Dirty], "FAT{width}");
    }
}

#[test]
fn exfat_dirty() {
    if !has("mkfs.exfat", "exfat_dirty") {
        return;
    }
    let folder = Folder::new();
    folder.run("truncate -s 16M $F; mkfs.exfat $F");
    assert_eq!(states(&folder.image()), [StateKind::Clean]);
    // VolumeDirty, in VolumeFlags, which no checksum covers.
    change(&folder.image(), 106, |byte| byte | 2);
    assert_eq!(states(&folder.image()), [StateKind::Dirty]);
    // No oracle for this one: fsck.exfat of Debian 12 calls such a volume clean.
}

/// What ntfs-3g.probe says of mounting it: 0 yes, 14 hibernated, 15 journal not clean.
fn ntfs_probe(folder: &Folder) -> i32 {
    folder.try_run("ntfs-3g.probe --readwrite $F").status.code().unwrap()
}

fn ntfs(folder: &Folder, more: &str) {
    folder.run(&format!("rm -f $F; truncate -s 32M $F; mkfs.ntfs -q -F -f -L WINXP {more} $F"));
}

#[test]
fn ntfs_dirty() {
    if !has("ntfsfix", "ntfs_dirty") {
        return;
    }
    let folder = Folder::new();
    ntfs(&folder, "");
    assert_eq!(states(&folder.image()), [StateKind::Clean]);
    // ntfsfix asks for a check at the next start of Windows by setting the flag; with -d it takes it back.
    folder.run("ntfsfix $F");
    assert!(folder.run("ntfsinfo -f -m $F").contains("Volume Flags: 0x0001 DIRTY"));
    assert_eq!(states(&folder.image()), [StateKind::Dirty]);
    folder.run("ntfsfix -d $F");
    assert_eq!(states(&folder.image()), [StateKind::Clean]);
}

#[test]
fn ntfs_hibernated() {
    if !has("ntfscp", "ntfs_hibernated") {
        return;
    }
    let folder = Folder::new();
    let cases: [(&str, i32, StateKind); 5] = [
        ("printf hibr; head -c 8188 /dev/zero", 14, StateKind::Hibernated),
        ("printf HIBR; head -c 99999 /dev/zero", 14, StateKind::Hibernated),
        ("head -c 8192 /dev/zero", 0, StateKind::Clean),
        ("printf wake; head -c 8188 /dev/zero", 0, StateKind::Clean),
        ("printf hello; head -c 8188 /dev/zero", 0, StateKind::Clean),
    ];
    for (content, code, state) in cases {
        ntfs(&folder, "");
        folder.run(&format!("( {content} ) > sleep; ntfscp $F sleep hiberfil.sys"));
        assert_eq!((ntfs_probe(&folder), states(&folder.image())), (code, vec![state]), "{content}");
    }
    // The same file elsewhere or under another name is nobody's sleep.
    ntfs(&folder, "");
    folder.run("printf hibr > sleep; head -c 8188 /dev/zero >> sleep; ntfscp $F sleep hiberfil.sy");
    assert_eq!((ntfs_probe(&folder), states(&folder.image())), (0, vec![StateKind::Clean]));
}

/// In a folder of many files the name lies in a block of the index, and its record beyond the first 16;
/// with clusters larger or smaller than a record as well.
#[test]
fn ntfs_hibernated_among_many_files() {
    if !has("ntfscp", "ntfs_hibernated_among_many_files") {
        return;
    }
    for cluster in ["-c 4096", "-c 512", "-c 65536"] {
        let folder = Folder::new();
        ntfs(&folder, cluster);
        folder.run("printf hibr > sleep; head -c 8188 /dev/zero >> sleep");
        let name = "a_name_long_enough_to_fill_a_block_of_the_index_soon";
        folder.run(&format!("for i in $(seq 60); do ntfscp -q $F sleep {name}_$i; done"));
        assert_eq!((ntfs_probe(&folder), states(&folder.image())), (0, vec![StateKind::Clean]));
        folder.run("ntfscp $F sleep hiberfil.sys");
        let said = (ntfs_probe(&folder), states(&folder.image()));
        assert_eq!(said, (14, vec![StateKind::Hibernated]), "{cluster}");
    }
}

/// A restart page as Windows leaves it when it crashes, or when it is shut down.
#[test]
fn ntfs_log() {
    if !has("ntfscat", "ntfs_log") {
        return;
    }
    let folder = Folder::new();
    ntfs(&folder, "");
    // Where $LogFile begins, from what ntfsinfo says of its first piece; clusters have 4 KiB.
    let said = folder.run("ntfsinfo -i 2 -v $F");
    let run = said.lines().skip_while(|line| !line.contains("Runlist:")).nth(1).expect(&said);
    let lcn = run.split_whitespace().nth(1).unwrap().trim_start_matches("0x");
    let start = u64::from_str_radix(lcn, 16).unwrap() * 4096;
    let page = |lsn: u64, client_in_use: u16, flags: u16| {
        use std::os::unix::fs::FileExt;
        let mut page = vec![0u8; 4096];
        // RSTR, update sequence array of 9 at 30, pages of 4096, restart area at 48, version 1.1.
        let fields: [(usize, &[u8]); 13] = [
            (0, b"RSTR"),
            (4, &[30, 0, 9, 0]),
            (16, &4096u32.to_le_bytes()),
            (20, &4096u32.to_le_bytes()),
            (24, &48u16.to_le_bytes()),
            (26, &[1, 0, 1, 0]),
            (48, &lsn.to_le_bytes()),
            (56, &1u16.to_le_bytes()),             // log_clients
            (58, &(!client_in_use).to_le_bytes()), // client_free_list
            (60, &client_in_use.to_le_bytes()),
            (62, &flags.to_le_bytes()),
            // Bits of a sequence number for a log of 2 MiB, length of the area, where the clients are.
            (64, &[46, 0, 0, 0, 0xD0, 0, 0x30, 0]),
            (72, &(2u64 << 20).to_le_bytes()),
        ];
        for (at, field) in fields {
            page[at..at + field.len()].copy_from_slice(field);
        }
        let file = std::fs::File::options().write(true).open(folder.image()).unwrap();
        file.write_all_at(&page, start + (lsn % 2) * 4096).unwrap();
    };
    page(2, 0, 0);
    assert_eq!(states(&folder.image()), [StateKind::JournalReplay]);
    page(3, 0xFFFF, 0);
    assert_eq!(states(&folder.image()), [StateKind::Clean]);
    page(4, 0, 2);
    assert_eq!(states(&folder.image()), [StateKind::Clean]);
    page(6, 0, 0);
    assert_eq!(states(&folder.image()), [StateKind::JournalReplay]);
}
