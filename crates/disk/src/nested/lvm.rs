//! Logical volumes that lie on one physical volume, in one piece or in several.
//!
//! lvm2, `lib/format_text/layout.h` and `lib/format_text/import_vsn1.c`.

use super::lvm_text::{Section, Value, parse};
use super::{Inside, Volume, unsupported};
use block::{ByteRange, Concat, Error, ErrorKind, Result, Slice, Source, field};
use std::sync::Arc;

/// Bytes of the text that are taken; LVM's own areas have 1 MiB.
const TEXT: u64 = 8 << 20;
/// Volumes, and segments of one, that are looked at.
const MANY: usize = 4096;
const SECTOR: u64 = 512;
/// The header of a metadata area; its text goes round behind it.
const MDA_HEADER: u64 = 512;

fn corrupt(words: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("LVM: {words}"))
}

/// The logical volumes of the group that this physical volume belongs to.
pub(super) fn look(source: &Source) -> Result<Inside> {
    let label = label(source)?.ok_or_else(|| corrupt("no label"))?;
    let text = text(source, &label)?;
    let all = text.as_deref().and_then(parse).ok_or_else(|| corrupt("its description cannot be read"))?;
    // Beside values like `contents` there is one section: the group.
    let group = all.sections.values().next().ok_or_else(|| corrupt("no group in its description"))?;
    let here =
        Here::of(group, &pv_uuid(&label)).ok_or_else(|| corrupt("its description leaves this disk out"))?;
    let volumes = group.section("logical_volumes").into_iter().flat_map(|volumes| &volumes.sections);
    let shown = volumes.filter(|(_, volume)| is_visible(volume)).take(MANY);
    Ok(Inside::Named(
        shown
            .map(|(name, volume)| Volume { name: name.clone(), source: here.volume(source, volume) })
            .collect(),
    ))
}

/// Parts of others (`pool_tmeta`) are not for their users.
fn is_visible(volume: &Section) -> bool {
    let visible = |value: &Value| matches!(value, Value::Text(text) if text == "VISIBLE");
    volume.values.get("status").is_some_and(|status| status.iter().any(visible))
}

/// The sector with the label, and the header of the physical volume behind it.
fn label(source: &Source) -> Result<Option<Vec<u8>>> {
    for number in 0..4_u64 {
        let mut sector = vec![0; 512];
        source.read_at(number.saturating_mul(SECTOR), &mut sector)?;
        if sector.starts_with(b"LABELONE") && field::u64_at(&sector, 8) == Some(number) {
            return Ok(Some(sector));
        }
    }
    Ok(None)
}

/// Behind the label, without the hyphens that the text writes.
fn pv_uuid(label: &[u8]) -> Vec<u8> {
    let header = header_at(label);
    header.and_then(|at| label.get(at..at.checked_add(32)?)).unwrap_or_default().to_vec()
}

fn header_at(label: &[u8]) -> Option<usize> {
    usize::try_from(field::u32_at(label, 20)?).ok()
}

/// The committed text of the first metadata area that has one.
fn text(source: &Source, label: &[u8]) -> Result<Option<Vec<u8>>> {
    let header = header_at(label).unwrap_or(usize::MAX);
    let Some(mut at) = header.checked_add(40) else { return Ok(None) };
    let pair = |at: usize| field::u64_at(label, at).zip(field::u64_at(label, at.checked_add(8)?));
    // Two lists of (offset, size), each ended by zeroes: data areas, then metadata areas.
    while let Some((offset, _)) = pair(at) {
        at = at.saturating_add(16);
        if offset == 0 {
            break;
        }
    }
    while let Some((offset, size)) = pair(at).filter(|(offset, _)| *offset != 0) {
        at = at.saturating_add(16);
        if let Some(text) = area(source, offset, size)? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// The text in one area. It goes round: what does not fit at the end is at the start.
fn area(source: &Source, offset: u64, size: u64) -> Result<Option<Vec<u8>>> {
    let mut mda_header = [0; 512];
    source.read_at(offset, &mut mda_header)?;
    let magic = mda_header.get(4..20) == Some(b" LVM2 x[5A%r0N*>");
    let number = |at| field::u64_at(&mda_header, at);
    let Some((raw_locn_offset, raw_locn_size)) = number(40).zip(number(48)).filter(|_| magic) else {
        return Ok(None);
    };
    let room = size.checked_sub(MDA_HEADER);
    if raw_locn_offset == 0 || raw_locn_size > TEXT || room.is_none_or(|room| raw_locn_size > room) {
        return Ok(None);
    }
    let first = raw_locn_size.min(size.saturating_sub(raw_locn_offset));
    let round = raw_locn_size.saturating_sub(first);
    let mut text = vec![];
    for (start, len) in [(raw_locn_offset, first), (MDA_HEADER, round)] {
        let mut piece = vec![0; usize::try_from(len).unwrap_or(0)];
        source.read_at(offset.saturating_add(start), &mut piece)?;
        text.extend_from_slice(&piece);
    }
    Ok(Some(text))
}

/// This physical volume in its group.
struct Here<'a> {
    /// As segments call it: `pv0`.
    name: &'a str,
    /// Bytes before its first extent.
    start: u64,
    /// Bytes of an extent.
    extent: u64,
}

impl<'a> Here<'a> {
    fn of(group: &'a Section, uuid: &[u8]) -> Option<Self> {
        let extent = group.number("extent_size")?.checked_mul(SECTOR)?;
        let is_this = |pv: &Section| {
            let id = pv.text("id").unwrap_or_default().bytes().filter(|letter| *letter != b'-');
            id.eq(uuid.iter().copied())
        };
        let mut volumes = group.section("physical_volumes")?.sections.iter();
        let (name, pv) = volumes.find(|(_, pv)| is_this(pv))?;
        Some(Self { name, start: pv.number("pe_start")?.checked_mul(SECTOR)?, extent })
    }

    /// The bytes of a logical volume.
    fn volume(&self, source: &Source, volume: &Section) -> Result<Source> {
        let count = usize::try_from(volume.number("segment_count").unwrap_or(0)).unwrap_or(usize::MAX);
        if count > MANY {
            return Err(corrupt("too many segments"));
        }
        let (mut parts, mut next) = (Vec::<Source>::new(), 0);
        for number in 1..=count {
            let segment =
                volume.section(&format!("segment{number}")).ok_or_else(|| corrupt("a segment is missing"))?;
            let kind = segment.text("type").unwrap_or_default();
            if kind != "striped" || segment.number("stripe_count") != Some(1) {
                return Err(unsupported(format!(
                    "a logical volume of type {kind}: only linear ones can be read"
                )));
            }
            let (start, extents) = segment
                .number("start_extent")
                .zip(segment.number("extent_count"))
                .ok_or_else(|| corrupt("a segment without extents"))?;
            let Some([Value::Text(pv), Value::Number(first)]) =
                segment.values.get("stripes").map(Vec::as_slice)
            else {
                return Err(corrupt("a segment without a place"));
            };
            if pv != self.name {
                return Err(unsupported(format!("a part of it lies on another disk, {pv} of its group")));
            }
            if start != next {
                return Err(corrupt("segments that do not follow each other"));
            }
            next = next.saturating_add(extents);
            let range = first
                .checked_mul(self.extent)
                .and_then(|bytes| bytes.checked_add(self.start))
                .zip(extents.checked_mul(self.extent))
                .and_then(|(start, len)| ByteRange::new(start, len))
                .ok_or_else(|| corrupt("extents beyond everything"))?;
            parts.push(Arc::new(Slice::new(Source::clone(source), range)?));
        }
        Ok(Arc::new(Concat::new(parts)?))
    }
}
