//! NTFS: the file `$Bitmap` (the Linux-NTFS documentation), a bit for each cluster; the clusters of `$LogFile`.

use super::Mapped;
use super::runs::{First, Runs, set_bits};
use super::volume::{OrCorrupt, Volume, byte, corrupt, le16, le32, le64, units, unsupported};
use crate::probe::Content;
use block::{ByteRange, Result};

const ATTRIBUTE_DATA: u64 = 0x80;
const ATTRIBUTE_END: u64 = 0xFFFF_FFFF;
/// Compressed, encrypted or sparse.
const ATTRIBUTE_SPECIAL: u64 = 0xC0FF;
/// The first records of the master file table are the volume's own files; $Bitmap is one of them.
const OWN_FILES: u64 = 12;
const LOG_FILE: usize = 2;
const BITMAP: u64 = 6;
const RECORD_IN_USE: u64 = 1;
/// Bytes of the bitmap that are looked at together.
const PIECE: u64 = 1 << 20;
/// Bytes that the fixup of a record strides over, whatever the sectors are.
const STRIDE: usize = 512;
const ODD: &str = "its boot sector contradicts itself";

/// The boot sector.
struct Boot {
    /// Bytes of a cluster.
    cluster: u64,
    /// Bytes of the volume, without the copy of the boot sector behind it.
    length: u64,
    /// Bytes of a record.
    record: u64,
    /// First cluster of the master file table.
    mft_lcn: u64,
    mirror_lcn: u64,
}

impl Boot {
    fn parse(boot: &[u8]) -> Option<Self> {
        let sector = le16(boot, 0x0B).filter(|size| (256..=4096).contains(size) && size.is_power_of_two())?;
        let in_cluster = match byte(boot, 0x0D)? {
            count if count.is_power_of_two() && count <= 128 => count,
            shift @ 240..=249 => 1u64.checked_shl(u32::try_from(256u64.checked_sub(shift)?).ok()?)?,
            _ => return None,
        };
        let cluster = sector.checked_mul(in_cluster)?;
        let record = match i8::from_le_bytes([*boot.get(0x40)?]) {
            count @ 1..=64 => u64::try_from(count).ok()?.checked_mul(cluster)?,
            shift @ -31..=-9 => 1u64.checked_shl(shift.unsigned_abs().into())?,
            _ => return None,
        };
        (record <= 64 << 10).then_some(Self {
            cluster,
            length: le64(boot, 0x28)?.checked_mul(sector)?,
            record,
            mft_lcn: le64(boot, 0x30)?,
            mirror_lcn: le64(boot, 0x38)?,
        })
    }
}

/// Clusters of an attribute, from the first on. `None`: a hole.
struct Run {
    lcn: Option<u64>,
    count: u64,
}

/// An attribute that lies outside its record.
struct Attribute {
    kind: u64,
    named: bool,
    flags: u64,
    /// Bytes of the content.
    size: u64,
    runs: Vec<Run>,
}

pub(super) fn map(volume: &Volume<'_>, _: &Content) -> Result<Mapped> {
    let boot = Boot::parse(&volume.read(0, 512)?).or_corrupt(ODD)?;
    let records = records(volume, &boot)?;
    let bitmap = records.get(6).and_then(|own| own.as_ref()).or_corrupt("it has no $Bitmap")?;
    let bitmap = bitmap.iter().find(|attribute| attribute.kind == ATTRIBUTE_DATA && !attribute.named);
    let bitmap = bitmap.or_corrupt("its $Bitmap is not where it should be")?;
    if bitmap.flags & ATTRIBUTE_SPECIAL != 0 {
        return Err(unsupported("its $Bitmap is compressed or sparse"));
    }
    let clusters = boot.length.checked_div(boot.cluster).unwrap_or(0);
    let mut left = ByteRange::span(0, clusters.div_ceil(8));
    if bitmap.size < left.len() {
        return Err(corrupt("its $Bitmap is too short"));
    }
    let mut used = Runs::default();
    for run in &bitmap.runs {
        let lcn = run.lcn.or_corrupt("its $Bitmap has holes")?;
        let place = units(boot.cluster, lcn, run.count)?;
        let here = place.intersect(ByteRange::span(place.start(), place.start().saturating_add(left.len())));
        for piece in here.pieces(PIECE) {
            let bits = volume.read(piece.start(), piece.len())?;
            let first = left.start().saturating_mul(8);
            let count = clusters.saturating_sub(first).min(piece.len().saturating_mul(8));
            set_bits(&bits, count, First::Lowest, |from, to| {
                used.add(units(boot.cluster, first.saturating_add(from), to.saturating_sub(from))?)
            })?;
            left = ByteRange::span(left.start().saturating_add(piece.len()), left.end());
        }
    }
    if !left.is_empty() {
        return Err(unsupported("its $Bitmap lies in very many pieces"));
    }
    // What is not a whole cluster has no bit.
    used.add(ByteRange::span(units(boot.cluster, clusters, 0)?.start(), boot.length))?;
    let runs = records.iter().flatten().flatten().flat_map(|attribute| &attribute.runs);
    let own = runs.filter_map(|run| Some((run.lcn?, run.count)));
    for (lcn, count) in own.chain([(0, 1), (boot.mft_lcn, 1), (boot.mirror_lcn, 1)]) {
        // $BadClus has clusters of its own too, in use as others are.
        let covered = used.cover(units(boot.cluster, lcn, count)?);
        covered.then_some(()).or_corrupt("its own files lie in clusters that it counts as free")?;
    }
    Ok(Mapped { used, end: boot.length, more: None })
}

/// The clusters of `$LogFile`, as far as its first record lists them.
pub(super) fn journal(volume: &Volume<'_>) -> Result<Vec<ByteRange>> {
    let boot = Boot::parse(&volume.read(0, 512)?).or_corrupt(ODD)?;
    let records = records(volume, &boot)?;
    let own = records.get(LOG_FILE).and_then(|own| own.as_ref()).or_corrupt("it has no $LogFile")?;
    let data = own.iter().filter(|attribute| attribute.kind == ATTRIBUTE_DATA && !attribute.named);
    let runs = data.flat_map(|attribute| &attribute.runs).filter_map(|run| Some((run.lcn?, run.count)));
    runs.map(|(lcn, count)| units(boot.cluster, lcn, count)).collect()
}

/// The attributes of the volume's own files; `None` of one that is not in use.
fn records(volume: &Volume<'_>, boot: &Boot) -> Result<Vec<Option<Vec<Attribute>>>> {
    let start = units(boot.cluster, boot.mft_lcn, 1)?.start();
    let mut records: Vec<Option<Vec<Attribute>>> = vec![];
    for number in 0..OWN_FILES {
        // The table may lie in pieces from its first clusters on.
        let table = records.first().and_then(|own| own.as_ref());
        let table = table.and_then(|own| own.iter().find(|attribute| attribute.kind == ATTRIBUTE_DATA));
        let at = match (number, table) {
            (0, _) => Some(start),
            (_, Some(table)) => place(boot, &table.runs, number),
            (_, None) => None,
        };
        let at = at.or_corrupt("its master file table cannot be followed")?;
        let record = volume.read(at, boot.record)?;
        let record = fixed_up(record).or_corrupt("a record of its own files is damaged")?;
        let in_use = le16(&record, 22).is_some_and(|flags| flags & RECORD_IN_USE != 0);
        let attributes = attributes(&record).or_corrupt("a record of its own files is damaged")?;
        if !in_use && number == BITMAP {
            return Err(corrupt("its $Bitmap is not in use"));
        }
        records.push(in_use.then_some(attributes));
    }
    Ok(records)
}

/// Where a record lies by the pieces of the table.
fn place(boot: &Boot, runs: &[Run], number: u64) -> Option<u64> {
    let mut offset = number.checked_mul(boot.record)?;
    for run in runs {
        let length = run.count.checked_mul(boot.cluster)?;
        if offset < length {
            return run.lcn?.checked_mul(boot.cluster)?.checked_add(offset);
        }
        offset = offset.checked_sub(length)?;
    }
    None
}

/// A record with the last two bytes of each stride put back.
fn fixed_up(mut record: Vec<u8>) -> Option<Vec<u8>> {
    if record.get(..4)? != b"FILE" {
        return None;
    }
    let array = usize::try_from(le16(&record, 4)?).ok()?;
    let count = usize::try_from(le16(&record, 6)?).ok()?;
    let check: [u8; 2] = *record.get(array..)?.first_chunk()?;
    for stride in 1..count {
        let original: [u8; 2] = *record.get(array.checked_add(stride.checked_mul(2)?)?..)?.first_chunk()?;
        let end = stride.checked_mul(STRIDE)?;
        let place = record.get_mut(end.checked_sub(2)?..end)?;
        // Another mark there: the record was not written whole.
        if place != check {
            return None;
        }
        place.copy_from_slice(&original);
    }
    Some(record)
}

/// The attributes of a record that lie outside it.
fn attributes(record: &[u8]) -> Option<Vec<Attribute>> {
    let mut at = usize::try_from(le16(record, 20)?).ok()?;
    let mut found = vec![];
    loop {
        let kind = le32(record, at)?;
        if kind == ATTRIBUTE_END {
            return Some(found);
        }
        let length =
            usize::try_from(le32(record, at.checked_add(4)?)?).ok().filter(|length| *length >= 16)?;
        let end = at.checked_add(length)?;
        let attribute = record.get(at..end)?;
        // Outside, and its first piece.
        if byte(attribute, 8)? == 1 && le64(attribute, 16)? == 0 {
            let pairs = usize::try_from(le16(attribute, 32)?).ok()?;
            found.push(Attribute {
                kind,
                named: byte(attribute, 9)? != 0,
                flags: le16(attribute, 12)?,
                size: le64(attribute, 48)?,
                runs: runs(attribute.get(pairs..)?)?,
            });
        }
        at = end;
    }
}

/// The mapping pairs: sizes of two numbers in a byte, a count, and the distance from the piece before.
fn runs(mut pairs: &[u8]) -> Option<Vec<Run>> {
    let (mut runs, mut lcn) = (vec![], 0i64);
    while let Some((sizes, rest)) = pairs.split_first().filter(|(sizes, _)| **sizes != 0) {
        let (count, rest) = rest.split_at_checked(usize::from(sizes & 0xF))?;
        let (delta, rest) = rest.split_at_checked(usize::from(sizes >> 4))?;
        pairs = rest;
        let count = u64::try_from(signed(count)?).ok().filter(|count| *count > 0)?;
        let lcn = match delta {
            [] => None,
            delta => {
                lcn = lcn.checked_add(signed(delta)?)?;
                Some(u64::try_from(lcn).ok()?)
            }
        };
        runs.push(Run { lcn, count });
    }
    Some(runs)
}

/// A little-endian number of one to eight bytes with a sign.
fn signed(bytes: &[u8]) -> Option<i64> {
    let mut wide = if bytes.last()? & 0x80 == 0 { [0; 8] } else { [0xFF; 8] };
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}
