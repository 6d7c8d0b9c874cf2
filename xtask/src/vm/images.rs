//! Bytes that disks begin with.

use super::cpio::Archive;
use super::guest::Cache;
use super::{files, kernel};
use crate::Result;
use crate::shell::{ROOT, Shell};
use std::path::{Path, PathBuf};

/// Modules of the system on the disks that boot.
const BOOT_MODULES: &[&str] = &["ata_piix", "ahci", "sd_mod", "crc32c_generic", "ext4"];

/// Programs of that system, all of them busybox.
const BOOT_PROGRAMS: &[&str] =
    &["sh", "mount", "insmod", "cat", "echo", "poweroff", "sleep", "sha256sum", "ls", "cut"];

/// An image file of this name, made when it is first asked for.
pub(crate) fn image(cache: &Cache, name: &str) -> Result<PathBuf> {
    let (path, part) = (cache.join(&format!("{name}.img")), cache.join(&format!("{name}.img.part")));
    if path.exists() {
        return Ok(path);
    }
    let mut shell = Shell::new();
    shell.set("PART", &part);
    let script = match name {
        "cassandra" => "tests/corpus/mk-cassandra \"$PART\" 256",
        "bios" | "uefi" => {
            shell.set("NAME", name);
            shell.set("KERNEL", cache.compressed_kernel()?);
            shell.set("INITRD", boot_initrd(cache)?);
            "tests/vm/mk-boot-disk \"$NAME\" \"$PART\" \"$KERNEL\" \"$INITRD\""
        }
        _ => return Err(format!("no image is called {name}").into()),
    };
    shell.run(&format!("{ROOT}/{script}"))?;
    std::fs::rename(part, &path)?;
    Ok(path)
}

/// The system of the disks that boot: it finds its own disk, checks the files there and says so.
fn boot_initrd(cache: &Cache) -> Result<PathBuf> {
    let path = cache.join("boot-initrd");
    let staged = cache.stage_modules()?.join(cache.kernel_version()?);
    let dependencies = std::fs::read_to_string(staged.join("modules.dep"))?;
    let mut archive = Archive::new(files::create(&path)?);
    for folder in ["bin", "dev", "mnt", "modules", "proc", "sys"] {
        archive.folder(folder)?;
    }
    archive.file("bin/busybox", &files::read(&cache.join("busybox/bin/busybox"))?)?;
    for program in BOOT_PROGRAMS {
        archive.link(&format!("bin/{program}"), "busybox")?;
    }
    for (place, module) in kernel::in_order(&dependencies, BOOT_MODULES).into_iter().enumerate() {
        archive.file(&format!("modules/{place:02}.ko"), &files::read(&staged.join(module))?)?;
    }
    archive.file("init", &files::read(&Path::new(ROOT).join("tests/vm/boot-init"))?)?;
    archive.finish()?;
    Ok(path)
}

/// A blank disk in a file of QEMU's own format.
pub(crate) fn qcow2(cache: &Cache, path: &Path, mib: u64) -> Result<()> {
    let mut create = cache.qemu("qemu-img");
    let made = create.args(["create", "-q", "-f", "qcow2"]).arg(path).arg(format!("{mib}M")).output()?;
    match made.status.success() {
        true => Ok(()),
        false => Err(format!("qemu-img: {}", String::from_utf8_lossy(&made.stderr)).into()),
    }
}

/// Bytes that do not compress, always the same: xorshift64*.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let words = std::iter::repeat_with(|| next().to_le_bytes()).take(len.div_ceil(8));
    let mut bytes: Vec<u8> = words.flatten().collect();
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_does_not_compress() {
        let bytes = noise(100_001);
        assert_eq!(bytes.len(), 100_001);
        assert_eq!(bytes, noise(100_001));
        assert!(zstd::bulk::compress(&bytes, 3).unwrap().len() >= bytes.len());
    }
}
