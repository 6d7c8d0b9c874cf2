//! NTFS (the Linux-NTFS documentation, MS-XCA for what is compressed; ntfs-3g is the reference).
//!
//! Everything is an attribute of a record of the master file table. What the filesystem keeps for itself
//! (records below 16: `$MFT`, `$Extend` and so on) is not listed, but found by name. Names for DOS beside
//! longer ones are neither listed nor counted. The journal is not replayed: it holds pages of metadata, which
//! Windows writes out within seconds, and no bytes of files.

mod attribute;
mod bits;
mod compressed;
mod content;
mod extended;
mod file;
mod geometry;
mod index;
mod lznt1;
mod lzx;
mod names;
mod node;
mod record;
mod reparse;
mod runs;
mod volume;
mod wof;
mod xpress;

pub(crate) use compressed::Lznt1;
pub(crate) use geometry::Geometry;
pub(crate) use names::outside;
pub(crate) use record::fixed_up;
pub(crate) use reparse::{Reparse, is_away};
pub(crate) use wof::{Algorithm, STREAM as WOF_STREAM, Wof};

use super::{Case, Condition, DirEntry, Each, FileKind, FileSystem, Info, Metadata, NodeId, Stream};
use crate::probe::{Content, StateKind};
use attribute::Attribute;
use block::{Error, ErrorKind, Result, Source};
use file::File;
use index::{Index, Named};
use names::{FileName, Upcase, inside, units};
use node::{Node, REPARSE, SYSTEM};
use record::Reference;
use std::cmp::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use volume::{FIRST_USER, ROOT, UPCASE, Volume};

/// A volume with its table of letters.
struct Ntfs {
    volume: Volume,
    /// `None` where it cannot be read: then no directory is searched by its order.
    upcase: Option<Upcase>,
    simple: Upcase,
    root: NodeId,
    info: Info,
    /// The directory that was looked into last: names are mostly asked for one after the other.
    last: Mutex<Option<(NodeId, Arc<Index>)>>,
}

pub(super) fn open(source: Source, content: &Content) -> Result<Box<dyn FileSystem>> {
    let volume = Volume::open(source)?;
    let mut missing = vec![];
    if volume.mirrored {
        missing.push("the first record of its master file table is damaged: its copy was used".into());
    }
    let root = volume.file(Reference { number: ROOT, sequence: 0 })?;
    let root = NodeId { inode: ROOT, tree: root.record.sequence() };
    let upcase = upcase(&volume);
    if upcase.is_none() {
        missing
            .push("its table of upper and lower case cannot be read: names are searched as they are".into());
    }
    let state = |kind| content.states.iter().any(|state| state.kind == kind);
    let hibernated = state(StateKind::Hibernated);
    if hibernated {
        missing.push("Windows is hibernated on it: what it had in memory is not in these files".into());
    }
    let stale = hibernated || state(StateKind::Dirty) || state(StateKind::JournalReplay);
    let condition = if stale { Condition::Stale } else { Condition::Clean };
    let info = Info { type_name: "ntfs", engine: "selfsame", case: Case::Insensitive, condition, missing };
    Ok(Box::new(Ntfs { volume, upcase, simple: Upcase::simple(), root, info, last: Mutex::default() }))
}

fn upcase(volume: &Volume) -> Option<Upcase> {
    let file = volume.file(Reference { number: UPCASE, sequence: 0 }).ok()?;
    let most = u64::try_from(Upcase::SIZE).ok()?;
    let table = file.value(Attribute::DATA, &[], most).ok()??;
    (table.len() == Upcase::SIZE).then(|| Upcase::of(&table))
}

fn corrupt(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, words)
}

impl Ntfs {
    fn file(&self, node: NodeId) -> Result<File<'_>> {
        self.volume.file(Reference { number: node.inode, sequence: node.tree })
    }

    fn node(&self, node: NodeId) -> Result<Node<'_>> {
        Node::of(self.file(node)?)
    }

    fn index(&self, dir: NodeId) -> Result<Arc<Index>> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, index)) = last().as_ref().filter(|(known, _)| *known == dir) {
            return Ok(Arc::clone(index));
        }
        let index = Arc::new(Index::open(&self.file(dir)?, self.volume.geometry.cluster)?);
        *last() = Some((dir, Arc::clone(&index)));
        Ok(index)
    }

    fn letters(&self) -> &Upcase {
        self.upcase.as_ref().unwrap_or(&self.simple)
    }

    /// Looks through all of a directory; one that is damaged fails only if it is not found.
    fn scan(&self, index: &Index, name: &[u8]) -> Result<Option<Reference>> {
        let mut found = None;
        let walked = index.walk(&mut |named| {
            let exact = named.name == name;
            if exact || (found.is_none() && self.info.case.same(&named.name, name)) {
                found = Some(named.reference);
            }
            Ok(!exact)
        });
        if found.is_none() { walked.map(|()| None) } else { Ok(found) }
    }

    /// The name of a stream as the file has it: exactly, else in other case.
    fn stream_name(&self, file: &File, name: &[u8]) -> Result<Vec<u8>> {
        let heads = file.all(Attribute::DATA)?;
        let wanted = inside(name).unwrap_or_default();
        let exact = heads.iter().find(|head| wanted.iter().copied().eq(units(&head.name)));
        let same =
            || heads.iter().find(|head| self.letters().order(&wanted, units(&head.name)) == Ordering::Equal);
        match exact.or_else(same).filter(|head| !head.name.is_empty()) {
            Some(head) => Ok(head.name.clone()),
            None => Err(Error::new(ErrorKind::NotFound, "it has no stream of this name")),
        }
    }
}

/// As it is listed.
fn listed(named: Named) -> DirEntry {
    let node = NodeId { inode: named.reference.number, tree: named.reference.sequence };
    // Of those that may be links or pipes only the file says what they are.
    let kind = match named.attributes {
        attributes if attributes & (REPARSE | SYSTEM) != 0 => None,
        attributes if attributes & FileName::DIRECTORY != 0 => Some(FileKind::Directory),
        _ => Some(FileKind::File),
    };
    DirEntry { name: named.name, node, kind }
}

impl FileSystem for Ntfs {
    fn info(&self) -> &Info {
        &self.info
    }

    fn root(&self) -> NodeId {
        self.root
    }

    fn read_dir(&self, dir: NodeId, each: Each<'_>) -> Result<()> {
        let hidden = |named: &Named| dir.inode == ROOT && named.reference.number < FIRST_USER;
        self.index(dir)?.walk(&mut |named| if hidden(&named) { Ok(true) } else { each(listed(named)) })
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        let Some(wanted) = inside(name) else { return Ok(None) };
        let index = self.index(dir)?;
        let found = match &self.upcase {
            // A damaged tree may have it elsewhere.
            Some(upcase) => index.find(&wanted, upcase).or_else(|_| self.scan(&index, name))?,
            None => self.scan(&index, name)?,
        };
        Ok(found.map(|found| NodeId { inode: found.number, tree: found.sequence }))
    }

    fn metadata(&self, node: NodeId) -> Result<Metadata> {
        self.node(node)?.metadata()
    }

    fn open(&self, node: NodeId, stream: Option<&[u8]>) -> Result<Source> {
        let node = self.node(node)?;
        let Some(name) = stream else { return node.content() };
        let name = self.stream_name(&node.file, name)?;
        let source = node.file.stream(Attribute::DATA, &name)?;
        source.ok_or_else(|| Error::new(ErrorKind::NotFound, "it has no stream of this name"))
    }

    fn read_link(&self, node: NodeId) -> Result<Vec<u8>> {
        let target = self.node(node)?.target;
        target.ok_or_else(|| Error::new(ErrorKind::Usage, "it is no link"))
    }

    fn streams(&self, node: NodeId) -> Result<Vec<Stream>> {
        let node = self.node(node)?;
        let heads = node.file.all(Attribute::DATA)?.into_iter();
        let named = heads.map(|head| Stream { name: outside(&head.name), size: head.sizes.data });
        // What holds the content itself is none besides it.
        Ok(named.filter(|stream| !stream.name.is_empty() && !node.is_holder(&stream.name)).collect())
    }
}
