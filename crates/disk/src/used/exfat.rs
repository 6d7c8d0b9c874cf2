//! exFAT: the allocation bitmap (Microsoft, "exFAT file system specification", section 7.1).

use super::Mapped;
use super::runs::{First, Runs, set_bits};
use super::volume::{OrCorrupt, Volume, byte, le32, le64, units, unsupported};
use crate::probe::Content;
use block::{ByteRange, Result};

const ENTRY_BITMAP: u64 = 0x81;
const ENTRY_UPCASE: u64 = 0x82;
const END_OF_DIRECTORY: u64 = 0;
/// Clusters of the root directory that are searched: what the bitmap is named in comes first.
const ROOT_CLUSTERS: u64 = 64;
/// Bytes that are read at once; a multiple of every size of cluster up to it.
const PIECE: u64 = 1 << 20;
const ODD: &str = "its boot sector contradicts itself";

/// The boot sector.
struct Boot {
    /// First byte of the table.
    fat: u64,
    /// First byte of cluster 2.
    heap: u64,
    clusters: u64,
    /// Bytes of a cluster.
    cluster: u64,
    root: u64,
    /// Bytes of the volume.
    length: u64,
}

impl Boot {
    fn parse(boot: &[u8]) -> Option<Self> {
        let sector_shift = u32::try_from(byte(boot, 108)?).ok().filter(|shift| (9..=12).contains(shift))?;
        let cluster_shift = u32::try_from(byte(boot, 109)?).ok().filter(|shift| *shift <= 25)?;
        let sector = 1u64.checked_shl(sector_shift)?;
        let parsed = Self {
            fat: le32(boot, 80)?.checked_mul(sector)?,
            heap: le32(boot, 88)?.checked_mul(sector)?,
            clusters: le32(boot, 92)?,
            cluster: sector.checked_shl(cluster_shift)?,
            root: le32(boot, 96)?,
            length: le64(boot, 72)?.checked_mul(sector)?,
        };
        let end = parsed.clusters.checked_mul(parsed.cluster)?.checked_add(parsed.heap)?;
        (end <= parsed.length && parsed.fat < parsed.heap).then_some(parsed)
    }

    /// Where a cluster lies.
    fn place(&self, cluster: u64) -> Result<ByteRange> {
        let index = cluster.checked_sub(2).filter(|index| *index < self.clusters);
        Ok(units(self.cluster, index.or_corrupt("it names a cluster that is none")?, 1)?.moved(0, self.heap))
    }

    /// The cluster behind another in its file; `None` behind the last.
    fn next(&self, volume: &Volume<'_>, cluster: u64) -> Result<Option<u64>> {
        let entry = units(4, cluster, 1)?.moved(0, self.fat);
        let next = le32(&volume.read(entry.start(), 4)?, 0).or_corrupt(ODD)?;
        Ok((2..self.clusters.saturating_add(2)).contains(&next).then_some(next))
    }
}

/// A file that the root directory names for the volume's own use.
struct Own {
    first: u64,
    length: u64,
}

pub(super) fn map(volume: &Volume<'_>, _: &Content) -> Result<Mapped> {
    let sector = volume.read(0, 512)?;
    let boot = Boot::parse(&sector).or_corrupt(ODD)?;
    if byte(&sector, 110) != Some(1) {
        return Err(unsupported("it has two tables (TexFAT)"));
    }
    let (bitmap, upcase) = own_files(volume, &boot)?;
    if bitmap.length < boot.clusters.div_ceil(8) {
        return Err(unsupported("its bitmap is too short"));
    }
    contiguous(volume, &boot, &bitmap)?;
    let start = boot.place(bitmap.first)?.start();
    let mut used = Runs::default();
    used.add(ByteRange::span(0, boot.heap))?;
    for piece in ByteRange::span(0, boot.clusters.div_ceil(8)).pieces(PIECE) {
        let bits = volume.read(start.saturating_add(piece.start()), piece.len())?;
        let first = piece.start().saturating_mul(8);
        let count = boot.clusters.saturating_sub(first).min(piece.len().saturating_mul(8));
        set_bits(&bits, count, First::Lowest, |from, to| {
            let run = units(boot.cluster, first.saturating_add(from), to.saturating_sub(from))?;
            used.add(run.moved(0, boot.heap))
        })?;
    }
    let behind = units(boot.cluster, boot.clusters, 0)?.moved(0, boot.heap).start();
    used.add(ByteRange::span(behind, boot.length))?;
    let own = [boot.root, bitmap.first].into_iter().chain(upcase.map(|file| file.first));
    for cluster in own {
        let covered = used.cover(boot.place(cluster)?);
        covered.then_some(()).or_corrupt("its own files lie in clusters that it counts as free")?;
    }
    Ok(Mapped { used, end: boot.length, more: None })
}

/// The bitmap and the table of upper case, from the root directory.
fn own_files(volume: &Volume<'_>, boot: &Boot) -> Result<(Own, Option<Own>)> {
    let (mut bitmap, mut upcase) = (None, None);
    let mut cluster = Some(boot.root);
    for _ in 0..ROOT_CLUSTERS {
        let Some(here) = cluster else { break };
        let place = boot.place(here)?;
        let entries = volume.read(place.start(), place.len().min(PIECE))?;
        for entry in entries.chunks_exact(32) {
            let file = || Some(Own { first: le32(entry, 20)?, length: le64(entry, 24)? });
            match byte(entry, 0) {
                Some(END_OF_DIRECTORY) => break,
                Some(ENTRY_BITMAP) if bitmap.is_none() => bitmap = file(),
                Some(ENTRY_UPCASE) => upcase = file(),
                _ => {}
            }
        }
        if bitmap.is_some() {
            break;
        }
        cluster = boot.next(volume, here)?;
    }
    Ok((bitmap.or_corrupt("its root directory names no bitmap")?, upcase))
}

/// The bitmap lies in one piece: Linux does not follow its chain, others do.
fn contiguous(volume: &Volume<'_>, boot: &Boot, bitmap: &Own) -> Result<()> {
    let clusters = bitmap.length.div_ceil(boot.cluster.max(1));
    let table = units(4, bitmap.first, clusters)?.moved(0, boot.fat);
    let mut want = bitmap.first;
    for piece in table.pieces(PIECE) {
        for entry in volume.read(piece.start(), piece.len())?.chunks_exact(4) {
            want = want.saturating_add(1);
            let last = want == bitmap.first.saturating_add(clusters);
            let follows = last || le32(entry, 0) == Some(want);
            follows.then_some(()).or_corrupt("its bitmap lies in several pieces")?;
        }
    }
    Ok(())
}
