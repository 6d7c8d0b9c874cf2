//! The guest's kernel: the plain one out of its compressed file, and the modules that belong together.

use crate::Result;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

/// Where Documentation/arch/x86/boot.rst puts the fields of a bzImage: sectors of the setup code, and place
/// and length of the payload behind it.
const SETUP_SECTORS: usize = 0x1f1;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// The compressed kernel within a bzImage. Its last four bytes, which are its plain size, are left out.
pub(crate) fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let setup = (usize::from(*image.get(SETUP_SECTORS)?) + 1) * 512;
    let start = setup.checked_add(word(PAYLOAD_OFFSET)?)?;
    let end = start.checked_add(word(PAYLOAD_LENGTH)?)?.checked_sub(4)?;
    image.get(start..end)
}

/// The plain kernel of a bzImage: QEMU starts it as it is, which saves 3.5 seconds of `xz` under emulation.
pub(crate) fn unpack(image: &[u8]) -> Result<Vec<u8>> {
    let payload = payload(image).ok_or("the kernel is no bzImage")?.to_vec();
    let mut xz = Command::new("xz")
        .args(["-dc", "--single-stream"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("xz: {error}"))?;
    let mut input = xz.stdin.take().ok_or("xz has no input")?;
    // What xz does not take is what makes the answer wrong, which is looked at below.
    let feeder = std::thread::spawn(move || drop(input.write_all(&payload)));
    let output = xz.wait_with_output()?;
    drop(feeder.join());
    match output.stdout.starts_with(b"\x7fELF") {
        true => Ok(output.stdout),
        false => Err(format!("xz does not unpack the kernel ({})", output.status).into()),
    }
}

/// The files of these modules and of all that they need, of the text of `modules.dep`:
/// `kernel/fs/ext4/ext4.ko: kernel/fs/mbcache.ko ...`. A module that is not there is left out: it is built in,
/// or the kernel has none.
pub(crate) fn with_needed<'a>(dependencies: &'a str, wanted: &[&str]) -> BTreeSet<&'a str> {
    let wanted: Vec<String> = wanted.iter().map(|name| name.replace('-', "_")).collect();
    let lines = dependencies.lines().filter_map(|line| line.split_once(':'));
    let asked = lines.filter(|(file, _)| wanted.contains(&module_name(file)));
    asked.flat_map(|(file, needed)| std::iter::once(file).chain(needed.split_whitespace())).collect()
}

/// The same in an order in which they can be loaded: `modules.dep` has what a module needs last first.
pub(crate) fn in_order<'a>(dependencies: &'a str, wanted: &[&str]) -> Vec<&'a str> {
    let mut order = vec![];
    for name in wanted.iter().map(|name| name.replace('-', "_")) {
        let line = dependencies
            .lines()
            .find_map(|line| line.split_once(':').filter(|(file, _)| module_name(file) == name));
        if let Some((file, needed)) = line {
            order.extend(needed.split_whitespace().rev().chain([file]));
        }
    }
    let mut loaded = BTreeSet::new();
    order.retain(|file| loaded.insert(*file));
    order
}

/// `kernel/drivers/usb/storage/usb-storage.ko` is `usb_storage`.
fn module_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_lies_behind_the_setup_code() {
        let mut image = vec![0; 2048];
        image[SETUP_SECTORS] = 1;
        image[PAYLOAD_OFFSET] = 8;
        image[PAYLOAD_LENGTH] = 10;
        image[1032..1038].copy_from_slice(b"kernel");
        assert_eq!(payload(&image), Some(b"kernel".as_slice()));
        image[PAYLOAD_LENGTH + 1] = 255;
        assert_eq!(payload(&image), None, "it ends behind the image");
        assert_eq!(payload(b"MZ"), None);
        assert!(unpack(&image).is_err());
    }

    #[test]
    fn modules_come_with_what_they_need() {
        let text = "kernel/a/uas.ko: kernel/b/usb-storage.ko kernel/c/usbcore.ko\n\
                    kernel/b/usb-storage.ko: kernel/c/usbcore.ko\nkernel/c/usbcore.ko:\nkernel/d/ext4.ko.xz:\n";
        assert_eq!(
            Vec::from_iter(with_needed(text, &["uas", "no-such"])),
            ["kernel/a/uas.ko", "kernel/b/usb-storage.ko", "kernel/c/usbcore.ko"]
        );
        assert_eq!(
            in_order(text, &["uas", "no-such", "usb-storage"]),
            ["kernel/c/usbcore.ko", "kernel/b/usb-storage.ko", "kernel/a/uas.ko"]
        );
        assert_eq!(
            Vec::from_iter(with_needed(text, &["usb_storage", "ext4"])),
            ["kernel/b/usb-storage.ko", "kernel/c/usbcore.ko", "kernel/d/ext4.ko.xz"]
        );
    }
}
