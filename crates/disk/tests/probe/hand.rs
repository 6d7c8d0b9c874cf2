//! Kinds that no tool of Debian makes without a kernel driver, byte for byte from their published layouts.

use super::mutated::is_damaged;
use super::{blkid, has, recognise, tags};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Zeroes with structures in them.
pub(crate) struct Disk {
    size: u64,
    places: Vec<(u64, Vec<u8>)>,
}

impl Disk {
    fn mib(size: u64) -> Self {
        Self { size: size << 20, places: vec![] }
    }

    fn put(mut self, at: u64, bytes: impl AsRef<[u8]>) -> Self {
        self.places.push((at, bytes.as_ref().to_vec()));
        self
    }

    pub(crate) fn write(&self, path: &Path) {
        let file = std::fs::File::create(path).unwrap();
        file.set_len(self.size).unwrap();
        for (at, bytes) in &self.places {
            file.write_all_at(bytes, *at).unwrap();
        }
    }
}

/// A structure of `len` bytes with these fields; the rest is zero.
fn structure(len: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (at, field) in fields {
        bytes[*at..at + field.len()].copy_from_slice(field);
    }
    bytes
}

/// Bit by bit, as a check of the code under test: CRC-32 and CRC-32C, reflected.
fn crc(polynomial: u32, seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { polynomial } else { 0 })
    })
}

const CRC32: u32 = 0xEDB8_8320;
const CRC32C: u32 = 0x82F6_3B78;
const UUID: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef";
const UUID_TEXT: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// md_p.h: version 0.90, 64 KiB aligned and 64 KiB before the end. All are 32-bit words of the host.
fn md_0_90(word: fn(u32) -> [u8; 4]) -> Disk {
    let set_uuid = [0x0123_4567, 0x89AB_CDEF, 0x0123_4567, 0x89AB_CDEF].map(word);
    let fields = [
        (0, 0xA92B_4EFC),
        (2, 90),           // minor_version; the major one is 0
        (6, 0x6550_0000),  // ctime
        (7, 1),            // level
        (8, 32 << 10),     // size in KiB
        (9, 2),            // nr_disks
        (10, 2),           // raid_disks
        (32, 0x6550_0000), // utime
        (33, 1),           // state: clean
        (34, 2),           // active_disks
        (35, 2),           // working_disks
        (39, 1),           // events
        (992, 1),          // this_disk: number
        (993, 7),          // major
        (995, 1),          // raid_disk
        (996, 6),          // state: active, sync
    ];
    let mut sb = vec![0u32; 1024];
    for (index, value) in fields {
        sb[index] = value;
    }
    let mut bytes: Vec<u8> = sb.iter().flat_map(|value| word(*value)).collect();
    for (index, at) in [5usize, 13, 14, 15].into_iter().enumerate() {
        bytes[at * 4..at * 4 + 4].copy_from_slice(&set_uuid[index]);
    }
    // The sum of all words, folded to 32 bits (drivers/md/md.c, calc_sb_csum).
    let words = sb.iter().map(|value| u64::from(*value)).sum::<u64>();
    let words = words + [0x0123_4567u64, 0x89AB_CDEF, 0x0123_4567, 0x89AB_CDEF].iter().sum::<u64>();
    let sum = word((words & 0xFFFF_FFFF) as u32 + (words >> 32) as u32);
    bytes[38 * 4..39 * 4].copy_from_slice(&sum);
    Disk::mib(40).put((40 << 20) - (64 << 10), bytes)
}

/// md_p.h: version 1, at `offset`, of device `role` of a RAID5 of three.
fn md_1(offset: u64, role: u16) -> Disk {
    let mut sb = structure(
        512,
        &[
            (0, &0xA92B_4EFCu32.to_le_bytes()),
            (4, &1u32.to_le_bytes()),
            (16, &UUID),
            (32, b"host:array"),
            (72, &5u32.to_le_bytes()),            // level
            (76, &2u32.to_le_bytes()),            // layout
            (80, &(32u64 << 11).to_le_bytes()),   // size
            (88, &128u32.to_le_bytes()),          // chunksize
            (92, &3u32.to_le_bytes()),            // raid_disks
            (128, &2048u64.to_le_bytes()),        // data_offset
            (136, &(36u64 << 11).to_le_bytes()),  // data_size
            (144, &(offset / 512).to_le_bytes()), // super_offset
            (160, &1u32.to_le_bytes()),           // dev_number
            (168, &UUID),                         // device_uuid
            (200, &7u64.to_le_bytes()),           // events
            (208, &u64::MAX.to_le_bytes()),       // resync_offset
            (220, &4u32.to_le_bytes()),           // max_dev
            (256, &[0, 0]),
            (258, &role.to_le_bytes()),
            (260, &[2, 0, 0xFE, 0xFF]),
        ],
    );
    // calc_sb_1_csum: the words up to the end of the roles, with this field zero.
    let end = 256 + 2 * 4;
    let words: u64 = sb[..end].as_chunks::<4>().0.iter().map(|w| u64::from(u32::from_le_bytes(*w))).sum();
    let sum = (words & 0xFFFF_FFFF) as u32 + (words >> 32) as u32;
    sb[216..220].copy_from_slice(&sum.to_le_bytes());
    Disk::mib(40).put(offset, sb)
}

/// SNIA DDF 2.0, section 5.3: the anchor in the last sector, and the primary header that it names.
fn ddf() -> Disk {
    let primary = ((40u64 << 20) - (1 << 20)) / 512;
    let header = |kind: u8| {
        let mut header = vec![0xFF; 512];
        header[..8].copy_from_slice(b"\xDE\x11\xDE\x11\0\0\0\0");
        header[8..32].copy_from_slice(b"Linux-MDabcdefghijklmnop");
        header[32..40].copy_from_slice(b"01.02.00");
        header[96..104].copy_from_slice(&primary.to_be_bytes());
        header[104..112].fill(0xFF);
        header[112] = kind;
        header[4..8].fill(0xFF);
        let sum = !crc(CRC32, !0, &header);
        header[4..8].copy_from_slice(&sum.to_be_bytes());
        header
    };
    Disk::mib(40).put(primary * 512, header(1)).put((40 << 20) - 512, header(0))
}

/// mdadm, super-intel.c: the anchor in the last sector but one.
fn isw() -> Disk {
    let mut mpb = structure(
        512,
        &[
            (0, b"Intel Raid ISM Cfg Sig. 1.3.00\0\0"),
            (36, &512u32.to_le_bytes()), // mpb_size
            (40, &0x1234_5678u32.to_le_bytes()),
            (44, &3u32.to_le_bytes()),
            (56, &[1, 0]), // num_disks, num_raid_devs
        ],
    );
    let sum: u32 =
        mpb.as_chunks::<4>().0.iter().fold(0, |sum, word| u32::wrapping_add(sum, u32::from_le_bytes(*word)));
    mpb[32..36].copy_from_slice(&sum.to_le_bytes());
    Disk::mib(40).put((40 << 20) - 1024, mpb)
}

/// One XDR pair of an nvlist: its size, its decoded size, its name, its type, how many, its value.
fn pair(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    bytes.extend((name.len() as u32).to_be_bytes());
    bytes.extend(name.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(1u32.to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let size = bytes.len() as u32 + 8;
    [size.to_be_bytes().to_vec(), (size + 32).to_be_bytes().to_vec(), bytes].concat()
}

/// "ZFS On-Disk Specification", chapter 1: four labels, each with pairs and a ring of uberblocks. A
/// mirror's pairs hold a nested list with another `guid` and no end of what is nested in it.
fn zfs(word: fn(u64) -> [u8; 8]) -> Disk {
    let number = |name, value: u64| pair(name, 8, &value.to_be_bytes());
    let text =
        |name, value: &str| pair(name, 9, &[&(value.len() as u32).to_be_bytes(), value.as_bytes()].concat());
    let list = [
        b"\x01\x01\0\0\0\0\0\0\0\0\0\x01".to_vec(),
        number("version", 5000),
        text("name", "tank"),
        number("state", 0),
        number("txg", 4),
        number("pool_guid", 12_345_678_901_234_567_890),
        number("top_guid", 7),
        number("guid", 8),
        vec![0; 8],
    ];
    let mut label = vec![0; 256 << 10];
    let list = list.concat();
    label[16 << 10..][..list.len()].copy_from_slice(&list);
    for index in 4..10usize {
        let uberblock = [0x00BA_B10C, 5000, index as u64, 99, 1_700_000_000].map(word).concat();
        label[(128 << 10) + index * 1024..][..uberblock.len()].copy_from_slice(&uberblock);
    }
    let ends = [(64 << 20) - (512 << 10), (64 << 20) - (256 << 10)];
    // A size that is no multiple of a label: the last two are aligned down.
    let mut disk = Disk::mib(64);
    disk.size += 5 << 10;
    [0, 256 << 10].into_iter().chain(ends).fold(disk, |disk, at| disk.put(at, &label))
}

/// drbd_meta_data.h, with a UUID: of version 8.4 not closed, of version 9.
fn drbd(device_uuid: usize, magic: u32) -> Disk {
    let uuid = 0xABCD_EF01_2345_6789u64.to_be_bytes();
    let md = structure(512, &[(device_uuid, &uuid), (60, &magic.to_be_bytes())]);
    Disk::mib(40).put((40 << 20) - 4096, md)
}

/// dm-vdo, geometry block: magic, then the UUID 40 bytes in.
fn vdo() -> Disk {
    Disk::mib(40).put(0, structure(4096, &[(0, b"dmvdo001"), (40, &UUID)]))
}

/// fs/bcachefs/bcachefs_format.h, `struct bch_sb`: layout at 144, fields without a checksum.
fn bcachefs() -> Disk {
    let mut sb = structure(
        752,
        &[
            (16, &1024u16.to_le_bytes()), // version
            (18, &1024u16.to_le_bytes()), // version_min
            (24, b"\xC6\x85\x73\xF6\x66\xCE\x90\xA9\xD9\x6A\x60\xCF\x80\x3D\xF7\xEF"),
            (40, b"internal uuid..!"),
            (56, &UUID), // user_uuid
            (72, b"cachelabel"),
            (104, &8u64.to_le_bytes()), // offset, in sectors
            (112, &1u64.to_le_bytes()), // seq
            (120, &8u16.to_le_bytes()), // block_size
            (122, &[0, 1]),             // dev_idx, nr_devices
            (124, &0u32.to_le_bytes()), // u64s
        ],
    );
    // Type 1: CRC-32C of what follows the checksum. BCH_SB_CSUM_TYPE is bits 2..8 of the first flags.
    sb[144..152].copy_from_slice(&(1u64 << 2).to_le_bytes());
    let sum = !crc(CRC32C, !0, &sb[16..]);
    sb[..4].copy_from_slice(&sum.to_le_bytes());
    Disk::mib(40).put(4096, sb)
}

/// Apple TN1150: a header, and a catalog of one header node and one leaf with the thread of the root folder.
fn hfsplus(disk: Disk, base: u64, signature: &[u8; 2]) -> Disk {
    let name: Vec<u8> = "Größe".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let header = structure(
        512,
        &[
            (0, signature),
            (2, &4u16.to_be_bytes()),
            (4, &(1u32 << 8 | 1 << 13).to_be_bytes()), // attributes: unmounted, journaled
            (40, &4096u32.to_be_bytes()),
            (44, &1024u32.to_be_bytes()),
            (48, &1000u32.to_be_bytes()),
            (104, b"\x01\x02\x03\x04\x05\x06\x07\x08"), // finderInfo[6..8]
            (288, &8u32.to_be_bytes()),                 // catalogFile, first extent: start
            (292, &4u32.to_be_bytes()),                 // count
        ],
    );
    let node = |kind: u8, records: u16| structure(8192, &[(8, &[kind, 1]), (10, &records.to_be_bytes())]);
    let mut tree = node(1, 3);
    tree[14 + 6..14 + 10].copy_from_slice(&1u32.to_be_bytes()); // leafRecords
    tree[14 + 10..14 + 14].copy_from_slice(&1u32.to_be_bytes()); // firstLeafNode
    tree[14 + 18..14 + 20].copy_from_slice(&8192u16.to_be_bytes()); // nodeSize
    let mut leaf = node(0xFF, 1);
    leaf[14..16].copy_from_slice(&(6 + name.len() as u16).to_be_bytes());
    leaf[16..20].copy_from_slice(&1u32.to_be_bytes()); // parentID: the parent of the root
    leaf[20..22].copy_from_slice(&(name.len() as u16 / 2).to_be_bytes());
    leaf[22..22 + name.len()].copy_from_slice(&name);
    disk.put(base + 1024, header).put(base + (8 * 4096), [tree, leaf].concat())
}

/// "Inside Macintosh: Files": an HFS volume around an HFS+ one. It begins at block 16 of the allocation
/// blocks, which begin at sector 64.
fn hfsplus_wrapped() -> Disk {
    let mdb = structure(
        512,
        &[
            (0, b"BD"),
            (18, &100u16.to_be_bytes()),
            (20, &8192u32.to_be_bytes()),
            (28, &64u16.to_be_bytes()),
            (36, b"\x07wrapper"),
            (124, b"H+"),
            (126, &16u16.to_be_bytes()),
        ],
    );
    hfsplus(Disk::mib(40).put(1024, mdb), 64 * 512 + 16 * 8192, b"H+")
}

/// The HPFS of OS/2: boot block, superblock and spare block.
fn hpfs() -> Disk {
    let boot = structure(
        512,
        &[
            (38, b"\x28"),
            (39, &0x2008_0624u32.to_le_bytes()),
            (43, b"OS2LABEL   "),
            (54, b"HPFS    "),
            (510, b"\x55\xAA"),
        ],
    );
    let sb = structure(512, &[(0, b"\x49\xE8\x95\xF9\xC5\xE9\x53\xFA\x02"), (16, &8000u32.to_le_bytes())]);
    let spare = structure(512, &[(0, b"\x49\x18\x91\xF9\xE1\x29\xA5\xFA")]);
    Disk::mib(40).put(0, boot).put(0x2000, sb).put(0x2200, spare)
}

fn refs() -> Disk {
    Disk::mib(40).put(0, structure(512, &[(0, b"\0\0\0ReFS\0\0\0\0\0"), (16, b"FSRS")]))
}

/// libyal, "BitLocker Drive Encryption (BDE) format": the header, and the metadata block it names.
fn bitlocker(start: &[u8; 11], metadata_at: usize, serial: u32) -> Disk {
    let boot = structure(
        512,
        &[
            (0, start),
            (11, b"\0\x02\x08\0\0"),
            (67, &serial.to_le_bytes()),
            (metadata_at, &(1u64 << 20).to_le_bytes()),
            (510, b"\x55\xAA"),
        ],
    );
    Disk::mib(40).put(0, boot).put(1 << 20, structure(64, &[(0, b"-FVE-FS-"), (8, b"\x40\0\x02\0")]))
}

/// libfvde, "CoreStorage volume format", the volume header.
fn fvault2() -> Disk {
    let mut header = structure(
        512,
        &[
            (4, &0xFFFF_FFFFu32.to_le_bytes()), // initial value of the checksum
            (8, &1u16.to_le_bytes()),           // version
            (10, &0x10u16.to_le_bytes()),       // block type
            (64, &(40u64 << 20).to_le_bytes()), // physical volume size
            (88, b"CS"),
            (90, &1u32.to_le_bytes()),   // checksum: CRC-32C
            (168, &16u32.to_le_bytes()), // key data size
            (172, &2u32.to_le_bytes()),  // encryption: AES-XTS
            (304, &UUID),
        ],
    );
    let sum = crc(CRC32C, !0, &header[8..]);
    header[..4].copy_from_slice(&sum.to_le_bytes());
    Disk::mib(40).put(0, header)
}

/// Squashfs of version 3.1 (linux before 2.6.29), in the byte order of the machine that made it.
fn squashfs3(magic: &[u8; 4], number: fn(u16) -> [u8; 2]) -> Disk {
    Disk::mib(4).put(0, structure(512, &[(0, magic), (28, &number(3)), (30, &number(1))]))
}

/// What blkid 2.38 does not know is compared with what was written.
pub(crate) type Written = Option<[Option<&'static str>; 4]>;

/// Name, image, and the words for those that blkid does not know.
pub(crate) fn images() -> Vec<(&'static str, Disk, Written)> {
    let known = |name, disk| (name, disk, None);
    vec![
        known("md-0.90", md_0_90(u32::to_le_bytes)),
        known("md-0.90-big-endian", md_0_90(u32::to_be_bytes)),
        known("md-1.0", md_1((40 << 20) - 8192, 1)),
        known("md-1.1", md_1(0, 0xFFFF)),
        known("md-1.2", md_1(4096, 1)),
        known("ddf", ddf()),
        known("isw", isw()),
        known("zfs", zfs(u64::to_le_bytes)),
        known("zfs-big-endian", zfs(u64::to_be_bytes)),
        known("drbd-8-unclean", drbd(40, 0x8374_026C)),
        known("drbd-9", drbd(48, 0x8374_026D)),
        known("vdo", vdo()),
        ("bcachefs", bcachefs(), Some([Some("bcachefs"), Some("cachelabel"), Some(UUID_TEXT), Some("1024")])),
        known("hfsplus", hfsplus(Disk::mib(40), 0, b"H+")),
        known("hfsx", hfsplus(Disk::mib(40), 0, b"HX")),
        known("hfsplus-wrapped", hfsplus_wrapped()),
        known("hpfs", hpfs()),
        known("refs", refs()),
        known("bitlocker-vista", bitlocker(b"\xEB\x52\x90-FVE-FS-", 176, 0)),
        known("bitlocker-7", bitlocker(b"\xEB\x58\x90-FVE-FS-", 176, 0)),
        known("bitlocker-7-serial", bitlocker(b"\xEB\x58\x90-FVE-FS-", 176, 0x9234_5678)),
        known("bitlocker-to-go", bitlocker(b"\xEB\x58\x90MSWIN4.1", 440, 1)),
        ("fvault2", fvault2(), Some([Some("cs_fvault2"), None, Some(UUID_TEXT), Some("1")])),
        known("squashfs3", squashfs3(b"hsqs", u16::to_le_bytes)),
        known("squashfs3-big-endian", squashfs3(b"sqsh", u16::to_be_bytes)),
    ]
}

#[test]
fn hand_made_as_blkid_says() {
    if !has("blkid", "hand_made_as_blkid_says") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    let mut wrong = vec![];
    for (name, disk, written) in images() {
        disk.write(&image);
        let want = written.map_or_else(|| blkid(&image), |words| words.map(|w| w.map(str::to_owned)));
        let content = recognise(&image);
        println!("{name}: {}", content.as_ref().map_or("nothing".to_owned(), |c| c.sentence()));
        let got = tags(content.as_ref());
        let also = content.is_some_and(|content| !content.also.is_empty());
        if want[0].is_none() || want != got || also {
            wrong.push(format!("{name}: blkid {want:?}, we {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The oracle of the images themselves: mdadm checks the checksum and says the same.
#[test]
fn md_as_mdadm_says() {
    if !has("mdadm", "md_as_mdadm_says") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    let cases = [
        (md_0_90(u32::to_le_bytes), "raid1", "clean", "member 2 of 2"),
        (md_1((40 << 20) - 8192, 1), "raid5", "Active device 1", "member 2 of 3"),
        (md_1(0, 0xFFFF), "raid5", "spare", "spare of Linux RAID5"),
        (md_1(4096, 2), "raid5", "Active device 2", "member 3 of 3"),
    ];
    for (disk, level, role, words) in cases {
        disk.write(&image);
        let said = super::shell("mdadm --examine $F", folder.path(), &image);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains(level) && said.contains(role) && said.contains("- correct"), "{said}");
        let sentence = recognise(&image).unwrap().sentence();
        assert!(sentence.ends_with(words), "{sentence}");
    }
    // A byte of the name under the checksum.
    md_1(0, 1).put(33, b"x").write(&image);
    let said = super::shell("mdadm --examine $F", folder.path(), &image);
    assert!(!String::from_utf8_lossy(&said.stdout).contains("- correct"));
    assert!(is_damaged(&recognise(&image).unwrap()));
}

/// An MBR with one partition of these sectors.
fn table(disk: Disk, first: u32, count: u32) -> Disk {
    let entry = [&[0, 0, 0, 0, 0x83, 0, 0, 0][..], &first.to_le_bytes(), &count.to_le_bytes()].concat();
    disk.put(0, structure(512, &[(446, &entry), (510, b"\x55\xAA")]))
}

/// What a disk with a partition table is a member of: not what lies in its last partition.
#[test]
fn members_with_a_table_as_blkid_says() {
    if !has("blkid", "members_with_a_table_as_blkid_says") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    // 40 MiB; one partition that ends before the superblock, or with the disk.
    let all = (40 << 11) - 2048;
    let cases = [
        ("md 0.90", table(md_0_90(u32::to_le_bytes), 2048, 60_000), Some("linux_raid_member")),
        ("md 0.90 in the partition", table(md_0_90(u32::to_le_bytes), 2048, all), None),
        ("md 1.0", table(md_1((40 << 20) - 8192, 1), 2048, 60_000), Some("linux_raid_member")),
        ("isw", table(isw(), 2048, 60_000), Some("isw_raid_member")),
        ("ddf", table(ddf(), 2048, 60_000), Some("ddf_raid_member")),
        ("none", table(Disk::mib(40), 2048, 60_000), None),
    ];
    for (name, disk, member) in cases {
        disk.write(&path);
        let file = std::fs::File::open(&path).unwrap();
        let image = super::Image(file, 40 << 20);
        let layout = disk::layout::read(&image, None).unwrap();
        let partitions: Vec<_> = layout.partitions.iter().map(|partition| partition.range).collect();
        assert_eq!(partitions.len(), 1, "{name}");
        let found = disk::probe::disk_member(&image, &partitions).unwrap();
        assert_eq!(found.as_ref().map(|content| content.type_name), member, "{name}");
        assert_eq!(super::blkid_tag(&path, "TYPE").as_deref(), member, "{name}");
    }
}

/// An anchor of DDF whose primary header is gone, which neither blkid nor we call a member.
#[test]
fn ddf_without_its_primary_header() {
    if !has("blkid", "ddf_without_its_primary_header") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    ddf().put((39 << 20) + 1, [0]).write(&path);
    assert_eq!((blkid(&path)[0].clone(), recognise(&path)), (None, None));
}
