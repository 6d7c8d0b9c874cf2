//! NTFS: the file `$Bitmap` (the Linux-NTFS documentation), a bit for each cluster; the clusters of `$LogFile`.

use super::Mapped;
use super::runs::{First, Runs, set_bits};
use super::volume::{OrCorrupt, Volume, byte, corrupt, le16, le32, le64, units, unsupported};
use crate::fs::ntfs::{Geometry, fixed_up};
use crate::probe::{Content, mapping};
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
/// Pieces that one record has room for.
const RUNS: usize = 64 << 10;
const ODD: &str = "its boot sector contradicts itself";

/// An attribute that lies outside its record.
struct Attribute {
    kind: u64,
    named: bool,
    flags: u64,
    /// Bytes of the content.
    size: u64,
    /// Clusters from the first on: how many, and where. `None`: a hole.
    runs: Vec<(u64, Option<u64>)>,
}

pub(super) fn map(volume: &Volume<'_>, _: &Content) -> Result<Mapped> {
    let boot = Geometry::parse(&volume.read(0, 512)?).or_corrupt(ODD)?;
    let records = records(volume, &boot)?;
    let bitmap = records.get(6).and_then(|own| own.as_ref()).or_corrupt("it has no $Bitmap")?;
    let bitmap = bitmap.iter().find(|attribute| attribute.kind == ATTRIBUTE_DATA && !attribute.named);
    let bitmap = bitmap.or_corrupt("its $Bitmap is not where it should be")?;
    if bitmap.flags & ATTRIBUTE_SPECIAL != 0 {
        return Err(unsupported("its $Bitmap is compressed or sparse"));
    }
    let clusters = boot.clusters;
    let mut left = ByteRange::span(0, clusters.div_ceil(8));
    if bitmap.size < left.len() {
        return Err(corrupt("its $Bitmap is too short"));
    }
    let mut used = Runs::default();
    for (count, lcn) in &bitmap.runs {
        let lcn = lcn.or_corrupt("its $Bitmap has holes")?;
        let place = units(boot.cluster, lcn, *count)?;
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
    let own = runs.filter_map(|(count, lcn)| Some(units(boot.cluster, (*lcn)?, *count)));
    let first = |place: u64| units(boot.cluster, 0, 1).map(|cluster| cluster.moved(0, place));
    for place in own.chain([0, boot.mft, boot.mirror].map(first)) {
        // $BadClus has clusters of its own too, in use as others are.
        let covered = used.cover(place?);
        covered.then_some(()).or_corrupt("its own files lie in clusters that it counts as free")?;
    }
    Ok(Mapped { used, end: boot.length, more: None })
}

/// The clusters of `$LogFile`, as far as its first record lists them.
pub(super) fn journal(volume: &Volume<'_>) -> Result<Vec<ByteRange>> {
    let boot = Geometry::parse(&volume.read(0, 512)?).or_corrupt(ODD)?;
    let records = records(volume, &boot)?;
    let own = records.get(LOG_FILE).and_then(|own| own.as_ref()).or_corrupt("it has no $LogFile")?;
    let data = own.iter().filter(|attribute| attribute.kind == ATTRIBUTE_DATA && !attribute.named);
    let runs = data.flat_map(|attribute| &attribute.runs).filter_map(|(count, lcn)| Some(((*lcn)?, *count)));
    runs.map(|(lcn, count)| units(boot.cluster, lcn, count)).collect()
}

/// The attributes of the volume's own files; `None` of one that is not in use.
fn records(volume: &Volume<'_>, boot: &Geometry) -> Result<Vec<Option<Vec<Attribute>>>> {
    let mut records: Vec<Option<Vec<Attribute>>> = vec![];
    for number in 0..OWN_FILES {
        // The table may lie in pieces from its first clusters on.
        let table = records.first().and_then(|own| own.as_ref());
        let table = table.and_then(|own| own.iter().find(|attribute| attribute.kind == ATTRIBUTE_DATA));
        let at = match (number, table) {
            (0, _) => Some(boot.mft),
            (_, Some(table)) => place(boot, &table.runs, number),
            (_, None) => None,
        };
        let at = at.or_corrupt("its master file table cannot be followed")?;
        let record = volume.read(at, boot.record)?;
        let record = fixed_up(record, *b"FILE").or_corrupt("a record of its own files is damaged")?;
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
fn place(boot: &Geometry, runs: &[(u64, Option<u64>)], number: u64) -> Option<u64> {
    let mut offset = number.checked_mul(boot.record)?;
    for (count, lcn) in runs {
        let length = count.checked_mul(boot.cluster)?;
        if offset < length {
            return (*lcn)?.checked_mul(boot.cluster)?.checked_add(offset);
        }
        offset = offset.checked_sub(length)?;
    }
    None
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
                runs: mapping(attribute.get(pairs..)?, RUNS)?,
            });
        }
        at = end;
    }
}
