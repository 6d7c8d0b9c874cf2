//! What a drive keeps apart from the bytes of its disk, as far as sysfs and the drive tell: a copy of the
//! disk does not have it.

use crate::handle::{Handle, open};
use crate::machine::{names, text};
use crate::sys::sg;
use crate::{Disk, Machine, ata};
use block::{ReadAt, Result};
use serde::{Deserialize, Serialize};
use std::fs;

/// What a drive hides. Whole sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden {
    /// One for each thing that it hides.
    pub known: Vec<String>,
    /// One for each thing that it may hide: what, and why it could not be asked.
    pub unknown: Vec<String>,
}

fn ask_drive(disk: &Disk) -> Result<Hidden> {
    let opening =
        |error: rustix::io::Errno| block::Error::io(error.into(), format!("opening {}", disk.path.display()));
    let handle = Handle::new(open(&disk.path, false).map_err(opening)?, &disk.path)?;
    handle.must_be(disk.instance)?;
    Ok(ata::hidden(&|command, data| sg::read(handle.fd(), command, data), handle.size()))
}

/// What follows the name of an SD card or eMMC in those of its other areas (`mmcblk0boot1`).
const AREAS: [(&str, &str); 2] = [("boot", "boot area"), ("gp", "general purpose area")];

/// JESD84-B51, EXT_CSD byte 168, `RPMB_SIZE_MULT`: in units of 128 KiB.
const RPMB_UNIT: u64 = 128 << 10;

/// Nothing could be asked.
pub(crate) fn not_known(why: &str) -> String {
    format!("HPA and DCO: not known, {why}")
}

impl Machine {
    /// What the drive of a disk hides. Sends read-only commands to it if it may be an ATA drive.
    pub(crate) fn ask_hidden(&self, disk: &Disk) -> Hidden {
        let known = disk.hidden.clone();
        if !self.may_be_ata(disk) {
            return Hidden { known, unknown: Vec::new() };
        }
        match ask_drive(disk) {
            Ok(asked) => Hidden { known: [known, asked.known].concat(), unknown: asked.unknown },
            Err(error) => Hidden { known, unknown: vec![not_known(&error.to_string())] },
        }
    }

    /// Is it an ATA drive, or may there be one in the USB case? A USB stick has none, and most of them say
    /// that their medium comes out.
    fn may_be_ata(&self, disk: &Disk) -> bool {
        let vendor = || text(self.block(&disk.name).join("device/vendor"));
        match disk.identity.transport.as_str() {
            "ata" => true,
            "usb" => !disk.removable,
            // SAT-4, INQUIRY: the vendor of an ATA drive behind a SAS controller.
            "scsi" => vendor().as_deref() == Some("ATA"),
            _ => false,
        }
    }

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
