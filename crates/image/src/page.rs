//! A page of the index: 64 KiB of records that prove themselves (FORMAT 5.1 to 5.4).

use crate::Hex;
use crate::frame::Sort;
use block::field::{bytes_at, u16_at, u32_at, u64_at};
use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, Result};

/// Bytes of a page.
pub(crate) const PAGE: usize = 65536;
/// Bytes of a record.
const RECORD: usize = 64;
/// Where records begin, and where the page's digest lies.
const RECORDS: usize = 96;
const DIGEST: usize = PAGE - 32;
/// Records that fit.
pub(crate) const MAX_RECORDS: usize = (DIGEST - RECORDS) / RECORD;
const MAGIC: &[u8; 8] = b"SELFIDX1";
/// The file number of a directory page.
const NO_FILE: u32 = u32::MAX;

/// What a page's records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Frames,
    Extents,
    Directory,
}

impl Kind {
    const fn code(self) -> u16 {
        match self {
            Self::Frames => 1,
            Self::Extents => 2,
            Self::Directory => 3,
        }
    }

    const fn from_code(code: u16) -> Option<Self> {
        match code {
            1 => Some(Self::Frames),
            2 => Some(Self::Extents),
            3 => Some(Self::Directory),
            _ => None,
        }
    }
}

/// A frame of a stored file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its plain bytes.
    pub plain: ByteRange,
    /// Its stored bytes, in the joined stored file.
    pub stored: ByteRange,
    /// What it is.
    pub sort: Sort,
    /// BLAKE3 value of the plain bytes; only zero frames may lack it.
    pub digest: Option<[u8; 32]>,
    /// Some of its bytes are bad or absent: the extents say which.
    pub partial: bool,
}

impl Frame {
    /// Does `next` begin where this one ends, in the plain and in the stored bytes?
    pub(crate) fn is_before(&self, next: &Self) -> bool {
        self.plain.end() == next.plain.start() && self.stored.end() == next.stored.start()
    }
}

/// A page of the directory stands for one page of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) file: u32,
    /// Plain bytes from its first record to its last.
    pub(crate) plain: ByteRange,
    pub(crate) page: u32,
    pub(crate) records: u16,
    pub(crate) digest: [u8; 32],
}

/// Something with 64 bytes.
pub(crate) trait Record: Sized + Copy {
    const KIND: Kind;

    fn encode(&self) -> [u8; RECORD];
    fn decode(bytes: &[u8; RECORD]) -> Option<Self>;
    /// The plain bytes that it is about.
    fn plain(&self) -> ByteRange;
}

/// Puts fields into a record at their offsets.
fn put<const N: usize>(fields: [(usize, &[u8]); N]) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    for (at, field) in fields {
        bytes[at..at + field.len()].copy_from_slice(field);
    }
    bytes
}

impl Record for Frame {
    const KIND: Kind = Kind::Frames;

    fn encode(&self) -> [u8; RECORD] {
        let low = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
        let flags = u8::from(self.digest.is_some()) | u8::from(self.partial) << 1;
        put([
            (0, &self.plain.start().to_le_bytes()),
            (8, &self.stored.start().to_le_bytes()),
            (16, &low(self.plain.len())),
            (20, &low(self.stored.len())),
            (24, &[self.sort.code(), flags]),
            (32, &self.digest.unwrap_or_default()),
        ])
    }

    fn decode(bytes: &[u8; RECORD]) -> Option<Self> {
        let flags = bytes[25];
        let digest = (flags & 1 != 0).then_some(bytes_at(bytes, 32)?);
        let sort = Sort::from_code(bytes[24])?;
        let plain = ByteRange::new(u64_at(bytes, 0)?, u32_at(bytes, 16)?.into())?;
        let stored = ByteRange::new(u64_at(bytes, 8)?, u32_at(bytes, 20)?.into())?;
        let proved = digest.is_some() || sort == Sort::Zero;
        let frame = Self { plain, stored, sort, digest, partial: flags & 2 != 0 };
        (proved && !plain.is_empty()).then_some(frame)
    }

    fn plain(&self) -> ByteRange {
        self.plain
    }
}

impl Record for Extent {
    const KIND: Kind = Kind::Extents;

    fn encode(&self) -> [u8; RECORD] {
        let kind = if self.kind == ExtentKind::Absent { 1 } else { 2 };
        put([(0, &self.range.start().to_le_bytes()), (8, &self.range.len().to_le_bytes()), (16, &[kind])])
    }

    fn decode(bytes: &[u8; RECORD]) -> Option<Self> {
        let range = ByteRange::new(u64_at(bytes, 0)?, u64_at(bytes, 8)?)?;
        let kind = match bytes[16] {
            1 => ExtentKind::Absent,
            2 => ExtentKind::Bad,
            _ => return None,
        };
        (!range.is_empty()).then_some(Self { range, kind })
    }

    fn plain(&self) -> ByteRange {
        self.range
    }
}

impl Record for Entry {
    const KIND: Kind = Kind::Directory;

    fn encode(&self) -> [u8; RECORD] {
        put([
            (0, &self.plain.start().to_le_bytes()),
            (8, &self.plain.end().to_le_bytes()),
            (16, &self.page.to_le_bytes()),
            (20, &self.file.to_le_bytes()),
            (24, &self.kind.code().to_le_bytes()),
            (26, &self.records.to_le_bytes()),
            (32, &self.digest),
        ])
    }

    fn decode(bytes: &[u8; RECORD]) -> Option<Self> {
        let (start, end) = (u64_at(bytes, 0)?, u64_at(bytes, 8)?);
        let kind = Kind::from_code(u16_at(bytes, 24)?).filter(|kind| *kind != Kind::Directory)?;
        let records = u16_at(bytes, 26)?;
        (start < end && records > 0).then_some(Self {
            kind,
            file: u32_at(bytes, 20)?,
            plain: ByteRange::span(start, end),
            page: u32_at(bytes, 16)?,
            records,
            digest: bytes_at(bytes, 32)?,
        })
    }

    /// A directory page is about no plain bytes.
    fn plain(&self) -> ByteRange {
        ByteRange::span(0, 0)
    }
}

/// Makes a page of at most [`MAX_RECORDS`] records, at least one. `file`: `None` for the directory.
pub(crate) fn build<R: Record>(id: Hex<16>, page: u32, file: Option<u32>, records: &[R]) -> Vec<u8> {
    let mut bytes = vec![0; PAGE];
    let first = records.first().map_or(0, |record| record.plain().start());
    let end = records.last().map_or(0, |record| record.plain().end());
    let count = u16::try_from(records.len()).unwrap_or(u16::MAX);
    let fields: [(usize, &[u8]); 8] = [
        (0, MAGIC),
        (8, &id.0),
        (24, &page.to_le_bytes()),
        (28, &R::KIND.code().to_le_bytes()),
        (30, &count.to_le_bytes()),
        (32, &file.unwrap_or(NO_FILE).to_le_bytes()),
        (40, &first.to_le_bytes()),
        (48, &end.to_le_bytes()),
    ];
    for (at, field) in fields {
        bytes[at..at + field.len()].copy_from_slice(field);
    }
    for (place, record) in bytes[RECORDS..DIGEST].chunks_exact_mut(RECORD).zip(records) {
        place.copy_from_slice(&record.encode());
    }
    let digest = blake3::hash(&bytes[..DIGEST]);
    bytes[DIGEST..].copy_from_slice(digest.as_bytes());
    bytes
}

/// The digest that a page carries; the caller compares it with the directory.
pub(crate) fn digest(page: &[u8]) -> Option<[u8; 32]> {
    bytes_at(page, DIGEST)
}

/// The records of a page that proves itself and is this page of this index. Fails with
/// [`ErrorKind::Corrupt`], or [`ErrorKind::Unsupported`] for records of an unknown kind.
pub(crate) fn parse<R: Record>(page: &[u8], id: Hex<16>, number: u32, file: Option<u32>) -> Result<Vec<R>> {
    let wrong = |what: &str| Error::new(ErrorKind::Corrupt, format!("index page {number}: {what}"));
    let broken = || wrong("it is cut short");
    if page.len() != PAGE || page.get(..8) != Some(MAGIC) {
        return Err(wrong("not a page of an index"));
    }
    let proof = digest(page).ok_or_else(broken)?;
    if blake3::hash(page.get(..DIGEST).ok_or_else(broken)?) != proof {
        return Err(wrong("its digest is wrong"));
    }
    if bytes_at(page, 8) != Some(id.0) {
        return Err(wrong("it belongs to another backup"));
    }
    if u32_at(page, 24) != Some(number) || u32_at(page, 32) != Some(file.unwrap_or(NO_FILE)) {
        return Err(wrong("it is another page"));
    }
    if u16_at(page, 28) != Some(R::KIND.code()) {
        return Err(wrong("its records are of another kind").with_kind(ErrorKind::Unsupported));
    }
    let count = usize::from(u16_at(page, 30).ok_or_else(broken)?);
    if count == 0 || count > MAX_RECORDS {
        return Err(wrong("its number of records is impossible"));
    }
    let (records, _) = page.get(RECORDS..DIGEST).ok_or_else(broken)?.as_chunks::<RECORD>();
    let decoded: Option<Vec<R>> = records.iter().take(count).map(R::decode).collect();
    decoded.ok_or_else(|| wrong("a record is impossible"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Hex<16> = Hex([7; 16]);

    fn frames() -> Vec<Frame> {
        let frame = |i: u64| Frame {
            plain: ByteRange::span(i * 100, (i + 1) * 100),
            stored: ByteRange::span(i * 10, i * 10 + 10),
            sort: if i.is_multiple_of(3) { Sort::Zero } else { Sort::Stored },
            digest: (!i.is_multiple_of(6)).then_some([u8::try_from(i).unwrap(); 32]),
            partial: i.is_multiple_of(2),
        };
        (0..200).map(frame).collect()
    }

    #[test]
    fn records_come_back() {
        let page = build(ID, 3, Some(1), &frames());
        assert_eq!(parse::<Frame>(&page, ID, 3, Some(1)).unwrap(), frames());
        let extents = [Extent { range: ByteRange::span(5, 9), kind: ExtentKind::Bad }];
        assert_eq!(parse::<Extent>(&build(ID, 0, Some(0), &extents), ID, 0, Some(0)).unwrap(), extents);
        let entry = Entry {
            kind: Kind::Extents,
            file: 2,
            plain: ByteRange::span(1, 9),
            page: 8,
            records: 4,
            digest: [3; 32],
        };
        assert_eq!(parse::<Entry>(&build(ID, 9, None, &[entry]), ID, 9, None).unwrap(), [entry]);
    }

    #[test]
    fn a_page_proves_that_it_is_this_page() {
        let page = build(ID, 3, Some(1), &frames());
        assert!(parse::<Frame>(&page, Hex([8; 16]), 3, Some(1)).is_err());
        assert!(parse::<Frame>(&page, ID, 4, Some(1)).is_err());
        assert!(parse::<Frame>(&page, ID, 3, Some(0)).is_err());
        assert!(parse::<Extent>(&page, ID, 3, Some(1)).is_err());
        assert!(parse::<Frame>(&page[..PAGE - 1], ID, 3, Some(1)).is_err());
        for at in (0..PAGE).step_by(7) {
            let mut wrong = page.clone();
            wrong[at] ^= 1;
            assert!(parse::<Frame>(&wrong, ID, 3, Some(1)).is_err(), "byte {at}");
        }
    }

    #[test]
    fn impossible_records_are_refused() {
        let bad = Frame { digest: None, sort: Sort::Stored, ..frames()[1] };
        assert!(parse::<Frame>(&build(ID, 0, Some(0), &[bad]), ID, 0, Some(0)).is_err());
        let empty = Frame { plain: ByteRange::span(5, 5), ..frames()[1] };
        assert!(parse::<Frame>(&build(ID, 0, Some(0), &[empty]), ID, 0, Some(0)).is_err());
    }
}
