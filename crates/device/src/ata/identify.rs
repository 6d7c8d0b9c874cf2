//! IDENTIFY DEVICE and DEVICE CONFIGURATION IDENTIFY data: 256 words, little-endian (ATA/ATAPI-7, ACS-3).

use block::SectorSize;

/// Bytes of either.
pub(crate) const BYTES: usize = 512;

/// What of an IDENTIFY DEVICE answer tells how large the drive is and what it can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identify {
    /// Of a logical sector of the drive, which a USB case may show in another size.
    pub(crate) sector: SectorSize,
    /// Logical sectors that can be addressed now.
    pub(crate) sectors: u64,
    /// It takes 48-bit commands.
    pub(crate) has_48_bits: bool,
    /// The Host Protected Area feature set is on.
    pub(crate) has_hpa: bool,
    /// The Device Configuration Overlay feature set is on.
    pub(crate) has_dco: bool,
    /// The Accessible Max Address Configuration feature set is on: HPA's successor.
    pub(crate) has_amac: bool,
}

impl Identify {
    /// `None` if it is not that of an ATA disk with LBA, or does not add up.
    pub(crate) fn parse(data: &[u8; BYTES]) -> Option<Self> {
        let word = |n| word(data, n);
        let bit = |n, bit: u32| word(n) >> bit & 1 == 1;
        // Of some words the top bits 01 say that the others mean something.
        let valid = |n| word(n) >> 14 == 1;
        let on = |supported, enabled, at| bit(supported, at) && bit(enabled, at);

        const COMPACT_FLASH: u16 = 0x848a;
        let is_disk = !bit(0, 15) || word(0) == COMPACT_FLASH;
        let has_lba = bit(49, 9);
        if !is_disk || !has_lba || !adds_up(data) {
            return None;
        }
        let features = valid(83) && valid(87);
        let has_48_bits = features && on(83, 86, 10);
        let sectors_28 = number(data, 60, 2);
        let sectors_48 = if has_48_bits { number(data, 100, 4) } else { 0 };
        let sectors_more = if has_48_bits && bit(69, 3) { number(data, 230, 4) } else { 0 };
        let sector = if valid(106) && bit(106, 12) { number(data, 117, 2).checked_mul(2)? } else { 512 };
        Some(Self {
            sector: SectorSize::new(u32::try_from(sector).ok()?)?,
            sectors: sectors_28.max(sectors_48).max(sectors_more),
            has_48_bits,
            has_hpa: features && on(82, 85, 10),
            has_dco: features && on(83, 86, 11),
            has_amac: features && bit(86, 15) && valid(119) && valid(120) && on(119, 120, 8),
        })
        .filter(|found| found.sectors > 0)
    }
}

/// DEVICE CONFIGURATION IDENTIFY: the sectors that the drive had before its configuration was overlaid,
/// from the maximum LBA in words 3 to 6. `None` if it does not add up: here a checksum is a must.
pub(crate) fn factory_sectors(data: &[u8; BYTES]) -> Option<u64> {
    let has_checksum = data.last_chunk() == Some(&[0xa5, data[BYTES - 1]]);
    if has_checksum && adds_up(data) { number(data, 3, 4).checked_add(1) } else { None }
}

/// Word 255: if its low byte is A5h, all bytes sum to zero.
fn adds_up(data: &[u8; BYTES]) -> bool {
    let has_checksum = data[BYTES - 2] == 0xa5;
    !has_checksum || data.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

fn word(data: &[u8; BYTES], n: usize) -> u16 {
    data.as_chunks().0.get(n).map_or(0, |word| u16::from_le_bytes(*word))
}

/// A number of up to four words, the low one first.
fn number(data: &[u8; BYTES], first: usize, words: usize) -> u64 {
    (first..first + words).rev().fold(0, |number, n| number << 16 | u64::from(word(data, n)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A disk of 2008 with 976,773,168 sectors of 512 bytes, HPA and DCO, as such drives fill the words
    /// in; with the checksum.
    pub(crate) const DISK: [(usize, u16); 16] = [
        (0, 0x0c5a),
        (49, 0x2f00),
        (60, 0xffff),
        (61, 0x0fff),
        (82, 0x346b),
        (83, 0x7f01),
        (84, 0x4163),
        (85, 0x3469),
        (86, 0xbe01),
        (87, 0x4163),
        (100, 0x6030),
        (101, 0x3a38),
        (102, 0),
        (103, 0),
        (106, 0),
        (117, 0),
    ];

    pub(crate) fn data(words: &[(usize, u16)]) -> [u8; BYTES] {
        let mut data = [0; BYTES];
        for (n, word) in words {
            data[n * 2..n * 2 + 2].copy_from_slice(&word.to_le_bytes());
        }
        data[BYTES - 2] = 0xa5;
        data[BYTES - 1] = 0_u8.wrapping_sub(data.iter().fold(0, |sum, byte| sum.wrapping_add(*byte)));
        data
    }

    pub(crate) fn changed(words: &[(usize, u16)]) -> [u8; BYTES] {
        data(&[&DISK[..], words].concat())
    }

    #[test]
    fn a_disk_with_hpa_and_dco() {
        let disk = Identify {
            sector: SectorSize::B512,
            sectors: 976_773_168,
            has_48_bits: true,
            has_hpa: true,
            has_dco: true,
            has_amac: false,
        };
        assert_eq!(Identify::parse(&data(&DISK)), Some(disk));
        // Supported, but off; and words that say of themselves that they mean nothing.
        let off = changed(&[(85, 0x3069), (86, 0xb201)]);
        let off = Identify::parse(&off).unwrap();
        assert_eq!([off.has_hpa, off.has_dco, off.has_48_bits], [false; 3]);
        assert_eq!(off.sectors, 0x0fff_ffff, "of a drive without 48-bit commands");
        for words in [(83, 0xffff), (87, 0)] {
            let no = Identify::parse(&changed(&[words])).unwrap();
            assert_eq!([no.has_hpa, no.has_dco, no.has_48_bits], [false; 3], "{words:?}");
        }
    }

    #[test]
    fn newer_disks() {
        let amac = [(119, 0x41ff), (120, 0x4108)];
        assert!(Identify::parse(&changed(&amac)).unwrap().has_amac);
        for off in [(119, 0x40ff), (120, 0x4008), (119, 0xffff), (120, 0), (86, 0x3e01)] {
            let words = [&amac[..], &[off]].concat();
            assert!(!Identify::parse(&changed(&words)).unwrap().has_amac, "{off:?}");
        }
        // 4096-byte logical sectors, 2048 words each, and a count beyond words 100 to 103.
        let large = changed(&[(106, 0x5000), (117, 2048), (69, 8), (230, 0x1234), (233, 1)]);
        let large = Identify::parse(&large).unwrap();
        assert_eq!((large.sector, large.sectors), (SectorSize::B4096, 1 << 48 | 0x1234));
        // 512-byte emulation says nothing of the logical sector.
        assert_eq!(Identify::parse(&changed(&[(106, 0x6003)])).unwrap().sector, SectorSize::B512);
    }

    #[test]
    fn what_is_no_disk_or_does_not_add_up() {
        let mut damaged = data(&DISK);
        damaged[200] ^= 1;
        let no_sector = changed(&[(106, 0x5000), (117, 3)]);
        let huge_sector = changed(&[(106, 0x5000), (117, 0xffff), (118, 0xffff)]);
        let empty = changed(&[(60, 0), (61, 0), (100, 0), (101, 0)]);
        let packet = changed(&[(0, 0x85c0)]);
        let no_lba = changed(&[(49, 0)]);
        for data in [[0; BYTES], [0xff; BYTES], damaged, no_sector, huge_sector, empty, packet, no_lba] {
            assert_eq!(Identify::parse(&data), None);
        }
        assert!(Identify::parse(&changed(&[(0, 0x848a)])).is_some(), "CompactFlash");
        let mut old = data(&DISK);
        old[BYTES - 2..].fill(0);
        assert!(Identify::parse(&old).is_some(), "drives before ATA-5 have no checksum");
    }

    #[test]
    fn the_factory_configuration() {
        let dco = [(0, 2), (1, 7), (2, 0x7f), (3, 0x602f), (4, 0x3a38), (7, 0x7fff)];
        assert_eq!(factory_sectors(&data(&dco)), Some(976_773_168));
        let mut damaged = data(&dco);
        damaged[6] ^= 1;
        let mut unsigned = data(&dco);
        unsigned[BYTES - 2..].fill(0);
        let overflowing = data(&[(3, 0xffff), (4, 0xffff), (5, 0xffff), (6, 0xffff)]);
        for data in [[0; BYTES], [0xff; BYTES], damaged, unsigned, overflowing] {
            assert_eq!(factory_sectors(&data), None);
        }
    }
}
