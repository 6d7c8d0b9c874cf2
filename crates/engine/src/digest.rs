//! Serial digests for comparison with other tools. Only made when asked for: they cost a core.

use block::{Buffer, Encode, Error, ErrorKind, Extent, ReadAt, Result, Sink};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::sync::{Mutex, PoisonError};

/// A digest that other tools print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// What `b3sum` prints.
    Blake3,
    /// What `sha256sum` prints.
    Sha256,
    /// What `sha1sum` prints.
    Sha1,
    /// What `md5sum` prints.
    Md5,
}

/// Several digests of the same bytes.
#[derive(Clone, Default)]
pub(crate) struct Digests {
    blake3: Option<Box<blake3::Hasher>>,
    sha256: Option<Sha256>,
    sha1: Option<Sha1>,
    md5: Option<Md5>,
}

impl Digests {
    pub(crate) fn new(wanted: &[Algorithm]) -> Self {
        let wants = |algorithm| wanted.contains(&algorithm);
        Self {
            blake3: wants(Algorithm::Blake3).then(Box::default),
            sha256: wants(Algorithm::Sha256).then(Sha256::new),
            sha1: wants(Algorithm::Sha1).then(Sha1::new),
            md5: wants(Algorithm::Md5).then(Md5::new),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.blake3 {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut self.sha256 {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut self.sha1 {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut self.md5 {
            hasher.update(bytes);
        }
    }

    pub(crate) fn zeroes(&mut self, count: u64) {
        image::zeroes(count).for_each(|piece| self.update(piece));
    }

    pub(crate) fn finish(self) -> image::DiskDigests {
        image::DiskDigests {
            blake3: self.blake3.map(|hasher| image::Hex(*hasher.finalize().as_bytes())),
            others: image::Digests {
                sha256: self.sha256.map(|hasher| image::Hex(hasher.finalize().into())),
                sha1: self.sha1.map(|hasher| image::Hex(hasher.finalize().into())),
                md5: self.md5.map(|hasher| image::Hex(hasher.finalize().into())),
            },
        }
    }
}

/// A source that hashes what passes, in ascending order: what is skipped counts as zeroes, be it a hole,
/// left out, or unreadable.
pub(crate) struct Hashed<'a> {
    inner: &'a dyn ReadAt,
    state: Mutex<(u64, Digests)>,
}

impl<'a> Hashed<'a> {
    pub(crate) fn new(inner: &'a dyn ReadAt, wanted: &[Algorithm]) -> Self {
        Self { inner, state: Mutex::new((0, Digests::new(wanted))) }
    }

    /// Of all bytes of the source.
    pub(crate) fn finish(self) -> image::DiskDigests {
        let (at, mut digests) = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        digests.zeroes(self.inner.size().saturating_sub(at));
        digests.finish()
    }
}

impl ReadAt for Hashed<'_> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let read = self.inner.read_at(offset, buf);
        let good = match &read {
            Ok(()) => buf.len() as u64,
            Err(error) => error.range().map_or(0, |range| range.start().saturating_sub(offset)),
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, digests) = &mut *state;
        let Some(skipped) = offset.checked_sub(*at) else {
            return Err(Error::new(ErrorKind::Bug, "a digest in disk order was read out of order"));
        };
        digests.zeroes(skipped);
        digests.update(buf.get(..usize::try_from(good).unwrap_or(0)).unwrap_or(&[]));
        *at = offset + good;
        read
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.inner.extent_at(offset)
    }

    fn granule(&self) -> u64 {
        self.inner.granule()
    }
}

/// A sink that hashes each stored file's plain bytes on their way, in order.
pub(crate) struct HashedFiles<S> {
    inner: S,
    files: Vec<Digests>,
}

impl<S: Sink> HashedFiles<S> {
    pub(crate) fn new(inner: S, files: usize, wanted: &[Algorithm]) -> Self {
        Self { inner, files: vec![Digests::new(wanted); files] }
    }
}

impl<S: Sink> Sink for HashedFiles<S> {
    type Encoder = S::Encoder;
    type Summary = (S::Summary, Vec<image::DiskDigests>);

    fn encoder(&self) -> S::Encoder {
        self.inner.encoder()
    }

    fn commit(&mut self, buffer: &Buffer, out: <S::Encoder as Encode>::Out) -> Result<()> {
        if let Some(digests) = self.files.get_mut(buffer.file) {
            match buffer.is_run() {
                true => digests.zeroes(buffer.len()),
                false => digests.update(&buffer.data),
            }
        }
        self.inner.commit(buffer, out)
    }

    fn finish(self) -> Result<Self::Summary> {
        let digests = self.files.into_iter().map(Digests::finish).collect();
        Ok((self.inner.finish()?, digests))
    }
}
