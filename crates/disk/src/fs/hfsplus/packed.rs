//! Files that the system compressed: in an attribute, or in blocks of 64 KiB in the resource fork.

use super::super::bytes::{self, Fields, corrupt, narrow, wide};
use super::super::recent::Recent;
use super::super::runs::Inline;
use backhand::compression::{CompressionAction as _, Compressor, DefaultCompressor};
use block::{ByteRange, Error, ErrorKind, ReadAt, Result, Source};
use std::sync::Arc;

/// Bytes of a block when unpacked.
const BLOCK: u64 = 64 << 10;
/// Bytes of a file whose content is in an attribute.
const LARGEST_INLINE: u64 = 16 << 20;

/// How a file is compressed: the attribute `com.apple.decmpfs`.
pub(super) struct Packing {
    how: u32,
    /// Bytes unpacked.
    pub(super) size: u64,
    rest: Vec<u8>,
}

impl Packing {
    pub(super) fn read(attribute: &[u8]) -> Result<Self> {
        let f = Fields::new(attribute, "com.apple.decmpfs");
        if f.slice(0, 4)? != b"fpmc" {
            return Err(corrupt("com.apple.decmpfs is none"));
        }
        Ok(Self { how: f.u32(4)?, size: f.u64(8)?, rest: attribute.get(16..).unwrap_or(&[]).to_vec() })
    }

    /// Its content lies in the resource fork, which is therefore none.
    pub(super) fn is_in_resources(&self) -> bool {
        matches!(self.how, 4 | 8 | 10 | 12 | 14)
    }

    /// The content; `resources` is the resource fork.
    pub(super) fn open(&self, resources: impl FnOnce() -> Result<Source>) -> Result<Source> {
        match self.how {
            1 if wide(self.rest.len()) == self.size => Ok(Arc::new(Inline(self.rest.clone()))),
            3 if self.size <= LARGEST_INLINE => Ok(Arc::new(Inline(unpack(&self.rest, self.size)?))),
            4 => Ok(Arc::new(Blocks::open(resources()?, self.size)?)),
            1 | 3 => Err(corrupt("a compressed file of a size that cannot be")),
            how => {
                let name = match how {
                    7 | 8 => "LZVN",
                    11 | 12 => "LZFSE",
                    _ => "a way that is not known",
                };
                Err(Error::new(ErrorKind::Unsupported, format!("it is compressed with {name} (type {how})")))
            }
        }
    }
}

/// One block: with zlib, or as it is behind a byte that zlib never begins with.
fn unpack(packed: &[u8], size: u64) -> Result<Vec<u8>> {
    let plain = match packed {
        [head, plain @ ..] if head & 0x0F == 0x0F => plain.to_vec(),
        _ => {
            let mut plain = Vec::with_capacity(narrow(size));
            let unpacked = DefaultCompressor.decompress(packed, &mut plain, Compressor::Gzip);
            unpacked.map_err(|_| corrupt("a compressed block that does not unpack"))?;
            plain
        }
    };
    if wide(plain.len()) == size { Ok(plain) } else { Err(corrupt("a compressed block of another length")) }
}

/// Content in blocks.
struct Blocks {
    resources: Source,
    size: u64,
    /// Where each block lies in the fork, and bytes of it.
    places: Vec<(u64, u64)>,
    recent: Recent<u64, Arc<Vec<u8>>>,
}

impl Blocks {
    fn open(resources: Source, size: u64) -> Result<Self> {
        let what = "the table of a compressed file";
        let head = bytes::read(&*resources, 0, 16, what)?;
        // Behind the head of the fork comes the length of the one resource in it, then the table.
        let table = u64::from(Fields::new(&head, what).be32(0)?).saturating_add(4);
        let count = bytes::read(&*resources, table, 4, what)?;
        let count = u64::from(Fields::new(&count, what).u32(0)?);
        if count != size.div_ceil(BLOCK) {
            return Err(corrupt(format!("{count} blocks for a file of {size} bytes")));
        }
        let entries = bytes::read(&*resources, table.saturating_add(4), count.saturating_mul(8), what)?;
        let mut places = vec![];
        for entry in entries.as_chunks::<8>().0 {
            let f = Fields::new(entry, what);
            places.push((table.saturating_add(f.u32(0)?.into()), f.u32(4)?.into()));
        }
        Ok(Self { resources, size, places, recent: Recent::new(8) })
    }

    fn block(&self, number: u64) -> Result<Arc<Vec<u8>>> {
        let place = self.places.get(narrow(number));
        let &(at, len) = place.ok_or_else(|| corrupt("a compressed file without its last block"))?;
        let size = BLOCK.min(self.size.saturating_sub(number.saturating_mul(BLOCK)));
        self.recent.get(number, || {
            if len > BLOCK.saturating_mul(2) {
                return Err(corrupt(format!("a compressed block of {len} bytes")));
            }
            let packed = bytes::read(&*self.resources, at, len, "a compressed block")?;
            super::super::guard::check_time()?;
            Ok(Arc::new(unpack(&packed, size)?))
        })
    }
}

impl ReadAt for Blocks {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        ByteRange::within(self.size, offset, wide(buf.len()))?;
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let block = self.block(at / BLOCK)?;
            let known = block.get(narrow(at % BLOCK)..).unwrap_or(&[]);
            let (now, later) = rest.split_at_mut(known.len().min(rest.len()));
            if now.is_empty() {
                return Err(corrupt("a compressed block that is empty"));
            }
            now.copy_from_slice(known.get(..now.len()).unwrap_or(&[]));
            at = at.saturating_add(wide(now.len()));
            rest = later;
        }
        Ok(())
    }

    fn concurrency(&self) -> usize {
        self.resources.concurrency()
    }

    fn granule(&self) -> u64 {
        BLOCK
    }
}
