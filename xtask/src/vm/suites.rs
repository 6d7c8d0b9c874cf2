//! The table of the laboratory: which disks each suite has, and which cases run on them.

use super::disk::{Disk, Kind};
use super::firmware::Firmware;

/// Cases that share disks. Stages follow each other on the same disks.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) disks: fn() -> Vec<Disk>,
    pub(crate) stages: &'static [Stage],
}

/// One boot.
#[derive(Clone, Copy)]
pub(crate) enum Stage {
    /// Of our kernel: `tests/vm/SCRIPT.sh` runs these cases in it, functions of the same names.
    Guest { script: &'static str, cases: &'static [&'static str] },
    /// The same, and the last case ends in a power cut.
    Cut { script: &'static str, cases: &'static [&'static str] },
    /// Of what is on this disk, by the firmware; the only case.
    Firmware { firmware: Firmware, disk: &'static str, cases: &'static [&'static str] },
}

impl Stage {
    /// Names of its cases.
    pub(crate) fn cases(&self) -> &'static [&'static str] {
        match self {
            Self::Guest { cases, .. } | Self::Cut { cases, .. } | Self::Firmware { cases, .. } => cases,
        }
    }
}

/// All suites. Buses are apart because `disks` looks at each disk there is.
pub(crate) const SUITES: &[Suite] = &[
    Suite { name: "ata", disks: ata, stages: &[Stage::Guest { script: "kinds", cases: &["ide", "sata"] }] },
    Suite {
        name: "usb-disks",
        disks: usb,
        stages: &[Stage::Guest { script: "kinds", cases: &["usb", "uas", "uas-4k"] }],
    },
    Suite {
        name: "pci",
        disks: pci,
        stages: &[Stage::Guest { script: "kinds", cases: &["nvme", "nvme-4k", "virtio"] }],
    },
    Suite {
        name: "scsi-disks",
        disks: scsi,
        stages: &[Stage::Guest { script: "kinds", cases: &["scsi", "scsi-4k", "sectors-512-onto-4k"] }],
    },
    Suite {
        name: "cassandra-disks",
        disks: cassandra,
        stages: &[Stage::Guest {
            script: "cassandra",
            cases: &["cassandra", "by-stock-tools", "one-file-by-the-kernel"],
        }],
    },
    Suite {
        name: "made",
        disks: made,
        stages: &[Stage::Guest {
            script: "made",
            cases: &[
                "backup-disk-in-one-command",
                "backup-disk-for-windows-too",
                "clone-onto-an-equal-disk",
                "clone-onto-other-sizes",
                "clone-with-ids-of-its-own",
            ],
        }],
    },
    Suite {
        name: "files",
        disks: files,
        stages: &[Stage::Guest {
            script: "files",
            cases: &[
                "fat16-by-the-kernel",
                "fat32-by-the-kernel",
                "exfat-by-the-kernel",
                "udf-by-the-kernel",
                "ntfs-by-ntfs-3g",
                "logical-volumes",
                "one-of-a-mirror",
            ],
        }],
    },
    Suite { name: "guards", disks: guards, stages: &[Stage::Guest { script: "guards", cases: GUARDS }] },
    Suite {
        name: "many",
        disks: many,
        stages: &[Stage::Guest { script: "many", cases: &["sda-is-not-sdaa", "sdaa-is-not-sda"] }],
    },
    Suite {
        name: "boot",
        disks: boot,
        stages: &[
            Stage::Guest {
                script: "boot",
                cases: &["bios-disk-onto-a-larger-one", "uefi-disk-onto-a-larger-one"],
            },
            Stage::Firmware { firmware: Firmware::Bios, disk: "bios-b", cases: &["bios-boots"] },
            Stage::Firmware { firmware: Firmware::Uefi, disk: "uefi-b", cases: &["uefi-boots"] },
        ],
    },
    Suite {
        name: "pull",
        disks: pull,
        stages: &[Stage::Guest {
            script: "pull",
            cases: &[
                "target-pulled-usb",
                "target-pulled-uas",
                "target-pulled-nvme",
                "target-pulled-scsi",
                "target-pulled-virtio",
                "backup-disk-pulled",
                "source-pulled",
            ],
        }],
    },
    Suite {
        name: "automount",
        disks: automount,
        stages: &[Stage::Guest {
            script: "automount",
            cases: &["save-and-restore-under-an-automounter", "names-of-udev-name-a-disk"],
        }],
    },
    Suite {
        name: "bad",
        disks: bad,
        stages: &[Stage::Guest {
            script: "bad",
            cases: &["bad-nvme", "bad-scsi", "bad-ide", "bad-usb", "target-fails-to-write"],
        }],
    },
    Suite {
        name: "power",
        disks: power,
        stages: &[
            Stage::Cut { script: "power", cases: &["cut-during-a-save"] },
            Stage::Cut { script: "power", cases: &["unfinished-after-the-cut", "cut-after-a-save"] },
            Stage::Guest { script: "power", cases: &["whole-after-the-cut"] },
        ],
    },
];

/// Refusals, and at the end the proof that the disk could be written all the time.
const GUARDS: &[&str] = &[
    "mounted-partition",
    "mounted-read-only",
    "mounted-whole-disk",
    "mounted-in-another-namespace",
    "umounted-lazily",
    "btrfs-of-two-disks",
    "btrfs-by-its-anonymous-number",
    "swapped-to",
    "lvm-active",
    "system-through-lvm",
    "md-member",
    "dm-crypt-open",
    "below-a-loop-device",
    "open-for-writing",
    "partition-open-for-writing",
    "locked-by-a-program",
    "disk-of-the-backup",
    "same-disk-by-a-second-path",
    "partition-where-a-disk-is-meant",
    "one-partition-onto-its-node",
    "read-only-by-the-kernel",
    "read-only-by-the-drive",
    "too-small",
    "larger-sectors",
    "no-terminal",
    "yes-without-an-id",
    "id-of-another-disk",
    "content-changed-since-it-was-shown",
    "not-confirmed",
    "mounted-in-the-last-moment",
    "replaced-after-the-question",
    "two-disks-with-one-serial",
    "blank-copied-over-a-full-one",
    "no-such-disk",
    "source-mounted-for-writing",
    "destination-on-the-source",
    "source-cannot-be-mounted-meanwhile",
    "nothing-else-was-in-the-way",
];

/// A disk to keep backups on.
fn shelf() -> Disk {
    Disk::new("shelf", Kind::Virtio, 512)
}

/// A disk to save and an equal one to restore to.
fn pair(ids: [&'static str; 2], kind: Kind) -> [Disk; 2] {
    ids.map(|id| Disk::new(id, kind, 64))
}

fn ata() -> Vec<Disk> {
    let (ide, sata) = (pair(["ide-a", "ide-b"], Kind::Ide), pair(["sata-a", "sata-b"], Kind::Sata));
    ide.into_iter().chain(sata).chain([shelf()]).collect()
}

fn usb() -> Vec<Disk> {
    let (usb, uas) = (pair(["usb-a", "usb-b"], Kind::Usb), pair(["uas-a", "uas-b"], Kind::Uas));
    let four_k = pair(["uas4k-a", "uas4k-b"], Kind::Uas).map(Disk::four_k);
    usb.into_iter().chain(uas).chain(four_k).chain([shelf()]).collect()
}

fn pci() -> Vec<Disk> {
    let (nvme, virtio) =
        (pair(["nvme-a", "nvme-b"], Kind::Nvme), pair(["virtio-a", "virtio-b"], Kind::Virtio));
    let four_k = pair(["nvme4k-a", "nvme4k-b"], Kind::Nvme).map(Disk::four_k);
    nvme.into_iter().chain(virtio).chain(four_k).chain([shelf()]).collect()
}

fn scsi() -> Vec<Disk> {
    let four_k = pair(["scsi4k-a", "scsi4k-b"], Kind::Scsi).map(Disk::four_k);
    pair(["scsi-a", "scsi-b"], Kind::Scsi).into_iter().chain(four_k).chain([shelf()]).collect()
}

fn cassandra() -> Vec<Disk> {
    let old = Disk::new("old", Kind::Ide, 256).image("cassandra");
    vec![old, Disk::new("new", Kind::Ide, 256), Disk::new("usb", Kind::Usb, 1024)]
}

fn made() -> Vec<Disk> {
    let nvme = pair(["nvme-a", "nvme-b"], Kind::Nvme);
    let others = [
        Disk::new("src", Kind::Scsi, 64),
        Disk::new("usb", Kind::Usb, 256),
        Disk::new("large", Kind::Scsi, 96),
        Disk::new("small", Kind::Scsi, 32),
    ];
    nvme.into_iter().chain(others).collect()
}

fn files() -> Vec<Disk> {
    vec![Disk::new("src", Kind::Virtio, 320), shelf()]
}

fn guards() -> Vec<Disk> {
    let scsi = |id| Disk::new(id, Kind::Scsi, 64);
    vec![
        scsi("src"),
        scsi("t"),
        scsi("u"),
        scsi("empty"),
        Disk::new("noisy", Kind::Scsi, 128),
        Disk::new("large1", Kind::Scsi, 128),
        Disk::new("large2", Kind::Scsi, 128),
        Disk::new("small", Kind::Scsi, 32),
        scsi("four").four_k(),
        Disk::new("locked", Kind::Virtio, 64).read_only(),
        scsi("path1").wwn(0x5000_0000_0000_0001),
        scsi("path2").same_as("path1").wwn(0x5000_0000_0000_0001),
        scsi("twin1").serial("twin"),
        scsi("twin2").serial("twin"),
        scsi("spare").absent(),
        shelf(),
    ]
}

/// One more than letters, and one: sda to sdaa, and sdab.
fn many() -> Vec<Disk> {
    const IDS: [&str; 28] = [
        "d00", "d01", "d02", "d03", "d04", "d05", "d06", "d07", "d08", "d09", "d10", "d11", "d12", "d13",
        "d14", "d15", "d16", "d17", "d18", "d19", "d20", "d21", "d22", "d23", "d24", "d25", "d26", "d27",
    ];
    IDS.into_iter().map(|id| Disk::new(id, Kind::Scsi, 8)).chain([shelf()]).collect()
}

fn boot() -> Vec<Disk> {
    vec![
        Disk::new("bios-a", Kind::Ide, 96).image("bios"),
        Disk::new("bios-b", Kind::Ide, 128),
        Disk::new("uefi-a", Kind::Sata, 160).image("uefi"),
        Disk::new("uefi-b", Kind::Sata, 200),
        shelf(),
    ]
}

fn pull() -> Vec<Disk> {
    let target = |id, kind| Disk::new(id, kind, 256);
    vec![
        Disk::new("src", Kind::Scsi, 256),
        target("usb", Kind::Usb),
        target("uas", Kind::Uas),
        target("nvme", Kind::Nvme),
        target("scsi", Kind::Scsi),
        target("virtio", Kind::Virtio),
        shelf(),
    ]
}

fn automount() -> Vec<Disk> {
    vec![Disk::new("src", Kind::Sata, 64), Disk::new("t", Kind::Usb, 64), shelf()]
}

/// Three sectors that cannot be read. SCSI, USB and NVMe call it an error of the medium; IDE says no more than
/// that it could not.
fn bad() -> Vec<Disk> {
    let disks = [("nvme", Kind::Nvme), ("scsi", Kind::Scsi), ("ide", Kind::Ide), ("usb", Kind::Usb)];
    let disks = disks.map(|(id, kind)| Disk::new(id, kind, 64).bad(49_000, 49_002));
    let worn = Disk::new("worn", Kind::Scsi, 64).worn(49_000, 49_002);
    disks.into_iter().chain([Disk::new("good", Kind::Scsi, 64), worn, shelf()]).collect()
}

fn power() -> Vec<Disk> {
    vec![Disk::new("src", Kind::Scsi, 192), Disk::new("shelf", Kind::Virtio, 768).volatile()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::ROOT;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_case_is_a_function_of_its_script() {
        for suite in SUITES {
            for stage in suite.stages {
                let (Stage::Guest { script, cases } | Stage::Cut { script, cases }) = stage else { continue };
                let path = Path::new(ROOT).join(format!("tests/vm/{script}.sh"));
                let text = std::fs::read_to_string(path).unwrap();
                for case in *cases {
                    assert!(text.contains(&format!("\n{case}() {{")), "{script}: {case}");
                }
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names = BTreeSet::new();
        for suite in SUITES {
            assert!(names.insert(suite.name), "{}", suite.name);
            let mut ids = BTreeSet::new();
            assert!((suite.disks)().iter().all(|disk| ids.insert(disk.id)), "disks of {}", suite.name);
            let mut cases = suite.stages.iter().flat_map(Stage::cases);
            assert!(cases.all(|case| names.insert(case)), "{}", suite.name);
        }
    }
}
