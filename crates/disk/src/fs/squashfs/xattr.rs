//! Extended attributes: a table of sets, each a list of names and values, which sets may share.

use super::super::Xattr;
use super::super::bytes::{self, Fields, corrupt, narrow};
use super::packed::{Packed, Place};
use block::Result;

/// Attributes of one file, and bytes of them together: more is damage.
const MOST: u32 = 4096;
const LARGEST: usize = 16 << 20;
/// The value is elsewhere.
const ELSEWHERE: u16 = 0x100;

/// Set number `index` of the table at `table`.
pub(super) fn read(packed: &Packed, table: u64, index: u32) -> Result<Vec<Xattr>> {
    let head = bytes::read(&*packed.source, table, 16, "the table of attributes")?;
    let head = Fields::new(&head, "the table of attributes");
    let (start, sets) = (head.u64(0)?, head.u32(8)?);
    if index >= sets {
        return Err(corrupt(format!("attributes number {index} of {sets}")));
    }
    let entry = packed.entry(table.saturating_add(16), index, 16)?;
    let entry = Fields::new(&entry, "a set of attributes");
    let (reference, count) = (entry.u64(0)?, entry.u32(8)?);
    if count > MOST {
        return Err(corrupt(format!("a file with {count} attributes")));
    }
    let mut place = Place::of_reference(start, reference);
    let (mut found, mut total) = (vec![], 0_usize);
    for _ in 0..count {
        let head = packed.bytes(&mut place, 4)?;
        let head = Fields::new(&head, "an attribute");
        let (kind, len) = (head.u16(0)?, head.u16(2)?);
        let rest = packed.bytes(&mut place, len.into())?;
        let prefix: &[u8] = match kind & 0xFF {
            0 => b"user.",
            1 => b"trusted.",
            2 => b"security.",
            other => return Err(corrupt(format!("an attribute of kind {other}"))),
        };
        let mut value = value_at(packed, &mut place, &mut total)?;
        if kind & ELSEWHERE != 0 {
            let reference = Fields::new(&value, "an attribute").u64(0)?;
            value = value_at(packed, &mut Place::of_reference(start, reference), &mut total)?;
        }
        found.push(Xattr { name: [prefix, &rest].concat(), value });
    }
    Ok(found)
}

/// Its length, and as many bytes.
fn value_at(packed: &Packed, place: &mut Place, total: &mut usize) -> Result<Vec<u8>> {
    let len = Fields::new(&packed.bytes(place, 4)?, "an attribute").u32(0)?;
    *total = total.saturating_add(narrow(len.into()));
    if *total > LARGEST {
        return Err(corrupt("attributes of more than 16 MiB"));
    }
    packed.bytes(place, narrow(len.into()))
}
