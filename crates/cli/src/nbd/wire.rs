//! Numbers and forms of the NBD protocol, as `doc/proto.md` of the reference implementation names them. All are
//! big-endian.

use std::io::{self, Read, Write};

/// Begins a connection.
pub(super) const NBDMAGIC: u64 = 0x4e42_444d_4147_4943;
/// Begins an option of the client, and says that the server knows options.
pub(super) const IHAVEOPT: u64 = 0x4948_4156_454F_5054;
/// Begins the answer to an option.
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
/// Begins a request.
const REQUEST: u32 = 0x2560_9513;
/// Begins a simple reply.
const SIMPLE_REPLY: u32 = 0x6744_6698;
/// Begins a chunk of a structured reply.
const STRUCTURED_REPLY: u32 = 0x668e_33ef;

/// Handshake: options work, and nobody wants 124 zeroes.
pub(super) const FIXED_NEWSTYLE: u16 = 1;
pub(super) const NO_ZEROES: u16 = 2;

/// Most bytes of an option's data: names have at most 4096.
const MAX_OPTION: u32 = 64 << 10;
/// Most bytes of one read or write, by the protocol's own advice.
pub(super) const MAX_PAYLOAD: u32 = 32 << 20;

pub(super) mod option {
    pub(crate) const EXPORT_NAME: u32 = 1;
    pub(crate) const ABORT: u32 = 2;
    pub(crate) const LIST: u32 = 3;
    pub(crate) const INFO: u32 = 6;
    pub(crate) const GO: u32 = 7;
    pub(crate) const STRUCTURED_REPLY: u32 = 8;
    pub(crate) const LIST_META_CONTEXT: u32 = 9;
    pub(crate) const SET_META_CONTEXT: u32 = 10;
}

/// Types of answers to options.
pub(super) mod reply {
    pub(crate) const ACK: u32 = 1;
    pub(crate) const SERVER: u32 = 2;
    pub(crate) const INFO: u32 = 3;
    pub(crate) const META_CONTEXT: u32 = 4;
    pub(crate) const ERR_UNSUP: u32 = (1 << 31) + 1;
    pub(crate) const ERR_INVALID: u32 = (1 << 31) + 3;
    pub(crate) const ERR_UNKNOWN: u32 = (1 << 31) + 6;
    pub(crate) const ERR_TOO_BIG: u32 = (1 << 31) + 9;
}

/// Kinds of information about an export.
pub(super) mod info {
    pub(crate) const EXPORT: u16 = 0;
    pub(crate) const NAME: u16 = 1;
    pub(crate) const DESCRIPTION: u16 = 2;
    pub(crate) const BLOCK_SIZE: u16 = 3;
}

/// What a server offers.
pub(super) mod flag {
    pub(crate) const HAS_FLAGS: u16 = 1;
    pub(crate) const READ_ONLY: u16 = 2;
    pub(crate) const SEND_FLUSH: u16 = 4;
    pub(crate) const SEND_FUA: u16 = 8;
    pub(crate) const SEND_TRIM: u16 = 32;
    pub(crate) const SEND_WRITE_ZEROES: u16 = 64;
    pub(crate) const SEND_DF: u16 = 128;
    pub(crate) const CAN_MULTI_CONN: u16 = 256;
    pub(crate) const SEND_CACHE: u16 = 1024;
}

pub(super) mod command {
    pub(crate) const READ: u16 = 0;
    pub(crate) const WRITE: u16 = 1;
    pub(crate) const DISC: u16 = 2;
    pub(crate) const FLUSH: u16 = 3;
    pub(crate) const TRIM: u16 = 4;
    pub(crate) const CACHE: u16 = 5;
    pub(crate) const WRITE_ZEROES: u16 = 6;
    pub(crate) const BLOCK_STATUS: u16 = 7;
    /// Flag of a write: durable before it is answered.
    pub(crate) const FUA: u16 = 1;
    /// Flag of a read: one chunk.
    pub(crate) const DF: u16 = 4;
    /// Flag of a block status: one extent.
    pub(crate) const REQ_ONE: u16 = 8;
}

/// Errors of requests, which are those of Linux.
pub(super) mod errno {
    pub(crate) const EPERM: u32 = 1;
    pub(crate) const EIO: u32 = 5;
    pub(crate) const EINVAL: u32 = 22;
    pub(crate) const ENOSPC: u32 = 28;
    pub(crate) const EOVERFLOW: u32 = 75;
    pub(crate) const ENOTSUP: u32 = 95;
}

/// Chunks of structured replies.
pub(super) mod chunk {
    pub(crate) const NONE: u16 = 0;
    pub(crate) const OFFSET_DATA: u16 = 1;
    pub(crate) const OFFSET_HOLE: u16 = 2;
    pub(crate) const BLOCK_STATUS: u16 = 5;
    pub(crate) const ERROR: u16 = (1 << 15) + 1;
    pub(crate) const ERROR_OFFSET: u16 = (1 << 15) + 2;
    /// The last one of its reply.
    pub(crate) const DONE: u16 = 1;
}

/// Extents of `base:allocation`.
pub(super) mod state {
    pub(crate) const HOLE: u32 = 1;
    pub(crate) const ZERO: u32 = 2;
}

/// Exactly N bytes.
pub(super) fn take<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// What the client wants in the handshake.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) option: u32,
    /// `None`: more than any option needs; it was skipped.
    pub(super) data: Option<Vec<u8>>,
}

impl Asked {
    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        if u64::from_be_bytes(take(from)?) != IHAVEOPT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an option that is none"));
        }
        let option = u32::from_be_bytes(take(from)?);
        let len = u32::from_be_bytes(take(from)?);
        if len > MAX_OPTION {
            // Skipped in full, so that the next option is found.
            io::copy(&mut from.take(len.into()), &mut io::sink())?;
            return Ok(Self { option, data: None });
        }
        let mut data = vec![0; usize::try_from(len).unwrap_or_default()];
        from.read_exact(&mut data)?;
        Ok(Self { option, data: Some(data) })
    }
}

/// The answer to an option.
pub(super) fn answer(to: &mut impl Write, option: u32, reply: u32, data: &[u8]) -> io::Result<()> {
    let len = u32::try_from(data.len()).map_err(io::Error::other)?;
    let mut message = Vec::with_capacity(20 + data.len());
    message.extend(OPTION_REPLY.to_be_bytes());
    message.extend(option.to_be_bytes());
    message.extend(reply.to_be_bytes());
    message.extend(len.to_be_bytes());
    message.extend(data);
    to.write_all(&message)
}

/// A string with its length before it, from the front of `data`.
pub(super) fn string<'a>(data: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = data.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    *data = rest;
    Some(text)
}

/// A request of the transmission phase. What a write brings with it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) flags: u16,
    pub(super) command: u16,
    /// The client's name for it.
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Request {
    /// `None`: the client has closed.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut bytes = [0; 28];
        let first = loop {
            match from.read(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                first => break first?,
            }
        };
        if first == 0 {
            return Ok(None);
        }
        from.read_exact(&mut bytes[first..])?;
        let mut rest = &bytes[..];
        if u32::from_be_bytes(take(&mut rest)?) != REQUEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a request that is none"));
        }
        Ok(Some(Self {
            flags: u16::from_be_bytes(take(&mut rest)?),
            command: u16::from_be_bytes(take(&mut rest)?),
            cookie: u64::from_be_bytes(take(&mut rest)?),
            offset: u64::from_be_bytes(take(&mut rest)?),
            length: u32::from_be_bytes(take(&mut rest)?),
        }))
    }
}

/// An option, as a client sends it.
pub(super) fn request(to: &mut impl Write, option: u32, data: &[u8]) -> io::Result<()> {
    let len = u32::try_from(data.len()).map_err(io::Error::other)?;
    to.write_all(&[&IHAVEOPT.to_be_bytes()[..], &option.to_be_bytes(), &len.to_be_bytes(), data].concat())
}

/// The head of an answer to an option; its data follow.
pub(super) struct Offered {
    pub(super) kind: u32,
    pub(super) len: u32,
}

impl Offered {
    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        if u64::from_be_bytes(take(from)?) != OPTION_REPLY {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer that is none"));
        }
        let _option: [u8; 4] = take(from)?;
        Ok(Self { kind: u32::from_be_bytes(take(from)?), len: u32::from_be_bytes(take(from)?) })
    }
}

/// A request, as a client sends it: one at a time, so that it needs no name.
pub(super) struct ClientRequest {
    pub(super) command: u16,
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl ClientRequest {
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let (flags, cookie) = ([0; 2], [0; 8]);
        let head = [&REQUEST.to_be_bytes()[..], &flags, &self.command.to_be_bytes(), &cookie].concat();
        to.write_all(&[&head[..], &self.offset.to_be_bytes(), &self.length.to_be_bytes()].concat())
    }
}

/// The head of a chunk, as a client reads it: flags, kind, and the bytes that follow.
pub(super) fn chunk_head(from: &mut impl Read) -> io::Result<(u16, u16, u32)> {
    if u32::from_be_bytes(take(from)?) != STRUCTURED_REPLY {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply that is none"));
    }
    let (flags, kind) = (u16::from_be_bytes(take(from)?), u16::from_be_bytes(take(from)?));
    let _cookie: [u8; 8] = take(from)?;
    Ok((flags, kind, u32::from_be_bytes(take(from)?)))
}

/// The head of a simple reply.
pub(super) fn simple(error: u32, cookie: u64) -> Vec<u8> {
    [&SIMPLE_REPLY.to_be_bytes()[..], &error.to_be_bytes(), &cookie.to_be_bytes()].concat()
}

/// The head of a chunk with `length` bytes behind it.
pub(super) fn structured(flags: u16, kind: u16, cookie: u64, length: u32) -> Vec<u8> {
    [
        &STRUCTURED_REPLY.to_be_bytes()[..],
        &flags.to_be_bytes(),
        &kind.to_be_bytes(),
        &cookie.to_be_bytes(),
        &length.to_be_bytes(),
    ]
    .concat()
}
