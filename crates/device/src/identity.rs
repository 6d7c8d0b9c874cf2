//! Who a drive says it is: the places in sysfs where each kind of disk keeps its model, serial and WWN.

use crate::machine::{devno, names, number, text};
use crate::{Identity, Machine};
use std::fs;

/// Kernel name prefixes that tell the transport. `sd` does not: see [`Machine::transport`].
const PREFIXES: [(&str, &str); 7] = [
    ("nvme", "nvme"),
    ("mmcblk", "mmc"),
    ("vd", "virtio"),
    ("loop", "loop"),
    ("dm-", "dm"),
    ("md", "md"),
    ("hd", "ata"),
];

impl Machine {
    /// The identity of the whole disk `name`.
    pub(crate) fn identity(&self, name: &str) -> Identity {
        let dir = self.block(name);
        let transport = self.transport(name);
        let model = ["device/model", "device/name", "dm/name", "loop/backing_file", "md/level"];
        Identity {
            transport: transport.to_owned(),
            model: model.iter().find_map(|file| text(dir.join(file))).map(single_blanks).unwrap_or_default(),
            serial: self.serial(name, transport).map(single_blanks).unwrap_or_default(),
            wwn: self.wwn(name, transport).unwrap_or_default(),
            size: self.size(name),
            sector: number(dir.join("queue/logical_block_size")).unwrap_or(512),
        }
    }

    /// Bytes of a disk or partition. sysfs counts in units of 512 bytes, whatever the sector size.
    pub(crate) fn size(&self, name: &str) -> u64 {
        number::<u64>(self.block(name).join("size")).and_then(|units| units.checked_mul(512)).unwrap_or(0)
    }

    /// How the disk is attached. SCSI disks are told apart by what their device hangs on.
    fn transport(&self, name: &str) -> &'static str {
        if let Some((_, transport)) = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)) {
            return transport;
        }
        let ports = self.ports(name);
        let hangs_on = |port: &str| ports.iter().any(|dir| is_numbered(dir, port));
        match () {
            () if hangs_on("usb") => "usb",
            () if hangs_on("ata") => "ata",
            () if hangs_on("host") => "scsi",
            () => "",
        }
    }

    /// The directories on the way from the root of sysfs to the disk.
    fn ports(&self, name: &str) -> Vec<String> {
        let (Ok(root), Ok(dir)) = (fs::canonicalize(&self.sys), fs::canonicalize(self.block(name))) else {
            return Vec::new();
        };
        let way = dir.strip_prefix(root).unwrap_or(&dir);
        way.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
    }

    fn serial(&self, name: &str, transport: &str) -> Option<String> {
        let dir = self.block(name);
        let udev = |key: &str| self.udev(name, key);
        match transport {
            "virtio" => text(dir.join("serial")),
            "dm" => text(dir.join("dm/uuid")),
            "md" => text(dir.join("md/uuid")).or_else(|| udev("MD_UUID")),
            // All of the card's identification register: its serial number alone is 32 bits.
            "mmc" => text(dir.join("device/cid")),
            "loop" => None,
            _ => text(dir.join("device/serial"))
                .or_else(|| unit_serial(&fs::read(dir.join("device/vpd_pg80")).ok()?))
                .or_else(|| if transport == "usb" { self.usb_serial(name) } else { None })
                .or_else(|| udev("ID_SERIAL_SHORT")),
        }
    }

    /// The serial of the USB device that the disk hangs on: the nearest one up the path, not the hub or
    /// the controller, which have serials as well.
    fn usb_serial(&self, name: &str) -> Option<String> {
        let dir = fs::canonicalize(self.block(name)).ok()?;
        let device = dir.ancestors().find(|dir| dir.join("idVendor").exists())?;
        text(device.join("serial"))
    }

    fn wwn(&self, name: &str, transport: &str) -> Option<String> {
        let dir = self.block(name);
        let wwid = text(dir.join("wwid")).or_else(|| text(dir.join("device/wwid")))?;
        let (kind, value) = wwid.split_once('.')?;
        // What a USB case makes up (`t10.Vendor Generic 0123456789`) is the same for every drive in it,
        // and cheap drives leave the number zero: neither names a drive.
        let names_a_drive = !(kind == "t10" && transport == "usb")
            && value.bytes().any(|byte| byte != b'0' && byte != b'-' && byte != b' ');
        names_a_drive.then(|| single_blanks(wwid))
    }

    /// A property of the disk in udev's database.
    fn udev(&self, name: &str, key: &str) -> Option<String> {
        let (major, minor) = devno(&text(self.block(name).join("dev"))?)?;
        let entries = text(self.run_udev.join(format!("data/b{major}:{minor}")))?;
        let value =
            entries.lines().find_map(|line| line.strip_prefix("E:")?.strip_prefix(key)?.strip_prefix('='))?;
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// The links in `disk/by-id` that lead to the disk or partition `name`: names that stay.
    pub(crate) fn stable_names(&self, name: &str) -> Vec<String> {
        let dir = self.dev.join("disk/by-id");
        let leads_here = |link: &String| {
            let target = fs::read_link(dir.join(link)).ok();
            target.is_some_and(|target| target.file_name().is_some_and(|last| last == name))
        };
        names(&dir).into_iter().filter(leads_here).collect()
    }
}

/// SPC-4, Unit Serial Number VPD page: peripheral, page code 80h, length (big-endian), ASCII.
fn unit_serial(page: &[u8]) -> Option<String> {
    let [_, 0x80, high, low, serial @ ..] = page else {
        return None;
    };
    let page_length = usize::from(u16::from_be_bytes([*high, *low]));
    let serial = serial.get(..page_length).unwrap_or(serial);
    let serial = String::from_utf8_lossy(serial);
    let serial = serial.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!serial.is_empty()).then(|| serial.to_owned())
}

/// `usb3` is a numbered `usb`, `usbmisc` is not.
fn is_numbered(dir: &str, port: &str) -> bool {
    dir.strip_prefix(port)
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Drives pad with blanks, also between words.
fn single_blanks(text: String) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serial_page_is_hostile_too() {
        assert_eq!(unit_serial(b"\0\x80\0\x08  QM0001  ").as_deref(), Some("QM0001"));
        assert_eq!(unit_serial(b"\0\x80\xff\xffQM").as_deref(), Some("QM"));
        for page in [&b""[..], b"\0\x80\0", b"\0\x83\0\x02ab", b"\0\x80\0\0ab", b"\0\x80\0\x02  "] {
            assert_eq!(unit_serial(page), None, "{page:?}");
        }
    }
}
