//! The boot report after restore and clone, of disks that sgdisk, mkfs.vfat and mtools made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testkit::tools;

struct Place(tempfile::TempDir);

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selfsame"));
        let output = command.current_dir(self.0.path()).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn answer(&self, words: &[&str]) -> String {
        String::from_utf8(self.run(words).stdout).unwrap()
    }

    fn json(&self, words: &[&str]) -> serde_json::Value {
        serde_json::from_slice(&self.run(&[words, &["--json"]].concat()).stdout).unwrap()
    }

    /// A GPT disk of 24 MiB with an ESP at 1 MiB, and the GUID of that.
    fn uefi(&self, loaders: &[&str]) {
        let image = self.path("disk.img");
        tools::run("rm -f $F && truncate -s 24M $F && sgdisk -n 1:2048:+8M -t 1:ef00 -n 2:0:0 $F", &image);
        tools::run("mkfs.vfat -F 12 --offset 2048 $F 8192", &image);
        for loader in loaders {
            let folder = Path::new(loader).parent().unwrap().display();
            let _there = tools::shell(&format!("mmd -D s -i $F@@1M ::EFI ::'{folder}' </dev/null"), &image);
            tools::run(&format!("echo program | mcopy -i $F@@1M - '::{loader}'"), &image);
        }
    }
}

fn place(test: &str) -> Option<Place> {
    let there = tools::has(test, &["sgdisk", "mkfs.vfat", "mmd", "mcopy"]);
    there.then(|| Place(tempfile::tempdir().unwrap()))
}

#[test]
fn a_clone_tells_what_uefi_finds() {
    let Some(place) = place("a_clone_tells_what_uefi_finds") else { return };
    place.uefi(&["EFI/debian/shimx64.efi", "EFI/debian/grubx64.efi"]);
    let said = place.answer(&["clone", "disk.img", "./copy.img"]);
    for words in [
        "BIOS: no boot code in sector 0",
        r"UEFI: the EFI system partition 1 holds \EFI\debian\shimx64.efi, \EFI\debian\grubx64.efi; firmware needs",
        r"efibootmgr --create --disk /dev/sdX --part 1 --label 'debian' --loader '\EFI\debian\shimx64.efi'",
    ] {
        assert!(said.contains(words), "{said}");
    }
    place.uefi(&["EFI/debian/shimx64.efi", "EFI/BOOT/BOOTX64.EFI"]);
    let said = place.answer(&["clone", "disk.img", "./copy2.img"]);
    assert!(!said.contains("efibootmgr") && said.contains(r"\EFI\BOOT\BOOTX64.EFI"), "{said}");
    let boot = &place.json(&["clone", "disk.img", "./copy3.img"])["boot"];
    assert_eq!(boot["esp"][0]["partition"], 1);
    assert_eq!(boot["esp"][0]["loaders"].as_array().unwrap().len(), 2);
    assert_eq!((&boot["bios_code"], &boot["entries"]), (&serde_json::Value::Null, &serde_json::json!([])));
}

/// As a backup made on a machine with UEFI has it.
#[test]
fn a_restore_tells_the_entry_that_was_recorded() {
    let Some(place) = place("a_restore_tells_the_entry_that_was_recorded") else { return };
    place.uefi(&["EFI/debian/shimx64.efi"]);
    let folder = place.answer(&["save", "disk.img", "backups", "--name", "t"]);
    let folder = place.path(folder.lines().next().unwrap());
    let manifest = folder.join("manifest.json");
    let sum = || tools::run("sha256sum $F", &manifest)[..64].to_owned();
    let before = sum();
    let entry = r#""number": 3, "active": true, "description": "Debian \u001b[2J", "partition": 1"#;
    let firmware = format!(
        r#""firmware": {{"order": [3], "entries": [{{{entry}, "path": "\\EFI\\debian\\shimx64.efi"}}]}}, "totals":"#
    );
    let edited = std::fs::read_to_string(&manifest).unwrap().replacen("\"totals\":", &firmware, 1);
    std::fs::write(&manifest, edited).unwrap();
    let sums = folder.join("SHA256SUMS");
    std::fs::write(&sums, std::fs::read_to_string(&sums).unwrap().replace(&before, &sum())).unwrap();

    let folder = folder.to_str().unwrap();
    let said = place.answer(&["restore", folder, "./copy.img"]);
    for words in [
        r#"firmware had the entry "Debian \u{1b}[2J": partition 1, \EFI\debian\shimx64.efi"#,
        r"--part 1 --label 'Debian \u{1b}[2J' --loader '\EFI\debian\shimx64.efi'",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let document = place.json(&["restore", folder, "./copy2.img"]);
    assert_eq!(document["boot"]["entries"][0]["number"], 3);
    assert_eq!(document["boot"]["commands"].as_array().unwrap().len(), 1);
    let part = place.json(&["restore", folder, "./part.img", "--part", "1"]);
    assert!(part.get("boot").is_none());
}

#[test]
fn an_old_disk_is_started_by_a_bios() {
    let place = Place(tempfile::tempdir().unwrap());
    std::fs::write(place.path("disk.img"), testkit::sample::disk()).unwrap();
    let said = place.answer(&["clone", "disk.img", "./copy.img"]);
    assert!(said.contains("BIOS: boot code in sector 0; active: partition 1\nUEFI: no EFI system"), "{said}");
}
