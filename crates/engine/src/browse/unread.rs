//! How much of a file its source is known not to have, without reading it.

use block::{ByteRange, Error, ErrorKind, ExtentKind, ReadAt, Result, extents};
use disk::fs::{FileSystem, NodeId};

/// Extents of one file that are looked at.
const EXTENTS: usize = 1 << 20;

/// Bytes of a file that cannot be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// They could not be read when the source was made.
    pub bad: u64,
    /// They were never read: left out, or not yet tried.
    pub absent: u64,
}

/// Does the source say of any of its bytes that it does not have them? One that is read live says so of none.
pub fn has_unread(source: &dyn ReadAt) -> Result<bool> {
    for extent in extents(source, ByteRange::span(0, source.size())) {
        if extent?.kind.is_lost() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What of a file's content its source does not have. What is packed tells nothing before it is read, and what is
/// damaged or not understood has nothing to tell; where the map of its places is lost, all of it is.
pub fn unread(fs: &dyn FileSystem, node: NodeId, size: u64) -> Result<Unread> {
    let mut unread = Unread::default();
    let looked = fs.open(node, None).and_then(|content| look(&*content, &mut unread));
    let error = match looked {
        Ok(true) => return Ok(unread),
        Ok(false) => {
            let words = "it is in too many pieces to be looked through for unread places";
            return Err(Error::new(ErrorKind::Unsupported, words));
        }
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::Media => Ok(Unread { bad: size, absent: 0 }),
        ErrorKind::Absent => Ok(Unread { bad: 0, absent: size }),
        ErrorKind::Unsupported | ErrorKind::Corrupt | ErrorKind::OutOfRange => Ok(unread),
        _ => Err(error),
    }
}

/// Was all of it looked at?
fn look(content: &dyn ReadAt, unread: &mut Unread) -> Result<bool> {
    for (number, extent) in extents(content, ByteRange::span(0, content.size())).enumerate() {
        let extent = extent?;
        match extent.kind {
            ExtentKind::Bad => unread.bad += extent.range.len(),
            ExtentKind::Absent => unread.absent += extent.range.len(),
            ExtentKind::Data | ExtentKind::Zero => {}
        }
        if number >= EXTENTS {
            return Ok(false);
        }
    }
    Ok(true)
}
