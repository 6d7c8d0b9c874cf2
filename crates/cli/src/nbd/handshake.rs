//! The beginning of a connection: what the client wants of which export.

use super::Export;
use super::wire::{
    Asked, FIXED_NEWSTYLE, IHAVEOPT, MAX_PAYLOAD, NBDMAGIC, NO_ZEROES, answer, flag, info, option, reply,
    string, take,
};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// The only kind of extents that is told.
const ALLOCATION: &[u8] = b"base:allocation";
/// Its number in replies.
pub(super) const ALLOCATION_ID: u32 = 1;
/// Options that a client may send before it must go: more than any needs, so that none stays for ever.
const MAX_OPTIONS: usize = 1000;

/// What was agreed upon.
#[derive(Clone)]
pub(super) struct Agreed {
    pub(super) export: Arc<Export>,
    /// Replies in chunks.
    pub(super) structured: bool,
    /// Extents may be asked for.
    pub(super) allocation: bool,
}

/// Negotiates. `None`: the client went without choosing an export.
pub(super) fn negotiate(
    stream: &mut (impl Read + Write),
    exports: &[Arc<Export>],
) -> io::Result<Option<Agreed>> {
    let flags = FIXED_NEWSTYLE | NO_ZEROES;
    stream
        .write_all(&[&NBDMAGIC.to_be_bytes()[..], &IHAVEOPT.to_be_bytes(), &flags.to_be_bytes()].concat())?;
    let client = u32::from_be_bytes(take(stream)?);
    if client & !u32::from(flags) != 0 || client & u32::from(FIXED_NEWSTYLE) == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a client of another protocol"));
    }
    let zeroes = client & u32::from(NO_ZEROES) == 0;
    let (mut structured, mut allocation) = (false, None);
    for _ in 0..MAX_OPTIONS {
        let Asked { option, data } = Asked::read(stream)?;
        let Some(data) = data else {
            answer(stream, option, reply::ERR_TOO_BIG, b"too long")?;
            continue;
        };
        let find = |name: &[u8]| exports.iter().find(|export| export.name.as_bytes() == name);
        match option {
            option::EXPORT_NAME => {
                // There is no answer that says no.
                let Some(export) = find(&data) else { return Ok(None) };
                stream.write_all(&export.size().to_be_bytes())?;
                stream.write_all(&transmission_flags(export, structured).to_be_bytes())?;
                stream.write_all(&[0; 124][..if zeroes { 124 } else { 0 }])?;
                return Ok(Some(agreed(export, structured, allocation.as_deref())));
            }
            option::ABORT => {
                // It may be gone already.
                let _ = answer(stream, option, reply::ACK, b"");
                return Ok(None);
            }
            option::LIST if data.is_empty() => {
                for export in exports {
                    let name = export.name.as_bytes();
                    let len = u32::try_from(name.len()).unwrap_or_default().to_be_bytes();
                    answer(
                        stream,
                        option,
                        reply::SERVER,
                        &[&len, name, export.description.as_bytes()].concat(),
                    )?;
                }
                answer(stream, option, reply::ACK, b"")?;
            }
            option::INFO | option::GO => match wanted(&data) {
                None => answer(stream, option, reply::ERR_INVALID, b"not as it must be")?,
                Some(name) => match find(name) {
                    None => answer(stream, option, reply::ERR_UNKNOWN, b"no such export")?,
                    Some(export) => {
                        tell(stream, option, export, structured)?;
                        if option == option::GO {
                            return Ok(Some(agreed(export, structured, allocation.as_deref())));
                        }
                    }
                },
            },
            option::STRUCTURED_REPLY if data.is_empty() => {
                structured = true;
                answer(stream, option, reply::ACK, b"")?;
            }
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => match contexts(&data) {
                Some((name, known)) if structured && find(name).is_some() => {
                    let setting = option == option::SET_META_CONTEXT;
                    if setting {
                        allocation = known.then(|| name.to_vec());
                    }
                    if known {
                        let id = if setting { ALLOCATION_ID } else { 0 };
                        answer(
                            stream,
                            option,
                            reply::META_CONTEXT,
                            &[&id.to_be_bytes(), ALLOCATION].concat(),
                        )?;
                    }
                    answer(stream, option, reply::ACK, b"")?;
                }
                Some((name, _)) if find(name).is_none() => {
                    answer(stream, option, reply::ERR_UNKNOWN, b"no such export")?;
                }
                _ => answer(stream, option, reply::ERR_INVALID, b"not as it must be")?,
            },
            option::LIST | option::STRUCTURED_REPLY => {
                answer(stream, option, reply::ERR_INVALID, b"not as it must be")?;
            }
            _ => answer(stream, option, reply::ERR_UNSUP, b"")?,
        }
    }
    Ok(None)
}

fn agreed(export: &Arc<Export>, structured: bool, allocation: Option<&[u8]>) -> Agreed {
    // Of the export that the contexts were set for, and no other.
    let allocation = allocation == Some(export.name.as_bytes());
    Agreed { export: Arc::clone(export), structured, allocation }
}

fn transmission_flags(export: &Export, structured: bool) -> u16 {
    let chunks = if structured { flag::SEND_DF } else { 0 };
    let writes = match export.overlay {
        Some(_) => flag::SEND_FLUSH | flag::SEND_FUA | flag::SEND_TRIM | flag::SEND_WRITE_ZEROES,
        None => flag::READ_ONLY,
    };
    // A flush on one connection is one of all.
    flag::HAS_FLAGS | writes | flag::CAN_MULTI_CONN | flag::SEND_CACHE | chunks
}

/// The export's name in INFO and GO. Which information is wanted does not matter: all of it is told.
fn wanted(mut data: &[u8]) -> Option<&[u8]> {
    let name = string(&mut data)?;
    let (count, kinds) = data.split_first_chunk()?;
    (kinds.len() == 2 * usize::from(u16::from_be_bytes(*count))).then_some(name)
}

fn tell(stream: &mut impl Write, option: u32, export: &Export, structured: bool) -> io::Result<()> {
    let size = export.size().to_be_bytes();
    let flags = transmission_flags(export, structured).to_be_bytes();
    answer(stream, option, reply::INFO, &[&info::EXPORT.to_be_bytes()[..], &size, &flags].concat())?;
    let [least, best] = [1, u32::try_from(export.granule()).unwrap_or(4096)].map(u32::to_be_bytes);
    let most = MAX_PAYLOAD.to_be_bytes();
    let sizes = [&info::BLOCK_SIZE.to_be_bytes()[..], &least, &best, &most].concat();
    answer(stream, option, reply::INFO, &sizes)?;
    for (kind, text) in [(info::NAME, &export.name), (info::DESCRIPTION, &export.description)] {
        answer(stream, option, reply::INFO, &[&kind.to_be_bytes(), text.as_bytes()].concat())?;
    }
    answer(stream, option, reply::ACK, b"")
}

/// The export's name, and whether one of the queries means `base:allocation`. No query: all there are.
fn contexts(mut data: &[u8]) -> Option<(&[u8], bool)> {
    let name = string(&mut data)?;
    let (count, mut queries) = data.split_first_chunk()?;
    let count = u32::from_be_bytes(*count);
    let mut known = count == 0;
    for _ in 0..count {
        let query = string(&mut queries)?;
        known |= [ALLOCATION, b"base:"].contains(&query);
    }
    queries.is_empty().then_some((name, known))
}
