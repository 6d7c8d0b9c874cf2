//! All that a verb wants of devices, behind one trait: what keeps the privileges, in this process or not.

use crate::hidden::not_known;
use crate::machine::number;
use crate::{
    Attached, Below, DeviceSource, Disk, DiskId, Facts, Handle, Hidden, Identity, Instance, IoHints, Machine,
    Opened, Place, Refusal, SourceOptions, Target, Usage, Wanted, disk_id,
};
use block::{Error, ErrorKind, Result};
use std::fs;
use std::path::Path;

/// Knows the disks of this machine, and opens them by who they are, never by a path alone.
pub trait Monitor: Send + Sync {
    /// All disks, as [`Machine::disks`].
    fn disks(&self) -> Result<Vec<Disk>>;

    /// Why other disks are not seen, as [`Machine::silent_controllers`].
    fn silent_controllers(&self) -> Result<Vec<String>>;

    /// What a word names, as [`Machine::find`].
    fn find(&self, word: &str) -> Result<Place>;

    /// Who uses a disk or partition, as [`Machine::usage_of`].
    fn usage_of(&self, devno: (u32, u32)) -> Result<Usage>;

    /// The disks below a path, as [`Machine::below`].
    fn below(&self, path: &Path) -> Result<Below>;

    /// Opens the device that was shown for reading. Fails as [`DeviceSource::open`] does, and with
    /// [`ErrorKind::Refused`] if its content may change meanwhile and it shall be exclusive but not live.
    fn open_source(&self, shown: Instance, how: SourceOptions) -> Result<Opened>;

    /// Finds a disk that came back under whatever name, and holds it for reading. Fails with
    /// [`ErrorKind::Gone`] if it is not there (yet), and with [`ErrorKind::Refused`] if two disks answer
    /// to this identity, or if it is in use.
    fn reopen(&self, same: &Identity) -> Result<Opened>;

    /// What the drive of the whole disk that was shown hides. Where that cannot be asked it says so.
    fn hidden(&self, shown: Instance) -> Hidden;

    /// The ID of the disk that was shown, or whose partition was: of the whole disk, as `claim` judges it. Fails
    /// as [`disk_id`] does.
    fn disk_id(&self, shown: Instance) -> Result<DiskId>;

    /// What partitions of the disk that was shown should be aligned to, as [`Machine::io_hints`].
    fn io_hints(&self, shown: Instance) -> Result<IoHints>;

    /// What the firmware is told to start, as [`Machine::boot_variables`]; none where that cannot be read.
    fn boot_variables(&self) -> Vec<(String, Vec<u8>)>;

    /// Claims a target; or all reasons not to. Fails as [`Target::claim`] does.
    fn claim(&self, want: &Wanted) -> Result<std::result::Result<Target, Vec<Refusal>>>;

    /// Has the kernel read the partition table of a claimed target again; the error says why it did not.
    fn reread_table(&self, target: &Target) -> std::result::Result<(), String>;
}

/// The monitor of a process that keeps its privileges itself.
#[derive(Clone, Debug)]
pub struct InProcess {
    /// Whose disks.
    pub machine: Machine,
}

impl Monitor for InProcess {
    fn disks(&self) -> Result<Vec<Disk>> {
        self.machine.disks()
    }

    fn silent_controllers(&self) -> Result<Vec<String>> {
        Ok(self.machine.silent_controllers())
    }

    fn find(&self, word: &str) -> Result<Place> {
        self.machine.find(word)
    }

    fn usage_of(&self, devno: (u32, u32)) -> Result<Usage> {
        self.machine.usage_of(devno)
    }

    fn below(&self, path: &Path) -> Result<Below> {
        self.machine.below(path)
    }

    fn open_source(&self, shown: Instance, how: SourceOptions) -> Result<Opened> {
        let name = name_of(&self.machine, shown.devno)?;
        let rotational = is_rotational(&self.machine, &name);
        let open = |how| DeviceSource::open(&self.machine.node(&name), shown, how, rotational);
        let opened = open(how);
        let busy = match &opened {
            Ok(opened) => opened.live,
            Err(error) => how.exclusive && error.kind() == ErrorKind::Refused,
        };
        // A filesystem that is only read keeps us from holding the disk, but it keeps still all the same.
        if busy && self.machine.usage_of(shown.devno)?.is_only_read() {
            return open(SourceOptions::default());
        }
        let opened = opened?;
        if !how.exclusive || opened.live {
            return Ok(opened);
        }
        // The kernel hands a disk out alone although what lies on a loop device over it is mounted, or a
        // program writes to it without asking.
        let why = self.machine.usage_of(shown.devno)?.may_change();
        if !why.is_empty() && !how.live {
            let why = why.join("; ");
            let words = format!("{why}: stop that, or --live for a copy that may be torn");
            return Err(Error::new(ErrorKind::Refused, words));
        }
        Ok(Opened { live: !why.is_empty(), ..opened })
    }

    fn reopen(&self, same: &Identity) -> Result<Opened> {
        let instance = only_one(same, &attached(&self.machine)?)?;
        self.open_source(instance, SourceOptions { live: false, exclusive: true })
    }

    fn hidden(&self, shown: Instance) -> Hidden {
        let unknown = |why: &str| Hidden { unknown: vec![not_known(why)], ..Hidden::default() };
        match self.machine.disks() {
            Ok(disks) => match disks.iter().find(|disk| disk.instance == shown) {
                Some(disk) => self.machine.ask_hidden(disk),
                None => unknown("the disk is gone"),
            },
            Err(error) => unknown(&error.to_string()),
        }
    }

    fn disk_id(&self, shown: Instance) -> Result<DiskId> {
        let disk = self.machine.place_of(shown)?.disk;
        let opened = DeviceSource::open(&disk.path, disk.instance, SourceOptions::default(), true)?;
        disk_id(&disk.identity, &*opened.source)
    }

    fn io_hints(&self, shown: Instance) -> Result<IoHints> {
        Ok(self.machine.io_hints(&self.machine.place_of(shown)?.disk))
    }

    fn boot_variables(&self) -> Vec<(String, Vec<u8>)> {
        self.machine.boot_variables()
    }

    fn claim(&self, want: &Wanted) -> Result<std::result::Result<Target, Vec<Refusal>>> {
        let name = name_of(&self.machine, want.instance.devno)?;
        Target::claim(&self.machine.node(&name), want, |handle| facts(&self.machine, handle))
    }

    fn reread_table(&self, target: &Target) -> std::result::Result<(), String> {
        target.reread_table()
    }
}

/// The disks that are there now.
fn attached(machine: &Machine) -> Result<Vec<Attached>> {
    Ok(machine.disks()?.iter().map(Disk::attached).collect())
}

/// What is known of an open device.
fn facts(machine: &Machine, handle: &Handle) -> Result<Facts> {
    let used = machine.usage_of(handle.instance().devno)?;
    gather(machine, handle, &attached(machine)?, used)
}

/// The facts of a device: its own, and the identity and ID of the whole disk that it is or belongs to.
fn gather(machine: &Machine, handle: &Handle, disks: &[Attached], usage: Usage) -> Result<Facts> {
    let instance = handle.instance();
    let name = name_of(machine, instance.devno)?;
    let whole = whole_disk(machine, &name);
    let is_whole = |disk: &&Attached| name_of(machine, disk.instance.devno).is_ok_and(|name| name == whole);
    let disk = disks
        .iter()
        .find(is_whole)
        .ok_or_else(|| Error::new(ErrorKind::Gone, format!("{whole} is not among the disks now")))?;
    let id = if disk.instance == instance {
        disk_id(&disk.identity, handle)?
    } else {
        let plain = SourceOptions::default();
        let opened = DeviceSource::open(&machine.node(&whole), disk.instance, plain, true)?;
        disk_id(&disk.identity, &*opened.source)?
    };
    Ok(Facts {
        name: name.replace('!', "/"),
        instance,
        disk: disk.clone(),
        id,
        size: block::ReadAt::size(handle),
        read_only: handle.read_only()?,
        usage,
    })
}

/// The attachment of the only disk with this identity. Docks lend one serial to many disks: which of two
/// equal ones it is cannot be told.
fn only_one(same: &Identity, disks: &[Attached]) -> Result<Instance> {
    let who = [same.model.as_str(), same.serial.as_str()].join(" ");
    let equal: Vec<Instance> =
        disks.iter().filter(|disk| disk.identity == *same).map(|disk| disk.instance).collect();
    match equal.as_slice() {
        [one] => Ok(*one),
        [] => Err(Error::new(ErrorKind::Gone, format!("the disk {who} is not there"))),
        more => {
            let what = format!("{} disks say that they are {who}: leave only the right one on", more.len());
            Err(Error::new(ErrorKind::Refused, what))
        }
    }
}

/// The name in sysfs of the device with this number now.
fn name_of(machine: &Machine, (major, minor): (u32, u32)) -> Result<String> {
    let link = machine.sys.join(format!("dev/block/{major}:{minor}"));
    let name = fs::read_link(link).ok().and_then(|target| Some(target.file_name()?.to_str()?.to_owned()));
    name.ok_or_else(|| Error::new(ErrorKind::Gone, format!("no device has the number {major}:{minor} now")))
}

/// The disk of a partition; of a disk its own name. Names are as in sysfs.
fn whole_disk(machine: &Machine, name: &str) -> String {
    let dir = machine.block(name);
    let is_partition = dir.join("partition").exists();
    let above = fs::canonicalize(&dir).ok().filter(|_| is_partition);
    let disk = above.and_then(|dir| Some(dir.parent()?.file_name()?.to_str()?.to_owned()));
    disk.unwrap_or_else(|| name.to_owned())
}

/// Does it have a moving head? One of which that is not known is read as if it had.
fn is_rotational(machine: &Machine, name: &str) -> bool {
    let queue = machine.block(&whole_disk(machine, name)).join("queue/rotational");
    number::<u8>(queue) != Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn disk(serial: &str, diskseq: u64) -> Attached {
        let identity = Identity { serial: serial.into(), ..Identity::default() };
        Attached { identity, instance: Instance { devno: (8, 0), diskseq } }
    }

    #[test]
    fn a_disk_that_comes_back_must_be_the_only_one() {
        let disks = [disk("a", 1), disk("b", 2), disk("b", 3)];
        assert_eq!(only_one(&disks[0].identity, &disks).unwrap(), disks[0].instance);
        let kind = |serial| only_one(&disk(serial, 0).identity, &disks).unwrap_err().kind();
        assert_eq!((kind("b"), kind("c")), (ErrorKind::Refused, ErrorKind::Gone));
    }

    /// A tree like sysfs: `class/block` and `dev/block` are links into `devices`.
    fn tree(root: &Path) -> Machine {
        let disk = root.join("devices/pci0/block/sda");
        fs::create_dir_all(disk.join("sda1")).unwrap();
        fs::create_dir_all(disk.join("queue")).unwrap();
        fs::create_dir_all(root.join("class/block")).unwrap();
        fs::create_dir_all(root.join("dev/block")).unwrap();
        for (name, devno, dir) in [("sda", "8:0", disk.clone()), ("sda1", "8:1", disk.join("sda1"))] {
            symlink(&dir, root.join("class/block").join(name)).unwrap();
            symlink(&dir, root.join("dev/block").join(devno)).unwrap();
        }
        write(&disk.join("sda1/partition"), "1\n");
        Machine { sys: root.to_owned(), ..Machine::host() }
    }

    #[expect(clippy::disallowed_methods, reason = "files for these tests")]
    fn write(path: &Path, content: impl AsRef<[u8]>) {
        fs::write(path, content).unwrap();
    }

    #[test]
    fn names_and_parents() {
        let root = tempfile::tempdir().unwrap();
        let machine = tree(root.path());
        assert_eq!(name_of(&machine, (8, 1)).unwrap(), "sda1");
        assert_eq!(name_of(&machine, (8, 2)).unwrap_err().kind(), ErrorKind::Gone);
        assert_eq!([whole_disk(&machine, "sda"), whole_disk(&machine, "sda1")], ["sda", "sda"]);
        for (text, rotational) in [("1\n", true), ("0\n", false), ("", true)] {
            write(&root.path().join("devices/pci0/block/sda/queue/rotational"), text);
            let both = ["sda", "sda1"].map(|name| is_rotational(&machine, name));
            assert_eq!(both, [rotational; 2]);
        }
    }

    /// The ID of a partition is that of its disk.
    #[test]
    fn facts_of_a_disk_and_of_a_partition() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes = testkit::pattern(1 << 20);
        write(file.path(), &bytes);
        let Some(device) = testkit::LoopDevice::attach(file.path(), 512) else { return };
        let handle = |path: &Path| Handle::new(crate::handle::open(path, false).unwrap(), path).unwrap();
        let whole = handle(device.path());
        let range = block::ByteRange::span(4096, 12288);
        crate::add_partition(fs::File::open(device.path()).unwrap(), 3, range).unwrap();
        let part = handle(Path::new(&format!("{}p3", device.path().display())));

        let machine = Machine::host();
        let here = Attached { instance: whole.instance(), ..disk("x", 0) };
        let disks = [disk("other", 1), here.clone()];
        let id = disk_id(&here.identity, &testkit::Memory::new(bytes)).unwrap();
        for (handle, size) in [(&whole, 1 << 20), (&part, 8192)] {
            let facts = gather(&machine, handle, &disks, Usage::default()).unwrap();
            let name = handle.path().file_name().unwrap().to_str().unwrap();
            assert_eq!((facts.name.as_str(), facts.id, facts.size), (name, id, size));
            assert_eq!((&facts.disk, facts.instance), (&here, handle.instance()));
            let none = gather(&machine, handle, &disks[..1], Usage::default());
            assert_eq!(none.unwrap_err().kind(), ErrorKind::Gone);
        }
    }
}
