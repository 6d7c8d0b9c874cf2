//! One partition, of either kind of table.

use crate::guid::Guid;
use crate::layout::Table;
use crate::types;
use block::ByteRange;
use std::fmt;

/// What a table says that a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeId {
    /// The type byte of an MBR entry.
    Mbr(u8),
    /// The type GUID of a GPT entry.
    Gpt(Guid),
}

/// As in an sfdisk script: `c`, or the GUID in upper case.
impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mbr(id) => write!(f, "{id:x}"),
            Self::Gpt(id) => id.fmt(f),
        }
    }
}

/// An entry in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// As the kernel counts.
    pub number: u32,
    /// Its bytes on the disk, as the table says: they may lie beyond the end. Saturates at `u64::MAX`.
    pub range: ByteRange,
    /// What it is for.
    pub type_id: TypeId,
    /// MBR: the active flag. GPT: "legacy BIOS bootable", attribute bit 2.
    pub bootable: bool,
    /// GPT attributes (UEFI 2.10, table 5-8); 0 in an MBR.
    pub attributes: u64,
    /// GPT name up to its first zero, not empty; what is not UTF-16 is replaced. Text from the disk.
    pub name: Option<String>,
    /// GPT unique GUID.
    pub guid: Option<Guid>,
    /// An extended partition of an MBR: it holds the logical ones and no data of its own.
    pub extended: bool,
    /// Described by an EBR.
    pub logical: bool,
}

impl Partition {
    /// Its type in words, if it is a usual one.
    pub fn type_name(&self) -> Option<&'static str> {
        match self.type_id {
            TypeId::Mbr(id) => types::mbr(id),
            TypeId::Gpt(id) => types::gpt(id),
        }
    }

    /// What the kernel and udev call its PARTUUID: the GUID in small letters, or `8b5d2008-05`.
    pub fn partuuid(&self, table: &Table) -> Option<String> {
        match table {
            Table::None => None,
            Table::Mbr(mbr) => Some(format!("{:08x}-{:02x}", mbr.disk_id, self.number)),
            Table::Gpt(_) => self.guid.map(|guid| guid.to_string().to_lowercase()),
        }
    }
}
