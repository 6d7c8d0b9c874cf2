//! Disks with tables.

/// Writes `bytes` at `at`.
pub(crate) fn put(disk: &mut [u8], at: usize, bytes: &[u8]) {
    disk[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A disk of `sectors` sectors of 512 bytes, all zero.
pub(crate) fn blank(sectors: usize) -> Vec<u8> {
    vec![0; sectors * 512]
}

/// Type, first sector, count: one of the four entries of the table in `sector`, with its signature.
pub(crate) fn entry(disk: &mut [u8], sector: usize, slot: usize, (kind, first, count): (u8, u32, u32)) {
    let at = sector * 512 + 446 + slot * 16;
    disk[at + 4] = kind;
    put(disk, at + 8, &first.to_le_bytes());
    put(disk, at + 12, &count.to_le_bytes());
    put(disk, sector * 512 + 510, &[0x55, 0xAA]);
}

/// An MBR with these entries in its slots from the first on.
pub(crate) fn mbr(sectors: usize, entries: &[(u8, u32, u32)]) -> Vec<u8> {
    let mut disk = blank(sectors);
    put(&mut disk, 440, &0x8b5d_2008_u32.to_le_bytes());
    put(&mut disk, 510, &[0x55, 0xAA]);
    entries.iter().enumerate().for_each(|(slot, one)| entry(&mut disk, 0, slot, *one));
    disk
}

/// A GPT to be written.
#[derive(Clone)]
pub(crate) struct Gpt {
    pub(crate) sector: usize,
    pub(crate) sectors: u64,
    pub(crate) entry_size: u32,
    pub(crate) entries: u32,
    /// Number, first and last LBA.
    pub(crate) partitions: Vec<(usize, u64, u64)>,
}

impl Gpt {
    pub(crate) fn new(partitions: &[(usize, u64, u64)]) -> Self {
        Self { sector: 512, sectors: 2048, entry_size: 128, entries: 128, partitions: partitions.to_vec() }
    }

    pub(crate) fn array(&self) -> Vec<u8> {
        let entry = self.entry_size as usize;
        let mut array = vec![0; entry * self.entries as usize];
        for (number, first, last) in &self.partitions {
            let at = (number - 1) * entry;
            put(&mut array, at, &[1; 16]);
            put(&mut array, at + 16, &[*number as u8; 16]);
            put(&mut array, at + 32, &first.to_le_bytes());
            put(&mut array, at + 40, &last.to_le_bytes());
        }
        array
    }

    fn array_sectors(&self) -> u64 {
        self.array().len().div_ceil(self.sector) as u64
    }

    /// A header at `lba`, whose other is at `alternate`, with its array at `array`; `change` happens
    /// before the checksum.
    pub(crate) fn header(
        &self,
        [lba, alternate, array]: [u64; 3],
        change: impl FnOnce(&mut [u8]),
    ) -> Vec<u8> {
        let mut header = vec![0; self.sector];
        put(&mut header, 0, b"EFI PART\0\0\x01\0\x5c\0\0\0");
        put(&mut header, 24, &lba.to_le_bytes());
        put(&mut header, 32, &alternate.to_le_bytes());
        put(&mut header, 40, &(2 + self.array_sectors()).to_le_bytes());
        put(&mut header, 48, &(self.sectors - self.array_sectors() - 2).to_le_bytes());
        put(&mut header, 56, &[9; 16]);
        put(&mut header, 72, &array.to_le_bytes());
        put(&mut header, 80, &self.entries.to_le_bytes());
        put(&mut header, 84, &self.entry_size.to_le_bytes());
        put(&mut header, 88, &crc32fast::hash(&self.array()).to_le_bytes());
        change(&mut header);
        seal(&mut header);
        header
    }

    pub(crate) fn last(&self) -> u64 {
        self.sectors - 1
    }

    /// The whole disk.
    pub(crate) fn disk(&self) -> Vec<u8> {
        let mut disk = vec![0; self.sectors as usize * self.sector];
        entry(&mut disk, 0, 0, (0xEE, 1, self.last() as u32));
        let backup = self.last() - self.array_sectors();
        let at = |lba: u64| lba as usize * self.sector;
        put(&mut disk, at(2), &self.array());
        put(&mut disk, at(backup), &self.array());
        put(&mut disk, at(1), &self.header([1, self.last(), 2], |_| ()));
        put(&mut disk, at(self.last()), &self.header([self.last(), 1, backup], |_| ()));
        disk
    }
}

/// Makes the checksum of a header of 92 bytes right.
pub(crate) fn seal(header: &mut [u8]) {
    put(header, 16, &[0; 4]);
    let crc = crc32fast::hash(&header[..92]);
    put(header, 16, &crc.to_le_bytes());
}
