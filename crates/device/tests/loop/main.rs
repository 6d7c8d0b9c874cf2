//! Sources and targets on loop devices: the kernel decides who is in use, and holds the bytes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, clippy::cast_possible_truncation)]
#![allow(clippy::print_stderr)]

use block::{Buf, ByteRange, ErrorKind, ReadAt, Source, WriteAt};
use device::{
    Attached, DeviceSource, DiskId, Facts, Handle, Identity, InProcess, Instance, Machine, Monitor, Opened,
    Refusal, SourceOptions, Target, Usage, Wanted,
};
mod bytes;
mod claim;
mod partition;

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use testkit::{LoopDevice, pattern};

const MIB: u64 = 1 << 20;
const O_EXCL: i32 = 0o200;

/// A loop device over a file of `size` bytes in a folder of its own.
struct Disk {
    device: LoopDevice,
    folder: tempfile::TempDir,
}

impl Disk {
    fn new(size: u64, sector: u32) -> Option<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = folder.path().join("disk.img");
        File::create(&file).unwrap().set_len(size).unwrap();
        Some(Self { device: LoopDevice::attach(&file, sector)?, folder })
    }

    fn path(&self) -> &Path {
        self.device.path()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("disk.img")
    }

    /// As sysfs has it, which is not how the code under test comes to it.
    fn instance(&self) -> Instance {
        instance(self.path())
    }

    fn open(&self, live: bool, exclusive: bool) -> block::Result<Opened> {
        DeviceSource::open(self.path(), self.instance(), SourceOptions { live, exclusive }, false)
    }

    fn want(&self) -> Wanted {
        Wanted {
            instance: self.instance(),
            id: DiskId([1; 5]),
            need: std::fs::metadata(self.file()).unwrap().len(),
            sector: 512,
            never: vec![],
        }
    }

    fn claim(&self) -> Result<Target, Vec<Refusal>> {
        Target::claim(self.path(), &self.want(), free).unwrap()
    }
}

/// One test at a time. A child that another test forks has our descriptors until it executes its program: so
/// long a disk that was given back is still in use.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn instance(path: &Path) -> Instance {
    let sys = Path::new("/sys/class/block").join(path.file_name().unwrap());
    let text = |name: &str| std::fs::read_to_string(sys.join(name)).unwrap();
    let devno = text("dev");
    let (major, minor) = devno.trim().split_once(':').unwrap();
    let of_disk = if sys.join("partition").exists() { "../diskseq" } else { "diskseq" };
    Instance {
        devno: (major.parse().unwrap(), minor.parse().unwrap()),
        diskseq: text(of_disk).trim().parse().unwrap(),
    }
}

/// Facts that say that nobody uses it: what the kernel says must do.
fn free(handle: &Handle) -> block::Result<Facts> {
    let identity =
        Identity { size: handle.size(), sector: handle.sector().bytes() as u32, ..Identity::default() };
    Ok(Facts {
        name: "loop".into(),
        instance: handle.instance(),
        disk: Attached { identity, instance: handle.instance() },
        id: DiskId([1; 5]),
        size: handle.size(),
        read_only: false,
        usage: Usage::default(),
    })
}

fn run(words: &[&str], path: &Path, more: &[&Path]) {
    let out = Command::new(words[0]).args(&words[1..]).arg(path).args(more).output().unwrap();
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Undoes a `run` at the end, also of a test that fails.
struct Undo(&'static [&'static str], PathBuf);

impl Drop for Undo {
    fn drop(&mut self) {
        let _done = Command::new(self.0[0]).args(&self.0[1..]).arg(&self.1).status();
    }
}

fn skip<T>(needs: &str) -> Option<T> {
    eprintln!("SKIPPED: {}: needs {needs}", std::thread::current().name().unwrap_or("test"));
    None
}

/// Mounted, with a filesystem made for it; `None`, and a line that says so, without mkfs.ext4.
fn mount(disk: &Disk) -> Option<Undo> {
    if Command::new("mkfs.ext4").arg("-V").output().is_err() {
        return skip("mkfs.ext4");
    }
    run(&["mkfs.ext4", "-q", "-F"], disk.path(), &[]);
    let dir = disk.folder.path().join("mnt");
    std::fs::create_dir(&dir).unwrap();
    run(&["mount"], disk.path(), &[&dir]);
    Some(Undo(&["umount"], dir))
}

fn kind<T>(result: block::Result<T>) -> ErrorKind {
    result.err().unwrap().kind()
}
