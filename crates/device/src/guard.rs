//! Whether a disk may be overwritten. Pure: facts in, refusals out, all of them at once.

use crate::{Attached, DiskId, Instance, Mount, Usage};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the person said yes to, and what may never be hit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// The disk or partition that was shown.
    pub instance: Instance,
    /// ID of the whole disk that was shown.
    pub id: DiskId,
    /// Bytes that must fit.
    pub need: u64,
    /// Bytes of a sector of the disk that the backup was made of.
    pub sector: u32,
    /// The disk that is read, and those that the backup lies on.
    pub never: Vec<Attached>,
}

/// What is known of a disk or partition, read through its open handle when it is claimed.
#[derive(Clone, Debug)]
pub struct Facts {
    /// As the kernel calls it now: `sda`, `sda1`.
    pub name: String,
    /// Number and sequence of what was opened: the disk or the partition.
    pub instance: Instance,
    /// The whole disk.
    pub disk: Attached,
    /// Of the whole disk.
    pub id: DiskId,
    /// Bytes of what was opened: the disk or the partition.
    pub size: u64,
    /// The kernel or the drive refuses writes.
    pub read_only: bool,
    /// Who uses what was opened.
    pub usage: Usage,
}

/// Why a disk is not written to. `Display` is a sentence: why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Another attachment than the one that was shown.
    NotTheOneShown,
    /// Its identity, or what is on it, is not what was shown.
    ContentChanged {
        /// What was shown.
        shown: DiskId,
        /// What is there.
        now: DiskId,
    },
    /// Writes would fail.
    ReadOnly,
    /// The running system needs it.
    SystemDisk,
    /// It is what is read, or what the backup lies on.
    SourceOrBackup,
    /// It does not fit.
    TooSmall {
        /// Bytes.
        need: u64,
        /// Bytes.
        have: u64,
    },
    /// Partition tables and filesystems count in sectors.
    SectorSize {
        /// Bytes of a sector in the backup.
        need: u32,
        /// Bytes of a sector of the target.
        have: u32,
    },
    /// A filesystem of it is in use.
    Mounted(Mount),
    /// The kernel swaps to it.
    Swap(String),
    /// LVM, dm, md or a loop device uses it.
    Held(String),
    /// A program has it open for writing.
    OpenElsewhere(String),
    /// The kernel refused to hand it out alone, and nothing of the above says why.
    Busy,
}

/// All reasons not to write to what `facts` tell of; none: it may be written.
pub fn judge(want: &Wanted, facts: &Facts) -> Vec<Refusal> {
    let have = facts.disk.identity.sector;
    let plain = [
        (facts.instance != want.instance, Refusal::NotTheOneShown),
        (facts.id != want.id, Refusal::ContentChanged { shown: want.id, now: facts.id }),
        (facts.read_only, Refusal::ReadOnly),
        (facts.usage.system, Refusal::SystemDisk),
        (want.never.iter().any(|never| never.is_same_disk(&facts.disk)), Refusal::SourceOrBackup),
        (facts.size < want.need, Refusal::TooSmall { need: want.need, have: facts.size }),
        (have != want.sector, Refusal::SectorSize { need: want.sector, have }),
    ];
    let usage = &facts.usage;
    plain
        .into_iter()
        .filter_map(|(applies, why)| applies.then_some(why))
        .chain(usage.mounted.iter().cloned().map(Refusal::Mounted))
        .chain(usage.swap.iter().cloned().map(Refusal::Swap))
        .chain(usage.held_by.iter().cloned().map(Refusal::Held))
        .chain(usage.open_elsewhere.iter().cloned().map(Refusal::OpenElsewhere))
        .collect()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTheOneShown => f.write_str(
                "it is not the disk that was shown: another one took its name; look at `disks` again",
            ),
            Self::ContentChanged { shown, now } => write!(
                f,
                "its ID is {now}, not {shown}: it is another disk, or its content changed; look at `disks` again"
            ),
            Self::ReadOnly => f.write_str("it is read-only: open its write lock, or `blockdev --setrw`"),
            Self::SystemDisk => {
                f.write_str("the running system is on it: boot another system to write to this disk")
            }
            Self::SourceOrBackup => f.write_str(
                "it is the disk that is copied from, or that the backup lies on: choose another one",
            ),
            Self::TooSmall { need, have } => write!(
                f,
                "it is too small by {} bytes ({have} of {need}): take a larger one",
                need.saturating_sub(*have)
            ),
            Self::SectorSize { need, have } => write!(
                f,
                "its sectors have {have} bytes, those of the backup {need}: take a disk with sectors of {need} bytes"
            ),
            Self::Mounted(mount) => write!(f, "{mount}: unmount it first"),
            Self::Swap(name) => write!(f, "the system swaps to {name}: `swapoff {name}` first"),
            Self::Held(by) => write!(f, "it is in use by {by}: stop that first"),
            Self::OpenElsewhere(by) => write!(f, "{by} has it open for writing: end that program first"),
            Self::Busy => f.write_str("the kernel says that it is in use: unmount and stop all that uses it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    fn instance(diskseq: u64) -> Instance {
        Instance { devno: (8, 0), diskseq }
    }

    fn free() -> Facts {
        let wwn = "naa.1".to_owned();
        Facts {
            name: "sda".into(),
            instance: instance(1),
            disk: Attached {
                identity: Identity { wwn, size: 100, sector: 512, ..Identity::default() },
                instance: instance(1),
            },
            id: DiskId([1; 5]),
            size: 100,
            read_only: false,
            usage: Usage::default(),
        }
    }

    fn wanted() -> Wanted {
        Wanted { instance: instance(1), id: DiskId([1; 5]), need: 100, sector: 512, never: vec![] }
    }

    fn mount() -> Mount {
        Mount {
            devno: (8, 1),
            dir: "/mnt".into(),
            fs: "ext4".into(),
            source: "/dev/sda1".into(),
            options: "rw".into(),
            read_only: false,
            seen_by: None,
        }
    }

    type Change = fn(&mut Wanted, &mut Facts);

    fn table() -> Vec<(Change, Refusal)> {
        let (shown, now) = (DiskId([1; 5]), DiskId([2; 5]));
        vec![
            (|_, f| f.instance.diskseq = 2, Refusal::NotTheOneShown),
            (|_, f| f.id = DiskId([2; 5]), Refusal::ContentChanged { shown, now }),
            (|_, f| f.read_only = true, Refusal::ReadOnly),
            (|_, f| f.usage.system = true, Refusal::SystemDisk),
            // The same drive by another path: only the WWN agrees.
            (
                |w, _| {
                    let identity = Identity { wwn: "naa.1".into(), size: 7, ..Identity::default() };
                    w.never.push(Attached { identity, instance: instance(9) });
                },
                Refusal::SourceOrBackup,
            ),
            (|w, _| w.need = 101, Refusal::TooSmall { need: 101, have: 100 }),
            (|w, _| w.sector = 4096, Refusal::SectorSize { need: 4096, have: 512 }),
            (|_, f| f.usage.mounted.push(mount()), Refusal::Mounted(mount())),
            (|_, f| f.usage.swap.push("/dev/sda2".into()), Refusal::Swap("/dev/sda2".into())),
            (|_, f| f.usage.held_by.push("dm-0".into()), Refusal::Held("dm-0".into())),
            (|_, f| f.usage.open_elsewhere.push("dd (7)".into()), Refusal::OpenElsewhere("dd (7)".into())),
        ]
    }

    #[test]
    fn each_reason_alone() {
        assert_eq!(judge(&wanted(), &free()), []);
        for (change, why) in table() {
            let (mut want, mut facts) = (wanted(), free());
            change(&mut want, &mut facts);
            assert_eq!(judge(&want, &facts), [why]);
        }
    }

    #[test]
    fn all_reasons_at_once_and_each_says_what_to_do() {
        let (mut want, mut facts) = (wanted(), free());
        let (changes, reasons): (Vec<_>, Vec<_>) = table().into_iter().unzip();
        changes.iter().for_each(|change| change(&mut want, &mut facts));
        assert_eq!(judge(&want, &facts), reasons);
        assert!(reasons.iter().all(|why| why.to_string().contains([':', ';'])));
    }

    #[test]
    fn equal_drives_without_a_mark_are_not_taken_for_each_other() {
        let (mut want, mut facts) = (wanted(), free());
        facts.disk.identity.wwn.clear();
        want.never.push(Attached { instance: instance(2), ..facts.disk.clone() });
        assert_eq!(judge(&want, &facts), []);
        // A partition of the disk that the backup lies on.
        want.never.push(facts.disk.clone());
        facts.instance.devno = (8, 1);
        want.instance = facts.instance;
        assert_eq!(judge(&want, &facts), [Refusal::SourceOrBackup]);
    }
}
