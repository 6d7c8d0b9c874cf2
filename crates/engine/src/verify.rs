//! Proves a backup intact, and compares one with a disk.

use crate::context::{Context, Side, UNIT};
use crate::copy::{copy, copy_steps, stored_steps};
use crate::differing::{Differing, Sorter};
use crate::open::Subject;
use crate::plan::Plan;
use crate::sinks::{Check, Compare};
use block::{Buffer, ByteRange, Encode, Error, ErrorKind, Folder, Result, SectorSize, Sink};
use image::{Backup, Hex, Manifest, Store, Sums};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// File of the backup's folder.
    pub file: String,
    /// Region of the disk, in words: "partition 2".
    pub region: Option<String>,
    /// First and last sector of the disk that is not proved.
    pub lba: Option<(u64, u64)>,
    /// What is wrong, in words.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file)?;
        if let Some(region) = &self.region {
            write!(f, "{region}, ")?;
        }
        if let Some((first, last)) = self.lba {
            write!(f, "LBA {first} to {last}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// What verify found.
#[derive(Debug, Default)]
pub struct Verified {
    /// All that is wrong. Empty: intact.
    pub faults: Vec<Fault>,
    /// SHA-256 of SHA256SUMS.
    pub seal: String,
    /// BASE of the backup.
    pub name: String,
    /// Files that were checked.
    pub files: usize,
    /// Bytes that were checked, as stored.
    pub bytes: u64,
    /// Bytes of the disk that could not be read when it was saved.
    pub bad: u64,
    /// Bytes of the disk that were left out.
    pub absent: u64,
}

/// The longest file that is neither a stored file nor the index, in bytes (FORMAT 1).
const MAX_OTHER: u64 = 1 << 30;
const TOO_LARGE: &str = "it is larger than 1 GiB, which no file of its kind is";

/// Most faults that are listed; a lost file has millions.
const MAX_FAULTS: usize = 1000;

/// Reads every file of the backup in `folder` past the page cache and checks every digest. Damage is an
/// answer, not an error; errors are what kept it from looking. `expect`: the seal that it must have.
pub fn verify(folder: &Arc<dyn Folder>, expect: Option<&str>, ctx: &Context) -> Result<Verified> {
    let store = Store::of(Arc::clone(folder));
    store.must_be_finished()?;
    let mut found = Verified::default();
    let sums_text = store.read_small(Sums::NAME, Sums::MAX).map_err(|error| {
        let damaged = error.kind() == ErrorKind::NotFound && store.open_read(image::MANIFEST, false).is_ok();
        if damaged { error.with_kind(ErrorKind::Corrupt) } else { error }
    })?;
    found.seal = Hex::<32>(Sha256::digest(&sums_text).into()).to_string();
    if expect.is_some_and(|seal| seal != found.seal) {
        found.fault(Sums::NAME, format!("its seal is {}, not the one that was expected", found.seal));
    }
    let sums = match Sums::parse(&sums_text) {
        Ok(sums) => sums,
        Err(error) => {
            found.fault(Sums::NAME, error.to_string());
            Sums::default()
        }
    };
    let present: BTreeMap<String, u64> = store.names()?.into_iter().collect();
    for name in sums.names().filter(|name| !present.contains_key(*name)) {
        found.fault(name, "is missing");
    }
    let listed: Vec<&str> = sums.names().collect();
    if !listed.is_empty() {
        let extra = present.keys().filter(|name| *name != Sums::NAME && !listed.contains(&name.as_str()));
        extra.for_each(|name| found.fault(name, "does not belong to this backup"));
    }
    let all = present.values().fold(0, |sum: u64, size| sum.saturating_add(*size));
    ctx.expect(&[(all, UNIT)]);
    ctx.phase("checking", Side::Source, all, UNIT);

    let (mut summed, mut stored) = (BTreeMap::new(), BTreeSet::new());
    match Backup::of(Store::of(Arc::clone(folder))) {
        Err(error) if error.kind() == ErrorKind::Unsupported => return Err(error),
        Err(error) => found.fault(&error_file(&store, &error), error.to_string()),
        Ok(backup) => {
            let manifest = backup.manifest();
            found.name.clone_from(&manifest.name);
            if let Some(totals) = &manifest.totals {
                (found.bad, found.absent) = (totals.bad, totals.absent);
            }
            found.take(manifest, backup.check_structure());
            for number in 0..manifest.files.len() {
                let checked = check_stored(&backup, number, ctx)?;
                found.take(manifest, checked.faults);
                summed.extend(checked.sums);
                stored.extend(manifest.files[number].parts.iter().map(|part| part.name.clone()));
            }
            let other = |name: &str| !stored.contains(name) && name != manifest.index.name;
            for (name, _) in present.iter().filter(|(name, size)| other(name) && **size > MAX_OTHER) {
                found.fault(name, TOO_LARGE);
            }
        }
    }
    for (name, size) in &present {
        found.files += 1;
        found.bytes += size;
        let Some(want) = sums.get(name) else { continue };
        // What is named is wrong already, and what has no sum could not be opened as the manifest has it:
        // a hole of any length may be in its place.
        if found.faults.iter().any(|fault| fault.file == *name) {
            continue;
        }
        let have = match summed.get(name) {
            Some(sum) => *sum,
            None if stored.contains(name) => continue,
            None => sum_file(&store, name, ctx)?,
        };
        if have != want {
            found.fault(name, "its bytes are not those that SHA256SUMS tells of");
        }
    }
    Ok(found)
}

/// An error that does not name the index is about the manifest: it is read first.
fn error_file(store: &Store, error: &Error) -> String {
    let index = store.peek().ok().map(|manifest| manifest.index.name);
    let named = index.filter(|name| error.to_string().contains(name.as_str()));
    named.unwrap_or_else(|| image::MANIFEST.to_owned())
}

impl Verified {
    fn fault(&mut self, file: &str, what: impl Into<String>) {
        let what = what.into();
        self.faults.push(Fault { file: file.to_owned(), region: None, lba: None, what });
    }

    /// With the regions and sectors that the image's faults hit.
    fn take(&mut self, manifest: &Manifest, faults: Vec<image::Fault>) {
        for fault in faults {
            let before = self.faults.len();
            if before > MAX_FAULTS {
                return;
            }
            if let Some((number, plain)) = fault.plain {
                self.faults.extend(on_disk(manifest, number, plain).map(|(region, lba)| Fault {
                    file: fault.file.clone(),
                    region: Some(region),
                    lba: Some(lba),
                    what: fault.what.clone(),
                }));
            }
            if self.faults.len() == before {
                self.fault(&fault.file, fault.what);
            }
        }
    }
}

/// Proves what restoring does not read anyway: the small files, the index, zero frames, seek tables. So
/// that a backup with one wrong byte anywhere is not restored as if it were whole.
pub fn check_rest(backup: &Backup, ctx: &Context) -> Result<()> {
    let store = backup.store();
    let corrupt =
        |fault: &dyn fmt::Display| Error::new(ErrorKind::Corrupt, format!("the backup is damaged: {fault}"));
    let sums = Sums::parse(&store.read_small(Sums::NAME, Sums::MAX)?)?;
    let present = store.names()?;
    if let Some(name) = sums.names().find(|name| !present.iter().any(|(there, _)| there == name)) {
        return Err(corrupt(&format!("{name} is missing")));
    }
    let manifest = backup.manifest();
    let stored =
        |name: &str| manifest.files.iter().flat_map(|file| &file.parts).any(|part| part.name == name);
    for (name, size) in present.iter().filter(|(name, _)| name != Sums::NAME && !stored(name)) {
        let want = sums.get(name).ok_or_else(|| corrupt(&format!("{name} does not belong to it")))?;
        if *size > MAX_OTHER && *name != manifest.index.name {
            return Err(corrupt(&format!("{name}: {TOO_LARGE}")));
        }
        if sum_file(store, name, ctx)? != want {
            return Err(corrupt(&format!("{name}: its bytes are not those that SHA256SUMS tells of")));
        }
    }
    let mut faults = backup.check_structure();
    for number in 0..manifest.files.len() {
        ctx.check_cancel()?;
        faults.extend(backup.check_unread(number)?);
    }
    match faults.first() {
        None => Ok(()),
        Some(fault) => Err(corrupt(&format!("{}: {}", fault.file, fault.what))),
    }
}

/// The regions and sectors (first, last) in which plain bytes of a stored file lie.
fn on_disk(
    manifest: &Manifest,
    number: usize,
    plain: ByteRange,
) -> impl Iterator<Item = (String, (u64, u64))> {
    let sector = SectorSize::new(manifest.disk.sector_size).unwrap_or(SectorSize::B512);
    manifest.regions.iter().filter_map(move |region| {
        let (file, place) = region.plain()?;
        let hit = plain.intersect(place);
        if file != number || hit.is_empty() {
            return None;
        }
        let disk = hit.moved(place.start(), region.start);
        let last = sector.lba(disk.end() - 1);
        Some((region.role().to_string(), (sector.lba(disk.start()).0, last.0)))
    })
}

/// SHA-256 of a file as it is stored, read past the page cache.
pub(crate) fn sum_file(store: &Store, name: &str, ctx: &Context) -> Result<Hex<32>> {
    let file = store.open_read(name, true)?;
    let mut sum = Sha256::new();
    let mut memory = block::Buf::with_capacity(1 << 20);
    for here in ByteRange::span(0, file.size()).pieces(1 << 20) {
        ctx.check_cancel()?;
        memory.clear();
        let Some(bytes) = memory.grow(here.index(here.start()).end) else { break };
        file.read_at(here.start(), bytes)?;
        sum.update(&*bytes);
        ctx.advance(here.len());
    }
    Ok(Hex(sum.finalize().into()))
}

/// What a look at one stored file gives: from the same bytes, what is wrong and what SHA256SUMS says.
pub(crate) struct Checked {
    pub(crate) faults: Vec<image::Fault>,
    /// Of each part.
    pub(crate) sums: Vec<(String, Hex<32>)>,
}

/// Reads one stored file as it is stored, past the page cache: decodes and checks every frame on all
/// workers, and sums its parts in order.
pub(crate) fn check_stored(backup: &Backup, number: usize, ctx: &Context) -> Result<Checked> {
    let source = match backup.stored(number, true) {
        Ok(source) => source,
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            let file = backup.manifest().files[number].name.clone();
            let fault = image::Fault { file, plain: None, what: error.to_string() };
            return Ok(Checked { faults: vec![fault], sums: vec![] });
        }
        Err(error) => return Err(error),
    };
    let parts = backup.manifest().files[number].parts.iter().map(|part| (part.name.clone(), part.size));
    let sink = CheckStored { backup, number, faults: vec![], sums: PartSums::new(parts) };
    let pieces = backup.pieces(number, ctx.buffer as u64);
    Ok(copy_steps(stored_steps(number, pieces), &*source, sink, ctx)?.summary)
}

/// Checks pieces of a stored file.
struct CheckStored<'a> {
    backup: &'a Backup,
    number: usize,
    faults: Vec<image::Fault>,
    sums: PartSums,
}

/// Its parallel half.
struct CheckPiece<'a> {
    backup: &'a Backup,
    number: usize,
    scratch: image::Scratch,
}

impl Encode for CheckPiece<'_> {
    type Out = Vec<image::Fault>;

    fn encode(&mut self, buffer: &Buffer) -> Result<Vec<image::Fault>> {
        self.backup.check(self.number, buffer.offset, &buffer.data, &mut self.scratch)
    }
}

impl<'a> Sink for CheckStored<'a> {
    type Encoder = CheckPiece<'a>;
    type Summary = Checked;

    fn encoder(&self) -> CheckPiece<'a> {
        CheckPiece { backup: self.backup, number: self.number, scratch: image::Scratch::default() }
    }

    fn commit(&mut self, buffer: &Buffer, faults: Vec<image::Fault>) -> Result<()> {
        self.sums.update(&buffer.data);
        let room = MAX_FAULTS.saturating_sub(self.faults.len());
        self.faults.extend(faults.into_iter().take(room));
        Ok(())
    }

    fn finish(self) -> Result<Checked> {
        Ok(Checked { faults: self.faults, sums: self.sums.finish() })
    }
}

/// SHA-256 of the parts of a stored file, from its joined bytes in order.
struct PartSums {
    left: std::collections::VecDeque<(String, u64)>,
    sum: Sha256,
    done: Vec<(String, Hex<32>)>,
}

impl PartSums {
    fn new(parts: impl Iterator<Item = (String, u64)>) -> Self {
        Self { left: parts.collect(), sum: Sha256::new(), done: vec![] }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while let Some((name, left)) = self.left.front_mut() {
            let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
            self.sum.update(now);
            *left -= now.len() as u64;
            bytes = later;
            if *left > 0 {
                return;
            }
            let sum = std::mem::take(&mut self.sum).finalize();
            self.done.push((std::mem::take(name), Hex(sum.into())));
            self.left.pop_front();
        }
    }

    fn finish(self) -> Vec<(String, Hex<32>)> {
        self.done
    }
}

/// Most runs of sectors that are listed where a disk differs, 16 bytes each.
pub const MAX_RANGES: usize = 100_000;

/// Where a backup and a disk differ.
#[derive(Debug, Default)]
pub struct Differences {
    /// First and last sector of each run, ascending; of very many the first [`MAX_RANGES`].
    pub lba: Vec<(u64, u64)>,
    /// Runs in all.
    pub places: u64,
    /// What lies there, by first sector.
    pub classes: Vec<Differing>,
    /// Sectors in all.
    pub sectors: u64,
    /// Bytes of the backup that are bad or absent, and so were not compared.
    pub not_compared: u64,
    /// Bytes that the other one has more (or less, negative).
    pub size: i128,
}

impl Differences {
    fn add(&mut self, first: u64, last: u64) {
        self.places += 1;
        self.sectors += last - first + 1;
        if self.lba.len() < MAX_RANGES {
            self.lba.push((first, last));
        }
    }

    /// Puts the runs in order, those that touch as one.
    fn in_order(&mut self) {
        self.lba.sort_unstable();
        let before = self.lba.len();
        self.lba.dedup_by(|next, run| {
            let touches = next.0 == run.1 + 1;
            if touches {
                run.1 = next.1;
            }
            touches
        });
        self.places -= (before - self.lba.len()) as u64;
    }
}

/// Compares a backup with a disk or image: every byte that the backup holds. Where its digests say the same,
/// the backup itself is not read.
pub fn against(backup: &Backup, reference: &Subject, ctx: &Context) -> Result<Differences> {
    let plan = plan_of(backup.manifest())?;
    let source = backup.disk()?;
    let size = reference.source.size();
    let both = plan.only(ByteRange::span(0, size));
    ctx.expect(&[(both.bytes(), UNIT)]);
    ctx.phase("comparing", Side::Source, both.bytes(), UNIT);
    let manifest = backup.manifest();
    let sector = SectorSize::new(manifest.disk.sector_size).unwrap_or(SectorSize::B512);
    let sink = Sorted {
        check: Check::against(&*source, sector).proved_by(backup, &[]),
        sector,
        sorter: Sorter::new(&source, sector, manifest.disk.live),
        open: None,
        found: Differences::default(),
    };
    let found = copy(&both, &*reference.source, sink, ctx)?.summary;
    Ok(Differences {
        not_compared: manifest.totals.map_or(0, |totals| totals.bad + totals.absent),
        size: i128::from(size) - i128::from(source.size()),
        ..found
    })
}

/// Compares, and sorts what differs as it is found. Buffers come in disk order, but for those of the stored file
/// that is gathered from several regions.
struct Sorted<'a> {
    check: Check<'a>,
    sector: SectorSize,
    sorter: Sorter<'a>,
    /// The last run, which the next buffer may continue.
    open: Option<ByteRange>,
    found: Differences,
}

impl Sorted<'_> {
    fn close(&mut self) -> Result<()> {
        let Some(range) = self.open.take() else { return Ok(()) };
        let (first, last) = sectors(range, self.sector);
        self.found.add(first, last);
        self.sorter.add(range)
    }
}

impl<'a> Sink for Sorted<'a> {
    type Encoder = Compare<'a>;
    type Summary = Differences;

    fn encoder(&self) -> Compare<'a> {
        self.check.encoder()
    }

    fn commit(&mut self, _: &Buffer, differ: Vec<ByteRange>) -> Result<()> {
        for range in differ {
            match &mut self.open {
                Some(open) if open.end() == range.start() => {
                    *open = ByteRange::span(open.start(), range.end());
                }
                _ => {
                    self.close()?;
                    self.open = Some(range);
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Differences> {
        self.close()?;
        self.found.in_order();
        Ok(Differences { classes: self.sorter.finish(), ..self.found })
    }
}

/// First and last sector of a range that is not empty.
pub(crate) fn sectors(range: ByteRange, sector: SectorSize) -> (u64, u64) {
    (sector.lba(range.start()).0, sector.lba(range.end() - 1).0)
}

/// The plan that a backup was made by. What it left out is in no file.
pub(crate) fn plan_of(manifest: &Manifest) -> Result<Plan> {
    let region = |info: &image::RegionInfo| block::Region { range: info.range(), role: info.role() };
    Plan::new(manifest.disk.size, manifest.regions.iter().map(|info| (region(info), info.file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_differences_the_number_is_kept() {
        let mut found = Differences::default();
        for n in 0..MAX_RANGES as u64 + 5 {
            found.add(3 * n, 3 * n + 1);
        }
        assert_eq!(found.lba.len(), MAX_RANGES);
        assert_eq!(found.lba[1], (3, 4));
        assert_eq!((found.places, found.sectors), (MAX_RANGES as u64 + 5, 2 * (MAX_RANGES as u64 + 5)));
    }

    #[test]
    fn what_came_in_another_order_is_put_in_order() {
        let mut found = Differences::default();
        [(0, 4), (7, 8), (5, 6), (20, 20)].iter().for_each(|(first, last)| found.add(*first, *last));
        found.in_order();
        assert_eq!((found.lba, found.places, found.sectors), (vec![(0, 8), (20, 20)], 2, 10));
    }
}
