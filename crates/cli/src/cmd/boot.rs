//! Whether a written disk will start, in the lines and documents of `restore` and `clone`.

use crate::ui::say;
use crate::ui::text::quoted;
use block::Result;
use engine::BootReport;
use serde::Serialize;

/// `boot` in a document; docs/JSON.md.
#[derive(Serialize)]
pub(super) struct BootOut<'a> {
    bios_code: Option<&'a str>,
    active: &'a [u32],
    bios_boot_partition: Option<u32>,
    esp: Vec<EspOut<'a>>,
    entries: Vec<EntryOut<'a>>,
    commands: Vec<String>,
    warnings: &'a [String],
}

#[derive(Serialize)]
struct EspOut<'a> {
    partition: u32,
    loaders: &'a [String],
    unread: Option<&'a str>,
}

#[derive(Serialize)]
struct EntryOut<'a> {
    number: u16,
    active: bool,
    description: &'a str,
    partition: u32,
    path: Option<&'a str>,
}

/// What a look at the boot code found, for the disk that a command calls `device`. That it could not be
/// looked at is no failure of what was written.
pub(super) struct Boot {
    report: BootReport,
    device: String,
}

impl Boot {
    pub(super) fn of(report: Result<BootReport>, device: Option<&str>) -> Option<Self> {
        match report {
            Ok(report) => Some(Self { report, device: device.unwrap_or("/dev/sdX").to_owned() }),
            Err(error) => {
                say(&format!("note: what starts it could not be looked at: {error}"));
                None
            }
        }
    }

    pub(super) fn out(&self) -> BootOut<'_> {
        let BootReport { code, active, bios_boot, esp, firmware, warnings, .. } = &self.report;
        BootOut {
            bios_code: *code,
            active,
            bios_boot_partition: *bios_boot,
            esp: esp
                .iter()
                .map(|esp| EspOut {
                    partition: esp.partition,
                    loaders: esp.loaders.as_ref().map_or(&[], |loaders| &loaders.paths),
                    unread: esp.loaders.as_ref().and_then(|loaders| loaders.unread.as_deref()),
                })
                .collect(),
            entries: firmware
                .iter()
                .map(|entry| EntryOut {
                    number: entry.number,
                    active: entry.active,
                    description: &entry.description,
                    partition: entry.partition,
                    path: entry.path.as_deref(),
                })
                .collect(),
            commands: self.report.commands(&self.device),
            warnings,
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = self.report.sentences();
        lines.extend(self.report.firmware.iter().map(|entry| {
            let path = entry.path.as_deref().unwrap_or("no program");
            format!(
                "UEFI: firmware had the entry {}: partition {}, {path}",
                quoted(&entry.description),
                entry.partition
            )
        }));
        lines.extend(self.report.commands(&self.device).iter().map(|line| format!("  to set it: {line}")));
        lines.extend(self.report.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines
    }
}
