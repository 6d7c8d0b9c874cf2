//! Loaders in EFI system partitions that mkfs.vfat and mtools made, and in damaged ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use disk::esp::{Loaders, loaders};
use std::path::Path;
use testkit::{Memory, tools};

/// A volume of this many KiB with these files, by mtools.
fn volume(kib: u32, bits: u32, files: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("esp");
    tools::run(&format!("truncate -s {kib}K $F && mkfs.vfat -F {bits} $F"), &image);
    for file in files {
        let folders: Vec<&Path> =
            Path::new(file).ancestors().skip(1).filter(|p| p.components().count() > 0).collect();
        for folder in folders.into_iter().rev() {
            let _there = tools::shell(&format!("mmd -D s -i $F '::{}' </dev/null", folder.display()), &image);
        }
        tools::run(&format!("echo program | mcopy -i $F - '::{file}'"), &image);
    }
    std::fs::read(image).unwrap()
}

fn found(bytes: Vec<u8>) -> Loaders {
    loaders(&Memory::new(bytes)).unwrap().unwrap()
}

const FILES: [&str; 6] = [
    "EFI/debian/shimx64.efi",
    "EFI/debian/grub.cfg",
    "EFI/BOOT/BOOTX64.EFI",
    "EFI/Microsoft/Boot/bootmgfw.efi",
    "EFI/a folder with a long name/a program with a longer name.EFI",
    "loader.efi",
];

const PATHS: [&str; 4] = [
    r"\EFI\debian\shimx64.efi",
    r"\EFI\BOOT\BOOTX64.EFI",
    r"\EFI\Microsoft\Boot\bootmgfw.efi",
    r"\EFI\a folder with a long name\a program with a longer name.EFI",
];

#[test]
fn loaders_as_mtools_writes_them() {
    if !tools::has("loaders_as_mtools_writes_them", &["mkfs.vfat", "mmd", "mcopy"]) {
        return;
    }
    for (kib, bits) in [(2048, 12), (16384, 16), (65536, 32)] {
        let found = found(volume(kib, bits, &FILES));
        assert_eq!(found, Loaders { paths: PATHS.map(str::to_owned).to_vec(), unread: None }, "FAT{bits}");
        assert!(found.has_default() && found.has_windows());
    }
    assert_eq!(found(volume(2048, 12, &[])), Loaders::default());
}

/// A folder of several clusters, and more programs than are listed.
#[test]
fn many_programs_are_listed_in_part() {
    if !tools::has("many_programs_are_listed_in_part", &["mkfs.vfat", "mmd", "mcopy"]) {
        return;
    }
    let files: Vec<String> = (0..90).map(|n| format!("EFI/x/a-long-name-of-program-{n}.efi")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let found = found(volume(4096, 12, &files));
    assert_eq!(found.paths.len(), 64);
    assert_eq!(found.paths[63], r"\EFI\x\a-long-name-of-program-63.efi");
    assert!(!found.has_default() && !found.has_windows());
}

#[test]
fn other_bytes_are_no_esp() {
    for bytes in [vec![], vec![0; 100], vec![0; 4096], vec![0xFF; 4096]] {
        assert_eq!(loaders(&Memory::new(bytes)).unwrap(), None);
    }
}

/// Every byte of the structures changed, one after the other, and the volume cut short anywhere: an answer.
#[test]
fn damaged_ones_give_an_answer() {
    if !tools::has("damaged_ones_give_an_answer", &["mkfs.vfat", "mmd", "mcopy"]) {
        return;
    }
    for (kib, bits) in [(2048, 12), (65536, 32)] {
        let whole = volume(kib, bits, &FILES);
        let structures: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
        for at in structures.iter().take(3000) {
            for change in [0xFF, 0x01, 0x80] {
                let mut damaged = whole[..whole.len().min(4 << 20)].to_vec();
                damaged[*at] ^= change;
                let _answer = loaders(&Memory::new(damaged)).unwrap();
                if bits == 32 && *at > 512 {
                    break;
                }
            }
        }
        for len in (0..64 << 10).step_by(512) {
            let _answer = loaders(&Memory::new(whole[..len].to_vec())).unwrap();
        }
    }
}

/// A folder whose chain comes back to itself.
#[test]
fn a_folder_without_end_ends() {
    if !tools::has("a_folder_without_end_ends", &["mkfs.vfat", "mmd", "mcopy"]) {
        return;
    }
    let mut bytes = volume(16384, 16, &FILES);
    // Every entry of both tables leads to cluster 2, the folder EFI: and none of its entries ends it.
    let reserved = usize::from(u16::from_le_bytes([bytes[14], bytes[15]])) * 512;
    let sectors = usize::from(u16::from_le_bytes([bytes[22], bytes[23]]));
    let table = &mut bytes[reserved..reserved + sectors * 512];
    table[4..].as_chunks_mut::<2>().0.iter_mut().for_each(|entry| *entry = [2, 0]);
    let root = reserved + 2 * sectors * 512;
    let entries = usize::from(u16::from_le_bytes([bytes[17], bytes[18]]));
    let data = root + entries * 32;
    let cluster = usize::from(bytes[13]) * 512;
    let folder = &mut bytes[data..data + cluster];
    folder.as_chunks_mut::<32>().0.iter_mut().filter(|entry| entry[0] == 0).for_each(|entry| entry[0] = 0xE5);
    let found = found(bytes);
    assert!(found.paths.len() <= 64, "{}", found.paths.len());
}

/// What cannot be read is said.
#[test]
fn an_unreadable_folder_is_said() {
    if !tools::has("an_unreadable_folder_is_said", &["mkfs.vfat", "mmd", "mcopy"]) {
        return;
    }
    let bytes = volume(2048, 12, &FILES);
    let size = bytes.len() as u64;
    let bad = |start, end| {
        let disk =
            Memory::new(bytes.clone()).with(|disk| disk.bad = vec![block::ByteRange::span(start, end)]);
        loaders(&disk).unwrap().unwrap()
    };
    assert!(bad(0, 1).unread.is_some());
    let lost = bad(4096, size);
    assert!(lost.unread.is_some() && lost.paths.len() < 4, "{lost:?}");
}
