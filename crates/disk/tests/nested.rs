//! Volumes inside a partition, against what LVM and mdadm say of the same bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
#![allow(clippy::disallowed_methods)]

use block::{ByteRange, ErrorKind, Source};
use disk::nested::{Nested, look};
use std::path::Path;
use std::sync::Arc;
use testkit::{LoopDevice, Memory, pattern, tools};

const EXTENT: usize = 4 << 20;

fn memory(bytes: Vec<u8>) -> Source {
    Arc::new(Memory::new(bytes))
}

fn all(source: &Source) -> Vec<u8> {
    let mut bytes = vec![0; source.size() as usize];
    source.read_at(0, &mut bytes).unwrap();
    bytes
}

/// Two volumes, one of them in two pieces, made by LVM itself without the device mapper.
fn group(image: &Path) -> Option<()> {
    let device = LoopDevice::attach(image, 512)?;
    let make = r#"
        C="devices { use_devicesfile=0 filter=[\"a|$F|\",\"r|.*|\"] } activation { udev_sync=0 udev_rules=0 }"
        lv() { lvcreate -q -an -Zn -Wn --driverloaded n --config "$C" "$@"; }
        pvcreate -q -y --config "$C" "$F"; vgcreate -q --config "$C" group "$F"
        lv -l 4 -n root group; lv -l 3 -n home group
        lvextend -q -l +2 --driverloaded n --config "$C" group/root
        lv -i 1 -l 1 -n more group
        pvs --driverloaded n --noheadings --config "$C" -o pe_start --units b "$F"
        lvs --driverloaded n --noheadings --config "$C" -o lv_name,seg_pe_ranges group"#;
    let said = tools::run(make, device.path());
    assert!(said.contains("1048576B") && said.contains(":7-8"), "LVM puts things elsewhere now: {said}");
    Some(())
}

#[test]
fn logical_volumes_are_where_lvm_put_them() {
    if !tools::has("logical_volumes_are_where_lvm_put_them", &["pvcreate", "lvcreate"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("pv");
    std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    if group(&image).is_none() {
        return;
    }
    let mut disk = std::fs::read(&image).unwrap();
    let extents = |disk: &[u8], range: std::ops::Range<usize>| {
        disk[(1 << 20) + range.start * EXTENT..(1 << 20) + range.end * EXTENT].to_vec()
    };
    let noise = pattern(10 * EXTENT);
    disk[1 << 20..(1 << 20) + noise.len()].copy_from_slice(&noise);
    let Nested::Volumes(volumes) = look(&memory(disk.clone())).unwrap() else { panic!("no volumes") };
    let names: Vec<_> = volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["home", "more", "root"]);
    let of =
        |name: &str| all(volumes.iter().find(|volume| volume.name == name).unwrap().source.as_ref().unwrap());
    assert!(of("home") == extents(&disk, 4..7));
    assert!(of("root") == [extents(&disk, 0..4), extents(&disk, 7..9)].concat());
    assert!(of("more") == extents(&disk, 9..10));

    // Damage anywhere in the label and the text is an error or another answer, never a panic.
    let metadata: Vec<usize> = (0..16_384).filter(|at| disk[*at] != 0).collect();
    for (n, at) in metadata.iter().enumerate().step_by(7) {
        let mut damaged = disk[..12 << 20].to_vec();
        damaged[*at] = [0, 0xFF, b'{', b'"', damaged[*at] ^ 1][n % 5];
        let _answer = look(&memory(damaged));
    }
}

/// Kernel, md_p.h: version 1.2 with data from `data_offset` (sectors) on.
fn member(level: i32, raid_disks: u32, role: u16, features: u32, inside: &[u8]) -> Vec<u8> {
    let (data_offset, sectors) = (2048_u64, inside.len() as u64 / 512);
    let mut sb = vec![0; 4096];
    let mut put = |at: usize, bytes: &[u8]| sb[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &0xA92B_4EFC_u32.to_le_bytes());
    put(4, &1_u32.to_le_bytes());
    put(8, &features.to_le_bytes());
    put(16, &[7; 16]);
    put(32, b"host:array");
    put(72, &level.to_le_bytes());
    put(80, &sectors.to_le_bytes());
    put(92, &raid_disks.to_le_bytes());
    put(128, &data_offset.to_le_bytes());
    put(136, &sectors.to_le_bytes());
    put(144, &8_u64.to_le_bytes());
    put(220, &128_u32.to_le_bytes());
    sb[256..512].fill(0xFF);
    sb[256..258].copy_from_slice(&role.to_le_bytes());
    let words = sb[..512].as_chunks::<4>().0.iter().map(|word| u64::from(u32::from_le_bytes(*word)));
    let sum: u64 = words.sum();
    sb[216..220]
        .copy_from_slice(&((sum & 0xFFFF_FFFF) as u32).wrapping_add((sum >> 32) as u32).to_le_bytes());
    let mut disk = vec![0; 1 << 20];
    disk[4096..8192].copy_from_slice(&sb);
    disk.extend_from_slice(inside);
    disk.resize(disk.len() + (1 << 20), 0);
    disk
}

#[test]
fn a_mirror_is_looked_through() {
    let inside = pattern(1 << 20);
    let disk = member(1, 2, 1, 0, &inside);
    if tools::has("a_mirror_is_looked_through", &["mdadm"]) {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("member");
        std::fs::write(&image, &disk).unwrap();
        let said = tools::run("mdadm --examine \"$F\"", &image);
        for line in
            ["Raid Level : raid1", "Data Offset : 2048 sectors", "Device Role : Active device 1", "- correct"]
        {
            assert!(said.contains(line), "{line}: {said}");
        }
    }
    let Nested::Plain(array) = look(&memory(disk)).unwrap() else { panic!("volumes") };
    assert!(all(&array) == inside);
}

#[test]
fn what_one_disk_does_not_have_is_said() {
    let inside = vec![0; 1 << 20];
    for (level, disks, role, features, word) in [
        (5, 3, 0, 0, "level 5"),
        (0, 2, 0, 0, "level 0"),
        (1, 2, 0xFFFF, 0, "spare"),
        (1, 2, 0xFFFE, 0, "faulty"),
        (1, 2, 0, 2, "rebuilt"),
        (1, 2, 5, 0, "spare"),
    ] {
        let error = look(&memory(member(level, disks, role, features, &inside))).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(word), "{error}");
    }
    assert!(look(&memory(member(0, 1, 0, 0, &inside))).is_ok());
}

#[test]
fn a_superblock_whose_data_lies_outside_is_an_error() {
    let mut disk = member(1, 2, 0, 0, &vec![0; 1 << 20]);
    for at in [128, 136, 80] {
        let mut damaged = disk.clone();
        damaged[4096 + at..4096 + at + 8].fill(0xFF);
        let answer = look(&memory(damaged));
        assert!(answer.is_err() || at != 128, "{at}");
    }
    disk.truncate((1 << 20) + 512);
    assert!(look(&memory(disk)).is_err());
}

#[test]
fn places_that_cannot_be_read_are_errors_of_that_kind() {
    let disk = Memory::new(member(1, 2, 0, 0, &vec![0; 1 << 20]))
        .with(|disk| disk.bad = vec![ByteRange::span(1 << 20, (1 << 20) + 512)]);
    let Nested::Plain(array) = look(&(Arc::new(disk) as Source)).unwrap() else { panic!("volumes") };
    assert_eq!(array.read_at(0, &mut [0; 16]).unwrap_err().kind(), ErrorKind::Media);
}
