//! Attributes of a record: everything that a file has is one.

use block::field::{u16_at, u32_at, u64_at};

/// One attribute, or a piece of one that is too long for its record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    pub(super) kind: u32,
    /// UTF-16, empty for most.
    pub(super) name: &'a [u8],
    pub(super) flags: u16,
    /// Its number in the record.
    pub(super) instance: u16,
    pub(super) form: Form<'a>,
}

/// Where its value is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form<'a> {
    /// Here.
    Resident(&'a [u8]),
    /// In clusters.
    Mapped(Mapped<'a>),
}

/// Of an attribute in clusters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapped<'a> {
    /// The first cluster of the value that this piece maps, and one behind its last.
    pub(super) lowest: u64,
    pub(super) end: u64,
    /// Where they are, see [`super::runs`].
    pub(super) pairs: &'a [u8],
    /// Clusters that are compressed together, as a power of two; 0: none.
    pub(super) unit: u8,
    /// The sizes in bytes, right in the first piece only.
    pub(super) sizes: Sizes,
}

/// Sizes of a value in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    /// On the disk.
    pub(super) allocated: u64,
    /// Of the value.
    pub(super) data: u64,
    /// What was ever written of it: the rest is zero, whatever its clusters hold.
    pub(super) initialized: u64,
}

impl<'a> Attribute<'a> {
    pub(super) const STANDARD_INFORMATION: u32 = 0x10;
    pub(super) const LIST: u32 = 0x20;
    pub(super) const FILE_NAME: u32 = 0x30;
    pub(super) const DATA: u32 = 0x80;
    pub(super) const INDEX_ROOT: u32 = 0x90;
    pub(super) const INDEX_ALLOCATION: u32 = 0xA0;
    pub(super) const BITMAP: u32 = 0xB0;
    pub(super) const REPARSE_POINT: u32 = 0xC0;
    pub(super) const EA: u32 = 0xE0;
    pub(super) const END: u32 = 0xFFFF_FFFF;

    /// Its method of compression; 1 is LZNT1.
    pub(super) const COMPRESSION: u16 = 0xFF;
    pub(super) const ENCRYPTED: u16 = 0x4000;
    pub(super) const SPARSE: u16 = 0x8000;

    /// From its bytes, all of them. `None` if a length in it is wrong.
    pub(super) fn parse(kind: u32, bytes: &'a [u8]) -> Option<Self> {
        let name_length = usize::from(*bytes.get(9)?).checked_mul(2)?;
        let name = match name_length {
            0 => &[],
            _ => bytes.get(usize::from(u16_at(bytes, 10)?)..)?.get(..name_length)?,
        };
        let flags = u16_at(bytes, 12)?;
        let form = match *bytes.get(8)? {
            0 => {
                let length = usize::try_from(u32_at(bytes, 16)?).ok()?;
                Form::Resident(bytes.get(usize::from(u16_at(bytes, 20)?)..)?.get(..length)?)
            }
            1 => Form::Mapped(Mapped::parse(flags, bytes)?),
            _ => return None,
        };
        Some(Self { kind, name, flags, instance: u16_at(bytes, 14)?, form })
    }

    /// The first cluster of the value that it holds.
    pub(super) fn lowest(&self) -> u64 {
        match self.form {
            Form::Resident(_) => 0,
            Form::Mapped(mapped) => mapped.lowest,
        }
    }

    pub(super) fn sizes(&self) -> Sizes {
        match self.form {
            Form::Resident(value) => {
                let size = u64::try_from(value.len()).unwrap_or(u64::MAX);
                Sizes { allocated: 0, data: size, initialized: size }
            }
            Form::Mapped(mapped) => mapped.sizes,
        }
    }
}

impl<'a> Mapped<'a> {
    fn parse(flags: u16, bytes: &'a [u8]) -> Option<Self> {
        let lowest = u64_at(bytes, 16)?;
        // The last one of none at all is -1.
        let end = u64_at(bytes, 24)?.wrapping_add(1);
        let mapping_pairs_offset = usize::from(u16_at(bytes, 32)?);
        let pairs = bytes.get(mapping_pairs_offset..)?;
        // What is on the disk of a sparse or compressed one is a field more.
        let has_compressed_size = flags & (Attribute::COMPRESSION | Attribute::SPARSE) != 0;
        let allocated = match has_compressed_size && mapping_pairs_offset >= 72 {
            true => u64_at(bytes, 64)?,
            false => u64_at(bytes, 40)?,
        };
        let (data, initialized) = (u64_at(bytes, 48)?, u64_at(bytes, 56)?);
        let sizes = Sizes { allocated, data, initialized: initialized.min(data) };
        if end < lowest || data > u64::MAX >> 1 {
            return None;
        }
        Some(Self { lowest, end, pairs, unit: *bytes.get(34)?, sizes })
    }
}
