//! `disks`, on whatever machine this is and on loop devices, with lsblk and findmnt as the oracles.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]
#![allow(clippy::print_stderr)]

use serde_json::Value;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{LoopDevice, pattern};

const MIB: u64 = 1 << 20;

/// What a tool prints; `None` if it is missing or fails.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

fn disks(arguments: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_selfsame");
    let listed = Command::new(program).arg("disks").args(arguments).output().unwrap();
    assert_eq!(listed.status.code(), Some(0), "{}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8(listed.stdout).unwrap()
}

fn documents() -> Vec<Value> {
    let document: Value = serde_json::from_str(&disks(&["--json"])).unwrap();
    document["disks"].as_array().unwrap().clone()
}

/// The disk at this node.
fn document(node: &Path) -> Value {
    documents().into_iter().find(|disk| disk["path"] == node.to_str().unwrap()).expect("it is listed")
}

fn lsblk() -> Option<Vec<Value>> {
    let document: Value = serde_json::from_str(&run("lsblk", &["-J", "-b", "-O"])?).unwrap();
    Some(document["blockdevices"].as_array().unwrap().clone())
}

fn skip(needs: &str) {
    eprintln!("SKIPPED: {}: needs {needs}", std::thread::current().name().unwrap_or("test"));
}

/// A loop device over a file of 16 MiB, and a folder of its own.
struct Disk {
    device: LoopDevice,
    file: PathBuf,
    folder: tempfile::TempDir,
}

impl Disk {
    fn new(sector: u32, name: &str) -> Option<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = folder.path().join(name);
        File::create(&file).unwrap().set_len(16 * MIB).unwrap();
        Some(Self { device: LoopDevice::attach(&file, sector)?, file, folder })
    }

    fn node(&self) -> &str {
        self.device.path().to_str().unwrap()
    }
}

/// Undoes something at the end, also of a test that fails.
struct Undo(&'static str, Vec<String>);

impl Drop for Undo {
    fn drop(&mut self) {
        let _done = Command::new(self.0).args(&self.1).status();
    }
}

#[test]
fn lists_the_sizes_that_sysfs_has() {
    for disk in documents() {
        let name = disk["name"].as_str().unwrap().replace('/', "!");
        // Loop devices of other tests come and go.
        let Ok(sectors) = std::fs::read_to_string(format!("/sys/block/{name}/size")) else { continue };
        let sectors: u64 = sectors.trim().parse().unwrap();
        assert!(disk["kind"] == "loop" || disk["size"].as_u64() == Some(sectors * 512), "{name}");
    }
}

/// Every field that lsblk knows too, of every disk of this machine.
#[test]
fn disks_as_lsblk_says_them() {
    let (Some(before), documents, Some(after)) = (lsblk(), documents(), lsblk()) else {
        return skip("lsblk");
    };
    // Loop devices of other tests come and go.
    let lasting = before.iter().filter(|disk| after.contains(disk));
    let is_disk = |disk: &&Value| {
        let (name, size) = (disk["name"].as_str().unwrap(), disk["size"].as_u64().unwrap());
        let no_disk = ["ram", "zram", "sr", "fd"].iter().any(|prefix| name.starts_with(prefix));
        ["disk", "loop"].contains(&disk["type"].as_str().unwrap()) && !no_disk && size > 0
    };
    for disk in lasting.filter(is_disk) {
        let name = &disk["name"];
        let ours = documents.iter().find(|ours| ours["name"] == *name).expect("lsblk knows it");
        agrees(ours, disk);
        for (partition, of_lsblk) in ours["partitions"].as_array().unwrap().iter().zip(parts(disk)) {
            for field in ["name", "size", "path"] {
                assert_eq!(partition[field], of_lsblk[field], "{name}");
            }
            mounted_alike(partition, of_lsblk);
        }
        assert_eq!(ours["partitions"].as_array().unwrap().len(), parts(disk).count(), "{name}");
    }
}

fn parts(disk: &Value) -> impl Iterator<Item = &Value> {
    let children = disk["children"].as_array().map(Vec::as_slice).unwrap_or_default();
    children.iter().filter(|child| child["type"] == "part")
}

fn agrees(ours: &Value, lsblk: &Value) {
    for (field, of_lsblk) in [
        ("path", "path"),
        ("size", "size"),
        ("read_only", "ro"),
        ("removable", "rm"),
        ("rotational", "rota"),
        ("sector_size", "log-sec"),
        ("physical_sector_size", "phy-sec"),
    ] {
        assert_eq!(ours[field], lsblk[of_lsblk], "{}: {field}", ours["name"]);
    }
    // Where lsblk knows them; without udev it knows few.
    let text =
        |value: &Value| value.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    for (field, of_lsblk) in [("model", "model"), ("serial", "serial"), ("wwn", "wwn"), ("transport", "tran")]
    {
        let said = text(&lsblk[of_lsblk]);
        let said = match (of_lsblk, said.as_str()) {
            ("tran", "sata") => "ata",
            ("tran", "sas" | "fc" | "iscsi" | "spi") => "scsi",
            ("wwn", said) => said.trim_start_matches("0x"),
            (_, said) => said,
        };
        assert!(said.is_empty() || text(&ours[field]).ends_with(said), "{ours}\n{lsblk}");
    }
    mounted_alike(ours, lsblk);
}

/// Where lsblk sees it mounted or swapped on. We see other namespaces too, and all that lies on it.
fn mounted_alike(ours: &Value, lsblk: &Value) {
    for place in lsblk["mountpoints"].as_array().unwrap().iter().filter(|place| !place.is_null()) {
        match place.as_str() {
            Some("[SWAP]") => assert!(!ours["swap"].as_array().unwrap().is_empty(), "{ours}"),
            _ => assert!(ours["mounted"].as_array().unwrap().contains(place), "{place} {ours}"),
        }
    }
}

#[test]
fn mounted_swapped_on_read_only_and_of_4096() {
    let all = [(512, "mounted.img"), (4096, "swap.img"), (512, "ro.img")].map(|(s, n)| Disk::new(s, n));
    let [Some(mounted), Some(swap), Some(read_only)] = all else { return };
    let folder = mounted.folder.path().join("mnt");
    let folder = folder.to_str().unwrap();
    std::fs::create_dir(folder).unwrap();
    let made = run("mkfs.ext4", &["-q", mounted.node()]).and(run("mkswap", &[swap.node()]));
    let (Some(_), Some(_)) = (made, lsblk()) else { return skip("mkfs.ext4, mkswap, lsblk") };
    run("mount", &[mounted.node(), folder]).unwrap();
    let _umount = Undo("umount", vec![folder.to_owned()]);
    run("swapon", &[swap.node()]).unwrap();
    let _swapoff = Undo("swapoff", vec![swap.node().to_owned()]);
    run("blockdev", &["--setro", read_only.node()]).unwrap();
    // Else the next user of this loop device finds it read-only.
    let _setrw = Undo("blockdev", vec!["--setrw".to_owned(), read_only.node().to_owned()]);

    let of_lsblk = lsblk().unwrap();
    for disk in [&mounted, &swap, &read_only] {
        let ours = document(disk.device.path());
        agrees(&ours, of_lsblk.iter().find(|of_lsblk| of_lsblk["path"] == disk.node()).unwrap());
        let facts =
            ["kind", "transport", "serial", "wwn", "backing"].map(|field| ours[field].as_str().unwrap());
        assert_eq!(facts, ["loop", "loop", "", "", disk.file.to_str().unwrap()]);
        let nothing = serde_json::json!([]);
        assert_eq!([&ours["hidden"], &ours["hidden_unknown"], &ours["partitions"]], [&nothing; 3]);
    }
    let field = |disk: &Disk, field: &str| document(disk.device.path())[field].clone();
    assert_eq!(field(&mounted, "mounted"), serde_json::json!([folder]));
    assert_eq!(field(&mounted, "content")["type"], "ext4");
    assert_eq!(
        (field(&swap, "swap"), field(&swap, "sector_size")),
        (serde_json::json!([swap.node()]), 4096.into())
    );
    // Who swaps to it cannot do without it.
    assert_eq!([field(&swap, "system"), field(&mounted, "system")], [true.into(), Value::Bool(false)]);
    assert_eq!(
        [field(&read_only, "read_only"), field(&mounted, "read_only")],
        [true.into(), Value::Bool(false)]
    );
}

/// The ID covers the first and the last 34 sectors, and stays when the disk comes back.
#[test]
fn the_id_stays_until_the_ends_change() {
    let Some(disk) = Disk::new(512, "disk.img") else { return };
    let file = File::options().write(true).open(&disk.file).unwrap();
    file.write_all_at(&pattern(16 << 20), 0).unwrap();
    let id = |device: &LoopDevice| document(device.path())["id"].as_str().unwrap().to_owned();
    let Disk { device, file: path, folder: _folder } = disk;
    let first = id(&device);
    assert!(first.len() == 10 && first.bytes().all(|digit| digit.is_ascii_hexdigit()), "{first}");
    let mut attached = Some(device);
    let again = || LoopDevice::attach(&path, 512).unwrap();
    let last = 16 * MIB / 512 - 1;
    for (lba, changes) in
        [(34, false), (last - 34, false), (33, true), (last - 33, true), (0, true), (last, true)]
    {
        drop(attached.take());
        let mut sector = [0; 1];
        let byte = File::open(&path).unwrap();
        byte.read_exact_at(&mut sector, lba * 512).unwrap();
        file.write_all_at(&[sector[0] ^ 1], lba * 512).unwrap();
        file.sync_all().unwrap();
        let device = again();
        assert_eq!(id(&device) != first, changes, "{lba}");
        file.write_all_at(&sector, lba * 512).unwrap();
        attached = Some(device);
    }
    drop(attached);
    assert_eq!(id(&again()), first);
}

#[test]
fn the_disk_of_the_running_system() {
    let root = run("findmnt", &["-nvo", "SOURCE", "/"]).map(|source| source.trim().to_owned());
    let Some(root) = root.filter(|source| source.starts_with("/dev/") && Path::new(source).exists()) else {
        return skip("findmnt, and a root filesystem on a disk");
    };
    // From the partition or volume down to the disks: TYPE disk.
    let below = run("lsblk", &["-nslo", "NAME,TYPE", &root]).unwrap();
    let below = below.lines().filter_map(|line| line.split_whitespace().collect::<Vec<_>>().try_into().ok());
    let of_system: Vec<String> =
        below.filter(|[_, kind]: &[&str; 2]| *kind == "disk").map(|[name, _]| name.to_owned()).collect();
    assert!(!of_system.is_empty());
    for disk in documents().iter().filter(|disk| disk["kind"] == "disk") {
        let name = disk["name"].as_str().unwrap();
        // Others may hold swap or another part of the system.
        assert!(!of_system.iter().any(|of| of == name) || disk["system"] == true, "{name}");
    }
    let text = disks(&[]);
    let row = text.lines().find(|line| line.starts_with(&format!("{} ", of_system[0]))).unwrap();
    assert!(row.contains("system disk"), "{row}");
}

/// Names and labels that would paint the terminal, in a table that stays one.
#[test]
fn the_table_is_aligned_and_harmless() {
    let Some(disk) = Disk::new(512, "a\u{1b}[2J\u{202e}b\tc.img") else { return };
    let label = "\u{1b}[31m\u{7}x";
    if run("mkfs.ext4", &["-q", "-L", label, disk.node()]).is_none() {
        return skip("mkfs.ext4");
    }
    let name = disk.device.path().file_name().unwrap().to_str().unwrap();
    for columns in ["20", "500"] {
        let listed = Command::new(env!("CARGO_BIN_EXE_selfsame"))
            .arg("disks")
            .env("COLUMNS", columns)
            .output()
            .unwrap();
        let text = String::from_utf8(listed.stdout).unwrap();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
        let row = text.lines().find(|line| line.starts_with(&format!("{name} "))).expect("a row of its own");
        assert!(row.contains(r"\u{1b}[2J\u{202e}b\tc.img") && row.contains(r"\u{1b}[31m\u{7}x"), "{row}");
        // Each column begins in all rows where its heading does, after two blanks.
        let heading: Vec<char> = text.lines().next().unwrap().chars().collect();
        for title in ["bus", "model", "serial", "ID", "what"] {
            let heading: String = heading.iter().collect();
            let at = heading[..heading.find(&format!(" {title}")).unwrap()].chars().count() + 1;
            for line in text.lines() {
                let before: String = line.chars().skip(at - 2).take(2).collect();
                assert!(before.trim().is_empty(), "{title} at {at}: {line}");
            }
        }
    }
}

/// A disk that cannot be read is no failure of the list, nor is it empty.
#[test]
fn an_unreadable_disk_is_a_row_with_its_reason() {
    let Some(disk) = Disk::new(512, "disk.img") else { return };
    // The kernel answers EIO where the file of a loop device ends early.
    File::options().write(true).open(&disk.file).unwrap().set_len(0).unwrap();
    let ours = document(disk.device.path());
    let why = ours["unreadable"].as_str().expect("a reason").to_owned();
    assert_eq!(
        (why.as_str(), &ours["size"]),
        ("its first sector cannot be read", &(16 * MIB).into()),
        "{ours}"
    );
    let text = disks(&[]);
    let name = disk.device.path().file_name().unwrap().to_str().unwrap();
    let row = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    assert!(row.contains(&why) && row.contains("empty where it could be read"), "{row}");
}
