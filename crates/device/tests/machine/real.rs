//! Real loop devices, with util-linux and the kernel as the oracles.

use device::{Disk, DiskKind, Machine, Usage};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// What a tool prints; `None` if it is missing or fails.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// A loop device over a new file of 128 MiB; released at the end.
struct Loop {
    node: String,
    file: PathBuf,
    _dir: TempDir,
}

impl Loop {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("disk.img");
        std::fs::File::create(&file).unwrap().set_len(128 << 20).unwrap();
        let node = run("losetup", &["-f", "--show", file.to_str().unwrap()])?;
        Some(Self { node, file, _dir: dir })
    }

    fn disk(&self) -> Disk {
        Machine::host().find(&self.node).unwrap().disk
    }

    fn usage(&self) -> Usage {
        Machine::host().usage(&self.disk()).unwrap()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        run("losetup", &["-d", &self.node]);
    }
}

/// A command that undoes something at the end, before the loop devices made earlier are released.
struct Undo(&'static str, String);

impl Drop for Undo {
    fn drop(&mut self) {
        run(self.0, &[&self.1]);
    }
}

/// A running program, ended when dropped.
struct Program(Child);

impl Program {
    /// Started, and `ready`: the script prints that when it has done its work.
    fn start(program: &str, arguments: &[&str]) -> Option<Self> {
        let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let program = Self(child);
        (line == "ready\n").then_some(program)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn lsblk_says_the_same() {
    let columns = "KNAME,MAJ:MIN,SIZE,LOG-SEC,PHY-SEC,RO,RM,ROTA";
    let _device = Loop::new();
    let Some(table) = run("lsblk", &["-dnbro", columns]) else {
        println!("SKIPPED: lsblk_says_the_same: needs lsblk");
        return;
    };
    let disks = Machine::host().disks().unwrap();
    let bit = |flag: bool| u8::from(flag);
    for disk in &disks {
        let Disk { name, identity, instance, .. } = disk;
        let (major, minor) = instance.devno;
        let (size, sector, physical) = (identity.size, identity.sector, disk.physical_sector);
        let (ro, rm, rota) = (bit(disk.read_only), bit(disk.removable), bit(disk.rotational.unwrap()));
        let line = format!("{name} {major}:{minor} {size} {sector} {physical} {ro} {rm} {rota}");
        // Loop devices of other tests come and go.
        assert!(disk.kind == DiskKind::Loop || table.lines().any(|l| l == line), "{line}\n{table}");
    }
    for line in table.lines().filter(|line| line.starts_with("vd") || line.starts_with("sd")) {
        assert!(disks.iter().any(|disk| line.starts_with(&format!("{} ", disk.name))), "{line}");
    }
}

#[test]
fn loop_device() {
    let Some(device) = Loop::new() else {
        println!("SKIPPED: loop_device: needs losetup and root");
        return;
    };
    let disk = device.disk();
    assert_eq!((disk.kind, disk.identity.size), (DiskKind::Loop, 128 << 20));
    assert_eq!(disk.backing.as_deref().map(Path::new), Some(device.file.as_path()));
    assert_eq!(device.usage(), Usage::default());
    // A node counts by its numbers, wherever it lies.
    let node = device.file.with_file_name("node");
    let (major, minor) = disk.instance.devno;
    run("mknod", &[node.to_str().unwrap(), "b", &major.to_string(), &minor.to_string()]).unwrap();
    assert_eq!(Machine::host().find(node.to_str().unwrap()).unwrap().disk, disk);

    let writer = format!("exec 3<>{}; echo ready; exec sleep 60 >/dev/null", device.node);
    let program = Program::start("sh", &["-c", &writer]).unwrap();
    assert_eq!(device.usage().open_elsewhere, [format!("sleep ({})", program.0.id())]);
    drop(program);
    let reader = format!("exec 3<{}; echo ready; exec sleep 60 >/dev/null", device.node);
    let _program = Program::start("sh", &["-c", &reader]).unwrap();
    assert_eq!(device.usage(), Usage::default());

    // The disk of its file knows of it.
    let below = Machine::host().below(&device.file).unwrap();
    for disk in below.disks {
        let held_by = Machine::host().usage_of(disk.instance.devno).unwrap().held_by;
        assert!(held_by.iter().any(|by| by.contains(device.file.to_str().unwrap())), "{held_by:?}");
    }
}

#[test]
fn mounted_here_and_elsewhere() {
    let made = Loop::new().filter(|device| run("mkfs.ext4", &["-q", &device.node]).is_some());
    let Some(device) = made else {
        println!("SKIPPED: mounted_here_and_elsewhere: needs losetup, mkfs.ext4 and root");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    let script = format!("mount {} {folder} && echo ready && exec sleep 60 >/dev/null", device.node);
    match Program::start("unshare", &["-m", "sh", "-c", &script]) {
        Some(program) => {
            let mounted = device.usage().mounted;
            assert_eq!((mounted.len(), mounted[0].seen_by), (1, Some(program.0.id())));
        }
        None => println!("SKIPPED: mounted_here_and_elsewhere: needs unshare"),
    }
    run("mount", &[&device.node, folder]).unwrap();
    let _mounted = Undo("umount", folder.to_owned());
    let usage = device.usage();
    assert_eq!(usage.mounted.iter().map(|m| m.dir.as_path()).collect::<Vec<_>>(), [dir.path()]);
    assert!(!usage.system && usage.held_by.is_empty());
    // A backup in it lies on the loop device, and on the disk of its file.
    let below = Machine::host().below(dir.path()).unwrap();
    assert!(below.disks.contains(&device.disk().attached()));
    let file = Machine::host().below(&device.file).unwrap();
    assert!(file.disks.iter().all(|disk| below.disks.contains(disk)));
    assert_eq!((below.mount.as_str(), below.memory), (folder, file.memory));
}

#[test]
fn both_devices_of_a_btrfs() {
    let pair = Loop::new().zip(Loop::new());
    let pair = pair.filter(|(a, b)| run("mkfs.btrfs", &["-q", &a.node, &b.node]).is_some());
    let Some((first, second)) = pair else {
        println!("SKIPPED: both_devices_of_a_btrfs: needs losetup, mkfs.btrfs and root");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    // Without udev nobody else makes the second device known.
    run("btrfs", &["device", "scan", &first.node, &second.node]);
    if run("mount", &["-t", "btrfs", &first.node, folder]).is_none() {
        println!("SKIPPED: both_devices_of_a_btrfs: needs a kernel with btrfs");
        return;
    }
    let _mounted = Undo("umount", folder.to_owned());
    for device in [&first, &second] {
        assert_eq!(device.usage().mounted.len(), 1, "{}", device.node);
    }
    let below = Machine::host().below(dir.path()).unwrap();
    assert!([&first, &second].iter().all(|device| below.disks.contains(&device.disk().attached())));
}

#[test]
fn swap() {
    let made = Loop::new().filter(|device| run("mkswap", &[&device.node]).is_some());
    let Some((device, _swap)) = made.and_then(|device| {
        run("swapon", &[&device.node])?;
        let off = Undo("swapoff", device.node.clone());
        Some((device, off))
    }) else {
        println!("SKIPPED: swap: needs losetup, mkswap, swapon and root");
        return;
    };
    let usage = device.usage();
    assert_eq!((usage.swap, usage.system), (vec![device.node.clone()], true));
}
