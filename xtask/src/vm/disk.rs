//! A disk of the guest: what it is attached to, what is on it, how it fails; and QEMU's words for that.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// How a disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// IDE, on the PIIX of an old computer.
    Ide,
    /// SATA, on AHCI.
    Sata,
    /// USB mass storage. QEMU's has sectors of 512 bytes only.
    Usb,
    /// USB attached SCSI.
    Uas,
    Nvme,
    Virtio,
    /// SCSI, on a virtio controller.
    Scsi,
}

/// What is on a disk when the first guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Zeroes.
    Blank,
    /// A copy of an image file that the suite has made, and zeroes behind it.
    Image(&'static str),
    /// The same file as another disk: a second path to it.
    SameAs(&'static str),
}

/// Sectors that fail, in units of 512 bytes whatever the disk's sectors are.
#[derive(Clone, Copy, Debug)]
struct Bad {
    first: u64,
    last: u64,
    /// What fails there: `read` or `write`.
    access: &'static str,
}

/// A disk. `id` is also its serial, unless `serial` says otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) id: &'static str,
    kind: Kind,
    pub(crate) content: Content,
    pub(crate) mib: u64,
    sector: u32,
    serial: Option<&'static str>,
    wwn: Option<u64>,
    read_only: bool,
    pub(crate) qcow2: bool,
    pub(crate) absent: bool,
    bad: Vec<Bad>,
}

impl Disk {
    /// A blank disk.
    pub(crate) fn new(id: &'static str, kind: Kind, mib: u64) -> Self {
        Self {
            id,
            kind,
            content: Content::Blank,
            mib,
            sector: 512,
            serial: None,
            wwn: None,
            read_only: false,
            qcow2: false,
            absent: false,
            bad: vec![],
        }
    }

    /// With the bytes of an image file.
    pub(crate) fn image(self, name: &'static str) -> Self {
        Self { content: Content::Image(name), ..self }
    }

    /// A second path to another disk.
    pub(crate) fn same_as(self, id: &'static str) -> Self {
        Self { content: Content::SameAs(id), ..self }
    }

    /// With sectors of 4096 bytes, logical and physical.
    pub(crate) fn four_k(self) -> Self {
        Self { sector: 4096, ..self }
    }

    /// With a serial that is not its id.
    pub(crate) fn serial(self, serial: &'static str) -> Self {
        Self { serial: Some(serial), ..self }
    }

    /// With a world wide name.
    pub(crate) fn wwn(self, wwn: u64) -> Self {
        Self { wwn: Some(wwn), ..self }
    }

    /// That takes no writes.
    pub(crate) fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// With a write cache that a power cut empties: what is in a plain file survives the end of QEMU, what
    /// qcow2 has not been told to flush does not.
    pub(crate) fn volatile(self) -> Self {
        Self { qcow2: true, ..self }
    }

    /// Known, but only there when the guest asks for it.
    pub(crate) fn absent(self) -> Self {
        Self { absent: true, ..self }
    }

    /// With sectors that cannot be read.
    pub(crate) fn bad(self, first: u64, last: u64) -> Self {
        self.failing(Bad { first, last, access: "read" })
    }

    /// With sectors that cannot be written.
    pub(crate) fn worn(self, first: u64, last: u64) -> Self {
        self.failing(Bad { first, last, access: "write" })
    }

    fn failing(mut self, bad: Bad) -> Self {
        self.bad.push(bad);
        self
    }

    /// Its file in the folder of its suite.
    pub(crate) fn file(&self, folder: &Path) -> PathBuf {
        let id = if let Content::SameAs(other) = self.content { other } else { self.id };
        folder.join(format!("{id}.disk"))
    }

    /// Modules of its bus.
    pub(crate) fn modules(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Ide => &["ata_piix", "sd_mod"],
            Kind::Sata => &["ahci", "sd_mod"],
            Kind::Usb => &["xhci-pci", "usb-storage", "sd_mod"],
            Kind::Uas => &["xhci-pci", "uas", "sd_mod"],
            Kind::Nvme => &["nvme"],
            Kind::Virtio => &["virtio_blk"],
            Kind::Scsi => &["virtio_scsi", "sd_mod"],
        }
    }

    /// The controller that all disks of this kind share.
    pub(crate) fn controller(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Sata => Some("ahci,id=sata-bus"),
            Kind::Usb | Kind::Uas => Some("qemu-xhci,id=usb-bus,p2=8,p3=8"),
            Kind::Scsi => Some("virtio-scsi-pci,id=scsi-bus"),
            Kind::Ide | Kind::Nvme | Kind::Virtio => None,
        }
    }

    /// A controller of its own: UAS has one a disk, and that is what is pulled.
    pub(crate) fn own_controller(&self) -> Option<Value> {
        let uas = json!({"driver": "usb-uas", "id": format!("uas-bus-{}", self.id), "bus": "usb-bus.0"});
        (self.kind == Kind::Uas).then_some(uas)
    }

    /// Do two disks count places on the same bus?
    pub(crate) fn shares_bus(&self, other: &Self) -> bool {
        self.kind == other.kind
    }

    /// Values of `-blockdev`, from the file up; the last one is what the device stands on.
    pub(crate) fn nodes(&self, folder: &Path) -> Vec<Value> {
        let (id, mut under) = (self.id, format!("{}-file", self.id));
        let writable = !self.read_only;
        let shared = matches!(self.content, Content::SameAs(_));
        // Nothing but the end of QEMU loses what is written, so a flush of the host costs and proves nothing.
        let cache = json!({"direct": false, "no-flush": !self.qcow2});
        let mut file = json!({"driver": "file", "node-name": under, "filename": self.file(folder),
            "read-only": !writable, "cache": cache, "locking": "off"});
        if writable && !shared {
            file["discard"] = json!("unmap");
        }
        let mut nodes = vec![file];
        let mut add = |name: &str, mut node: Value, link: &str| {
            let name = format!("{id}-{name}");
            node["node-name"] = json!(name);
            node[link] = json!(under);
            node["cache"] = cache.clone();
            if node["driver"] != "blkdebug" {
                node["read-only"] = json!(!writable);
            }
            under = name;
            nodes.push(node);
        };
        if self.qcow2 {
            add("format", json!({"driver": "qcow2"}), "file");
        } else {
            let unmap = if writable { "unmap" } else { "off" };
            add("format", json!({"driver": "raw", "detect-zeroes": unmap, "discard": "unmap"}), "file");
        }
        if !self.bad.is_empty() {
            let rules: Vec<Value> = self.bad.iter().flat_map(Bad::rules).collect();
            add("bad", json!({"driver": "blkdebug", "inject-error": rules}), "image");
        }
        nodes
    }

    /// The value of `-device`. `place`: how many disks of its kind came before.
    pub(crate) fn device(&self, place: usize) -> Value {
        let driver = match self.kind {
            Kind::Ide | Kind::Sata => "ide-hd",
            Kind::Usb => "usb-storage",
            Kind::Nvme => "nvme",
            Kind::Virtio => "virtio-blk-pci",
            Kind::Uas | Kind::Scsi => "scsi-hd",
        };
        let top = if self.bad.is_empty() { "format" } else { "bad" };
        let mut device = json!({"driver": driver, "drive": format!("{}-{top}", self.id), "id": self.id,
            "serial": self.serial.unwrap_or(self.id)});
        match self.kind {
            Kind::Ide => {
                device["bus"] = json!(format!("ide.{}", place / 2));
                device["unit"] = json!(place % 2);
            }
            Kind::Sata => device["bus"] = json!(format!("sata-bus.{place}")),
            Kind::Usb => device["bus"] = json!("usb-bus.0"),
            Kind::Uas => device["bus"] = json!(format!("uas-bus-{}.0", self.id)),
            Kind::Scsi => device["bus"] = json!("scsi-bus.0"),
            Kind::Nvme | Kind::Virtio => {}
        }
        if self.sector != 512 {
            device["logical_block_size"] = json!(self.sector);
            device["physical_block_size"] = json!(self.sector);
        }
        if let Some(wwn) = self.wwn {
            device["wwn"] = json!(wwn);
        }
        device["share-rw"] = json!(true);
        device
    }
}

impl Bad {
    /// One for each sector. 61 is ENODATA, which QEMU's SCSI and NVMe disks report as a true error of the medium.
    fn rules(&self) -> impl Iterator<Item = Value> {
        let access = self.access;
        let rule = move |sector| json!({"event": "none", "iotype": access, "errno": 61, "sector": sector, "once": false});
        (self.first..=self.last).map(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_disk() {
        let disk = Disk::new("old", Kind::Ide, 64);
        let nodes = disk.nodes(Path::new("/d"));
        assert_eq!(nodes.len(), 2);
        assert_eq!(nodes[0]["filename"], "/d/old.disk");
        assert_eq!((&nodes[1]["driver"], &nodes[1]["file"]), (&json!("raw"), &json!("old-file")));
        let device = disk.device(3);
        assert_eq!((&device["drive"], &device["serial"]), (&json!("old-format"), &json!("old")));
        assert_eq!((&device["bus"], &device["unit"]), (&json!("ide.1"), &json!(1)));
        assert_eq!(device.get("logical_block_size"), None);
    }

    #[test]
    fn bad_sectors_lie_on_top_and_are_one_rule_each() {
        let disk = Disk::new("dying", Kind::Nvme, 64).bad(10, 11).worn(20, 20).serial("S");
        let nodes = disk.nodes(Path::new("/d"));
        let rules = nodes[2]["inject-error"].as_array().unwrap();
        let sectors: Vec<_> = rules.iter().map(|rule| rule["sector"].as_u64().unwrap()).collect();
        assert_eq!(sectors, [10, 11, 20]);
        assert_eq!((&rules[1]["iotype"], &rules[2]["iotype"]), (&json!("read"), &json!("write")));
        let device = disk.device(0);
        assert_eq!((&device["drive"], &device["serial"]), (&json!("dying-bad"), &json!("S")));
    }

    #[test]
    fn a_second_path_has_the_file_of_the_other() {
        let disk = Disk::new("path2", Kind::Scsi, 64).same_as("path1").wwn(5).four_k().read_only();
        assert_eq!(disk.file(Path::new("/d")), Path::new("/d/path1.disk"));
        assert_eq!(disk.nodes(Path::new("/d"))[0]["read-only"], true);
        let device = disk.device(1);
        assert_eq!((&device["wwn"], &device["logical_block_size"]), (&json!(5), &json!(4096)));
    }

    #[test]
    fn each_uas_disk_has_its_controller() {
        let disk = Disk::new("u", Kind::Uas, 64).volatile();
        assert_eq!(disk.own_controller().unwrap()["id"], "uas-bus-u");
        assert_eq!(disk.device(0)["bus"], "uas-bus-u.0");
        let nodes = disk.nodes(Path::new("/d"));
        assert_eq!((&nodes[1]["driver"], &nodes[0]["cache"]["no-flush"]), (&json!("qcow2"), &json!(false)));
    }
}
