//! Plain bytes and stored bytes of one frame (FORMAT 3). Pure: no files here.

use block::{Error, ErrorKind, Result};
use std::io::Cursor;
use zstd::bulk;
use zstd::zstd_safe::{CParameter, DParameter, compress_bound};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sort {
    /// A Zstandard frame, made by a compressor.
    Compressed,
    /// The bytes as they are, each at a fixed place.
    Stored,
    /// Only zeroes.
    Zero,
}

impl Sort {
    /// Its number in a record (FORMAT 5.2).
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Compressed => 1,
            Self::Stored => 2,
            Self::Zero => 3,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Compressed),
            2 => Some(Self::Stored),
            3 => Some(Self::Zero),
            _ => None,
        }
    }
}

/// The longest zero frame, in bytes, unless the grid is longer (FORMAT 3.1).
pub(crate) const MAX_ZERO: u64 = 1 << 30;

/// Plain bytes of a block in the frames that we make by hand: the largest that Zstandard allows.
const BLOCK: usize = 128 << 10;
/// Bytes of a block's header.
const BLOCK_HEADER: usize = 3;
/// Bytes of a frame's header: magic, descriptor (8 bytes of content size, no checksum), window of
/// 128 KiB, content size.
const HEADER: usize = 14;
const HEADER_START: [u8; 6] = [0x28, 0xB5, 0x2F, 0xFD, 0xC0, 0x38];

/// Types of blocks (RFC 8878, 3.1.1.2.2).
const RAW: u32 = 0;
const RLE: u32 = 1;

fn header(len: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..6].copy_from_slice(&HEADER_START);
    header[6..].copy_from_slice(&len.to_le_bytes());
    header
}

/// The header of block `i` of `len` plain bytes in all, and the plain bytes in it.
fn block_header(i: usize, len: u64, kind: u32) -> ([u8; BLOCK_HEADER], usize) {
    let left = len.saturating_sub((i as u64).saturating_mul(BLOCK as u64));
    let size = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK);
    let last = u32::from(left <= BLOCK as u64);
    let [a, b, c, _] = (last | kind << 1 | (u32::try_from(size).unwrap_or(0)) << 3).to_le_bytes();
    ([a, b, c], size)
}

fn blocks(len: u64) -> usize {
    usize::try_from(len.div_ceil(BLOCK as u64)).unwrap_or(usize::MAX)
}

/// Bytes of a stored frame of `len` plain bytes, which are less than 2^40.
pub(crate) fn stored_len(len: u64) -> u64 {
    (HEADER + BLOCK_HEADER * blocks(len)) as u64 + len
}

/// Bytes of a zero frame of `len` plain bytes, which are less than 2^40.
pub(crate) fn zero_len(len: u64) -> u64 {
    (HEADER + (BLOCK_HEADER + 1) * blocks(len)) as u64
}

/// Appends a stored frame of `plain`.
pub fn encode_stored(plain: &[u8], out: &mut Vec<u8>) {
    let len = plain.len() as u64;
    out.extend_from_slice(&header(len));
    for (i, block) in plain.chunks(BLOCK).enumerate() {
        out.extend_from_slice(&block_header(i, len, RAW).0);
        out.extend_from_slice(block);
    }
}

/// Appends a zero frame that stands for `len` bytes, at least 1.
pub fn encode_zero(len: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&header(len));
    for i in 0..blocks(len) {
        out.extend_from_slice(&block_header(i, len, RLE).0);
        out.push(0);
    }
}

/// From this level on zstd is slow at what does not compress (25 MB/s), and level 1 knows it at 5 GB/s.
const HARD: i32 = 10;

/// Makes compressed frames; keeps its contexts.
pub struct Compressor {
    context: bulk::Compressor<'static>,
    level: i32,
    /// Of level 1, for hard levels.
    quick: Option<bulk::Compressor<'static>>,
}

impl Compressor {
    /// With a level of zstd's, 1 to 19.
    pub fn new(level: i32) -> Result<Self> {
        Ok(Self { context: context(level)?, level, quick: None })
    }

    /// Changes the level.
    pub fn set_level(&mut self, level: i32) -> Result<()> {
        if self.level != level {
            set_level(&mut self.context, level)?;
            self.level = level;
        }
        Ok(())
    }

    /// Appends the compressed form of `plain`; nothing, and `false`, if that is not smaller than `plain`.
    /// On hard levels neither if level 1 makes it no smaller: media and encrypted files. What is appended
    /// depends on `plain` and the level alone.
    pub fn compress(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        if self.level >= HARD {
            let quick = match &mut self.quick {
                Some(quick) => quick,
                none => none.insert(context(1)?),
            };
            let start = out.len();
            let smaller = append(quick, plain, out);
            out.truncate(start);
            if !smaller {
                return Ok(false);
            }
        }
        Ok(append(&mut self.context, plain, out))
    }
}

fn context(level: i32) -> Result<bulk::Compressor<'static>> {
    let mut context = bulk::Compressor::new(level).map_err(failed)?;
    set_level(&mut context, level)?;
    for parameter in [CParameter::ChecksumFlag(true), CParameter::ContentSizeFlag(true)] {
        context.set_parameter(parameter).map_err(failed)?;
    }
    Ok(context)
}

/// Level 1 with the shorter matches that zstd has from level 2 on and twice its table: frames are short, and for 4 %
/// more time they get 1.4 % smaller, as much as frames of twice the length would be. 0: as the level has it.
fn set_level(context: &mut bulk::Compressor<'_>, level: i32) -> Result<()> {
    let (hash_log, min_match) = if level == 1 { (16, 5) } else { (0, 0) };
    context.set_compression_level(level).map_err(failed)?;
    context.set_parameter(CParameter::HashLog(hash_log)).map_err(failed)?;
    context.set_parameter(CParameter::MinMatch(min_match)).map_err(failed)
}

fn failed(error: std::io::Error) -> Error {
    Error::io(error, "preparing zstd").with_kind(ErrorKind::Bug)
}

/// Appends a frame if it is smaller than `plain`.
fn append(context: &mut bulk::Compressor<'_>, plain: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    // In less room zstd would decide otherwise, and equal bytes would not give equal frames.
    out.reserve(compress_bound(plain.len()));
    let mut place = Cursor::new(&mut *out);
    place.set_position(start as u64);
    let smaller = context.compress_to_buffer(plain, &mut place).is_ok_and(|len| len < plain.len());
    if !smaller {
        out.truncate(start);
    }
    smaller
}

/// Decodes frames; keeps its context, made with the first compressed frame.
#[derive(Default)]
pub struct Decompressor(Option<bulk::Decompressor<'static>>);

/// log2 of the largest window that a frame may ask for: 64 MiB, the memory that a hostile one costs.
const MAX_WINDOW_LOG: u32 = 26;

impl Decompressor {
    /// Fails only without memory.
    fn context(&mut self) -> Result<&mut bulk::Decompressor<'static>> {
        Ok(match &mut self.0 {
            Some(context) => context,
            none => {
                let mut context = bulk::Decompressor::new().map_err(failed)?;
                context.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).map_err(failed)?;
                none.insert(context)
            }
        })
    }

    /// Decodes a frame of the encoding `zst` into all of `plain`, or fails with [`ErrorKind::Corrupt`].
    pub fn decode(&mut self, sort: Sort, stored: &[u8], plain: &mut [u8]) -> Result<()> {
        match sort {
            Sort::Compressed => {
                let len = plain.len();
                holds(self.context()?.decompress_to_buffer(stored, plain), len)
            }
            Sort::Stored => {
                let mut rest = plain;
                for block in stored_blocks(stored, rest.len() as u64)? {
                    let (place, behind) = rest.split_at_mut(block.len());
                    place.copy_from_slice(block);
                    rest = behind;
                }
                Ok(())
            }
            Sort::Zero => {
                check_zero(stored, plain.len() as u64)?;
                plain.fill(0);
                Ok(())
            }
        }
    }

    /// Decodes a compressed frame of `len` plain bytes into new memory, which is not zeroed before.
    pub(crate) fn decode_new(&mut self, stored: &[u8], len: usize) -> Result<Vec<u8>> {
        let mut plain = Vec::with_capacity(len);
        holds(self.context()?.decompress_to_buffer(stored, &mut plain), len)?;
        Ok(plain)
    }
}

/// Did it become so many bytes?
fn holds(decompressed: std::io::Result<usize>, len: usize) -> Result<()> {
    match decompressed {
        Ok(found) if found == len => Ok(()),
        Ok(found) => Err(corrupt(format!("a frame holds {found} bytes instead of {len}"))),
        Err(error) => Err(corrupt("a frame does not decompress").with_source(error)),
    }
}

fn corrupt(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, words)
}

/// The plain bytes of a stored frame, block by block, where they lie. It has one form only.
pub(crate) fn stored_blocks(stored: &[u8], len: u64) -> Result<Vec<&[u8]>> {
    let wrong = || corrupt("a stored frame is not in its only form");
    if stored.len() as u64 != stored_len(len) {
        return Err(wrong());
    }
    let mut rest = stored.strip_prefix(&header(len)).ok_or_else(wrong)?;
    let mut found = Vec::with_capacity(blocks(len));
    for i in 0..blocks(len) {
        let (header, size) = block_header(i, len, RAW);
        let (block, behind) =
            rest.strip_prefix(&header).and_then(|rest| rest.split_at_checked(size)).ok_or_else(wrong)?;
        found.push(block);
        rest = behind;
    }
    Ok(found)
}

/// A zero frame has one form only, so damage shows without a digest.
pub(crate) fn check_zero(stored: &[u8], len: u64) -> Result<()> {
    let wrong = || corrupt("a zero frame is not in its only form");
    let mut rest = stored.strip_prefix(&header(len)).ok_or_else(wrong)?;
    for i in 0..blocks(len) {
        let ([a, b, c], _) = block_header(i, len, RLE);
        rest = rest.strip_prefix(&[a, b, c, 0]).ok_or_else(wrong)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(wrong()) }
}

/// `len` zeroes in bounded pieces, for hashers.
pub fn zeroes(len: u64) -> impl Iterator<Item = &'static [u8]> {
    static ZEROES: [u8; BLOCK] = [0; BLOCK];
    let rest = usize::try_from(len % BLOCK as u64).unwrap_or(0);
    let whole = (0..len / BLOCK as u64).map(|_| &ZEROES[..]);
    whole.chain(std::iter::once(ZEROES.get(..rest).unwrap_or(&[])))
}

/// Are all of them zero?
pub fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| word.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(sort: Sort, stored: &[u8], len: usize) -> Result<Vec<u8>> {
        let mut plain = vec![0xAA; len];
        Decompressor::default().decode(sort, stored, &mut plain).map(|()| plain)
    }

    #[test]
    fn every_sort_comes_back() {
        for len in [1, 511, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7] {
            let plain = testkit::pattern(len);
            let mut out = vec![];
            encode_stored(&plain, &mut out);
            assert_eq!(out.len() as u64, stored_len(len as u64));
            assert_eq!(decode(Sort::Stored, &out, len).unwrap(), plain);
            assert_eq!(zstd::decode_all(&out[..]).unwrap(), plain, "the library reads what we make by hand");

            let mut out = vec![];
            encode_zero(len as u64, &mut out);
            assert_eq!(out.len() as u64, zero_len(len as u64));
            assert_eq!(decode(Sort::Zero, &out, len).unwrap(), vec![0; len]);
            assert_eq!(zstd::decode_all(&out[..]).unwrap(), vec![0; len]);

            let (even, mut out) = (vec![7; len], vec![]);
            let smaller = Compressor::new(3).unwrap().compress(&even, &mut out).unwrap();
            assert_eq!(smaller, len > 100, "a frame of one byte has none to save");
            if smaller {
                assert_eq!(decode(Sort::Compressed, &out, len).unwrap(), even);
            }
        }
    }

    #[test]
    fn random_bytes_do_not_get_smaller() {
        for level in [1, HARD] {
            let mut out = vec![1, 2];
            assert!(!Compressor::new(level).unwrap().compress(&testkit::pattern(BLOCK), &mut out).unwrap());
            assert_eq!(out, [1, 2]);
        }
    }

    #[test]
    fn equal_bytes_give_equal_frames_whatever_room_there_is() {
        // From random to even: some barely get smaller.
        for even in (0..BLOCK).step_by(BLOCK / 64) {
            let mut plain = testkit::pattern(BLOCK);
            plain[..even].fill(7);
            let mut compressor = Compressor::new(1).unwrap();
            let (mut tight, mut wide) = (vec![], Vec::with_capacity(9 * BLOCK));
            let smaller = compressor.compress(&plain, &mut tight).unwrap();
            compressor.set_level(5).unwrap();
            compressor.compress(&plain, &mut vec![]).unwrap();
            compressor.set_level(1).unwrap();
            assert_eq!(compressor.compress(&plain, &mut wide).unwrap(), smaller);
            assert_eq!(tight, wide);
        }
    }

    #[test]
    fn a_flipped_byte_or_another_length_is_found() {
        let len = BLOCK + 5;
        let mut out = vec![];
        encode_zero(len as u64, &mut out);
        for at in 0..out.len() {
            let mut wrong = out.clone();
            wrong[at] ^= 0x10;
            assert!(decode(Sort::Zero, &wrong, len).is_err(), "byte {at}");
        }
        assert!(decode(Sort::Zero, &out, len - 1).is_err());
        assert!(decode(Sort::Zero, &out[..out.len() - 1], len).is_err());
        let mut out = vec![];
        encode_stored(&testkit::pattern(len), &mut out);
        assert!(decode(Sort::Stored, &out, len + 1).is_err());
        out.push(0);
        assert!(decode(Sort::Stored, &out, len).is_err());
        assert!(decode(Sort::Compressed, b"\x28\xb5\x2f\xfd", 10).is_err());
    }
}
