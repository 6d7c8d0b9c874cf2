//! The two sorts of compressed blocks: metadata of at most 8 KiB, and content of at most 1 MiB.

use super::super::bytes::{self, corrupt, narrow, wide};
use super::super::recent::Recent;
use backhand::compression::{CompressionAction as _, Compressor, DefaultCompressor};
use block::{Error, ErrorKind, Result, Source};
use std::sync::Arc;

/// Bytes of a metadata block when unpacked.
pub(super) const METADATA: usize = 8192;
/// Bytes of content that are kept unpacked.
const CONTENT_KEPT: u64 = 16 << 20;
/// In the length of a metadata block: stored as it is.
const METADATA_STORED: u16 = 1 << 15;
/// In the length of a block of content: stored as it is.
const CONTENT_STORED: u32 = 1 << 24;

/// A source and how its blocks are packed.
pub(super) struct Packed {
    pub(super) source: Source,
    compressor: Compressor,
    /// Bytes of a block of content: a power of two.
    pub(super) block_size: u64,
    metadata: Recent<u64, Arc<Metadata>>,
    content: Recent<u64, Arc<[u8]>>,
}

struct Metadata {
    bytes: Vec<u8>,
    /// Where the one behind it begins.
    next: u64,
}

/// A place in metadata: a block, by its offset in the image, and a byte in it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) block: u64,
    pub(super) byte: usize,
}

impl Place {
    /// As inodes are addressed: 48 bits, the block counted from the start of its table.
    pub(super) fn of_reference(table: u64, reference: u64) -> Self {
        Self { block: table.saturating_add(reference >> 16), byte: narrow(reference & 0xFFFF) }
    }
}

impl Packed {
    /// `compressor` as the superblock numbers them.
    pub(super) fn new(source: Source, compressor: u16, block_size: u64) -> Result<Self> {
        let compressor = match compressor {
            1 => Compressor::Gzip,
            3 => Compressor::Lzo,
            4 => Compressor::Xz,
            5 => Compressor::Lz4,
            6 => Compressor::Zstd,
            2 => return Err(Error::new(ErrorKind::Unsupported, "it is compressed with the old lzma")),
            other => {
                let words = format!("it is compressed in a way that is not known ({other})");
                return Err(Error::new(ErrorKind::Unsupported, words));
            }
        };
        let kept = CONTENT_KEPT.checked_div(block_size).unwrap_or(0).clamp(4, 64);
        let (metadata, content) = (Recent::new(64), Recent::new(narrow(kept)));
        Ok(Self { source, compressor, block_size, metadata, content })
    }

    fn unpack(&self, at: u64, len: u64, stored: bool, most: usize, what: &str) -> Result<Vec<u8>> {
        let bytes = bytes::read(&*self.source, at, len, what)?;
        super::super::guard::check_time()?;
        let plain = if stored {
            bytes
        } else {
            let mut plain = Vec::with_capacity(most);
            let unpacked = DefaultCompressor.decompress(&bytes, &mut plain, self.compressor);
            unpacked.map_err(|error| corrupt(format!("{what} at byte {at} does not unpack: {error}")))?;
            plain
        };
        if plain.is_empty() || plain.len() > most {
            return Err(corrupt(format!("{what} at byte {at} unpacks to {} bytes", plain.len())));
        }
        Ok(plain)
    }

    fn metadata(&self, at: u64) -> Result<Arc<Metadata>> {
        self.metadata.get(at, || {
            let head = bytes::read(&*self.source, at, 2, "a block of metadata")?;
            let head = bytes::Fields::new(&head, "a block of metadata").u16(0)?;
            let (len, stored) = (u64::from(head & !METADATA_STORED), head & METADATA_STORED != 0);
            let start = at.saturating_add(2);
            let bytes = self.unpack(start, len, stored, METADATA, "a block of metadata")?;
            Ok(Arc::new(Metadata { bytes, next: start.saturating_add(len) }))
        })
    }

    /// A block of content, whose `word` says how long it is stored and how.
    pub(super) fn content(&self, at: u64, word: u32) -> Result<Arc<[u8]>> {
        self.content.get(at, || {
            let (len, stored) = (u64::from(word & !CONTENT_STORED), word & CONTENT_STORED != 0);
            if len > self.block_size {
                return Err(corrupt(format!("a block of {len} bytes at byte {at}")));
            }
            Ok(self.unpack(at, len, stored, narrow(self.block_size), "a block of a file")?.into())
        })
    }

    /// Fills `buf` with metadata from `place` on, which moves behind it. Each block lies behind the one
    /// before it, so this ends.
    pub(super) fn take(&self, place: &mut Place, buf: &mut [u8]) -> Result<()> {
        let mut rest = buf;
        while !rest.is_empty() {
            let block = self.metadata(place.block)?;
            let known = block.bytes.get(place.byte..).unwrap_or(&[]);
            if known.is_empty() {
                if place.byte > block.bytes.len() {
                    return Err(corrupt("a place outside its block of metadata"));
                }
                *place = Place { block: block.next, byte: 0 };
                continue;
            }
            let (now, later) = rest.split_at_mut(known.len().min(rest.len()));
            now.copy_from_slice(known.get(..now.len()).unwrap_or(&[]));
            place.byte = place.byte.saturating_add(now.len());
            rest = later;
        }
        Ok(())
    }

    /// The same as bytes of their own.
    pub(super) fn bytes(&self, place: &mut Place, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.take(place, &mut bytes)?;
        Ok(bytes)
    }

    /// Entry number `index` of a table of entries of `len` bytes, a divisor of 8192: the table is a list of where
    /// its metadata blocks are.
    pub(super) fn entry(&self, table: u64, index: u32, len: usize) -> Result<Vec<u8>> {
        let inside = wide(len).saturating_mul(index.into());
        let number = inside / 8192;
        let at = table.saturating_add(number.saturating_mul(8));
        let place = bytes::read(&*self.source, at, 8, "a table")?;
        let block = bytes::Fields::new(&place, "a table").u64(0)?;
        self.bytes(&mut Place { block, byte: narrow(inside % 8192) }, len)
    }
}
