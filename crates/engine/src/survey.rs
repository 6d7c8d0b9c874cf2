//! What is on a disk: its layout, and what each region of it holds.

use block::{ByteRange, ErrorKind, Region, Result, Role, SectorSize, Slice, Source};
use disk::probe::{self, Content, StateKind};
use disk::sample::{self, Filled};
use std::sync::Arc;

/// A disk's layout with what its regions hold.
pub struct Survey {
    /// Table, partitions, regions.
    pub layout: disk::Layout,
    /// The array that the disk itself belongs to although it has a partition table.
    pub member: Option<Content>,
    /// One for each region of the layout, in its order.
    pub regions: Vec<Surveyed>,
}

/// What one region holds.
pub struct Surveyed {
    /// Where, and why it is one.
    pub region: Region,
    /// What was recognised: a filesystem, swap, a member of something.
    pub content: Option<Content>,
    /// Code in its first sector, in words.
    pub boot: Option<&'static str>,
    /// Zeroes or not, of what was not recognised.
    pub filled: Option<Filled>,
    /// Of a preamble: sectors behind the first one that are not all zero.
    pub more_sectors: Option<u64>,
    /// Its first sector could not be read.
    pub unreadable: bool,
}

/// Reads the layout and looks into each region. `sector`: the device's; `None` for a file, which is asked.
/// `deep` reads every byte of what was not recognised, to say whether it is zero. Unreadable places are
/// said, not errors.
pub fn survey(source: &Source, sector: Option<SectorSize>, deep: bool) -> Result<Survey> {
    let layout = disk::layout::read(&**source, sector)?;
    let regions = layout.regions.iter().map(|region| look(source, *region, layout.sector, deep));
    let regions = regions.collect::<Result<_>>()?;
    // What is one volume was looked at as a whole already.
    let whole = layout.regions.iter().any(|region| region.role == Role::Whole);
    let partitions: Vec<_> = layout.partitions.iter().map(|partition| partition.range).collect();
    let member = if whole { None } else { probe::disk_member(&**source, &partitions)? };
    Ok(Survey { layout, member, regions })
}

/// Nobody can have these bytes: they are said, not an error.
fn is_lost(error: &block::Error) -> bool {
    matches!(error.kind(), ErrorKind::Media | ErrorKind::Absent)
}

fn look(source: &Source, region: Region, sector: SectorSize, deep: bool) -> Result<Surveyed> {
    let mut found =
        Surveyed { region, content: None, boot: None, filled: None, more_sectors: None, unreadable: false };
    let len = sector.bytes().min(region.range.len());
    let mut first = vec![0; usize::try_from(len).unwrap_or(0)];
    match source.read_at(region.range.start(), &mut first) {
        Ok(()) => {}
        Err(error) if is_lost(&error) => found.unreadable = true,
        Err(error) => return Err(error),
    }
    match region.role {
        Role::Partition(_) | Role::Whole => {
            let volume = Slice::new(Arc::clone(source), region.range)?;
            found.content = probe::identify(&volume)?;
            found.boot = disk::boot::boot_sector(&first);
        }
        Role::Preamble => {
            found.boot = disk::boot::boot_sector(&first);
            found.more_sectors = Some(sectors_with_content(source, region.range, sector)?);
        }
        Role::Ebr => found.boot = disk::boot::boot_sector(&first),
        Role::Gap | Role::Tail => {}
    }
    let unknown = found.content.is_none() && !matches!(region.role, Role::Preamble | Role::Ebr | Role::Tail);
    if unknown {
        found.filled = Some(sample::fill(&**source, region.range, deep)?);
    }
    Ok(found)
}

/// How many sectors behind the first one are not all zero. A preamble has at most 1 MiB.
fn sectors_with_content(source: &Source, range: ByteRange, sector: SectorSize) -> Result<u64> {
    let mut bytes = vec![0; usize::try_from(range.len()).unwrap_or(0)];
    let good = match source.read_at(range.start(), &mut bytes) {
        Ok(()) => bytes.len(),
        Err(error) if is_lost(&error) => error.range().map_or(0, |bad| bad.index(range.start()).start),
        Err(error) => return Err(error),
    };
    let size = usize::try_from(sector.bytes()).unwrap_or(512);
    let not_zero = |sector: &&[u8]| sector.iter().any(|byte| *byte != 0);
    Ok(bytes[..good].chunks(size).skip(1).filter(not_zero).count() as u64)
}

impl Survey {
    /// What the user should know before copying: a Windows that is not shut down fully, and the like.
    pub fn advice(&self) -> Vec<String> {
        let mut advice = vec![];
        if let Some(member) = &self.member {
            advice.push(format!(
                "the disk itself belongs to an array ({}); partitions may continue on its other disks",
                member.sentence()
            ));
        }
        let found = |kind: StateKind| {
            let has = move |content: &Content| content.states.iter().any(|state| state.kind == kind);
            self.regions.iter().filter(move |r| r.content.as_ref().is_some_and(has))
        };
        for surveyed in found(StateKind::Hibernated) {
            let is_swap = |content: &Content| content.usage == probe::Usage::Swap;
            let how = match surveyed.content.as_ref().is_some_and(is_swap) {
                true => "a Linux system sleeps in it: to shut that down fully, start it and power it off",
                false => {
                    "to shut Windows down fully, start it and run `shutdown /s /t 0`, or hold Shift while choosing \
                     Shut down"
                }
            };
            advice.push(format!("{}: hibernated; it is copied as it is; {how}", surveyed.region.role));
        }
        for surveyed in found(StateKind::Dirty) {
            advice.push(format!(
                "{}: was not cleanly unmounted; it is copied as it is, and will be repaired when it is next used",
                surveyed.region.role
            ));
        }
        advice
    }

    /// Nothing on it: no table, nothing recognised, and zeroes wherever it was looked at. One that cannot
    /// be read may hold anything.
    pub fn is_blank(&self) -> bool {
        let is_empty = |filled: &Filled| filled.zero && filled.unreadable == 0;
        matches!(self.layout.table, disk::Table::None)
            && self.regions.iter().all(|r| r.content.is_none() && r.filled.as_ref().is_none_or(is_empty))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Memory;

    #[test]
    fn what_cannot_be_read_is_not_blank() {
        let blank = |bad: Vec<ByteRange>| {
            let disk = Memory::new(vec![0; 1 << 20]).with(|disk| disk.bad = bad);
            survey(&(Arc::new(disk) as Source), None, false).unwrap().is_blank()
        };
        assert!(blank(vec![]));
        for bad in
            [ByteRange::span(0, 512), ByteRange::span((1 << 20) - 512, 1 << 20), ByteRange::span(0, 1 << 20)]
        {
            assert!(!blank(vec![bad]), "{bad:?}");
        }
    }
}
