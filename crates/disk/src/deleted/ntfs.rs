//! Deleted files of NTFS: records of the master file table that are not in use keep their names, their folders
//! and where their bytes are, until another file gets the record.

use super::bits::Bitmap;
use super::claims::{Tally, settle};
use super::content::{Place, Run, Runs, push, written_to};
use super::names::join;
use super::ntfs_record::{ATTRIBUTE_LIST, Attribute, DATA, Named, REPARSE_POINT, Record, Reference, listed};
use super::reads::Reads;
use super::{Chance, Content, DeletedFile, Found};
use crate::fs::Time;
use crate::fs::ntfs::{Algorithm, Geometry, Lznt1, Reparse, WOF_STREAM, is_away};
use crate::probe::mapping;
use block::{Error, ErrorKind, ExtentKind, Result, Source};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Numbers of records that do not change; the first that is a user's.
const BITMAP: u64 = 6;
const ROOT: u64 = 5;
const FIRST_USER: u64 = 24;
/// Bytes of the table that are read at once.
const PIECE: u64 = 128 << 10;
/// Folders in folders.
const DEPTH: usize = 128;
/// Runs of one attribute.
const RUNS: usize = 100_000;
/// Bytes of an attribute list, and records that it may name.
const LIST: u64 = 256 << 10;
const HOLDERS: usize = 1000;
/// Streams of one file beyond 2^16 could not be told apart.
const STREAMS: usize = 1 << 15;

/// A volume.
struct Volume<'a> {
    reads: &'a Reads,
    cluster: u64,
    clusters: u64,
    /// Bytes of a record.
    record: u64,
    table: Source,
    bitmap: Bitmap,
    /// Paths that are known.
    paths: HashMap<Reference, Option<Vec<u8>>>,
}

/// A stream of a file.
struct Stream {
    size: u64,
    content: Content,
    why: Option<&'static str>,
}

impl<'a> Volume<'a> {
    fn open(reads: &'a Reads) -> Result<Self> {
        let bad = || Error::new(ErrorKind::Corrupt, "a boot sector of NTFS that makes no sense");
        let boot = reads.get(0, 512)?.ok_or_else(bad)?;
        let Geometry { cluster, clusters, record, mft, .. } = Geometry::parse(&boot).ok_or_else(bad)?;
        let clusters = clusters.min(reads.size().checked_div(cluster).unwrap_or(0));
        let none = |size| -> Source { Arc::new(Runs::new(reads.source(), &[], size)) };
        let bitmap = Bitmap { file: none(0), units: clusters };
        let mut volume =
            Self { reads, cluster, clusters, record, table: none(0), bitmap, paths: HashMap::new() };
        let no_table = || Error::new(ErrorKind::Corrupt, "the master file table is not where it should be");
        let first = reads.get(mft, record)?.and_then(Record::of).ok_or_else(no_table)?;
        // What the record itself maps holds those that map the rest.
        for _ in 0..2 {
            let stream = volume.streams(0, &first)?.remove(&vec![]).filter(is_plain).ok_or_else(no_table)?;
            volume.table = stream.content.open(reads.source(), stream.size)?;
        }
        if let Some(record) = volume.record(BITMAP)?
            && let Some(stream) = volume.streams(BITMAP, &record)?.remove(&vec![]).filter(is_plain)
        {
            volume.bitmap.file = stream.content.open(reads.source(), stream.size)?;
        }
        Ok(volume)
    }

    /// A record by its number, if it is there and whole.
    fn record(&self, number: u64) -> Result<Option<Record>> {
        let Some(at) = number.checked_mul(self.record) else { return Ok(None) };
        Ok(self.reads.get_of(&*self.table, at, self.record)?.and_then(Record::of))
    }

    /// The records that hold more of this one's attributes, if there are any.
    fn more(&self, number: u64, record: &Record) -> Result<Option<Vec<Record>>> {
        let Some(list) = record.find(ATTRIBUTE_LIST) else { return Ok(None) };
        let list = match list.value() {
            Some(list) => list.to_vec(),
            None => {
                let size = list.sizes().map_or(0, |(size, _)| size.min(LIST));
                let runs = Runs::new(self.reads.source(), &self.runs(&[list]), size);
                self.reads.get_of(&runs, 0, size)?.unwrap_or_default()
            }
        };
        let mut holders = vec![];
        for holder in listed(&list).into_iter().filter(|holder| *holder != number).take(HOLDERS) {
            let more = self.record(holder)?;
            holders.extend(more.filter(|more| more.base.is_some_and(|base| base.number == number)));
        }
        Ok(Some(holders))
    }

    /// All streams of data by name; the content has none.
    fn streams(&self, number: u64, record: &Record) -> Result<BTreeMap<Vec<u8>, Stream>> {
        let more = self.more(number, record)?.unwrap_or_default();
        let mut parts: BTreeMap<Vec<u8>, Vec<Attribute<'_>>> = BTreeMap::new();
        for attribute in std::iter::once(record).chain(&more).flat_map(Record::attributes) {
            if attribute.kind == DATA {
                parts.entry(attribute.name()).or_default().push(attribute);
            }
        }
        let mut streams = BTreeMap::new();
        for (name, mut parts) in parts.into_iter().take(STREAMS) {
            parts.sort_by_key(Attribute::lowest);
            if let Some(stream) = self.stream(&parts) {
                streams.insert(name, stream);
            }
        }
        Ok(streams)
    }

    /// A stream of attributes that map one part after another.
    fn stream(&self, parts: &[Attribute<'_>]) -> Option<Stream> {
        const COMPRESSED: u16 = 0xFF;
        const ENCRYPTED: u16 = 0x4000;
        let first = parts.first()?;
        if first.is_resident() {
            let bytes = first.value()?;
            let size = u64::try_from(bytes.len()).ok()?;
            return Some(Stream { size, content: Content::Bytes(bytes.into()), why: None });
        }
        let (size, written) = first.sizes().filter(|_| first.lowest() == 0)?;
        let runs = self.runs(parts);
        let flags = first.flags();
        let (content, why) = if flags & ENCRYPTED != 0 {
            (Content::Other("an encrypted file of NTFS", runs.into()), Some("it is encrypted"))
        } else if flags & COMPRESSED == 0 || first.unit() == 0 {
            (Content::Runs(written_to(&runs, written).into()), None)
        } else {
            // Which cluster is a hole says how its unit is packed: of one that is not known nothing can be said.
            let known = runs.iter().all(|run| run.place != Place::Unknown);
            let reach = runs.iter().fold(0u64, |sum, run| sum.saturating_add(run.len));
            let how = Lznt1::of(flags, first.unit(), self.cluster, written);
            match how.filter(|_| known && reach >= size) {
                Some(how) => (Content::Packed(runs.into(), how), None),
                None => {
                    let words = "a compressed file of NTFS that is not all known";
                    (Content::Other(words, runs.into()), Some("it is compressed"))
                }
            }
        };
        Some(Stream { size, content, why })
    }

    /// What Windows keeps otherwise than as the content of the file: what stands there instead are holes.
    fn reparsed(&self, record: &Record, more: &[Record], streams: &mut BTreeMap<Vec<u8>, Stream>) {
        let all = || std::iter::once(record).chain(more);
        let Some(point) = all().find_map(|record| record.find(REPARSE_POINT)) else { return };
        let reparse = point.value().and_then(Reparse::parse);
        let packed = match &reparse {
            Some(Reparse::Wof(_)) => streams.remove(WOF_STREAM),
            _ => None,
        };
        let Some(stream) = streams.get_mut(&vec![]) else { return };
        let (content, why) = match (reparse, packed) {
            (Some(Reparse::Link(_) | Reparse::Special(_)), _) => return,
            (Some(Reparse::Cloud), _) if !is_away(record.windows_attributes()) => return,
            (Some(Reparse::Wof(how)), Some(packed)) if !matches!(packed.content, Content::Other(..)) => {
                match Algorithm::of(&how) {
                    Ok(how) => (Content::Wof(packed.content.into(), packed.size, how), packed.why),
                    Err(_) => (
                        Content::Other("a file that Windows compressed", packed.content.runs().into()),
                        Some("it is compressed"),
                    ),
                }
            }
            (Some(Reparse::Wof(_)), _) => {
                (Content::Other("a file that Windows compressed", Arc::new([])), Some("it is compressed"))
            }
            _ => (
                Content::Other("a file whose bytes Windows kept elsewhere", Arc::new([])),
                Some("its bytes were kept elsewhere"),
            ),
        };
        stream.content = content;
        stream.why = stream.why.or(why);
    }

    /// The runs of these parts.
    fn runs(&self, parts: &[Attribute<'_>]) -> Vec<Run> {
        let (mut runs, mut at) = (vec![], 0u64);
        for part in parts {
            let bytes = |clusters: u64| clusters.saturating_mul(self.cluster);
            let gap = part.lowest().saturating_sub(at);
            if part.lowest() < at || gap > self.clusters {
                break;
            }
            push(&mut runs, bytes(gap), Place::Unknown);
            at = part.lowest();
            for (count, start) in part.pairs().and_then(|pairs| mapping(pairs, RUNS)).unwrap_or_default() {
                let end = start.map(|start| start.checked_add(count));
                let place = match (start, end) {
                    (None, _) => Place::Zero,
                    (Some(start), Some(Some(end))) if end <= self.clusters => Place::At(bytes(start)),
                    _ => Place::Unknown,
                };
                push(&mut runs, bytes(count), place);
                at = at.saturating_add(count);
            }
        }
        runs
    }

    /// The path of a folder, in use or deleted.
    fn path(&mut self, folder: Reference, depth: usize) -> Result<Option<Vec<u8>>> {
        if folder.number == ROOT {
            return Ok(Some(vec![]));
        }
        if let Some(known) = self.paths.get(&folder) {
            return Ok(known.clone());
        }
        let Some(depth) = depth.checked_sub(1) else { return Ok(None) };
        // A folder that leads back to itself has no path.
        self.paths.insert(folder, None);
        let record = self.record(folder.number)?.filter(|record| {
            let sequence = if record.is_used { folder.sequence } else { after(folder.sequence) };
            record.is_folder && record.sequence == sequence
        });
        let path = match record.and_then(|record| record.names().into_iter().next()) {
            Some(named) => self.path(named.folder, depth)?.map(|above| join(&above, &named.name)),
            None => None,
        };
        self.paths.insert(folder, path.clone());
        Ok(path)
    }

    /// When the file that is in a record now was made; the latest it can be.
    fn born(&self, record: &Record, names: &[Named]) -> Result<Option<Time>> {
        let named = names.iter().filter_map(|named| named.created).max();
        if let Some(base) = record.base {
            // It has no times of its own, and was taken when its file grew.
            let base = self.record(base.number)?;
            return Ok(base.and_then(|base| base.times().into_iter().flatten().max()));
        }
        let [created, ..] = record.times();
        Ok(named.max(created))
    }

    /// The deleted files of one record.
    fn files(&mut self, number: u64, record: &Record) -> Result<Vec<DeletedFile>> {
        let more = self.more(number, record)?;
        let mut names = record.names();
        for more in more.iter().flatten() {
            names.extend(more.names());
        }
        let named = names.into_iter().next();
        let folder = match &named {
            Some(named) => self.path(named.folder, DEPTH)?,
            None => None,
        };
        let mut streams = self.streams(number, record)?;
        self.reparsed(record, more.as_deref().unwrap_or_default(), &mut streams);
        let lost = more.is_some() && !streams.contains_key(&vec![]) && !record.is_folder;
        if let Some(named) = named.as_ref().filter(|_| lost) {
            let why = Some("where it was is not known any more");
            let content = Content::Runs(Arc::new([]));
            streams.insert(vec![], Stream { size: named.size, content, why });
        }
        let [created, modified, changed, accessed] = record.times();
        let mut files = vec![];
        for ((name, stream), index) in streams.into_iter().zip(0u64..) {
            let mut file = DeletedFile::new(number | (index << 48), stream.size, stream.content);
            let whole = named.as_ref().map(|named| match &name[..] {
                b"" => named.name.clone(),
                stream => [&named.name, &b":"[..], stream].concat(),
            });
            file = DeletedFile {
                name: whole,
                folder: folder.clone(),
                created,
                modified,
                changed,
                accessed,
                ..file
            };
            if let Some(why) = stream.why {
                let chance =
                    if file.content.runs().is_empty() { Chance::Overwritten } else { Chance::Partial };
                file.worsen(chance, why);
            }
            self.judge(&mut file)?;
            files.push(file);
        }
        Ok(files)
    }

    /// By what is free now.
    fn judge(&self, file: &mut DeletedFile) -> Result<()> {
        let mut tally = Tally::default();
        let mut reach = 0u64;
        for run in file.content.runs() {
            reach = reach.saturating_add(run.len);
            if run.place == Place::Unknown {
                tally.add(true);
            }
        }
        if reach < file.content.needed(file.size) {
            tally.add(true);
        }
        for place in file.content.places(file.size) {
            let first = place.start().checked_div(self.cluster).unwrap_or(0);
            let end = place.end().div_ceil(self.cluster);
            self.bitmap.tally(self.reads, first, end.saturating_sub(first), &mut tally)?;
        }
        tally.worsen(file, "some of its place is in use now", "all of its place is in use now");
        Ok(())
    }
}

/// What the volume keeps for itself is never compressed, and would take long to look things up in.
fn is_plain(stream: &Stream) -> bool {
    matches!(stream.content, Content::Bytes(_) | Content::Runs(_))
}

/// The number of a record after its file was deleted: 0 is left out.
fn after(sequence: u16) -> u16 {
    sequence.checked_add(1).unwrap_or(1)
}

pub(super) fn find(reads: &Reads, type_name: &'static str) -> Result<Found> {
    let mut volume = Volume::open(reads)?;
    let mut found = Found::new(type_name);
    // Whoever had a record before its file of now left no trace; when that was made is all that is known.
    let mut reused: Option<Time> = None;
    let (mut runs, mut last) = (0usize, vec![]);
    let (mut at, end) = (FIRST_USER.saturating_mul(volume.record), volume.table.size());
    'table: while at < end {
        let len = PIECE.min(end.saturating_sub(at));
        let known = volume.table.extent_at(at)?;
        let is_zero = known.kind == ExtentKind::Zero && known.range.len() >= len;
        let piece = if is_zero { None } else { reads.get_of(&*volume.table, at, len)? };
        let size = usize::try_from(volume.record).unwrap_or(usize::MAX);
        let first = at.checked_div(volume.record).unwrap_or(0);
        for (number, bytes) in (first..).zip(piece.as_deref().unwrap_or_default().chunks_exact(size)) {
            let Some(record) = Record::of(bytes.to_vec()) else { continue };
            let names = record.names();
            let born = volume.born(&record, &names)?;
            // One more for each file that it had, and one for being deleted.
            if record.sequence > if record.is_used { 1 } else { 2 } {
                let never = Time { seconds: i64::MAX, nanos: 0 };
                reused = reused.max(Some(born.unwrap_or(never)));
            }
            if record.is_used || record.base.is_some() {
                continue;
            }
            let [.., changed, _] = record.times();
            for file in volume.files(number, &record)? {
                if found.is_full(file.content.runs().len(), &mut runs) {
                    break 'table;
                }
                found.files.push(file);
                last.push(born.max(changed));
            }
        }
        at = at.saturating_add(len);
    }
    settle(&mut found.files);
    for (file, last) in found.files.iter_mut().zip(last) {
        let elsewhere = file.content.places(file.size).next().is_some();
        if elsewhere && reused.is_some() && reused >= last {
            file.worsen(Chance::Partial, "files came and went since, and may have had its place");
        }
    }
    found.missing.push("Deleted files are found only while nobody else has their records.".to_owned());
    Ok(found)
}
