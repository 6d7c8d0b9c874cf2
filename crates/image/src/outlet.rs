//! Files and folders of strangers, made in one folder and never outside it.
//!
//! Who knows what shall be there (the job, which reads a hostile filesystem) need not be who may make it (the
//! monitor): so it is steps, many at a time, and descriptors to write the content to.

use crate::folder::one_component;
use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, Uid,
    XattrFlags,
};
use rustix::io::Errno;
use rustix::process::{geteuid, umask};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// Number of the folder that all is made in.
pub const TOP: u32 = 0;
/// Files that may be under way at once.
const MAX_FILES: usize = 256;
/// Folders that may be open at once: as many as may lie in each other, and some.
const MAX_FOLDERS: usize = 5000;

/// What a file shall be like besides its content. `None`: as new files of this user are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attrs {
    /// Twelve bits; those that give rights to others than its reader (set-user-ID and so on) only as root.
    pub mode: Option<u16>,
    /// User and group; only as root.
    pub owner: Option<(u32, u32)>,
    /// Seconds and nanoseconds.
    pub accessed: Option<(i64, u32)>,
    /// The same.
    pub modified: Option<(i64, u32)>,
    /// Those of `user.`; others only as root.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A file without content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Special {
    /// A named pipe.
    Fifo,
    /// A character device: major, minor.
    Char(u32, u32),
    /// A block device: major, minor.
    Block(u32, u32),
}

/// One thing to do. Folders and files get numbers from who asks; names are single components.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// A folder; one that is there is filled.
    Folder {
        /// Where.
        parent: u32,
        /// Its name.
        name: OsString,
        /// How it is called from now on.
        id: u32,
    },
    /// A file, to be written to. It has its name only from [`Step::Done`] on.
    File {
        /// Where.
        parent: u32,
        /// Its name.
        name: OsString,
        /// How it is called from now on.
        id: u32,
    },
    /// A symbolic link, which nothing here ever follows.
    Symlink {
        /// Where.
        parent: u32,
        /// Its name.
        name: OsString,
        /// Where it leads.
        target: OsString,
        /// Owner and times.
        attrs: Attrs,
    },
    /// A pipe or a device node.
    Special {
        /// Where.
        parent: u32,
        /// Its name.
        name: OsString,
        /// Which.
        special: Special,
        /// The rest.
        attrs: Attrs,
    },
    /// Another name of a file that was made here.
    Link {
        /// Where.
        parent: u32,
        /// Its name.
        name: OsString,
        /// The file, by names from the top.
        to: Vec<OsString>,
    },
    /// A file is complete, or nothing more comes into a folder.
    Done {
        /// Which.
        id: u32,
        /// What it shall be like.
        attrs: Attrs,
    },
    /// A file will not be completed.
    Abandon {
        /// Which.
        id: u32,
    },
}

/// What could not be given to a file that is there all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lacking {
    /// Owner and group.
    Owner,
    /// The mode.
    Mode,
    /// Some extended attributes.
    Xattrs,
    /// The times.
    Times,
}

/// What became of a step.
#[derive(Debug, Default)]
pub struct Made {
    /// Of [`Step::File`]: to write to.
    pub file: Option<OwnedFd>,
    /// What it lacks.
    pub lacking: Vec<Lacking>,
}

/// Who makes them.
pub trait Outlet {
    /// Takes the steps in their order. Each succeeds or fails by itself; the outer error is of the way to who
    /// makes them.
    fn apply(&mut self, steps: Vec<Step>) -> io::Result<Vec<io::Result<Made>>>;
}

/// What may be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Replace files that are there.
    pub force: bool,
    /// Pipes and device nodes, if this is root.
    pub devices: bool,
    /// In the top folder nothing but this.
    pub only: Option<OsString>,
}

/// A file under way.
struct Part {
    file: OwnedFd,
    parent: Arc<OwnedFd>,
    /// What it is called until it is complete. `None`: it has no name, so nothing stays of it whatever happens.
    part: Option<OsString>,
    name: OsString,
}

impl Part {
    /// Takes the name away that it has until it is complete.
    fn discard(&self) -> io::Result<()> {
        match &self.part {
            Some(part) => Ok(fs::unlinkat(&*self.parent, part, AtFlags::empty())?),
            None => Ok(()),
        }
    }
}

struct Open {
    dir: Arc<OwnedFd>,
    /// It was there before.
    old: bool,
}

/// Makes them with the rights of this process. What is not [`Step::Done`] when it is dropped is removed.
pub struct LocalOutlet {
    allowed: Allowed,
    root: bool,
    umask: Mode,
    /// Whose the files shall be where the steps do not say.
    owner: Option<(u32, u32)>,
    folders: HashMap<u32, Open>,
    files: HashMap<u32, Part>,
    parts: u64,
    /// The filesystem makes files without a name.
    unnamed: bool,
}

impl LocalOutlet {
    /// In this folder. As root files without an owner are given to `owner` (user, group).
    pub fn new(top: OwnedFd, allowed: Allowed, owner: Option<(u32, u32)>) -> Self {
        // There is no other way to ask for it.
        let now = umask(Mode::empty());
        umask(now);
        let folders = HashMap::from([(TOP, Open { dir: Arc::new(top), old: true })]);
        let root = geteuid().is_root();
        let unnamed = Path::new(OWN).exists();
        Self { allowed, root, umask: now, owner, folders, files: HashMap::new(), parts: 0, unnamed }
    }

    fn step(&mut self, step: Step) -> io::Result<Made> {
        let made = |lacking| Ok(Made { file: None, lacking });
        match step {
            Step::Folder { parent, name, id } => self.folder(parent, &name, id).and_then(|()| made(vec![])),
            Step::File { parent, name, id } => {
                Ok(Made { file: Some(self.file(parent, name, id)?), lacking: vec![] })
            }
            Step::Symlink { parent, name, target, attrs } => {
                let dir = self.new_name(parent, &name)?;
                self.make_room(&dir, &name)?;
                fs::symlinkat(&target, &*dir, &name)?;
                made(self.attributes_of_name(&dir, &name, &attrs))
            }
            Step::Special { parent, name, special, attrs } => {
                made(self.special(parent, &name, special, &attrs)?)
            }
            Step::Link { parent, name, to } => self.link(parent, &name, &to).and_then(|()| made(vec![])),
            Step::Done { id, attrs } if self.files.contains_key(&id) => made(self.complete(id, &attrs)?),
            Step::Done { id: TOP, .. } => Err(Errno::BADF.into()),
            Step::Done { id, attrs } => {
                let open = self.folders.remove(&id).ok_or(Errno::BADF)?;
                // What somebody had before stays as it is, but for what comes into it.
                let give = !open.old || self.allowed.force;
                made(if give { self.attributes(&open.dir, &attrs, true) } else { vec![] })
            }
            Step::Abandon { id } => {
                self.files.remove(&id).map_or(Ok(()), |part| part.discard())?;
                made(vec![])
            }
        }
    }

    /// A folder in which something of this name may be made.
    fn new_name(&self, parent: u32, name: &OsStr) -> io::Result<Arc<OwnedFd>> {
        one_component(name)?;
        if parent == TOP && self.allowed.only.as_deref().is_some_and(|only| only != name) {
            return Err(Errno::ACCESS.into());
        }
        Ok(Arc::clone(&self.folders.get(&parent).ok_or(Errno::BADF)?.dir))
    }

    /// Fails if something has the name that must stay; removes what may be replaced.
    fn make_room(&self, dir: &OwnedFd, name: &OsStr) -> io::Result<()> {
        self.is_free(dir, name)?;
        if self.allowed.force {
            match fs::unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn is_free(&self, dir: &OwnedFd, name: &OsStr) -> io::Result<()> {
        match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
            Ok(_) if !self.allowed.force => Err(Errno::EXIST.into()),
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
                Err(Errno::ISDIR.into())
            }
            Ok(_) => Ok(()),
        }
    }

    fn folder(&mut self, parent: u32, name: &OsStr, id: u32) -> io::Result<()> {
        let dir = self.new_name(parent, name)?;
        if self.folders.len() >= MAX_FOLDERS || self.is_taken(id) {
            return Err(Errno::MFILE.into());
        }
        let old = match fs::mkdirat(&*dir, name, Mode::RWXU) {
            Ok(()) => false,
            Err(Errno::EXIST) => true,
            Err(errno) => return Err(errno.into()),
        };
        self.folders.insert(id, Open { dir: Arc::new(open_folder(dir.as_fd(), name)?), old });
        Ok(())
    }

    fn is_taken(&self, id: u32) -> bool {
        self.folders.contains_key(&id) || self.files.contains_key(&id)
    }

    fn file(&mut self, parent: u32, name: OsString, id: u32) -> io::Result<OwnedFd> {
        let dir = self.new_name(parent, &name)?;
        // In a folder that was just made there is nothing to look for.
        if self.folders.get(&parent).is_none_or(|open| open.old) {
            self.is_free(&dir, &name)?;
        }
        // A name that the filesystem would not take is told now, not when all is written.
        if name.len() > 255 {
            return Err(Errno::NAMETOOLONG.into());
        }
        if self.files.len() >= MAX_FILES || self.is_taken(id) {
            return Err(Errno::MFILE.into());
        }
        let (file, part) = self.create(&dir)?;
        let theirs = file.try_clone()?;
        self.files.insert(id, Part { file, parent: dir, part, name });
        Ok(theirs)
    }

    /// An empty file, and what it is called meanwhile if it has to have a name.
    fn create(&mut self, dir: &OwnedFd) -> io::Result<(OwnedFd, Option<OsString>)> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        if self.unnamed {
            // Nobody finds it before it has its name, so it may have the mode of most files at once.
            let mode = Mode::from_raw_mode(0o666);
            #[expect(clippy::disallowed_methods, reason = "a new file in the folder that the user named")]
            match fs::openat(dir, c".", flags | OFlags::TMPFILE, mode) {
                // Not every filesystem can (FAT, NFS), nor every kernel.
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => self.unnamed = false,
                made => return Ok((made?, None)),
            }
        }
        let part = self.part_name();
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        #[expect(clippy::disallowed_methods, reason = "a new file in the folder that the user named")]
        let file = fs::openat(dir, &part, flags, Mode::RUSR | Mode::WUSR)?;
        Ok((file, Some(part)))
    }

    fn part_name(&mut self) -> OsString {
        self.parts += 1;
        format!(".selfsame-{}-{}.part", std::process::id(), self.parts).into()
    }

    fn complete(&mut self, id: u32, attrs: &Attrs) -> io::Result<Vec<Lacking>> {
        let mut part = self.files.remove(&id).ok_or(Errno::BADF)?;
        let lacking = self.attributes(&part.file, attrs, false);
        let named = self.name(&mut part);
        if named.is_err() {
            // The error that is told is the one above.
            let _ = part.discard();
        }
        named.map(|()| lacking)
    }

    /// Gives a file its name.
    fn name(&mut self, part: &mut Part) -> io::Result<()> {
        let Part { file, parent, part, name } = part;
        let from = match part {
            Some(from) => from,
            none => match give_name(file, parent, name) {
                // A link replaces nothing, a rename does.
                Err(Errno::EXIST) if self.allowed.force => {
                    let from = self.part_name();
                    give_name(file, parent, &from)?;
                    none.insert(from)
                }
                named => return Ok(named?),
            },
        };
        self.rename(parent, from, name)
    }

    fn rename(&self, dir: &OwnedFd, from: &OsStr, to: &OsStr) -> io::Result<()> {
        if self.allowed.force {
            return Ok(fs::renameat(dir, from, dir, to)?);
        }
        match fs::renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE) {
            // Not every filesystem knows the flag (NFS, FUSE); then there is a moment between look and rename.
            Err(Errno::INVAL | Errno::NOSYS) => {
                self.is_free(dir, to)?;
                Ok(fs::renameat(dir, from, dir, to)?)
            }
            renamed => Ok(renamed?),
        }
    }

    fn special(
        &self,
        parent: u32,
        name: &OsStr,
        special: Special,
        attrs: &Attrs,
    ) -> io::Result<Vec<Lacking>> {
        if !self.allowed.devices || !self.root {
            return Err(Errno::PERM.into());
        }
        let dir = self.new_name(parent, name)?;
        self.make_room(&dir, name)?;
        let (kind, device) = match special {
            Special::Fifo => (FileType::Fifo, 0),
            Special::Char(major, minor) => (FileType::CharacterDevice, fs::makedev(major, minor)),
            Special::Block(major, minor) => (FileType::BlockDevice, fs::makedev(major, minor)),
        };
        // Its mode is that of its making: by its name it could be another file afterwards.
        let mode = Mode::from_raw_mode(u32::from(attrs.mode.unwrap_or(0o600) & 0o777));
        umask(Mode::empty());
        let made = fs::mknodat(&*dir, name, kind, mode, device);
        umask(self.umask);
        made?;
        Ok(self.attributes_of_name(&dir, name, attrs))
    }

    fn link(&self, parent: u32, name: &OsStr, to: &[OsString]) -> io::Result<()> {
        let dir = self.new_name(parent, name)?;
        let (last, folders) = to.split_last().ok_or(Errno::INVAL)?;
        let first = folders.first().unwrap_or(last);
        if self.allowed.only.as_ref().is_some_and(|only| only != first) {
            return Err(Errno::ACCESS.into());
        }
        let mut from = Arc::clone(&self.folders.get(&TOP).ok_or(Errno::BADF)?.dir);
        for name in folders {
            from = Arc::new(open_folder(from.as_fd(), one_component(name)?)?);
        }
        self.make_room(&dir, name)?;
        // Without a flag a link at its end is not followed.
        Ok(fs::linkat(&*from, one_component(last)?, &*dir, name, AtFlags::empty())?)
    }

    fn owner(&self, attrs: &Attrs) -> Option<(Uid, Gid)> {
        let owner = attrs.owner.or(self.owner).filter(|_| self.root)?;
        let known = ![owner.0, owner.1].contains(&u32::MAX);
        known.then(|| (Uid::from_raw(owner.0), Gid::from_raw(owner.1)))
    }

    /// Of an open file or folder: the owner first, because a change of it takes rights away. What it has
    /// already is not set again: of most files that is owner and mode.
    fn attributes(&self, file: impl AsFd, attrs: &Attrs, folder: bool) -> Vec<Lacking> {
        let mut lacking = vec![];
        let file = file.as_fd();
        let mut now = fs::fstat(file).ok();
        if let Some((user, group)) = self.owner(attrs)
            && now.is_none_or(|now| (now.st_uid, now.st_gid) != (user.as_raw(), group.as_raw()))
        {
            now = None;
            if fs::fchown(file, Some(user), Some(group)).is_err() {
                lacking.push(Lacking::Owner);
            }
        }
        let mode = self.mode(attrs, folder);
        if now.is_none_or(|now| Mode::from_raw_mode(now.st_mode) != mode) && fs::fchmod(file, mode).is_err() {
            lacking.push(Lacking::Mode);
        }
        let mut whole = true;
        for (name, value) in attrs.xattrs.iter().filter(|(name, _)| self.may_have(name)) {
            whole &= fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty()).is_ok();
        }
        if !whole {
            lacking.push(Lacking::Xattrs);
        }
        if times(attrs).is_some_and(|times| fs::futimens(file, &times).is_err()) {
            lacking.push(Lacking::Times);
        }
        lacking
    }

    /// Of what is not opened: links, pipes, devices.
    fn attributes_of_name(&self, dir: &OwnedFd, name: &OsStr, attrs: &Attrs) -> Vec<Lacking> {
        let mut lacking = vec![];
        if let Some((user, group)) = self.owner(attrs)
            && fs::chownat(dir, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW).is_err()
        {
            lacking.push(Lacking::Owner);
        }
        let times = times(attrs);
        let set = |times: &Timestamps| fs::utimensat(dir, name, times, AtFlags::SYMLINK_NOFOLLOW);
        if times.is_some_and(|times| set(&times).is_err()) {
            lacking.push(Lacking::Times);
        }
        lacking
    }

    fn mode(&self, attrs: &Attrs, folder: bool) -> Mode {
        let Some(mode) = attrs.mode else {
            let all = if folder { 0o777 } else { 0o666 };
            return Mode::from_raw_mode(all) & !self.umask;
        };
        let kept = match (self.root, folder) {
            (true, _) => 0o7777,
            (false, true) => 0o1777,
            (false, false) => 0o777,
        };
        Mode::from_raw_mode(u32::from(mode & kept))
    }

    fn may_have(&self, name: &[u8]) -> bool {
        let as_root = [&b"trusted."[..], b"security.", b"system.posix_acl_"];
        name.starts_with(b"user.") || self.root && as_root.iter().any(|prefix| name.starts_with(prefix))
    }
}

impl Outlet for LocalOutlet {
    fn apply(&mut self, steps: Vec<Step>) -> io::Result<Vec<io::Result<Made>>> {
        Ok(steps.into_iter().map(|step| self.step(step)).collect())
    }
}

impl Drop for LocalOutlet {
    fn drop(&mut self) {
        for part in self.files.values() {
            // Nobody can be told here.
            let _ = part.discard();
        }
    }
}

/// Where this process finds its open files by number.
const OWN: &str = "/proc/self/fd";

/// Gives a file that has no name its first one; nothing is replaced. Without a right that root has kernels before
/// 6.10 do this only by way of `/proc`.
fn give_name(file: &OwnedFd, dir: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    match fs::linkat(file, c"", dir, name, AtFlags::EMPTY_PATH) {
        Err(Errno::NOENT | Errno::PERM) => {
            let way = format!("{OWN}/{}", file.as_raw_fd());
            fs::linkat(fs::CWD, way, dir, name, AtFlags::SYMLINK_FOLLOW)
        }
        named => named,
    }
}

/// Not through a symbolic link.
fn open_folder(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    #[expect(clippy::disallowed_methods, reason = "only reads")]
    let opened = fs::openat(dir, name, flags, Mode::empty());
    match opened {
        Err(Errno::LOOP) => Err(Errno::NOTDIR.into()),
        opened => Ok(opened?),
    }
}

fn times(attrs: &Attrs) -> Option<Timestamps> {
    let time = |time: Option<(i64, u32)>| match time {
        Some((seconds, nanos)) if nanos < 1_000_000_000 => {
            Timespec { tv_sec: seconds, tv_nsec: nanos.into() }
        }
        _ => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    let any = attrs.accessed.is_some() || attrs.modified.is_some();
    any.then(|| Timestamps { last_access: time(attrs.accessed), last_modification: time(attrs.modified) })
}
