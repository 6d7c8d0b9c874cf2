//! What FORMAT 2 demands of a manifest beyond its JSON types.

use super::{DiskInfo, FORMAT, FileInfo, Manifest, RegionInfo, RoleName};
use crate::name::check_name;
use block::{Error, ErrorKind, Result, SectorSize};
use std::collections::BTreeSet;

/// Numbers lie below this.
const LIMIT: u64 = 1 << 63;
/// The smallest grid, in bytes.
const MIN_GRID: u64 = 1 << 16;
/// Frames that a disk of any size has at most.
const MAX_FRAMES: u64 = 1 << 24;

/// The largest disk that a backup holds, in bytes: 256 TiB. Its frames are of 16 MiB, and the buffers of a
/// job are at least one frame long: what a manifest says may not take more memory than there is.
pub const MAX_DISK: u64 = 1 << 48;

/// The grid of a disk of this size, in bytes: the smallest power of two from 64 KiB on that cuts it into
/// at most 2^24 frames.
pub fn grid_for(disk_size: u64) -> u64 {
    disk_size.div_ceil(MAX_FRAMES).clamp(MIN_GRID, LIMIT).next_power_of_two()
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, what)
}

fn demand(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(wrong(what)) }
}

impl Manifest {
    /// All of FORMAT 2 that one manifest can show.
    pub(super) fn check(&self) -> Result<()> {
        demand(self.format == FORMAT && self.requires.is_empty(), "format and requires of another version")?;
        check_name(&self.name)?;
        self.disk.check()?;
        demand(self.grid == grid_for(self.disk.size), "grid does not fit the size of the disk")?;
        for time in [Some(&self.started), self.finished.as_ref()].into_iter().flatten() {
            check_time(time)?;
        }
        for sitting in &self.sittings {
            check_time(&sitting.started)?;
            sitting.ended.iter().try_for_each(|time| check_time(time))?;
        }
        self.check_names()?;
        self.check_regions()?;
        self.check_free_space()?;
        let finished = self.finished.is_some();
        demand(self.index.pages.is_some() == self.index.digest.is_some(), "index without pages or digest")?;
        demand(!finished || self.index.digest.is_some(), "finished without an index digest")?;
        demand(!finished || self.totals.is_some(), "finished without totals")?;
        demand(!finished || self.files.iter().all(|file| !file.parts.is_empty()), "finished without parts")?;
        if let Some(totals) = self.totals {
            let kinds = [totals.data, totals.zero, totals.absent, totals.bad];
            let sum = kinds.iter().try_fold(0_u64, |sum, kind| sum.checked_add(*kind));
            demand(sum == Some(self.disk.size), "totals are not the size of the disk")?;
        }
        Ok(())
    }

    /// Names are names and occur once.
    fn check_names(&self) -> Result<()> {
        demand(!self.files.is_empty(), "no stored files")?;
        let mut seen = BTreeSet::from(["manifest.json", "SHA256SUMS", "RESTORE.txt", "log.txt"]);
        check_name(&self.index.name)?;
        demand(seen.insert(&self.index.name), "a file name occurs twice")?;
        for file in &self.files {
            file.check()?;
            demand(seen.insert(&file.name), "a file name occurs twice")?;
            for part in file.parts.iter().filter(|part| part.name != file.name) {
                demand(seen.insert(&part.name), "a file name occurs twice")?;
            }
        }
        Ok(())
    }

    /// Volumes lie on the disk, and not more of them is absent than there is.
    fn check_free_space(&self) -> Result<()> {
        let mut at = 0;
        for volume in self.free_space.iter().flatten() {
            let end = volume.start.checked_add(volume.length).filter(|end| *end <= self.disk.size);
            demand(volume.start >= at, "volumes with free space are not in order")?;
            at = end.ok_or_else(|| wrong("a volume with free space leaves the disk"))?;
            let room = volume.length.checked_sub(volume.used);
            demand(room.is_some_and(|room| volume.absent <= room), "more is absent than was free")?;
        }
        Ok(())
    }

    /// Regions cover the disk and fill the files.
    fn check_regions(&self) -> Result<()> {
        let mut at = 0;
        let mut filled = vec![0_u64; self.files.len()];
        for region in &self.regions {
            demand(region.start == at && region.length > 0, "regions do not cover the disk end to end")?;
            at = at.checked_add(region.length).ok_or_else(|| wrong("a region leaves the disk"))?;
            region.check(&mut filled)?;
        }
        demand(at == self.disk.size, "regions do not cover the disk")?;
        let full = self.files.iter().zip(&filled).all(|(file, filled)| file.length == *filled);
        demand(full, "regions do not fill the stored files")
    }
}

impl DiskInfo {
    fn check(&self) -> Result<()> {
        demand((1..=MAX_DISK).contains(&self.size), "size of the disk")?;
        demand(SectorSize::new(self.sector_size).is_some(), "sector size of the disk")
    }
}

impl RegionInfo {
    /// `filled`: plain bytes of each stored file that regions before this one take.
    fn check(&self, filled: &mut [u64]) -> Result<()> {
        let numbered = self.partition.is_some() == (self.role == RoleName::Partition);
        demand(numbered, "a partition number goes with the role partition")?;
        let Some((file, offset)) = self.file.zip(self.offset) else {
            return demand(self.file.is_none() && self.offset.is_none(), "a region with half a place");
        };
        let place = filled.get_mut(file).ok_or_else(|| wrong("a region in a file that is not there"))?;
        demand(offset == *place, "regions do not lie end to end in their stored file")?;
        *place = place.checked_add(self.length).ok_or_else(|| wrong("a region leaves its file"))?;
        Ok(())
    }
}

impl FileInfo {
    fn check(&self) -> Result<()> {
        check_name(&self.name)?;
        demand((1..LIMIT).contains(&self.length), "length of a stored file")?;
        let mut size = 0_u64;
        for (number, part) in self.parts.iter().enumerate() {
            let alone = self.parts.len() == 1 && part.name == self.name;
            demand(alone || part.name == part_name(&self.name, number), "name of a part")?;
            check_name(&part.name)?;
            demand(part.size > 0, "an empty part")?;
            size = size
                .checked_add(part.size)
                .filter(|size| *size < LIMIT)
                .ok_or_else(|| wrong("size of parts"))?;
        }
        let raw = self.encoding == super::Encoding::Raw && !self.parts.is_empty();
        demand(!raw || size == self.length, "a raw file is as long as its plain bytes")
    }
}

/// Name of a part of a file that is kept in several.
pub(crate) fn part_name(file: &str, number: usize) -> String {
    format!("{file}.{number:03}")
}

fn check_time(text: &str) -> Result<()> {
    let parsed: std::result::Result<jiff::Timestamp, _> = text.parse();
    demand(parsed.is_ok() && text.ends_with('Z'), "a time that is not RFC 3339 in UTC")
}
