//! Will it start? What a BIOS and what UEFI firmware find on a disk, in words.

use crate::survey::{Survey, survey};
use crate::write_disk::WritePlan;
use block::{Result, Role, Slice, Source};
use disk::esp::{self, Loaders};
use disk::{BootEntry, BootId, Layout, Partition, Table, TypeId};
use image::{FirmwareEntry, FirmwareInfo};
use std::sync::Arc;

/// What can start a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootReport {
    /// Code in sector 0, in words.
    pub code: Option<&'static str>,
    /// The disk has a GPT.
    pub gpt: bool,
    /// Partitions with the active flag of an MBR, or that a GPT calls bootable by a BIOS.
    pub active: Vec<u32>,
    /// The partition for GRUB's core on a GPT disk.
    pub bios_boot: Option<u32>,
    /// The EFI system partitions.
    pub esp: Vec<Esp>,
    /// What the firmware of the machine that the disk was in started from it.
    pub firmware: Vec<FirmwareEntry>,
    /// A Windows lies on it.
    pub windows: bool,
    /// What may keep it from starting.
    pub warnings: Vec<String>,
}

/// An EFI system partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Esp {
    /// Its number.
    pub partition: u32,
    /// What lies in it; `None`: no FAT.
    pub loaders: Option<Loaders>,
}

/// Where a disk came from, as far as booting depends on it.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// What the firmware started from it.
    pub firmware: Vec<FirmwareEntry>,
    /// How it was attached: `ata`; empty: unknown.
    pub transport: String,
    /// How the disk that it is on now is attached.
    pub now: String,
}

/// Transports that a system boots from. A disk in a USB case is likely to move on.
const INTERNAL: [&str; 5] = ["ata", "nvme", "scsi", "virtio", "mmc"];
/// Codes in sector 0 that start what the active partition holds.
const NEED_ACTIVE: [&str; 4] = ["Windows", "MS-DOS", "SYSLINUX", "FreeBSD"];

/// What was written can start this. Reads the source of the plan, which the target equals.
pub fn boot_report(plan: &WritePlan, origin: &Origin) -> Result<BootReport> {
    let source = &plan.work.source;
    report(source, &survey(source, Some(plan.work.sector), false)?, origin)
}

/// Does the table speak of an EFI system partition?
pub fn has_esp(survey: &Survey) -> bool {
    survey.layout.partitions.iter().any(|partition| match partition.type_id {
        TypeId::Gpt(guid) => guid == esp::ESP_TYPE,
        TypeId::Mbr(id) => id == esp::ESP_TYPE_MBR,
    })
}

fn report(source: &Source, survey: &Survey, origin: &Origin) -> Result<BootReport> {
    let layout = &survey.layout;
    let is = |partition: &Partition, gpt, mbr: Option<u8>| match partition.type_id {
        TypeId::Gpt(guid) => guid == gpt,
        TypeId::Mbr(id) => Some(id) == mbr,
    };
    let mut found = BootReport {
        code: survey.regions.first().and_then(|region| region.boot),
        gpt: matches!(layout.table, Table::Gpt(_)),
        active: layout.partitions.iter().filter(|p| p.bootable).map(|p| p.number).collect(),
        bios_boot: layout.partitions.iter().find(|p| is(p, esp::BIOS_BOOT_TYPE, None)).map(|p| p.number),
        firmware: origin.firmware.clone(),
        ..BootReport::default()
    };
    for partition in layout.partitions.iter().filter(|p| is(p, esp::ESP_TYPE, Some(esp::ESP_TYPE_MBR))) {
        // A table may say that it ends beyond the disk.
        let loaders = match Slice::new(Arc::clone(source), partition.range) {
            Ok(volume) => esp::loaders(&volume)?,
            Err(_) => None,
        };
        found.esp.push(Esp { partition: partition.number, loaders });
    }
    let by_bios = survey.regions.iter().filter(|region| matches!(region.region.role, Role::Partition(_)));
    let by_bios = by_bios.filter_map(|region| region.boot);
    let has_ntfs = survey.regions.iter().filter_map(|region| region.content.as_ref());
    let has_ntfs = has_ntfs.into_iter().any(|content| content.type_name == "ntfs");
    let starts_windows = found.esp.iter().filter_map(|esp| esp.loaders.as_ref()).any(Loaders::has_windows)
        || by_bios.into_iter().any(|code| code.contains("BOOTMGR") || code.contains("NTLDR"));
    found.windows = has_ntfs && starts_windows;
    found.warnings = warnings(&found, origin);
    Ok(found)
}

fn warnings(found: &BootReport, origin: &Origin) -> Vec<String> {
    let mut warnings = vec![];
    let Origin { transport, now, .. } = origin;
    let moved = transport != now && [transport, now].iter().all(|one| INTERNAL.contains(&one.as_str()));
    if found.windows && moved {
        warnings.push(format!(
            "Windows was on a disk by {transport} and is on one by {now} now: it may stop with \
             INACCESSIBLE_BOOT_DEVICE until it has started once in safe mode"
        ));
    }
    let needs_active = found.code.is_some_and(|code| NEED_ACTIVE.iter().any(|start| code.starts_with(start)));
    if needs_active && !found.gpt && found.active.is_empty() {
        warnings.push("the code in the MBR starts the active partition, but none is active".to_owned());
    }
    if found.code.is_some_and(|code| code.starts_with("GRUB")) && found.gpt && found.bios_boot.is_none() {
        warnings.push("GRUB is in the MBR, but there is no BIOS boot partition for its core".to_owned());
    }
    warnings
}

impl BootReport {
    /// One sentence for each way to start it; no full stops. Texts from the disk are not escaped.
    pub fn sentences(&self) -> Vec<String> {
        if self.code.is_none() && self.esp.is_empty() {
            return vec![
                "no boot code and no EFI system partition: nothing on it starts a system".to_owned(),
            ];
        }
        let mut said = vec![self.bios()];
        if self.esp.is_empty() {
            said.push("UEFI: no EFI system partition".to_owned());
        }
        said.extend(self.esp.iter().map(Esp::sentence));
        said
    }

    fn bios(&self) -> String {
        let Some(code) = self.code else {
            return "BIOS: no boot code in sector 0: a BIOS does not start it".to_owned();
        };
        let list = |numbers: &[u32]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let more = match (self.gpt, self.bios_boot) {
            (true, Some(number)) => format!("BIOS boot partition {number}"),
            (true, None) => "no BIOS boot partition".to_owned(),
            (false, _) if self.active.is_empty() => "no partition is active".to_owned(),
            (false, _) => format!("active: partition {}", list(&self.active)),
        };
        format!("BIOS: {code} in sector 0; {more}")
    }

    /// What sets the firmware's entries again on the disk `device`, as commands for a shell: those that were
    /// recorded; else, where firmware finds nothing by itself, one for what is there.
    pub fn commands(&self, device: &str) -> Vec<String> {
        let recorded = self.firmware.iter().filter_map(|entry| {
            Some(command(device, entry.partition, &entry.description, entry.path.as_deref()?))
        });
        let recorded: Vec<String> = recorded.collect();
        if !recorded.is_empty() {
            return recorded;
        }
        let known = || self.esp.iter().filter_map(|esp| Some((esp.partition, esp.loaders.as_ref()?)));
        if known().any(|(_, loaders)| loaders.has_default()) {
            return vec![];
        }
        let best = known().filter_map(|(number, loaders)| {
            let path = loaders.paths.iter().min_by_key(|path| rank(path))?;
            let label = path.split('\\').nth(2).unwrap_or("system");
            Some(command(device, number, label, path))
        });
        best.take(1).collect()
    }
}

/// The shim of Secure Boot before what it starts.
fn rank(path: &str) -> usize {
    let path = path.to_lowercase();
    let order = ["shimx64.efi", "grubx64.efi", "bootmgfw.efi"];
    order.iter().position(|name| path.ends_with(name)).unwrap_or(order.len())
}

fn command(device: &str, partition: u32, label: &str, loader: &str) -> String {
    let (label, loader) = (quoted(label), quoted(loader));
    format!("efibootmgr --create --disk {device} --part {partition} --label {label} --loader {loader}")
}

/// One word for a shell, whatever it holds.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl Esp {
    fn sentence(&self) -> String {
        let number = self.partition;
        let Some(loaders) = &self.loaders else {
            return format!("UEFI: partition {number} is an EFI system partition, but holds no FAT");
        };
        let mut said = match loaders.paths.as_slice() {
            [] => format!("UEFI: no program in the EFI system partition {number}"),
            paths => format!("UEFI: the EFI system partition {number} holds {}", paths.join(", ")),
        };
        if !loaders.paths.is_empty() && !loaders.has_default() {
            said.push_str("; firmware needs an entry to find it, since there is no \\EFI\\BOOT\\BOOT*.EFI");
        }
        if let Some(why) = &loaders.unread {
            said.push_str(&format!("; not all of it could be read ({why})"));
        }
        said
    }
}

/// What the firmware starts from the disk with this layout, of its variables (`BootOrder`, `Boot0000`, ..).
/// `None` if it has none of it.
pub fn firmware(variables: &[(String, Vec<u8>)], layout: &Layout) -> Option<FirmwareInfo> {
    let on_disk = |id: BootId, number: u32| {
        let partition = layout.partitions.iter().find(|partition| match (id, &layout.table) {
            (BootId::Gpt(guid), Table::Gpt(_)) => partition.guid == Some(guid),
            (BootId::Mbr(id), Table::Mbr(mbr)) => mbr.disk_id == id && partition.number == number,
            _ => false,
        });
        partition.map(|partition| partition.number)
    };
    let entry = |(name, value): &(String, Vec<u8>)| {
        let number = u16::from_str_radix(name.strip_prefix("Boot")?, 16).ok()?;
        let entry = BootEntry::parse(value)?;
        let place = entry.partition?;
        Some(FirmwareEntry {
            number,
            active: entry.active,
            description: entry.description,
            partition: on_disk(place.id, place.number)?,
            path: entry.path,
        })
    };
    let mut entries: Vec<FirmwareEntry> = variables.iter().filter_map(entry).collect();
    if entries.is_empty() {
        return None;
    }
    let order = variables.iter().find(|(name, _)| name == "BootOrder");
    let order = order.map(|(_, value)| value.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)));
    let order: Vec<u16> =
        order.into_iter().flatten().filter(|n| entries.iter().any(|e| e.number == *n)).collect();
    // What is tried first comes first; what is in no order is tried only when it is chosen.
    entries.sort_by_key(|entry| order.iter().position(|n| *n == entry.number).unwrap_or(order.len()));
    Some(FirmwareInfo { order, entries })
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Memory;

    fn looked_at(bytes: Vec<u8>, origin: &Origin) -> BootReport {
        let source: Source = Arc::new(Memory::new(bytes));
        report(&source, &survey(&source, None, false).unwrap(), origin).unwrap()
    }

    #[test]
    fn an_old_disk_is_started_by_its_mbr() {
        let found = looked_at(testkit::sample::disk(), &Origin::default());
        assert_eq!((found.active.as_slice(), found.gpt, found.esp.as_slice()), (&[1][..], false, &[][..]));
        let said = found.sentences();
        assert_eq!(
            said,
            ["BIOS: boot code in sector 0; active: partition 1", "UEFI: no EFI system partition"]
        );
        assert_eq!(found.commands("/dev/sdb"), [""; 0]);
        let blank = looked_at(vec![0; 1 << 20], &Origin::default());
        assert_eq!(blank.sentences().len(), 1);
    }

    fn report_with(change: impl FnOnce(&mut BootReport)) -> BootReport {
        let paths = vec![r"\EFI\debian\grubx64.efi".to_owned(), r"\EFI\debian\shimx64.efi".to_owned()];
        let loaders = Some(Loaders { paths, unread: None });
        let mut report =
            BootReport { gpt: true, esp: vec![Esp { partition: 1, loaders }], ..BootReport::default() };
        change(&mut report);
        report
    }

    #[test]
    fn firmware_entries_are_set_again_by_what_was_recorded() {
        let entry = FirmwareEntry {
            number: 3,
            active: true,
            description: "it's \u{1b}[2J".to_owned(),
            partition: 2,
            path: Some(r"\EFI\x\y.efi".to_owned()),
        };
        let recorded = report_with(|report| report.firmware = vec![entry]).commands("/dev/sdb");
        assert_eq!(
            recorded,
            [
                "efibootmgr --create --disk /dev/sdb --part 2 --label 'it'\\''s \u{1b}[2J' --loader '\\EFI\\x\\y.efi'"
            ]
        );
        let best = report_with(|_| ()).commands("/dev/sdb");
        assert_eq!(
            best,
            [
                r"efibootmgr --create --disk /dev/sdb --part 1 --label 'debian' --loader '\EFI\debian\shimx64.efi'"
            ]
        );
        let default = report_with(|report| {
            let loaders = report.esp[0].loaders.as_mut().unwrap();
            loaders.paths.push(r"\EFI\BOOT\bootx64.efi".to_owned());
        });
        assert_eq!(default.commands("/dev/sdb"), [""; 0]);
        assert!(!default.sentences()[1].contains("needs an entry"));
        assert!(report_with(|_| ()).sentences()[1].contains("needs an entry"));
    }

    #[test]
    fn what_may_keep_it_from_starting() {
        let origin = |from: &str, to: &str| Origin {
            transport: from.to_owned(),
            now: to.to_owned(),
            ..Origin::default()
        };
        let windows = BootReport { windows: true, ..BootReport::default() };
        let said = |from, to| warnings(&windows, &origin(from, to)).len();
        assert_eq!(
            [
                said("ata", "nvme"),
                said("ata", "ata"),
                said("", "nvme"),
                said("ata", "usb"),
                said("ata", "loop")
            ],
            [1, 0, 0, 0, 0]
        );
        assert_eq!(warnings(&BootReport::default(), &origin("ata", "nvme")), [""; 0]);
        let no_active = BootReport { code: Some("Windows boot code"), ..BootReport::default() };
        assert_eq!(warnings(&no_active, &Origin::default()).len(), 1);
        let no_core = BootReport { code: Some("GRUB 2"), gpt: true, ..BootReport::default() };
        assert_eq!(warnings(&no_core, &Origin::default()).len(), 1);
        let legacy = BootReport { code: Some("GRUB 2"), active: vec![], ..BootReport::default() };
        assert_eq!(warnings(&legacy, &Origin::default()), [""; 0]);
    }

    /// As efibootmgr writes it: HD(number, MBR or GPT, id), File(path).
    fn variable(number: u32, signature: [u8; 16], kind: u8) -> Vec<u8> {
        let utf16 =
            |text: &str| text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let path = utf16(r"\EFI\debian\shimx64.efi");
        let length = u16::try_from(path.len() + 4).unwrap().to_le_bytes();
        let drive = [&[4, 1, 42, 0], &number.to_le_bytes()[..], &[0; 16], &signature, &[kind, kind]].concat();
        let list = [drive, [&[4, 4], &length[..], &path].concat(), vec![0x7F, 0xFF, 4, 0]].concat();
        let length = u16::try_from(list.len()).unwrap().to_le_bytes();
        [&1u32.to_le_bytes()[..], &length, &utf16("debian"), &list].concat()
    }

    #[test]
    fn only_what_is_on_this_disk_is_recorded() {
        let layout = disk::layout::read(&Memory::new(testkit::sample::disk()), None).unwrap();
        let mut id = [0; 16];
        id[..4].copy_from_slice(&testkit::sample::DISK_ID.to_le_bytes());
        let variables = [
            ("Boot0001", variable(1, id, 1)),
            ("Boot000A", variable(5, id, 1)),
            ("Boot0002", variable(1, [1; 16], 1)),
            ("Boot0003", variable(9, id, 1)),
            ("Boot0004", variable(1, id, 2)),
            ("Boot0005", b"nothing".to_vec()),
            ("BootOrder", [9_u16, 10, 2, 1].iter().flat_map(|n| n.to_le_bytes()).collect()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        let found = firmware(&variables, &layout).unwrap();
        assert_eq!(found.order, [10, 1]);
        let entries: Vec<_> = found.entries.iter().map(|entry| (entry.number, entry.partition)).collect();
        assert_eq!(entries, [(10, 5), (1, 1)]);
        assert_eq!(found.entries[0].path.as_deref(), Some(r"\EFI\debian\shimx64.efi"));
        assert_eq!(firmware(&variables[2..], &layout), None);
    }
}
