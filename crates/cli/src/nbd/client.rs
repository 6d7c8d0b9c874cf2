//! A client of the same protocol: a disk that another program shows.

use super::wire::{
    ClientRequest, FIXED_NEWSTYLE, IHAVEOPT, MAX_PAYLOAD, NBDMAGIC, NO_ZEROES, Offered, chunk, command, info,
    option, reply, request, state, take,
};
use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How much is asked about with one question about extents.
const MAX_STATUS: u64 = 1 << 30;
/// Extents of one answer that are kept; a server may send as many as it likes.
const MAX_EXTENTS: usize = 1 << 16;
/// Bytes of an answer in the handshake, or of an error's words.
const MAX_WORDS: u32 = 1 << 16;

/// A disk over several connections.
pub struct Disk {
    size: u64,
    connections: usize,
    idle: Mutex<Idle>,
    returned: Condvar,
    /// What the last question about extents was answered with, in order.
    known: Mutex<Vec<Extent>>,
}

struct Idle {
    streams: Vec<UnixStream>,
    /// How many are left, with those in use.
    alive: usize,
}

fn invalid(words: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the NBD server says what makes no sense: {words}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    /// Greets the server on each connection. It must offer one export without a name, structured replies and
    /// `base:allocation`.
    pub fn connect(streams: Vec<UnixStream>) -> io::Result<Self> {
        let sizes = streams.iter().map(greet).collect::<io::Result<Vec<_>>>()?;
        let size = *sizes.first().ok_or(io::ErrorKind::NotConnected)?;
        if sizes.iter().any(|other| *other != size) {
            return Err(invalid("another size on each connection"));
        }
        let alive = streams.len();
        let idle = Mutex::new(Idle { streams, alive });
        Ok(Self { size, connections: alive, idle, returned: Condvar::new(), known: Mutex::default() })
    }

    /// Does something with a connection that nobody else uses meanwhile. One that failed is not used again.
    fn with<T>(&self, act: impl FnOnce(&UnixStream) -> io::Result<std::result::Result<T, u32>>) -> Result<T> {
        let mut idle = lock(&self.idle);
        let stream = loop {
            match idle.streams.pop() {
                Some(stream) => break stream,
                None if idle.alive == 0 => {
                    return Err(Error::new(ErrorKind::Gone, "the program that reads this image is gone"));
                }
                None => idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(idle);
        let result = act(&stream);
        let mut idle = lock(&self.idle);
        match &result {
            Ok(_) => idle.streams.push(stream),
            Err(_) => idle.alive -= 1,
        }
        drop(idle);
        self.returned.notify_one();
        match result {
            Ok(Ok(value)) => Ok(value),
            // What it could not read or make sense of is no matter of this connection.
            Ok(Err(errno)) => {
                let errno = i32::try_from(errno).unwrap_or(5);
                Err(Error::io(io::Error::from_raw_os_error(errno), "reading the image"))
            }
            Err(error) => {
                Err(Error::io(error, "the program that reads this image").with_kind(ErrorKind::Gone))
            }
        }
    }

    fn status(&self, offset: u64) -> Result<Vec<Extent>> {
        let asked = ByteRange::span(offset, self.size.min(offset.saturating_add(MAX_STATUS)));
        self.with(|stream| status(stream, asked))
    }
}

impl ReadAt for Disk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        ByteRange::within(self.size, offset, buf.len() as u64)?;
        let mut at = offset;
        for piece in buf.chunks_mut(MAX_PAYLOAD as usize) {
            let range = ByteRange::span(at, at.saturating_add(piece.len() as u64));
            self.with(|stream| read(stream, at, piece)).map_err(|error| error.with_range(range))?;
            at = range.end();
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.size, offset, 1)?;
        let find = |known: &[Extent]| {
            let next = known.partition_point(|extent| extent.range.end() <= offset);
            known.get(next).filter(|extent| extent.range.start() <= offset).copied()
        };
        if let Some(found) = find(&lock(&self.known)) {
            return Ok(Extent { range: ByteRange::span(offset, found.range.end()), ..found });
        }
        let known = self.status(offset)?;
        let found = find(&known).ok_or_else(|| Error::new(ErrorKind::Io, "no answer about extents"))?;
        *lock(&self.known) = known;
        Ok(found)
    }

    fn concurrency(&self) -> usize {
        self.connections
    }

    fn granule(&self) -> u64 {
        64 << 10
    }
}

/// The handshake; the size comes back.
fn greet(mut stream: &UnixStream) -> io::Result<u64> {
    let mut magic = [0; 8];
    stream.read_exact(&mut magic)?;
    if u64::from_be_bytes(magic) != NBDMAGIC || u64::from_be_bytes(take(&mut stream)?) != IHAVEOPT {
        return Err(invalid("its greeting"));
    }
    let flags = u16::from_be_bytes(take(&mut stream)?);
    if flags & FIXED_NEWSTYLE == 0 {
        return Err(invalid("an old style"));
    }
    stream.write_all(&u32::from(flags & (FIXED_NEWSTYLE | NO_ZEROES)).to_be_bytes())?;
    request(&mut stream, option::STRUCTURED_REPLY, &[])?;
    acknowledged(stream, |_, _| Ok(()))?;
    let query = b"base:allocation";
    let len = u32::try_from(query.len()).unwrap_or(0).to_be_bytes();
    // An export without a name, one query.
    request(
        &mut stream,
        option::SET_META_CONTEXT,
        &[&[0; 4][..], &1_u32.to_be_bytes(), &len, query].concat(),
    )?;
    acknowledged(stream, |_, _| Ok(()))?;
    request(&mut stream, option::GO, &[0; 6])?;
    let mut size = None;
    acknowledged(stream, |kind, mut data| {
        if kind == reply::INFO && u16::from_be_bytes(take(&mut data)?) == info::EXPORT {
            size = Some(u64::from_be_bytes(take(&mut data)?));
        }
        Ok(())
    })?;
    size.ok_or_else(|| invalid("no size"))
}

/// What the server answers to an option, until it agrees.
fn acknowledged(
    mut stream: &UnixStream,
    mut each: impl FnMut(u32, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        let Offered { kind, len } = Offered::read(&mut stream)?;
        if len > MAX_WORDS {
            return Err(invalid("a long answer"));
        }
        let mut data = vec![0; usize::try_from(len).unwrap_or(0)];
        stream.read_exact(&mut data)?;
        match kind {
            reply::ACK => return Ok(()),
            kind if kind >> 31 == 0 => each(kind, &data)?,
            _ => return Err(io::Error::other(String::from_utf8_lossy(&data).into_owned())),
        }
    }
}

/// Reads the chunks of a reply, each by `each`; the error that the server told.
fn chunks(
    mut stream: &UnixStream,
    mut each: impl FnMut(u16, u32) -> io::Result<()>,
) -> io::Result<std::result::Result<(), u32>> {
    let mut failed = None;
    loop {
        let (flags, kind, len) = super::wire::chunk_head(&mut stream)?;
        match kind {
            chunk::NONE if len == 0 => {}
            kind if kind >> 15 == 1 => {
                if !(6..=MAX_WORDS).contains(&len) {
                    return Err(invalid("a long error"));
                }
                failed = Some(u32::from_be_bytes(take(&mut stream)?));
                io::copy(&mut stream.take(u64::from(len) - 4), &mut io::sink())?;
            }
            kind => each(kind, len)?,
        }
        if flags & chunk::DONE != 0 {
            return Ok(failed.map_or(Ok(()), Err));
        }
    }
}

fn read(mut stream: &UnixStream, offset: u64, buf: &mut [u8]) -> io::Result<std::result::Result<(), u32>> {
    let length = u32::try_from(buf.len()).map_err(io::Error::other)?;
    ClientRequest { command: command::READ, offset, length }.write(&mut stream)?;
    let mut missing = buf.len();
    let done = chunks(stream, |kind, len| {
        let at = u64::from_be_bytes(take(&mut stream)?);
        let len = match kind {
            chunk::OFFSET_DATA => u64::from(len).checked_sub(8),
            chunk::OFFSET_HOLE if len == 12 => Some(u32::from_be_bytes(take(&mut stream)?).into()),
            _ => None,
        };
        let start = at.checked_sub(offset).and_then(|start| usize::try_from(start).ok());
        let len = len.and_then(|len| usize::try_from(len).ok());
        let place = start.zip(len).and_then(|(start, len)| buf.get_mut(start..)?.get_mut(..len));
        let place = place.ok_or_else(|| invalid("a chunk that was not asked for"))?;
        missing = missing.checked_sub(place.len()).ok_or_else(|| invalid("bytes that it sent before"))?;
        match kind {
            chunk::OFFSET_DATA => stream.read_exact(place),
            _ => {
                place.fill(0);
                Ok(())
            }
        }
    })?;
    match done {
        Ok(()) if missing > 0 => Err(invalid("less than was asked for")),
        done => Ok(done),
    }
}

fn status(mut stream: &UnixStream, asked: ByteRange) -> io::Result<std::result::Result<Vec<Extent>, u32>> {
    let length = u32::try_from(asked.len()).map_err(io::Error::other)?;
    ClientRequest { command: command::BLOCK_STATUS, offset: asked.start(), length }.write(&mut stream)?;
    let mut found: Vec<Extent> = vec![];
    let done = chunks(stream, |kind, len| {
        if kind != chunk::BLOCK_STATUS || len % 8 != 4 {
            return Err(invalid("a chunk that is not about extents"));
        }
        let _context: [u8; 4] = take(&mut stream)?;
        let mut at = found.last().map_or(asked.start(), |last| last.range.end());
        for _ in 0..len / 8 {
            let len = u32::from_be_bytes(take(&mut stream)?);
            let flags = u32::from_be_bytes(take(&mut stream)?);
            // The last one may reach beyond what was asked.
            let range = ByteRange::span(at, at.saturating_add(len.into())).intersect(asked);
            let kind = if flags & state::ZERO != 0 { ExtentKind::Zero } else { ExtentKind::Data };
            if !range.is_empty() && found.len() < MAX_EXTENTS {
                Extent { range, kind }.append(&mut found);
                at = range.end();
            }
        }
        Ok(())
    })?;
    if done.is_ok() && found.is_empty() {
        return Err(invalid("no extents"));
    }
    Ok(done.map(|()| found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nbd::{Export, converse};
    use block::extents;
    use std::sync::Arc;
    use testkit::{Memory, pattern};

    /// Our own server at the other end.
    fn served(disk: Memory, connections: usize) -> Disk {
        let export =
            Export { name: String::new(), description: String::new(), source: Arc::new(disk), overlay: None };
        let export = Arc::new(export);
        let connect = |_| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let export = Arc::clone(&export);
            std::thread::spawn(move || converse(theirs, &[export]));
            ours
        };
        Disk::connect((0..connections).map(connect).collect()).unwrap()
    }

    #[test]
    fn gives_what_the_server_has() {
        let mut bytes = pattern(3 << 20);
        bytes[1 << 20..2 << 20].fill(0);
        let hole = ByteRange::span(1 << 20, 2 << 20);
        let disk = served(Memory::new(bytes.clone()).with(|disk| disk.holes = vec![hole]), 3);
        assert_eq!((disk.size(), disk.concurrency()), (3 << 20, 3));
        for (at, len) in [(0, 1), (0, 3 << 20), (1_000_000, 1_100_001), ((3 << 20) - 1, 1), (5, 0)] {
            let mut buf = vec![0xAA; len];
            disk.read_at(at as u64, &mut buf).unwrap();
            assert_eq!(buf, bytes[at..at + len]);
        }
        assert!(disk.read_at(3 << 20, &mut [0]).is_err());
        let all = extents(&disk, ByteRange::span(0, 3 << 20)).collect::<Result<Vec<_>>>().unwrap();
        let kinds: Vec<_> = all.iter().map(|extent| (extent.range, extent.kind)).collect();
        assert_eq!(kinds[1], (hole, ExtentKind::Zero), "{kinds:?}");
        assert_eq!(kinds.len(), 3);
        std::thread::scope(|scope| {
            for start in 0..8_usize {
                let (disk, bytes) = (&disk, &bytes);
                scope.spawn(move || {
                    let mut buf = vec![0; 300_000];
                    disk.read_at(start as u64 * 300_000, &mut buf).unwrap();
                    assert_eq!(buf, bytes[start * 300_000..][..300_000]);
                });
            }
        });
    }

    #[test]
    fn a_bad_place_is_an_error_there_and_nowhere_else() {
        let bad = vec![ByteRange::span(4096, 8192)];
        let disk = served(Memory::new(pattern(1 << 20)).with(|disk| disk.bad = bad), 1);
        let error = disk.read_at(0, &mut [0; 8192]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Media);
        disk.read_at(8192, &mut [0; 8192]).unwrap();
    }

    #[test]
    fn a_server_that_lies_is_an_error() {
        let greeting =
            [&NBDMAGIC.to_be_bytes()[..], &IHAVEOPT.to_be_bytes(), &FIXED_NEWSTYLE.to_be_bytes()].concat();
        for said in [&b""[..], b"NBDMAGICxxxxxxxxxx", &greeting, &[greeting.clone(), vec![0xFF; 64]].concat()]
        {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(said).unwrap();
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            assert!(Disk::connect(vec![ours]).is_err());
        }
    }

    #[test]
    fn a_server_that_goes_is_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let disk = Memory::new(pattern(1 << 20));
        let export =
            Export { name: String::new(), description: String::new(), source: Arc::new(disk), overlay: None };
        let stays = theirs.try_clone().unwrap();
        std::thread::spawn(move || converse(theirs, &[Arc::new(export)]));
        let disk = Disk::connect(vec![ours]).unwrap();
        disk.read_at(0, &mut [0; 100]).unwrap();
        stays.shutdown(std::net::Shutdown::Both).unwrap();
        for _ in 0..2 {
            assert_eq!(disk.read_at(0, &mut [0; 100]).unwrap_err().kind(), ErrorKind::Gone);
        }
    }
}
