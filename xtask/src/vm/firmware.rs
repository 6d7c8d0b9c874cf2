//! Whether a disk boots: the firmware starts what is on it, and what was started says so on the serial line.

use super::files;
use super::guest::Cache;
use super::qemu::Qemu;
use crate::Result;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What the system on the disk prints when its own files are intact.
const MARKER: &str = "BOOTED-OK";
/// GRUB reads through the firmware, under emulation: that takes a while.
const LIMIT: Duration = Duration::from_secs(180);
const TICK: Duration = Duration::from_millis(100);

/// What starts a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Firmware {
    Bios,
    Uefi,
}

/// Boots a disk, whose file stays as it is. `None`: it boots; else why not. `serial` is the log.
pub(crate) fn boots(
    cache: &Cache,
    firmware: Firmware,
    disk: &Path,
    serial: &Path,
    interrupted: &dyn Fn() -> bool,
) -> Result<Option<String>> {
    let variables = serial.with_extension("variables");
    let ovmf = cache.join("qemu/usr/share/OVMF");
    if firmware == Firmware::Uefi {
        files::copy(&ovmf.join("OVMF_VARS_4M.fd"), &variables)?;
    }
    let line = arguments(firmware, &ovmf, &variables, disk, serial);
    let mut qemu = Qemu::start(cache, &line, &serial.with_extension("qemu"))?;
    let deadline = Instant::now() + LIMIT;
    loop {
        let is_over = qemu.is_over()?;
        let said = files::tail(serial, 20);
        if said.contains(MARKER) {
            return Ok(None);
        }
        if is_over || interrupted() || Instant::now() > deadline {
            return Ok(Some(format!("it does not say {MARKER}")));
        }
        sleep(TICK);
    }
}

fn arguments(firmware: Firmware, ovmf: &Path, variables: &Path, disk: &Path, serial: &Path) -> Vec<String> {
    let flash = |options: &str, file: &Path| format!("if=pflash,format=raw{options},file={}", file.display());
    let (machine, bus) = match firmware {
        Firmware::Bios => ("pc", "ide.0"),
        Firmware::Uefi => ("q35,smm=off", "ide.0"),
    };
    let words = "-nodefaults -no-user-config -display none -vga none -nic none -no-reboot -accel tcg -m 768";
    let mut line: Vec<String> = words.split(' ').map(str::to_owned).collect();
    let mut add = |option: &str, value: String| line.extend([option.to_owned(), value]);
    add("-machine", machine.to_owned());
    add("-serial", format!("file:{}", serial.display()));
    if firmware == Firmware::Uefi {
        add("-drive", flash(",readonly=on", &ovmf.join("OVMF_CODE_4M.fd")));
        add("-drive", flash("", variables));
    }
    // What a boot writes goes away: the disk is compared before and after.
    add("-drive", format!("if=none,id=disk,format=raw,snapshot=on,file={}", disk.display()));
    add("-device", format!("ide-hd,drive=disk,bus={bus},bootindex=1"));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(firmware: Firmware) -> String {
        let path = Path::new;
        arguments(firmware, path("/o"), path("/v"), path("/d"), path("/s")).join(" ")
    }

    #[test]
    fn lines_of_both_firmwares() {
        let (bios, uefi) = (line(Firmware::Bios), line(Firmware::Uefi));
        assert!(bios.contains("-machine pc ") && !bios.contains("pflash"), "{bios}");
        assert!(uefi.contains("readonly=on,file=/o/OVMF_CODE_4M.fd"), "{uefi}");
        for line in [bios, uefi] {
            assert!(line.contains("snapshot=on,file=/d") && line.contains("file:/s"), "{line}");
        }
    }
}
