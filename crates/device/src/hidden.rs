//! What a drive keeps apart from the bytes of its disk, as far as sysfs tells: a copy of the disk does
//! not have it.

use crate::Machine;
use crate::machine::{names, text};
use std::fs;

/// What follows the name of an SD card or eMMC in those of its other areas (`mmcblk0boot1`).
const AREAS: [(&str, &str); 2] = [("boot", "boot area"), ("gp", "general purpose area")];

/// JESD84-B51, EXT_CSD byte 168, `RPMB_SIZE_MULT`: in units of 128 KiB.
const RPMB_UNIT: u64 = 128 << 10;

impl Machine {
    /// One sentence for each thing that belongs to the drive of the disk `name`, but not to the disk.
    pub(crate) fn hidden(&self, name: &str, transport: &str) -> Vec<String> {
        match transport {
            "mmc" => self.areas(name).chain(self.rpmb(name)).collect(),
            "nvme" => self.namespaces(name).collect(),
            _ => Vec::new(),
        }
    }

    fn areas(&self, card: &str) -> impl Iterator<Item = String> {
        let described = move |name: &String| {
            let area = name.strip_prefix(card)?;
            let (_, words) = AREAS.iter().find(|(prefix, _)| area.starts_with(prefix))?;
            Some(format!("{words} {name}: {} bytes, a disk of its own", self.size(name)))
        };
        names(self.sys.join("block")).into_iter().filter_map(move |name| described(&name))
    }

    /// The replay protected memory block: read and written only by who has its key.
    fn rpmb(&self, card: &str) -> Option<String> {
        let raw_rpmb_size_mult = text(self.block(card).join("device/raw_rpmb_size_mult"))?;
        let units = u64::from_str_radix(raw_rpmb_size_mult.trim_start_matches("0x"), 16).ok()?;
        let bytes = units.checked_mul(RPMB_UNIT).filter(|bytes| *bytes > 0)?;
        Some(format!("RPMB area: {bytes} bytes behind a key, which no program can copy"))
    }

    /// The other namespaces of the same controller or subsystem.
    fn namespaces(&self, disk: &str) -> impl Iterator<Item = String> {
        let drive = |name: &str| fs::canonicalize(self.block(name).join("device")).ok();
        let own = drive(disk);
        let is_other = move |name: &String| {
            let has_node = text(self.block(name).join("hidden")).as_deref() != Some("1");
            name != disk && has_node && own.is_some() && drive(name) == own
        };
        let others = names(self.sys.join("block")).into_iter().filter(is_other);
        others.map(|name| format!("namespace {name}: {} bytes, a disk of its own", self.size(&name)))
    }
}
