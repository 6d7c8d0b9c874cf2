//! What an EFI system partition can start (UEFI 2.10, 3.5.1 and 13.3): programs in its folders.

use crate::fat::{Entry, Fat};
use crate::guid::Guid;
use block::{ErrorKind, ReadAt, Result};

/// Its type in a GPT.
pub const ESP_TYPE: Guid = Guid::from_digits(0xC12A7328_F81F_11D2_BA4B_00A0C93EC93B);
/// Its type in an MBR.
pub const ESP_TYPE_MBR: u8 = 0xEF;
/// Where GRUB keeps its core on a GPT disk that a BIOS starts.
pub const BIOS_BOOT_TYPE: Guid = Guid::from_digits(0x21686148_6449_6E6F_744E_656564454649);

/// Programs that are listed at most, and folders that are looked into.
const MOST: usize = 64;

/// What is in an EFI system partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaders {
    /// Paths as firmware writes them: `\EFI\debian\shimx64.efi`. Text from the disk.
    pub paths: Vec<String>,
    /// Why not all of it could be looked at.
    pub unread: Option<String>,
}

impl Loaders {
    /// Is there one that firmware starts without an entry of its own: `\EFI\BOOT\BOOTX64.EFI`, or of another
    /// processor?
    pub fn has_default(&self) -> bool {
        let upper = |path: &String| path.to_uppercase();
        self.paths.iter().map(upper).any(|path| path.starts_with(r"\EFI\BOOT\BOOT") && path.ends_with(".EFI"))
    }

    /// Is Windows' loader among them?
    pub fn has_windows(&self) -> bool {
        self.paths.iter().any(|path| path.eq_ignore_ascii_case(r"\EFI\Microsoft\Boot\bootmgfw.efi"))
    }
}

/// The programs two or three folders deep in `\EFI` of a volume; `None` if it is no FAT. Bounded, whatever
/// the volume says. Fails only where the device does.
pub fn loaders(volume: &dyn ReadAt) -> Result<Option<Loaders>> {
    let mut found = Loaders::default();
    let fat = match Fat::open(volume) {
        Ok(Some(fat)) => fat,
        Ok(None) => return Ok(None),
        Err(error) => {
            found.unread = Some(lost(error)?);
            return Ok(Some(found));
        }
    };
    if let Err(error) = look(&fat, &mut found) {
        found.unread = Some(lost(error)?);
    }
    Ok(Some(found))
}

/// The words of an error that is about the bytes, not about the device.
fn lost(error: block::Error) -> Result<String> {
    match error.kind() {
        ErrorKind::Media | ErrorKind::Absent | ErrorKind::Corrupt | ErrorKind::Unsupported => {
            Ok(error.to_string())
        }
        _ => Err(error),
    }
}

fn look(fat: &Fat<'_>, found: &mut Loaders) -> Result<()> {
    let is_folder = |entry: &Entry, name: &str| entry.is_dir && entry.name.eq_ignore_ascii_case(name);
    let root = fat.root()?;
    let Some(efi) = root.iter().find(|entry| is_folder(entry, "EFI")) else { return Ok(()) };
    for vendor in fat.list(efi.cluster)?.iter().filter(|entry| entry.is_dir).take(MOST) {
        let path = format!(r"\EFI\{}", vendor.name);
        let inside = fat.list(vendor.cluster)?;
        add(&path, &inside, found);
        // Windows keeps its own one deeper.
        if let Some(boot) = inside.iter().find(|entry| is_folder(entry, "Boot")) {
            add(&format!(r"{path}\{}", boot.name), &fat.list(boot.cluster)?, found);
        }
    }
    Ok(())
}

fn add(path: &str, inside: &[Entry], found: &mut Loaders) {
    let is_program = |entry: &&Entry| !entry.is_dir && entry.name.to_lowercase().ends_with(".efi");
    let room = MOST.saturating_sub(found.paths.len());
    let paths = inside.iter().filter(is_program).map(|entry| format!(r"{path}\{}", entry.name));
    found.paths.extend(paths.take(room));
}
