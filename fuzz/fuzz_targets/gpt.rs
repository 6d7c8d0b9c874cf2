//! GPT: headers and arrays with right checksums and any numbers in them, so that these are believed.
//!
//! The input: options (1 byte), sectors of the disk (1 byte), the primary header's and the backup's bytes
//! 8 to 92 (84 each), then the entries of both arrays.
#![no_main]

use block::SectorSize;
use libfuzzer_sys::fuzz_target;
use selfsame_fuzz::take;

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    let Some([options, sectors]) = take(&mut input) else { return };
    let (Some(primary), Some(backup)) = (take::<84>(&mut input), take::<84>(&mut input)) else { return };
    let sector = if options & 1 == 0 { 512 } else { 4096 };
    let last = usize::from(sectors).max(8);
    let mut disk = vec![0; sector * (last + 1)];
    disk[450] = 0xEE; // protective, from sector 1
    disk[454] = 1;
    disk[458..462].fill(0xFF);
    disk[510..512].copy_from_slice(&[0x55, 0xAA]);
    let (array, size) = (2 * sector, input.len().min(disk.len() - 3 * sector));
    disk[array..array + size].copy_from_slice(&input[..size]);
    for (fields, lba) in [(primary, 1), (backup, last)] {
        header(&mut disk, sector, &fields, lba, options);
    }
    let known = SectorSize::new(u32::try_from(sector).expect("small"));
    selfsame_fuzz::check_layout(disk, known.filter(|_| options & 2 == 0));
});

/// Writes a header that is right as far as `options` wants it.
fn header(disk: &mut [u8], sector: usize, fields: &[u8; 84], lba: usize, options: u8) {
    let mut header = [&b"EFI PART"[..], fields].concat();
    let mut put = |at: usize, number: u64, len: usize| {
        header[at..at + len].copy_from_slice(&number.to_le_bytes()[..len]);
    };
    put(12, 92, 4);
    put(24, lba as u64, 8);
    if options & 4 == 0 {
        put(72, 2, 8);
    }
    if options & 8 == 0 {
        put(84, 128 << (options >> 6), 4);
    }
    if options & 16 == 0 {
        put(80, u64::from(fields[72] % 16), 4);
    }
    let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes"));
    let (at, entries) = (number(72).wrapping_mul(sector as u64), number(80));
    let len = (entries & 0xFFFF_FFFF).wrapping_mul(entries >> 32);
    let array = usize::try_from(at).ok().zip(usize::try_from(len).ok());
    let array = array.and_then(|(at, len)| disk.get(at..at.checked_add(len)?));
    if let Some(array) = array {
        let crc = crc32fast::hash(array);
        header[88..92].copy_from_slice(&crc.to_le_bytes());
    }
    header[16..20].fill(0);
    let crc = crc32fast::hash(&header);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    disk[lba * sector..][..92].copy_from_slice(&header);
}
