//! Answers to the kernel. Everything is read-only and never changes, so what the kernel was told it may keep.

use super::attr::{attributes, kind, of};
use super::tree::{Node, TOP, Tree};
use block::{ByteRange, Error, ErrorKind, ExtentKind, ReadAt, Result, Source};
use disk::fs::{FileKind, Metadata, NodeId};
use fuser::{
    Errno, FileAttr, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How long the kernel may keep what it was told.
const FOREVER: Duration = Duration::from_secs(1 << 30);
/// Bytes of a name that the kernel takes (`FUSE_NAME_MAX`): NTFS has some of more than the usual 255.
const LONGEST: u32 = 1024;
/// Most bytes of one answer.
const MAX_READ: u32 = 1 << 24;
/// Most bytes of an extended attribute in Linux.
const MAX_XATTR: u64 = 1 << 16;
/// What the names of streams are shown behind.
const STREAM: &[u8] = b"user.stream.";
/// What lseek(2) looks for.
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// A name in an open folder.
pub(super) struct Name {
    pub(super) name: Vec<u8>,
    number: u64,
    /// Where it is known without looking.
    kind: Option<FileKind>,
}

/// What somebody has open.
pub(super) enum Open {
    File(Source),
    /// Its names, and why they are not all.
    Folder(Vec<Name>, Option<Error>),
}

/// The filesystem, as fuser calls it.
pub(super) struct Answers {
    tree: Tree,
    open: RwLock<HashMap<u64, Arc<Open>>>,
    next: AtomicU64,
}

/// What the kernel is told of an error.
fn errno(error: &Error) -> Errno {
    match error.kind() {
        ErrorKind::NotFound => Errno::ENOENT,
        ErrorKind::Unsupported => Errno::EOPNOTSUPP,
        _ => Errno::EIO,
    }
}

impl Answers {
    pub(super) fn new(tree: Tree) -> Self {
        Self { tree, open: RwLock::default(), next: AtomicU64::new(1) }
    }

    pub(super) fn hold(&self, open: Open) -> FileHandle {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(handle, Arc::new(open));
        FileHandle(handle)
    }

    fn held(&self, handle: FileHandle) -> Result<Arc<Open>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(&handle.0).cloned().ok_or_else(|| Error::new(ErrorKind::Bug, "a handle that is not open"))
    }

    fn close(&self, handle: FileHandle) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&handle.0);
    }

    fn file(&self, handle: FileHandle) -> Result<Source> {
        match &*self.held(handle)? {
            Open::File(source) => Ok(Arc::clone(source)),
            Open::Folder(..) => Err(Error::new(ErrorKind::Bug, "a folder that is read as a file")),
        }
    }

    pub(super) fn source(&self, number: u64) -> Result<Source> {
        match self.tree.node(number)? {
            Node::Image(image) => Ok(Arc::clone(&image.source)),
            Node::File(files, node) => files.open(node, None),
            _ => Err(Error::new(ErrorKind::Bug, "a folder that is opened as a file")),
        }
    }

    /// The names in a folder, `.` and `..` first, as far as they can be had. Fails where there is none.
    pub(super) fn folder(&self, number: u64) -> Result<Open> {
        let folder =
            |name: &[u8], number| Name { name: name.to_vec(), number, kind: Some(FileKind::Directory) };
        // What the kernel calls `..` it knows itself.
        let mut names = vec![folder(b".", number), folder(b"..", TOP)];
        let (none, mut failed) = (names.len(), None);
        match self.tree.node(number)? {
            Node::Top => names.extend(self.tree.top().map(|(name, number)| folder(name, number))),
            Node::Images => {
                let file = |(name, number)| Name { kind: Some(FileKind::File), ..folder(name, number) };
                names.extend(self.tree.images().map(file));
            }
            Node::Empty => {}
            Node::Image(_) => return Err(Error::new(ErrorKind::Bug, "an image that is opened as a folder")),
            Node::File(files, node) => {
                let read = files.read_dir(node, &mut |entry| {
                    let number = self.tree.number(number, entry.node);
                    names.push(Name { name: entry.name, number, kind: entry.kind });
                    Ok(true)
                });
                failed = read.err();
            }
        }
        match failed {
            Some(error) if names.len() == none => Err(error),
            failed => Ok(Open::Folder(names, failed)),
        }
    }

    /// The names of a folder from a place on, each with the place behind it. Where they are not all, fails behind the
    /// last.
    pub(super) fn listed(
        &self,
        handle: FileHandle,
        from: u64,
        each: &mut dyn FnMut(&Name, u64) -> bool,
    ) -> Result<()> {
        let held = self.held(handle)?;
        let Open::Folder(names, failed) = &*held else {
            return Err(Error::new(ErrorKind::Bug, "a file that is listed"));
        };
        let skipped = usize::try_from(from).unwrap_or(usize::MAX);
        // Names and an error cannot be one answer: the error is the next one.
        if let Some(error) = failed.as_ref().filter(|_| skipped >= names.len()) {
            return Err(Error::new(error.kind(), error.to_string()));
        }
        for (name, behind) in names.iter().zip(1_u64..).skip(skipped) {
            if name.name.len() <= LONGEST as usize && each(name, behind) {
                break;
            }
        }
        Ok(())
    }

    /// What a listing says of a file: if that cannot be read, as much as that it is there. The kernel asks again.
    fn entry(&self, name: &Name) -> (FileAttr, Duration) {
        match attributes(&self.tree, name.number) {
            Ok(known) => (known, FOREVER),
            Err(_) => {
                let unknown = Metadata::new(name.kind.unwrap_or(FileKind::File), 0);
                (of(&self.tree, name.number, &unknown), Duration::ZERO)
            }
        }
    }

    pub(super) fn bytes(source: &dyn ReadAt, offset: u64, size: u32) -> Result<Vec<u8>> {
        let len = source.size().saturating_sub(offset).min(size.min(MAX_READ).into());
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        if !bytes.is_empty() {
            // A part of it would be taken for all there is.
            source.read_at(offset, &mut bytes)?;
        }
        Ok(bytes)
    }

    fn link(&self, number: u64) -> Result<Vec<u8>> {
        match self.tree.node(number)? {
            Node::File(files, node) => files.read_link(node),
            _ => Err(Error::new(ErrorKind::Bug, "what is no link")),
        }
    }

    /// A file that may have extended attributes or streams.
    fn with_attributes(&self, number: u64) -> Result<Option<(&Arc<dyn disk::fs::FileSystem>, NodeId)>> {
        match self.tree.node(number)? {
            Node::File(files, node) => Ok(Some((files, node))),
            _ => Ok(None),
        }
    }

    /// Names, each ended by a zero byte.
    pub(super) fn xattr_names(&self, number: u64) -> Result<Vec<u8>> {
        let mut names = vec![];
        let Some((files, node)) = self.with_attributes(number)? else { return Ok(names) };
        for xattr in files.xattrs(node)? {
            names.extend(xattr.name.into_iter().chain([0]));
        }
        for stream in files.streams(node)? {
            names.extend(STREAM.iter().copied().chain(stream.name).chain([0]));
        }
        Ok(names)
    }

    /// `Ok(None)`: there is none of this name.
    pub(super) fn xattr(
        &self,
        number: u64,
        name: &[u8],
    ) -> Result<Option<std::result::Result<Vec<u8>, Errno>>> {
        let Some((files, node)) = self.with_attributes(number)? else { return Ok(None) };
        if let Some(found) = files.xattrs(node)?.into_iter().find(|xattr| xattr.name == name) {
            return Ok(Some(Ok(found.value)));
        }
        let Some(stream) = name.strip_prefix(STREAM) else { return Ok(None) };
        if !files.streams(node)?.iter().any(|there| there.name == stream) {
            return Ok(None);
        }
        let source = files.open(node, Some(stream))?;
        Ok(Some(match source.size() {
            0..=MAX_XATTR => Ok(Self::bytes(&*source, 0, MAX_READ)?),
            _ => Err(Errno::E2BIG),
        }))
    }

    /// Where the next data or hole is; the end is a hole. `None`: nothing behind this.
    pub(super) fn seek(source: &dyn ReadAt, offset: u64, data: bool) -> Result<Option<u64>> {
        let (size, mut at) = (source.size(), offset);
        if offset >= size {
            return Ok(None);
        }
        while at < size {
            let extent = source.extent_at(at)?;
            if (extent.kind != ExtentKind::Zero) == data {
                return Ok(Some(at));
            }
            at = extent.range.end().max(ByteRange::span(at, at.saturating_add(1)).end());
        }
        Ok((!data).then_some(size))
    }
}

impl Filesystem for Answers {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // What an older kernel lacks it does without.
        for wanted in [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_ASYNC_DIO,
        ] {
            let _ = config.add_capabilities(wanted);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.tree.lookup(parent.0, name.as_bytes());
        match found.and_then(|number| attributes(&self.tree, number)) {
            Ok(attr) => reply.entry(&FOREVER, &attr, Generation(0)),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attributes(&self.tree, ino.0) {
            Ok(attr) => reply.attr(&FOREVER, &attr),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.link(ino.0) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.source(ino.0) {
            Ok(source) => reply.opened(
                self.hold(Open::File(source)),
                FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH,
            ),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.file(fh).and_then(|source| Self::bytes(&*source, offset, size)) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.close(fh);
        reply.ok();
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.folder(ino.0) {
            Ok(folder) => {
                reply.opened(self.hold(folder), FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE);
            }
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.listed(fh, offset, &mut |name, behind| {
            let kind = name.kind.map_or_else(|| self.entry(name).0.kind, kind);
            reply.add(INodeNo(name.number), behind, kind, OsStr::from_bytes(&name.name))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = self.listed(fh, offset, &mut |name, behind| {
            let ((attr, ttl), name) = (self.entry(name), OsStr::from_bytes(&name.name));
            reply.add(attr.ino, behind, name, &ttl, &attr, Generation(0))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.close(fh);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(self.tree.size / 512, 0, 0, 0, 0, 512, LONGEST, 512);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.xattr(ino.0, name.as_bytes()) {
            Ok(Some(Ok(value))) => xattr_reply(&value, size, reply),
            Ok(Some(Err(errno))) => reply.error(errno),
            Ok(None) => reply.error(Errno::NO_XATTR),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        match self.xattr_names(ino.0) {
            Ok(names) => xattr_reply(&names, size, reply),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn lseek(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let data = match whence {
            SEEK_DATA => true,
            SEEK_HOLE => false,
            _ => return reply.error(Errno::EINVAL),
        };
        let Ok(offset) = u64::try_from(offset) else { return reply.error(Errno::ENXIO) };
        match self.file(fh).and_then(|source| Self::seek(&*source, offset, data)) {
            Ok(Some(found)) => reply.offset(i64::try_from(found).unwrap_or(i64::MAX)),
            Ok(None) => reply.error(Errno::ENXIO),
            Err(error) => reply.error(errno(&error)),
        }
    }
}

/// `size` 0 asks how long it is.
fn xattr_reply(value: &[u8], size: u32, reply: ReplyXattr) {
    match u32::try_from(value.len()) {
        Err(_) => reply.error(Errno::E2BIG),
        Ok(len) if size == 0 => reply.size(len),
        Ok(len) if len > size => reply.error(Errno::ERANGE),
        Ok(_) => reply.data(value),
    }
}
