//! Whether the processor's own virtualisation works here. Where machines are virtual themselves, the device may be
//! there and hang, so that only a kernel that speaks proves it.

use super::files;
use super::guest::Cache;
use super::qemu::Qemu;
use crate::Result;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A kernel under KVM speaks after a fraction of a second.
const LIMIT: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(50);

/// `kvm` if a kernel speaks under it in time, else `tcg`, which always works.
pub(crate) fn choose(cache: &Cache, kernel: &Path) -> Result<&'static str> {
    let device = rustix::fs::access("/dev/kvm", rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK);
    if device.is_err() {
        return Ok("tcg");
    }
    let folder = tempfile::tempdir()?;
    let serial = folder.path().join("serial");
    let mut qemu = Qemu::start(cache, &arguments(kernel, &serial), &folder.path().join("qemu.log"))?;
    let deadline = Instant::now() + LIMIT;
    loop {
        let is_over = qemu.is_over()?;
        if files::tail(&serial, 1000).contains("Linux version") {
            return Ok("kvm");
        }
        if is_over || Instant::now() > deadline {
            return Ok("tcg");
        }
        sleep(TICK);
    }
}

/// No disk, no initrd: the kernel panics as soon as it has looked around, which ends QEMU.
fn arguments(kernel: &Path, serial: &Path) -> Vec<String> {
    let words = "-nodefaults -no-user-config -display none -no-reboot -machine pc -accel kvm -m 256 -append";
    let mut line: Vec<String> = words.split(' ').map(str::to_owned).collect();
    line.push("console=ttyS0 panic=-1".to_owned());
    line.extend(["-serial".to_owned(), format!("file:{}", serial.display())]);
    line.extend(["-kernel".to_owned(), kernel.display().to_string()]);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_ends_by_itself() {
        let line = arguments(Path::new("/k"), Path::new("/s")).join(" ");
        assert!(line.contains("-no-reboot") && line.contains("-accel kvm"), "{line}");
        assert!(line.contains("panic=-1 -serial file:/s -kernel /k"), "{line}");
    }
}
