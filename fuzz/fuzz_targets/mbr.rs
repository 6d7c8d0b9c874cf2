//! MBR and EBRs: tables with right signatures in the first sectors of a small disk.
//!
//! The input: sectors of the disk (2 bytes), then any number of tables: its sector (1 byte, the first is
//! the MBR in any case) and the 64 bytes of its four entries, whose numbers are cut to 16 bits so that they
//! meet each other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use selfsame_fuzz::take;

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    let Some(sectors) = take(&mut input).map(u16::from_le_bytes) else { return };
    let mut disk = vec![0; 512 * usize::from(sectors % 4096)];
    let mut first = true;
    while let Some([at]) = take(&mut input) {
        let Some(mut table) = take::<64>(&mut input) else { break };
        let at = if std::mem::take(&mut first) { 0 } else { 512 * usize::from(at) };
        for entry in table.as_chunks_mut::<16>().0 {
            if entry[1] & 1 == 0 {
                entry[0] &= 0x80;
                entry[10..12].fill(0);
                entry[14..].fill(0);
            }
        }
        let Some(sector) = disk.get_mut(at..at + 512) else { continue };
        sector[446..510].copy_from_slice(&table);
        sector[510..].copy_from_slice(&[0x55, 0xAA]);
    }
    selfsame_fuzz::check_layout(disk, None);
});
