//! Who a disk is: the drive, this attachment of it, and a short ID that covers its content too.

use block::{Error, ErrorKind, ReadAt, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a disk that comes back must match, under whatever name. Docks lend one serial to many disks, so
/// this alone never picks a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// ata, usb, nvme, scsi, mmc, virtio, loop, dm or md; empty if none of them.
    pub transport: String,
    /// As the drive says it, blanks trimmed.
    pub model: String,
    /// Empty if it has none.
    pub serial: String,
    /// World-wide name: of the drive, not of its case. Empty if it has none.
    pub wwn: String,
    /// Bytes.
    pub size: u64,
    /// Bytes of a logical sector.
    pub sector: u32,
}

impl Identity {
    /// Does it tell this disk from another one of its kind? A loop device has the name of its file for a
    /// model.
    fn has_mark(&self) -> bool {
        !(self.serial.is_empty() && self.wwn.is_empty()) || self.transport == "loop"
    }

    /// The same drive, perhaps by another path (a second controller, another USB case). Never said of
    /// drives that nothing tells apart.
    fn is_same_drive(&self, other: &Self) -> bool {
        self.has_mark() && self == other || !self.wwn.is_empty() && self.wwn == other.wwn
    }
}

/// This attachment: what was shown must be what is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Instance {
    /// Major and minor number of the disk or partition.
    pub devno: (u32, u32),
    /// The kernel's running number of attached disks; a partition has that of its disk. 0: an old kernel.
    pub diskseq: u64,
}

/// A whole disk as it is attached now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Which disk.
    pub identity: Identity,
    /// Which attachment of it.
    pub instance: Instance,
}

impl Attached {
    /// What is written to one is on the other: it is the same attachment, or the same drive by another
    /// path.
    pub fn is_same_disk(&self, other: &Self) -> bool {
        self.instance == other.instance || self.identity.is_same_drive(&other.identity)
    }
}

/// Ten hex digits over a disk and what is on it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DiskId(pub [u8; 5]);

/// How many sectors at each end the ID covers: MBR, GPT header and a standard entry array (LBA 0-33).
const SECTORS: u64 = 34;

/// The ID: the first 5 bytes of BLAKE3 over this encoding, in which numbers are little-endian `u64`:
///
/// * the 16 bytes `selfsame disk 1\n`;
/// * transport, model, serial, wwn: each its length in bytes, then its UTF-8 bytes; size; sector;
/// * the first 34 and the last 34 logical sectors, of a smaller disk all sectors, in disk order: a byte 1
///   and the sector's bytes, or a single byte 0 for one that cannot be read.
///
/// Fails only where the device is gone or the handle does not permit reading.
pub fn disk_id(identity: &Identity, source: &dyn ReadAt) -> Result<DiskId> {
    let mut hash = blake3::Hasher::new();
    hash.update(b"selfsame disk 1\n");
    for text in [&identity.transport, &identity.model, &identity.serial, &identity.wwn] {
        hash.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    hash.update(&identity.size.to_le_bytes()).update(&u64::from(identity.sector).to_le_bytes());

    let sector = u64::from(identity.sector.max(512));
    let count = source.size() / sector;
    let behind = count.saturating_sub(SECTORS).max(SECTORS.min(count));
    let mut bytes = vec![0; usize::try_from(sector).unwrap_or(512)];
    for lba in (0..SECTORS.min(count)).chain(behind..count) {
        match source.read_at(lba * sector, &mut bytes) {
            Ok(()) => hash.update(&[1]).update(&bytes),
            Err(error) if error.kind() == ErrorKind::Media => hash.update(&[0]),
            Err(error) => return Err(error.context("reading the ends of the disk for its ID")),
        };
    }
    let [a, b, c, d, e, ..] = *hash.finalize().as_bytes();
    Ok(DiskId([a, b, c, d, e]))
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskId({self})")
    }
}

impl FromStr for DiskId {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let digits = word.len() == 10 && word.bytes().all(|b| b.is_ascii_hexdigit());
        let number = if digits { u64::from_str_radix(word, 16).ok() } else { None };
        match number.map(u64::to_be_bytes) {
            Some([_, _, _, a, b, c, d, e]) => Ok(Self([a, b, c, d, e])),
            None => {
                Err(Error::new(ErrorKind::Usage, format!("not the ID of a disk (ten hex digits): {word}")))
            }
        }
    }
}

impl TryFrom<String> for DiskId {
    type Error = Error;

    fn try_from(word: String) -> Result<Self> {
        word.parse()
    }
}

impl From<DiskId> for String {
    fn from(id: DiskId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::ByteRange;
    use testkit::{Memory, pattern};

    fn id_of(disk: &Memory, sector: u32) -> DiskId {
        let identity = Identity {
            model: "ab".into(),
            serial: "c".into(),
            size: disk.size(),
            sector,
            ..Identity::default()
        };
        disk_id(&identity, disk).unwrap()
    }

    /// With a mark and without one, of one attachment and of two.
    #[test]
    fn disks_without_a_mark_are_told_apart_by_their_attachment() {
        let plain = Identity { transport: "virtio".into(), size: 512, sector: 512, ..Identity::default() };
        let serial = Identity { serial: "S".into(), ..plain.clone() };
        let wwn = Identity { wwn: "naa.1".into(), ..plain.clone() };
        let file = Identity { transport: "loop".into(), model: "/tmp/a.img".into(), ..plain.clone() };
        let at = |identity: &Identity, minor| Attached {
            identity: identity.clone(),
            instance: Instance { devno: (254, minor), diskseq: 0 },
        };
        for (identity, has_mark) in [(&plain, false), (&serial, true), (&wwn, true), (&file, true)] {
            assert!(at(identity, 0).is_same_disk(&at(identity, 0)), "{identity:?}");
            assert_eq!(at(identity, 0).is_same_disk(&at(identity, 16)), has_mark, "{identity:?}");
        }
        // In another case the same drive has another model, and may lose its serial.
        let in_case = Identity { model: "Dock".into(), serial: "X".into(), ..wwn.clone() };
        assert!(at(&wwn, 0).is_same_disk(&at(&in_case, 16)));
        for other in [&plain, &wwn, &file] {
            assert!(!at(&serial, 0).is_same_disk(&at(other, 16)), "{other:?}");
        }
    }

    #[test]
    fn covers_both_ends_and_no_more() {
        for sector in [512, 4096_u32] {
            let bytes = pattern(200 * sector as usize);
            let id = id_of(&Memory::new(bytes.clone()), sector);
            for (lba, differs) in [(0, true), (33, true), (34, false), (165, false), (166, true), (199, true)]
            {
                let mut changed = bytes.clone();
                changed[lba * sector as usize] ^= 1;
                assert_eq!(id_of(&Memory::new(changed), sector) != id, differs, "{sector} {lba}");
            }
        }
        for size in [0, 512, 34 * 512, 40 * 512, 100] {
            id_of(&Memory::new(pattern(size)), 512);
        }
    }

    #[test]
    fn unreadable_is_not_zero_and_fields_do_not_run_together() {
        let disk = Memory::new(vec![0; 51200]);
        let bad = Memory::new(vec![0; 51200]).with(|d| d.bad = vec![ByteRange::span(0, 1)]);
        assert_ne!(id_of(&disk, 512), id_of(&bad, 512));
        let other = Identity {
            model: "a".into(),
            serial: "bc".into(),
            size: 51200,
            sector: 512,
            ..Identity::default()
        };
        assert_ne!(id_of(&disk, 512), disk_id(&other, &disk).unwrap());
    }

    #[test]
    fn is_written_and_parsed_as_ten_digits() {
        let id: DiskId = "00ff10a2b3".parse().unwrap();
        assert_eq!((id.0, id.to_string().as_str()), ([0, 0xff, 0x10, 0xa2, 0xb3], "00ff10a2b3"));
        for wrong in ["", "00ff10a2b", "00ff10a2b34", "+0ff10a2b3", "x0ff10a2b3"] {
            assert!(wrong.parse::<DiskId>().is_err(), "{wrong}");
        }
    }
}
