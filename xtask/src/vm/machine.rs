//! The virtual computer: its disks and memory, as QEMU's command line.

use super::disk::Disk;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Words for the kernel: its console, the end of QEMU when it panics, and no time spent on what a guest of a
/// few seconds does not need.
const KERNEL: &str = "console=ttyS0 panic=-1 quiet loglevel=4 nokaslr mitigations=off random.trust_cpu=on \
                      tsc=reliable cryptomgr.notests audit=0 nowatchdog";

/// A computer that starts our kernel.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) disks: Vec<Disk>,
    /// MiB.
    pub(crate) memory: u32,
    /// `tcg` or `kvm`.
    pub(crate) accelerator: &'static str,
}

/// Where the machine finds and puts things.
pub(crate) struct Files<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) initrd: &'a Path,
    /// Disks, sockets and the console's log.
    pub(crate) folder: &'a Path,
    /// What host and guest both see.
    pub(crate) share: &'a Path,
}

/// Names in the folder of a machine.
pub(crate) const CONSOLE: &str = "console.log";
pub(crate) const CONTROL: &str = "control.socket";
pub(crate) const QMP: &str = "qmp.socket";

impl Machine {
    /// The arguments of QEMU. It connects to the two sockets, so they have to be listened on before.
    pub(crate) fn arguments(&self, files: &Files<'_>) -> Vec<String> {
        let folder = |name: &str| files.folder.join(name).display().to_string();
        let mut line = self.base();
        let mut add = |words: &[&str]| line.extend(words.iter().map(|word| (*word).to_owned()));
        add(&["-serial", &format!("file:{}", folder(CONSOLE))]);
        add(&["-qmp", &format!("unix:{}", folder(QMP))]);
        add(&["-device", "virtio-serial-pci", "-chardev"]);
        add(&[&format!("socket,id=control,path={}", folder(CONTROL))]);
        add(&["-device", "virtserialport,chardev=control,name=control"]);
        // Else each mkfs waits seconds for its first UUID.
        add(&["-device", "virtio-rng-pci"]);
        let share = files.share.display();
        add(&["-fsdev", &format!("local,id=share,path={share},security_model=none,multidevs=remap")]);
        add(&["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"]);
        let (kernel, initrd) = (files.kernel.display(), files.initrd.display());
        add(&["-kernel", &kernel.to_string(), "-initrd", &initrd.to_string(), "-append", &self.words()]);
        line.extend(self.disk_arguments(files.folder));
        line
    }

    fn base(&self) -> Vec<String> {
        let memory = self.memory.to_string();
        let words = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-rtc", "base=utc"];
        let machine = ["-machine", "pc", "-accel", self.accelerator, "-m", &memory];
        words.iter().chain(&machine).map(|word| (*word).to_owned()).collect()
    }

    /// What the kernel and /init are told.
    fn words(&self) -> String {
        let modules: BTreeSet<&str> =
            self.disks.iter().flat_map(|disk| disk.modules().iter().copied()).collect();
        let modules = Vec::from_iter(modules).join(",");
        let present = self.disks.iter().filter(|disk| !disk.absent).count();
        format!("{KERNEL} lab.modules={modules} lab.disks={present}")
    }

    /// Nodes of all disks, controllers once, devices of those that are there from the start.
    pub(crate) fn disk_arguments(&self, folder: &Path) -> Vec<String> {
        let mut line = vec![];
        let mut add = |option: &str, value: String| line.extend([option.to_owned(), value]);
        let mut controllers = BTreeSet::new();
        for (at, disk) in self.disks.iter().enumerate() {
            disk.nodes(folder).iter().for_each(|node| add("-blockdev", node.to_string()));
            let shared = disk.controller().filter(|name| controllers.insert(*name));
            shared.into_iter().map(str::to_owned).for_each(|value| add("-device", value));
            disk.own_controller().into_iter().for_each(|value| add("-device", value.to_string()));
            if !disk.absent {
                add("-device", self.device(at).to_string());
            }
        }
        line
    }

    /// The device of the disk at this place of the list.
    fn device(&self, at: usize) -> Value {
        let disk = &self.disks[at];
        disk.device(self.disks[..at].iter().filter(|other| other.shares_bus(disk)).count())
    }

    /// The controller of its own, if it has one, and the device of the disk with this id, to plug it in.
    pub(crate) fn pluggable(&self, id: &str) -> Option<(Option<Value>, Value)> {
        let at = self.disks.iter().position(|disk| disk.id == id)?;
        Some((self.disks[at].own_controller(), self.device(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::Kind;
    use super::*;

    fn machine() -> Machine {
        let disks = vec![
            Disk::new("a", Kind::Scsi, 64),
            Disk::new("b", Kind::Scsi, 64).absent(),
            Disk::new("c", Kind::Ide, 64),
            Disk::new("d", Kind::Ide, 64),
        ];
        Machine { disks, memory: 512, accelerator: "tcg" }
    }

    #[test]
    fn the_line_of_a_machine() {
        let here = Path::new("/k");
        let files = Files { kernel: here, initrd: here, folder: Path::new("/f"), share: Path::new("/s") };
        let line = machine().arguments(&files).join(" ");
        assert!(line.contains("-serial file:/f/console.log -qmp unix:/f/qmp.socket"), "{line}");
        assert!(line.contains("-accel tcg -m 512"), "{line}");
        assert!(line.ends_with("}"), "{line}");
        assert!(line.contains("lab.modules=ata_piix,sd_mod,virtio_scsi lab.disks=3"), "{line}");
    }

    #[test]
    fn controllers_once_and_absent_disks_not_plugged() {
        let line = machine().disk_arguments(Path::new("/f"));
        let count = |what: &str| line.iter().filter(|word| word.contains(what)).count();
        assert_eq!((count("virtio-scsi-pci"), count("scsi-hd"), count("ide-hd")), (1, 1, 2));
        assert_eq!(count("b-format"), 1, "its node is there");
        let machine = machine();
        assert_eq!(machine.pluggable("b").unwrap().1["id"], "b");
        assert_eq!(machine.pluggable("d").unwrap().1["unit"], 1);
        assert_eq!(machine.pluggable("x"), None);
    }
}
