//! Copies files out of a filesystem, with what is known of them.
//!
//! Steps and contents go in batches: what a batch makes is written to, and the next batch begins by giving those
//! files their names. So a folder is closed only after all that is in it.

use super::contents::{Contents, Written};
use super::{Found, Step as Walked, Volumes, Walk};
use crate::{Context, Side};
use block::{Error, ErrorKind, Result};
use disk::fs::{FileKind, FileSystem, Metadata, NodeId, Time};
use image::{Attrs, Lacking, Made, Outlet, Special, Step, TOP};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Files under way at once: as many descriptors.
const FILES: usize = 64;
/// Steps in a batch.
const STEPS: usize = 512;
/// Faults that are kept; all are counted and told.
const FAULTS: usize = 10_000;
/// Bytes of all extended attributes of a file; Linux has no more room in its filesystems either.
const XATTRS: usize = 128 << 10;
/// A name that no filesystem of Linux takes.
const NAME: usize = 4096;

/// What shall be copied, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct GetOptions {
    /// Also what is in folders.
    pub recursive: bool,
    /// Streams as files of their own, `NAME:STREAM`.
    pub streams: bool,
    /// Pipes and device nodes.
    pub devices: bool,
}

/// A file that was not copied, or not whole.
#[derive(Clone, Debug)]
pub struct GetFault {
    /// From the root of the filesystem.
    pub path: Vec<u8>,
    /// What failed.
    pub what: String,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Got {
    /// Files, with a name each.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// More names of files that were copied.
    pub links: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Bytes that could not be read; the files have zeroes there.
    pub lost: u64,
    /// The first of the faults.
    pub faults: Vec<GetFault>,
    /// All of them.
    pub failed: u64,
    /// Streams that were not asked for.
    pub streams_left: u64,
    /// Pipes, device nodes and sockets that were left out.
    pub specials_left: u64,
    /// What files lack, and how many.
    pub lacking: BTreeMap<Lacking, u64>,
}

/// A file of a batch.
struct Pending {
    id: u32,
    node: NodeId,
    stream: Option<Vec<u8>>,
    path: Vec<u8>,
    meta: Metadata,
    /// It has other names.
    shared: bool,
}

/// One more name of a file.
struct Name {
    node: NodeId,
    parent: u32,
    name: OsString,
    /// From the top.
    names: Vec<OsString>,
    path: Vec<u8>,
    meta: Metadata,
}

/// A step that was asked for, and what is to be said of it.
enum Asked {
    File(Box<Pending>),
    Folder { id: u32, path: Vec<u8> },
    Other { path: Vec<u8>, symlink: bool },
}

/// A copy in the making.
pub struct Get<'a> {
    fs: &'a dyn FileSystem,
    volumes: &'a Volumes,
    outlet: &'a mut dyn Outlet,
    options: GetOptions,
    ctx: &'a Context,
    got: Got,
    contents: Contents,
    next: u32,
    /// What ends the batch before: files, then links to them, then folders.
    done: Vec<Step>,
    done_paths: Vec<Vec<u8>>,
    /// What is made next.
    steps: Vec<Step>,
    asked: Vec<(u32, Asked)>,
    files: usize,
    links: Vec<Name>,
    left: Vec<(Step, Vec<u8>)>,
    /// Where the first name of a file is that has several, as names from the top, and how many it still may have.
    first_names: HashMap<NodeId, (Vec<OsString>, u32)>,
    /// Folders that could not be made.
    missing: HashSet<u32>,
}

impl<'a> Get<'a> {
    /// Into an outlet.
    pub fn new(
        fs: &'a dyn FileSystem,
        volumes: &'a Volumes,
        outlet: &'a mut dyn Outlet,
        options: GetOptions,
        ctx: &'a Context,
    ) -> Self {
        Self {
            fs,
            volumes,
            outlet,
            options,
            ctx,
            got: Got::default(),
            contents: Contents::default(),
            next: TOP,
            done: vec![],
            done_paths: vec![],
            steps: vec![],
            asked: vec![],
            files: 0,
            links: vec![],
            left: vec![],
            first_names: HashMap::new(),
            missing: HashSet::new(),
        }
    }

    /// Copies `found` to the name `to` in the top folder; the root of a filesystem without one is poured into it.
    pub fn copy(&mut self, found: Found, to: Option<&OsStr>) -> Result<()> {
        if found.meta.kind == FileKind::Directory && !self.options.recursive {
            self.fault(&found.path, "it is a folder: copy it with -r".to_owned());
            return Ok(());
        }
        let poured = to.is_none();
        let base = found.path.len();
        let mut name = to.map(OsStr::to_owned);
        // Folders that are entered: number, names from the top to it.
        let mut way: Vec<(u32, NodeId)> = vec![];
        let mut names: Vec<OsString> = vec![];
        let mut walk = Walk::new(self.fs, found);
        while let Some(step) = walk.next() {
            self.ctx.check_cancel()?;
            match step {
                Walked::Leave => {
                    if let Some((id, node)) = way.pop() {
                        names.pop();
                        self.leave(id, node, walk.path())?;
                    }
                }
                Walked::Failed(error) => self.failed(walk.path(), error),
                Walked::Entry { node, kind } => {
                    let first = walk.path().len() == base;
                    if first && poured {
                        way.push((TOP, node));
                        names.push(OsString::new());
                        continue;
                    }
                    let own = walk.path().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                    let own = name.take().unwrap_or_else(|| OsString::from_vec(own.to_vec()));
                    let parent = way.last().map_or(TOP, |(id, _)| *id);
                    names.push(own.clone());
                    let path = walk.path().to_vec();
                    let made = if own.len() > NAME {
                        self.fault(&path, "its name is too long".to_owned());
                        None
                    } else {
                        self.entry(node, kind, parent, own, path, &names)?
                    };
                    match made {
                        Some(id) if kind == FileKind::Directory => way.push((id, node)),
                        _ => {
                            names.pop();
                            walk.skip();
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The last batch, and what became of all.
    pub fn finish(mut self) -> Result<Got> {
        while !(self.done.is_empty()
            && self.steps.is_empty()
            && self.links.is_empty()
            && self.left.is_empty())
        {
            self.flush()?;
        }
        Ok(self.got)
    }

    /// Number of a folder that is entered.
    fn entry(
        &mut self,
        node: NodeId,
        kind: FileKind,
        parent: u32,
        name: OsString,
        path: Vec<u8>,
        names: &[OsString],
    ) -> Result<Option<u32>> {
        if self.missing.contains(&parent) {
            return Ok(None);
        }
        match kind {
            FileKind::Directory => {
                self.streams(node, parent, &name, &path)?;
                let id = self.number();
                self.steps.push(Step::Folder { parent, name, id });
                self.asked.push((parent, Asked::Folder { id, path }));
                self.flush_if_full()?;
                return Ok((!self.missing.contains(&id)).then_some(id));
            }
            FileKind::File => self.file(node, parent, name, path, names)?,
            FileKind::Symlink => {
                match self.fs.read_link(node).and_then(|to| Ok((to, self.attrs(node, false)?))) {
                    Ok((target, attrs)) => {
                        let target = OsString::from_vec(target);
                        self.steps.push(Step::Symlink { parent, name, target, attrs });
                        self.asked.push((parent, Asked::Other { path, symlink: true }));
                    }
                    Err(error) => self.failed(&path, error),
                }
            }
            FileKind::Fifo => self.special(node, parent, name, path, Special::Fifo),
            FileKind::CharDevice(major, minor) => {
                self.special(node, parent, name, path, Special::Char(major, minor));
            }
            FileKind::BlockDevice(major, minor) => {
                self.special(node, parent, name, path, Special::Block(major, minor));
            }
            FileKind::Socket => self.got.specials_left += 1,
            FileKind::Other => self.fault(&path, "only its own system understands this file".to_owned()),
        }
        self.flush_if_full()?;
        Ok(None)
    }

    fn special(&mut self, node: NodeId, parent: u32, name: OsString, path: Vec<u8>, special: Special) {
        if !self.options.devices {
            self.got.specials_left += 1;
            return;
        }
        match self.attrs(node, false) {
            Ok(attrs) => {
                self.steps.push(Step::Special { parent, name, special, attrs });
                self.asked.push((parent, Asked::Other { path, symlink: false }));
            }
            Err(error) => self.failed(&path, error),
        }
    }

    fn file(
        &mut self,
        node: NodeId,
        parent: u32,
        name: OsString,
        path: Vec<u8>,
        names: &[OsString],
    ) -> Result<()> {
        let meta = match self.fs.metadata(node) {
            Ok(meta) => meta,
            Err(error) => {
                self.failed(&path, error);
                return Ok(());
            }
        };
        let names: Vec<OsString> = names.iter().filter(|name| !name.is_empty()).cloned().collect();
        if meta.links > 1 {
            if self.first_names.contains_key(&node) {
                self.links.push(Name { node, parent, name, names, path, meta });
                return Ok(());
            }
            self.first_names.insert(node, (names, meta.links));
        }
        self.streams(node, parent, &name, &path)?;
        let shared = meta.links > 1;
        self.make(parent, name, Pending { id: 0, node, stream: None, path, meta, shared })
    }

    /// The streams of a file or folder, beside it.
    fn streams(&mut self, node: NodeId, parent: u32, name: &OsStr, path: &[u8]) -> Result<()> {
        let streams = match self.fs.streams(node) {
            Ok(streams) => streams,
            Err(error) => {
                self.failed(path, error);
                vec![]
            }
        };
        if streams.is_empty() || !self.options.streams {
            self.got.streams_left += streams.len() as u64;
            return Ok(());
        }
        let meta = match self.fs.metadata(node) {
            Ok(meta) => Metadata { kind: FileKind::File, ..meta },
            Err(error) => {
                self.failed(path, error);
                return Ok(());
            }
        };
        for stream in streams {
            let name = OsString::from_vec([name.as_bytes(), b":", &stream.name].concat());
            let path = [path, b":", &stream.name].concat();
            let meta = Metadata { size: stream.size, allocated: None, ..meta.clone() };
            let stream = Some(stream.name);
            self.make(parent, name, Pending { id: 0, node, stream, path, meta, shared: false })?;
        }
        Ok(())
    }

    fn make(&mut self, parent: u32, name: OsString, file: Pending) -> Result<()> {
        self.queue(parent, name, file);
        self.flush_if_full()
    }

    fn queue(&mut self, parent: u32, name: OsString, file: Pending) {
        let id = self.number();
        self.steps.push(Step::File { parent, name, id });
        self.asked.push((parent, Asked::File(Box::new(Pending { id, ..file }))));
        self.files += 1;
    }

    /// A folder is over: it is closed with the batch that its last file is in.
    fn leave(&mut self, id: u32, node: NodeId, path: &[u8]) -> Result<()> {
        if id == TOP || self.missing.contains(&id) {
            return Ok(());
        }
        let attrs = self.attrs(node, true).unwrap_or_else(|error| {
            self.failed(path, error);
            Attrs::default()
        });
        self.left.push((Step::Done { id, attrs }, path.to_vec()));
        self.flush_if_full()
    }

    fn number(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    fn flush_if_full(&mut self) -> Result<()> {
        let full = self.files >= FILES || self.steps.len() + self.links.len() + self.left.len() >= STEPS;
        if full { self.flush() } else { Ok(()) }
    }

    /// Sends a batch: what ends the one before, then what is new; writes the contents of the new files.
    fn flush(&mut self) -> Result<()> {
        let (done, done_paths) = (std::mem::take(&mut self.done), std::mem::take(&mut self.done_paths));
        let (made, asked) = (std::mem::take(&mut self.steps), std::mem::take(&mut self.asked));
        self.files = 0;
        let steps: Vec<Step> = done.into_iter().chain(made).collect();
        if !steps.is_empty() {
            let wanted = steps.len();
            let answers = self.outlet.apply(steps).map_err(|error| Error::io(error, "making files"))?;
            if answers.len() != wanted {
                return Err(Error::new(ErrorKind::Bug, "not an answer to each step"));
            }
            let mut answers = answers.into_iter();
            for (path, answer) in done_paths.into_iter().zip(answers.by_ref()) {
                self.answered(&path, answer);
            }
            for ((parent, asked), answer) in asked.into_iter().zip(answers) {
                if self.missing.contains(&parent) {
                    // Said already, of the folder.
                    match asked {
                        Asked::Folder { id, .. } => {
                            self.missing.insert(id);
                        }
                        Asked::File(file) if file.shared => {
                            self.first_names.remove(&file.node);
                        }
                        _ => {}
                    }
                    continue;
                }
                match asked {
                    Asked::File(file) => self.write(*file, answer)?,
                    Asked::Folder { id, path } => {
                        if self.answered(&path, answer) {
                            self.got.folders += 1;
                        } else {
                            self.missing.insert(id);
                        }
                    }
                    Asked::Other { path, symlink } => {
                        let made = self.answered(&path, answer);
                        self.got.symlinks += u64::from(made && symlink);
                    }
                }
            }
        }
        let again = self.link();
        if again {
            // Their folders stay open for them.
            return Ok(());
        }
        for (step, path) in std::mem::take(&mut self.left) {
            let is_missing = matches!(&step, Step::Done { id, .. } if self.missing.contains(id));
            if !is_missing {
                self.done.push(step);
                self.done_paths.push(path);
            }
        }
        Ok(())
    }

    /// Links to what is complete. Where the first name of a file could not be made, another one takes its place in
    /// the next batch; whether there are such.
    fn link(&mut self) -> bool {
        let mut again = HashSet::new();
        for link in std::mem::take(&mut self.links) {
            if self.missing.contains(&link.parent) {
                continue;
            }
            if again.contains(&link.node) {
                self.links.push(link);
                continue;
            }
            let Name { node, parent, name, names, path, meta } = link;
            let Some((to, left)) = self.first_names.get_mut(&node) else {
                again.insert(node);
                self.first_names.insert(node, (names, meta.links));
                self.queue(parent, name, Pending { id: 0, node, stream: None, path, meta, shared: true });
                continue;
            };
            let step = Step::Link { parent, name, to: to.clone() };
            *left = left.saturating_sub(1);
            if *left <= 1 {
                self.first_names.remove(&node);
            }
            self.got.links += 1;
            self.done.push(step);
            self.done_paths.push(path);
        }
        !again.is_empty()
    }

    /// Writes the content of a file that was just made.
    fn write(&mut self, file: Pending, answer: io::Result<Made>) -> Result<()> {
        let made = match answer.and_then(|made| made.file.ok_or_else(|| io::Error::other("no descriptor"))) {
            Ok(made) => File::from(made),
            Err(error) => {
                if file.shared {
                    self.first_names.remove(&file.node);
                }
                self.told(&file.path, &error);
                return Ok(());
            }
        };
        self.volumes.noting().take();
        let source = self.fs.open(file.node, file.stream.as_deref());
        let copied = source.and_then(|source| {
            let sparse = file.meta.allocated.is_some_and(|allocated| allocated < file.meta.size);
            self.contents.copy(self.volumes, &*source, &made, sparse, self.ctx)
        });
        let done = match copied {
            Ok(Written { bytes, lost }) => {
                self.got.files += 1;
                self.got.bytes += bytes;
                if let Some(lost) = lost {
                    self.got.lost += lost.bytes;
                    self.fault(&file.path, lost.words);
                }
                let attrs = self.attrs_of(file.node, &file.meta);
                let attrs = attrs.unwrap_or_else(|error| {
                    self.failed(&file.path, error);
                    Attrs::default()
                });
                Step::Done { id: file.id, attrs }
            }
            Err(error) if is_of_target(&error) || error.kind() == ErrorKind::Cancelled => return Err(error),
            Err(error) => {
                self.got.lost += u64::from(super::is_lost(&error)) * file.meta.size;
                self.failed(&file.path, error);
                Step::Abandon { id: file.id }
            }
        };
        if file.shared && matches!(done, Step::Abandon { .. }) {
            self.first_names.remove(&file.node);
        }
        self.done.push(done);
        self.done_paths.push(file.path);
        Ok(())
    }

    fn attrs(&self, node: NodeId, xattrs: bool) -> Result<Attrs> {
        let meta = self.fs.metadata(node)?;
        if xattrs { self.attrs_of(node, &meta) } else { Ok(plain(&meta)) }
    }

    fn attrs_of(&self, node: NodeId, meta: &Metadata) -> Result<Attrs> {
        let mut attrs = plain(meta);
        let mut room = XATTRS;
        for xattr in self.fs.xattrs(node)? {
            if let Some(left) = room.checked_sub(xattr.name.len() + xattr.value.len()) {
                room = left;
                attrs.xattrs.push((xattr.name, xattr.value));
            }
        }
        Ok(attrs)
    }

    fn answered(&mut self, path: &[u8], answer: io::Result<Made>) -> bool {
        match answer {
            Ok(made) => {
                for lacking in made.lacking {
                    *self.got.lacking.entry(lacking).or_default() += 1;
                }
                true
            }
            Err(error) => {
                self.told(path, &error);
                false
            }
        }
    }

    /// Who makes files could not make this one.
    fn told(&mut self, path: &[u8], error: &io::Error) {
        const EEXIST: i32 = 17;
        const ENOTDIR: i32 = 20;
        let words = match error.raw_os_error() {
            Some(EEXIST) => "something of this name is there already; --force replaces files".to_owned(),
            Some(ENOTDIR) => "something of this name is there that is no folder".to_owned(),
            _ => error.to_string(),
        };
        self.fault(path, words);
    }

    /// Tells of a file or folder that could not be read.
    pub fn failed(&mut self, path: &[u8], error: Error) {
        let error = self.volumes.located(error);
        self.fault(path, error.to_string());
    }

    fn fault(&mut self, path: &[u8], what: String) {
        let shown = if path.is_empty() { "/".into() } else { String::from_utf8_lossy(path) };
        // A name of megabytes is not worth reading.
        let shown: String = shown.chars().take(NAME).collect();
        self.ctx.warn(format!("{shown}: {what}"));
        self.got.failed += 1;
        if self.got.faults.len() < FAULTS {
            self.got.faults.push(GetFault { path: path.iter().take(NAME).copied().collect(), what });
        }
    }

    /// Bytes of what will be copied, as far as that can be told without looking: of a single file.
    pub fn begin(&self, found: &[Found], volume: u64) {
        let is_dir = |found: &Found| found.meta.kind == FileKind::Directory;
        let bytes = match found.iter().any(is_dir) {
            true => volume,
            false => found.iter().map(|found| found.meta.size).fold(0, u64::saturating_add),
        };
        self.ctx.expect(&[(bytes, crate::context::UNIT)]);
        self.ctx.phase("copying files", Side::Source, bytes, crate::context::UNIT);
    }
}

/// As steps have it.
pub(super) fn plain_time(time: Option<Time>) -> Option<(i64, u32)> {
    time.map(|time| (time.seconds, time.nanos))
}

fn plain(meta: &Metadata) -> Attrs {
    Attrs {
        mode: meta.mode,
        owner: meta.uid.zip(meta.gid),
        accessed: plain_time(meta.accessed),
        modified: plain_time(meta.modified),
        xattrs: vec![],
    }
}

/// There is no room, or the target fails: nothing more can be written.
fn is_of_target(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::Io | ErrorKind::Gone | ErrorKind::Permission)
}
