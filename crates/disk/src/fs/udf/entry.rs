//! File entries: what is known of a file, and where its bytes lie (ECMA-167 part 4, 14.9 and 14.17).

use super::super::bytes::{Fields, corrupt, narrow, wide};
use super::super::runs::{Inline, Run, Runs};
use super::super::{FileKind, Metadata, Time, civil};
use super::volume::{Address, Volume, kind};
use block::{Error, ErrorKind, Result, Source};
use std::sync::Arc;

/// Kinds of descriptors.
const ENTRY: u16 = 261;
const LONG_ENTRY: u16 = 266;
const MORE_EXTENTS: u16 = 258;
const ATTRIBUTES: u16 = 262;
/// Pieces of a file, and blocks that list them: more is damage.
const MOST_PIECES: usize = 1 << 20;
const MOST_LISTS: usize = 1 << 16;

/// A file.
pub(super) struct Entry {
    address: Address,
    bytes: Vec<u8>,
    /// Where in it the attributes are, bytes of them, and bytes of what follows.
    attributes: (usize, usize, usize),
    is_long: bool,
    pub(super) size: u64,
}

impl Entry {
    pub(super) fn read(volume: &Volume, address: Address) -> Result<Self> {
        let bytes = volume.block(address)?;
        let f = Fields::new(&bytes, "a file entry");
        let is_long = match kind(&bytes) {
            Some(ENTRY) => false,
            Some(LONG_ENTRY) => true,
            _ => return Err(corrupt(format!("no file entry in block {}", address.block))),
        };
        if f.u16(20)? != 4 {
            let words = format!("a file of strategy {}, as on media that are written once", f.u16(20)?);
            return Err(Error::new(ErrorKind::Unsupported, words));
        }
        let (base, lengths) = if is_long { (216, 208) } else { (176, 168) };
        let attributes =
            (base, narrow(f.u32(lengths)?.into()), narrow(f.u32(lengths.saturating_add(4))?.into()));
        let size = f.u64(56)?;
        Ok(Self { address, attributes, is_long, size, bytes })
    }

    fn fields(&self) -> Fields<'_> {
        Fields::new(&self.bytes, "a file entry")
    }

    /// What follows the attributes: the content itself, or where it lies.
    fn tail(&self) -> Result<&[u8]> {
        let (base, attributes, tail) = self.attributes;
        self.fields().slice(base.saturating_add(attributes), tail)
    }

    fn flags(&self) -> Result<u16> {
        self.fields().u16(34)
    }

    pub(super) fn kind(&self) -> Result<FileKind> {
        Ok(match self.fields().u8(27)? {
            4 => FileKind::Directory,
            5 | 249 => FileKind::File,
            6 => self.device().map_or(FileKind::Other, |(major, minor)| FileKind::BlockDevice(major, minor)),
            7 => self.device().map_or(FileKind::Other, |(major, minor)| FileKind::CharDevice(major, minor)),
            9 => FileKind::Fifo,
            10 => FileKind::Socket,
            12 => FileKind::Symlink,
            _ => FileKind::Other,
        })
    }

    /// The numbers of a device, from the attribute that keeps them.
    fn device(&self) -> Option<(u32, u32)> {
        let (base, len, _) = self.attributes;
        let area = self.fields().slice(base, len).ok()?;
        if kind(area) != Some(ATTRIBUTES) {
            return None;
        }
        let mut rest = area.get(24..)?;
        while !rest.is_empty() {
            let f = Fields::new(rest, "an attribute");
            let len = narrow(f.u32(8).ok()?.into());
            if f.u32(0).ok()? == 12 {
                return Some((f.u32(16).ok()?, f.u32(20).ok()?));
            }
            rest = rest.get(len.max(12)..)?;
        }
        None
    }

    pub(super) fn metadata(&self) -> Result<Metadata> {
        let f = self.fields();
        let kind = self.kind()?;
        let size = if matches!(kind, FileKind::File) { self.size } else { 0 };
        let mut known = Metadata::new(kind, size);
        let owner = |at: usize| f.u32(at).map(|owner| (owner != u32::MAX).then_some(owner));
        (known.uid, known.gid) = (owner(36)?, owner(40)?);
        let (permissions, flags) = (f.u32(44)?, self.flags()?);
        let three = |shift: u32| u16::try_from((permissions >> shift) & 7).unwrap_or(0);
        // Set-user, set-group and sticky are bits 6 to 8 of the flags.
        let special = [(6, 0o4000), (7, 0o2000), (8, 0o1000)];
        let special =
            special.iter().filter(|(bit, _)| flags & (1 << bit) != 0).fold(0, |all, (_, mode)| all | mode);
        known.mode = Some((three(10) << 6) | (three(5) << 3) | three(0) | special);
        known.links = u32::from(f.u16(48)?).max(1);
        let blocks = if self.is_long { f.u64(72)? } else { f.u64(64)? };
        known.allocated = Some(blocks).filter(|blocks| *blocks < 1 << 40);
        let times = if self.is_long { [80, 92, 116] } else { [72, 84, 96] };
        let [accessed, modified, changed] = times.map(|at| f.slice(at, 12).ok().and_then(timestamp));
        (known.accessed, known.modified, known.changed) = (accessed, modified, changed);
        if self.is_long {
            known.created = timestamp(f.slice(104, 12)?);
        }
        Ok(known)
    }

    /// The content.
    pub(super) fn open(&self, volume: &Volume) -> Result<Source> {
        if self.flags()? & 7 == 3 {
            let content = self.tail()?.get(..narrow(self.size));
            let content = content.ok_or_else(|| corrupt("a file longer than its entry"))?;
            return Ok(Arc::new(Inline(content.to_vec())));
        }
        Ok(Arc::new(Runs::new(Arc::clone(&volume.source), self.size, self.runs(volume)?)?))
    }

    /// Where the content lies.
    pub(super) fn runs(&self, volume: &Volume) -> Result<Vec<Run>> {
        let len = match self.flags()? & 7 {
            0 => 8,
            1 => 16,
            2 => 20,
            _ => return Err(corrupt("a file whose content is in its entry")),
        };
        let (mut runs, mut list) = (vec![], self.tail()?.to_vec());
        for _ in 0..MOST_LISTS {
            match self.list(volume, &list, len, &mut runs)? {
                None => return Ok(runs),
                Some(next) => {
                    list = volume.block(next)?;
                    super::super::guard::check_time()?;
                    let f = Fields::new(&list, "a list of extents");
                    if kind(&list) != Some(MORE_EXTENTS) {
                        return Err(corrupt("a file whose list of extents breaks off"));
                    }
                    list = f.slice(24, narrow(f.u32(20)?.into()))?.to_vec();
                }
            }
        }
        Err(corrupt("a file whose list of extents does not end"))
    }

    /// One list of extents; where the next one is.
    fn list(&self, volume: &Volume, list: &[u8], len: usize, runs: &mut Vec<Run>) -> Result<Option<Address>> {
        for extent in list.chunks_exact(len) {
            let f = Fields::new(extent, "an extent");
            let (bytes, sort) = (u64::from(f.u32(0)? & 0x3FFF_FFFF), f.u32(0)? >> 30);
            if bytes == 0 {
                return Ok(None);
            }
            let mut address = match len {
                8 => Address { block: f.u32(4)?, partition: self.address.partition },
                16 => Address::read(f, 0)?,
                _ => Address::read(f, 8)?,
            };
            if sort == 3 {
                return Ok(Some(address));
            }
            // Only the first sort was written; the others read as zeroes.
            let mut left = if sort == 0 { bytes } else { 0 };
            if sort != 0 {
                runs.push(Run { len: bytes, at: None });
            }
            while left > 0 {
                let blocks = left.div_ceil(volume.block_size.max(1));
                let (at, together) = volume.place(address, blocks)?;
                let here = together.saturating_mul(volume.block_size).min(left);
                runs.push(Run { len: here, at: Some(at) });
                left = left.saturating_sub(here);
                address.block = address.block.saturating_add(u32::try_from(together).unwrap_or(u32::MAX));
                if runs.len() > MOST_PIECES {
                    return Err(corrupt("a file in more than 1,048,576 pieces"));
                }
            }
        }
        Ok(None)
    }

    /// The target of a symbolic link: components, each with its sort and length (14.16).
    pub(super) fn target(&self, content: &[u8]) -> Result<Vec<u8>> {
        let (mut target, mut rest): (Vec<u8>, _) = (vec![], content);
        while let [sort, len, _, _, later @ ..] = rest {
            let Some((name, later)) = later.split_at_checked((*len).into()) else { break };
            match sort {
                // The first sort means a place that others know, and the root where it has no name.
                1 | 2 if *sort == 2 || name.is_empty() => target = b"/".to_vec(),
                3 => target.extend_from_slice(b"../"),
                4 => target.extend_from_slice(b"./"),
                5 => {
                    target.extend_from_slice(&super::name(name));
                    target.push(b'/');
                }
                _ => {}
            }
            rest = later;
        }
        if target.len() > 1 {
            target.pop();
        }
        if wide(target.len()) > 64 << 10 { Err(corrupt("a link without end")) } else { Ok(target) }
    }
}

/// Twelve bytes: zone, year to microseconds (1/7.3).
fn timestamp(field: &[u8]) -> Option<Time> {
    let f = Fields::new(field, "a time");
    let zone = f.u16(0).ok()?;
    // Twelve bits with a sign; the least of them says that nobody knows.
    let minutes = i64::from(((zone & 0xFFF) << 4).cast_signed() >> 4);
    let east = if zone >> 12 == 1 && (-1440..=1440).contains(&minutes) { minutes } else { 0 };
    let year = i64::from(f.u16(2).ok()?.cast_signed());
    let byte = |at: usize| f.u8(at).ok();
    let time = civil::time((year, byte(4)?, byte(5)?), (byte(6)?, byte(7)?, byte(8)?), east)?;
    let parts = [(9, 10_000_000), (10, 100_000), (11, 1000)];
    let nanos = parts.iter().try_fold(0_u32, |all, (at, unit)| {
        all.checked_add(u32::from(byte(*at)?.min(99)).checked_mul(*unit)?)
    })?;
    Some(Time { nanos, ..time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_east_and_west() {
        let at = |zone: u16| {
            let [low, high] = zone.to_le_bytes();
            timestamp(&[low, high, 0xE8, 0x07, 2, 29, 12, 30, 5, 50, 1, 2])
        };
        let east = at(0x1000 | 60).unwrap();
        assert_eq!((east.seconds, east.nanos), (1_709_206_205, 500_102_000));
        assert_eq!(at(0x1000 | (0x1000 - 60)).unwrap().seconds, 1_709_206_205 + 7200);
        assert_eq!(at(0x1000 | 0x801).unwrap().seconds, 1_709_206_205 + 3600);
        assert_eq!(timestamp(&[0; 12]), None);
    }
}
