//! The content of a file of btrfs: its extents as a source.

use super::corrupt;
use super::pack::{self, expand};
use super::tree::Root;
use super::volume::Volume;
use super::{inode, tree};
use crate::fs::recent::Recent;
use crate::fs::runs::read_pieces;
use block::field::u64_at;
use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result};
use std::sync::Arc;

/// Extents of a file that are kept in memory, 56 bytes each. A file of more is not read.
const MOST_EXTENTS: usize = 3 << 20;

/// Bytes of content that lie in the tree: a sector at most.
const MOST_INLINE: usize = 64 << 10;

/// A run of bytes of a file.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) range: ByteRange,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    /// A hole, or allocated and never written.
    Zero,
    /// At a logical address.
    Plain(u64),
    /// Some way into what these bytes expand to.
    Packed { at: u64, len: u32, size: u32, inside: u32, kind: u8 },
    /// In the tree itself, expanded, from a byte on.
    Inline(Arc<[u8]>, u32),
}

impl Piece {
    /// Of the item at `start` of the file (`btrfs_file_extent_item`).
    pub(super) fn parse(start: u64, item: &[u8], sector: u64) -> Result<Self> {
        let wrong = || corrupt("an extent");
        let fields = || Some((u64_at(item, 8)?, *item.get(16)?, *item.get(17)?, *item.get(20)?));
        let (size, kind, encryption, sort) = fields().ok_or_else(wrong)?;
        if encryption != 0 {
            return Err(Error::new(ErrorKind::Unsupported, "encrypted content"));
        }
        if sort == 0 {
            // The whole content of a small file.
            let size = usize::try_from(size).ok().filter(|size| start == 0 && *size <= MOST_INLINE);
            let size = size.ok_or_else(wrong)?;
            let sector = usize::try_from(sector).map_err(|_| wrong())?;
            let plain = expand(kind, item.get(21..).unwrap_or(&[]), size, sector)?;
            let len = u64::try_from(plain.len()).unwrap_or(0);
            let range = ByteRange::new(start, len).ok_or_else(wrong)?;
            return Ok(Self { range, place: Place::Inline(plain.into(), 0) });
        }
        let number = |at| u64_at(item, at).ok_or_else(wrong);
        let (at, len, inside, count) = (number(21)?, number(29)?, number(37)?, number(45)?);
        let range = ByteRange::new(start, count).ok_or_else(wrong)?;
        let place = if at == 0 || sort == 2 {
            Place::Zero
        } else if kind == 0 {
            Place::Plain(at.checked_add(inside).ok_or_else(wrong)?)
        } else {
            let small = |value: u64| u32::try_from(value).ok().filter(|_| value <= pack::MOST);
            let fields = small(len).zip(small(size)).zip(small(inside));
            let ((len, size), inside) = fields.ok_or_else(wrong)?;
            if inside.checked_add(u32::try_from(count).map_err(|_| wrong())?).is_none_or(|end| end > size) {
                return Err(wrong());
            }
            Place::Packed { at, len, size, inside, kind }
        };
        Ok(Self { range, place })
    }

    /// What of it lies in `range`.
    pub(super) fn cut(&self, range: ByteRange) -> Option<Self> {
        let here = self.range.intersect(range);
        let by = here.start().checked_sub(self.range.start())?;
        let small = u32::try_from(by).ok();
        let place = match &self.place {
            Place::Zero => Place::Zero,
            Place::Plain(at) => Place::Plain(at.checked_add(by)?),
            Place::Packed { at, len, size, inside, kind } => Place::Packed {
                at: *at,
                len: *len,
                size: *size,
                inside: inside.checked_add(small?)?,
                kind: *kind,
            },
            Place::Inline(bytes, from) => Place::Inline(Arc::clone(bytes), from.checked_add(small?)?),
        };
        (!here.is_empty()).then_some(Self { range: here, place })
    }
}

/// The extents of an inode, ascending.
pub(super) fn pieces(volume: &Volume, root: Root, number: u64) -> Result<Vec<Piece>> {
    let mut pieces: Vec<Piece> = vec![];
    tree::items(volume, root, (number, inode::EXTENT), &mut |start, item| {
        let piece = Piece::parse(start, item, volume.superblock.sector)?;
        if pieces.last().is_some_and(|last| last.range.end() > start) {
            return Err(corrupt("the order of extents"));
        }
        if pieces.len() >= MOST_EXTENTS {
            let words = format!("a file of more than {MOST_EXTENTS} extents");
            return Err(Error::new(ErrorKind::Unsupported, words));
        }
        if !piece.range.is_empty() {
            pieces.push(piece);
        }
        Ok(true)
    })?;
    Ok(pieces)
}

/// An open file.
pub(super) struct File {
    volume: Arc<Volume>,
    size: u64,
    pieces: Vec<Piece>,
    /// The extent that was expanded last, by its address.
    expanded: Recent<u64, Arc<[u8]>>,
}

impl File {
    pub(super) fn new(volume: &Arc<Volume>, size: u64, pieces: Vec<Piece>) -> Self {
        Self { volume: Arc::clone(volume), size, pieces, expanded: Recent::new(1) }
    }

    /// What is at `offset`, up to where it is of one place; `None` is a hole between the pieces.
    fn piece(&self, offset: u64) -> (ByteRange, Option<&Piece>) {
        let index = self.pieces.partition_point(|piece| piece.range.end() <= offset);
        match self.pieces.get(index) {
            Some(piece) if piece.range.contains(offset) => {
                (ByteRange::span(offset, piece.range.end().min(self.size)), Some(piece))
            }
            next => {
                let end = next.map_or(self.size, |next| next.range.start().min(self.size));
                (ByteRange::span(offset, end), None)
            }
        }
    }

    /// Fills `buf` from byte `inside` of a piece on.
    fn fill(&self, place: &Place, inside: u64, buf: &mut [u8]) -> Result<()> {
        let wrong = || corrupt("an extent");
        let copy = |bytes: &[u8], from: u32, buf: &mut [u8]| {
            let start = u64::from(from).checked_add(inside).and_then(|start| usize::try_from(start).ok());
            let bytes = start.and_then(|start| bytes.get(start..)?.get(..buf.len())).ok_or_else(wrong)?;
            buf.copy_from_slice(bytes);
            Ok(())
        };
        match place {
            Place::Zero => buf.fill(0),
            Place::Plain(at) => self.volume.data(at.checked_add(inside).ok_or_else(wrong)?, buf)?,
            Place::Inline(bytes, from) => copy(bytes, *from, buf)?,
            Place::Packed { at, len, size, inside: from, kind } => {
                copy(&self.expanded(*at, (*len, *size), *kind)?, *from, buf)?;
            }
        }
        Ok(())
    }

    fn expanded(&self, at: u64, (len, size): (u32, u32), kind: u8) -> Result<Arc<[u8]>> {
        self.expanded.get(at, || {
            let length = |number: u32| usize::try_from(number).map_err(|_| corrupt("an extent"));
            let mut packed = vec![0; length(len)?];
            self.volume.data(at, &mut packed)?;
            let sector = usize::try_from(self.volume.superblock.sector).unwrap_or(4096);
            Ok(expand(kind, &packed, length(size)?, sector)?.into())
        })
    }
}

impl ReadAt for File {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let piece = |at: u64| {
            let (range, piece) = self.piece(at);
            Ok((range, (range, piece)))
        };
        read_pieces(self.size, offset, buf, piece, |now_range, (whole, piece), now| match piece {
            // Which of these bytes it was is not known where they were compressed or summed together.
            Some(piece) => self
                .fill(&piece.place, now_range.start().saturating_sub(piece.range.start()), now)
                .map_err(|error| error.with_range(whole)),
            None => {
                now.fill(0);
                Ok(())
            }
        })
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.size, offset, 1)?;
        let (range, piece) = self.piece(offset);
        let kind = |kind| Ok(Extent { range, kind });
        let Some(piece) = piece else { return kind(ExtentKind::Zero) };
        match &piece.place {
            Place::Zero => kind(ExtentKind::Zero),
            Place::Packed { .. } | Place::Inline(..) => kind(ExtentKind::Data),
            Place::Plain(at) => {
                let at = at.saturating_add(offset.saturating_sub(piece.range.start()));
                let place = self.volume.place(at, 0)?;
                // What is zero or absent below is so here.
                let below = self.volume.source.extent_at(place.start())?;
                let len = below.range.intersect(place).len().min(range.len()).max(1);
                Ok(Extent { range: ByteRange::span(offset, offset.saturating_add(len)), kind: below.kind })
            }
        }
    }

    fn concurrency(&self) -> usize {
        self.volume.source.concurrency()
    }

    fn granule(&self) -> u64 {
        128 << 10
    }
}
