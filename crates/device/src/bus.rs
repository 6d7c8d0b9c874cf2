//! What keeps disks from being seen or from being fast: controllers without a driver, USB links below what
//! the disk could do.

use crate::Machine;
use crate::machine::{names, text};
use std::fs;

/// PCI base class 01h, mass storage, by subclass (PCI Code and ID Assignment Specification 1.11, section 1.2).
const SUBCLASSES: [(&str, &str); 8] = [
    ("00", "SCSI"),
    ("01", "IDE"),
    ("04", "RAID"),
    ("05", "ATA"),
    ("06", "SATA"),
    ("07", "SAS"),
    ("08", "NVMe"),
    ("09", "UFS"),
];

/// `PCI_VENDOR_ID_INTEL`, whose chipsets hide disks in RAID mode and behind VMD.
const INTEL: &str = "0x8086";

impl Machine {
    /// One sentence for each storage controller that no driver has: its disks are not among those of this
    /// machine.
    pub fn silent_controllers(&self) -> Vec<String> {
        let bus = self.sys.join("bus/pci/devices");
        let silent = |address: &String| {
            let dir = bus.join(address);
            let class = text(dir.join("class"))?;
            let subclass = class.strip_prefix("0x01")?.get(..2)?.to_owned();
            if dir.join("driver").exists() {
                return None;
            }
            let kind =
                SUBCLASSES.iter().find(|(code, _)| *code == subclass).map_or("other", |(_, kind)| kind);
            let [vendor, device] = ["vendor", "device"].map(|file| text(dir.join(file)).unwrap_or_default());
            let ids = [&vendor, &device].map(|id| id.trim_start_matches("0x").to_owned()).join(":");
            let help = if kind == "RAID" && vendor == INTEL {
                "set it from RAID or VMD to AHCI or NVMe in the firmware's setup, or load the module vmd or ahci"
            } else {
                "load its driver, or boot a newer system"
            };
            Some(format!(
                "the {kind} controller {address} ({ids}) has no driver, its disks are not seen: {help}"
            ))
        };
        names(&bus).iter().filter_map(silent).collect()
    }

    /// A sentence if the disk `name` hangs on a USB link below what it can do.
    pub(crate) fn slow_link(&self, name: &str) -> Option<String> {
        let dir = fs::canonicalize(self.block(name)).ok()?;
        let device = dir.ancestors().find(|dir| dir.join("idVendor").exists())?;
        let speed: f64 = text(device.join("speed"))?.parse().ok()?;
        let version: f64 = text(device.join("version"))?.parse().ok()?;
        // USB 3.2, section 9.6.1: what can do more says 2.10 or higher on a link of USB 2.
        let advice = match (speed, version) {
            (..480.0, 2.0..) => "and could have 480 or more: plug it in elsewhere, without a hub",
            (480.0, 2.1..) => "and perhaps could have 5000: try a port and a cable of USB 3",
            (480.0..5000.0, 3.0..) => "and could have 5000: try a port and a cable of USB 3",
            _ => return None,
        };
        Some(format!("its USB link has {speed} Mbit/s, {advice}"))
    }
}
