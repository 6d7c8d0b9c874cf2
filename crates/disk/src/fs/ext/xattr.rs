//! Extended attributes, in the inode and in a block of their own.

use crate::fs::Xattr;
use block::field::{bytes_at, u16_at, u32_at};
use block::{Error, ErrorKind, Result};
use ferrosys::ext::ondisk::decode_acl;

const MAGIC: u32 = 0xEA02_0000;
/// Bytes of `struct ext4_xattr_entry` before its name.
const ENTRY: usize = 16;
/// Bytes of a value, more than Linux takes.
const LARGEST: u32 = 1 << 20;
/// The namespace of encryption contexts, which Linux does not show.
const ENCRYPTION: u8 = 9;

/// One as it is stored.
pub(super) struct Stored {
    index: u8,
    name: Vec<u8>,
    pub(super) value: Value,
}

/// Where the value is.
pub(super) enum Value {
    Here(Vec<u8>),
    /// The content of this inode, so many bytes of it.
    Inode(u32, u32),
}

/// Those in the space behind an inode.
pub(super) fn in_inode(bytes: &[u8]) -> Result<Vec<Stored>> {
    match u32_at(bytes, 0) {
        // Values count from the first entry.
        Some(MAGIC) => parse(bytes.get(4..).unwrap_or(&[]), 0),
        _ => Ok(vec![]),
    }
}

/// Those in a block.
pub(super) fn in_block(bytes: &[u8]) -> Result<Vec<Stored>> {
    if u32_at(bytes, 0) != Some(MAGIC) {
        return Err(corrupt());
    }
    parse(bytes, 32)
}

/// Entries from byte `at` on; their values count from the first byte.
fn parse(bytes: &[u8], mut at: usize) -> Result<Vec<Stored>> {
    let (mut all, mut left) = (vec![], bytes.len());
    // A list ends with four zeroes, or where no other entry has room.
    while let Some(1..) = u32_at(bytes, at) {
        let parsed = entry(bytes, at);
        let (stored, next) = parsed.ok_or_else(corrupt)?;
        // Values do not share bytes: all together have no more than there are.
        let taken = if let Value::Here(value) = &stored.value { value.len() } else { 0 };
        left = left.checked_sub(taken).ok_or_else(corrupt)?;
        all.push(stored);
        at = next;
    }
    Ok(all)
}

fn entry(bytes: &[u8], at: usize) -> Option<(Stored, usize)> {
    let entry = bytes.get(at..)?;
    let [e_name_len, index] = bytes_at(entry, 0)?;
    let e_value_offs = usize::from(u16_at(entry, 2)?);
    let e_value_inum = u32_at(entry, 4)?;
    let e_value_size = u32_at(entry, 8)?;
    let end = ENTRY.checked_add(e_name_len.into())?;
    let name = entry.get(ENTRY..end)?.to_vec();
    let value = match (e_value_inum, e_value_size) {
        (0, size) => {
            let end = e_value_offs.checked_add(usize::try_from(size).ok()?)?;
            Value::Here(if size == 0 { vec![] } else { bytes.get(e_value_offs..end)?.to_vec() })
        }
        (inode, size) => Value::Inode(inode, Some(size).filter(|size| *size <= LARGEST)?),
    };
    Some((Stored { index, name, value }, at.checked_add(end.checked_next_multiple_of(4)?)?))
}

impl Stored {
    /// The rest of a file whose content begins in its inode.
    pub(super) fn is_inline_data(&self) -> bool {
        self.index == 7 && self.name == b"data"
    }

    /// As Linux shows it, with the bytes of its value. `None` for what it does not show.
    pub(super) fn shown(self, value: Vec<u8>) -> Result<Option<Xattr>> {
        let prefix: &[u8] = match self.index {
            1 => b"user.",
            2 => b"system.posix_acl_access",
            3 => b"system.posix_acl_default",
            4 => b"trusted.",
            6 => b"security.",
            7 => b"system.",
            8 => b"system.richacl",
            // A name without a namespace, and what only the filesystem itself understands.
            0 | ENCRYPTION.. | 5 => return Ok(None),
        };
        let value = match self.index {
            2 | 3 => decode_acl(&value).map_err(crate::fs::cursor::failed)?.encode(),
            _ => value,
        };
        Ok(Some(Xattr { name: [prefix, &self.name].concat(), value }))
    }
}

fn corrupt() -> Error {
    Error::new(ErrorKind::Corrupt, "its extended attributes make no sense")
}
