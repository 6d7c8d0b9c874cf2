//! A filesystem of the job's, mounted: by the kernel for root, by way of `fusermount3` for everybody else.

use super::made::find;
use super::rights::MountPlace;
use crate::ui::text::printable;
use block::{Error, ErrorKind, Result};
use device::Machine;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{getegid, geteuid};
use serde::{Deserialize, Serialize};
use std::ffi::{CString, OsString};
use std::io::{self, IoSliceMut, PipeWriter};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where it is mounted and who did it; the descriptor of /dev/fuse is beside it.
#[derive(Debug, Serialize, Deserialize)]
pub struct MountAnswer {
    /// Without symbolic links.
    pub dir: OsString,
    /// Owner of what belongs to nobody else: the mounting user.
    pub uid: u32,
    /// And group.
    pub gid: u32,
}

/// What the kernel calls it: `fuse.selfsame`.
const SUBTYPE: &str = "selfsame";
/// Who mounts for users.
const HELPER: &str = "fusermount3";

/// Set for the process that unmounts when there is no monitor any more: the folder.
const WATCHED: &str = "SELFSAME_WATCHED";
/// And the number of what is mounted there: `0:45`.
const WATCHED_DEVNO: &str = "SELFSAME_WATCHED_DEVNO";

/// Where something is mounted.
#[derive(Debug)]
struct Mountpoint {
    dir: PathBuf,
    /// Of the filesystem, by which it is known: another one may have been mounted there since.
    devno: (u32, u32),
}

/// Something that is mounted as long as this lives.
#[derive(Debug)]
pub(super) struct Mounted {
    at: Mountpoint,
    watcher: Watcher,
}

/// This program again, which unmounts when the monitor is gone: one that is killed cannot.
#[derive(Debug)]
struct Watcher {
    child: Child,
    /// Closed by the kernel when the monitor ends, however that happens.
    life: Option<PipeWriter>,
}

/// Mounts what the job will serve.
pub(super) fn mount(
    place: &MountPlace,
    owner: Option<(u32, u32)>,
) -> Result<(MountAnswer, OwnedFd, Mounted)> {
    let dir = empty_folder(&place.dir)?;
    let (uid, gid) = owner.unwrap_or((geteuid().as_raw(), getegid().as_raw()));
    let fd = if geteuid().is_root() { by_kernel(place, &dir)? } else { by_helper(place, &dir)? };
    let over = |mount: &device::Mount| mount.dir == dir && mount.fs.starts_with("fuse");
    let mounted = Machine::host().own_mounts().into_iter().rfind(over);
    let mounted = mounted.ok_or_else(|| Error::new(ErrorKind::Io, "what was mounted is not to be found"))?;
    let answer = MountAnswer { dir: dir.clone().into_os_string(), uid, gid };
    let at = Mountpoint { dir, devno: mounted.devno };
    match Watcher::start(&at) {
        Ok(watcher) => Ok((answer, fd, Mounted { at, watcher })),
        Err(error) => {
            // That it cannot be watched is what is told.
            let _ = at.unmount();
            Err(Error::io(error, "starting what watches over the mount"))
        }
    }
}

/// Nothing is hidden by what is mounted.
fn empty_folder(dir: &Path) -> Result<PathBuf> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            let words = format!("no such folder: {0}; make it first: mkdir {0}", dir.display());
            Error::new(ErrorKind::NotFound, words)
        }
        io::ErrorKind::NotConnected => {
            let unmount = if geteuid().is_root() { "umount" } else { "fusermount3 -u" };
            let words = format!(
                "{0} holds what is left of a mount whose program is gone: {unmount} {0}",
                dir.display()
            );
            Error::new(ErrorKind::Refused, words)
        }
        _ => Error::io(error, dir.display().to_string()),
    };
    let dir = dir.canonicalize().map_err(failed)?;
    if std::fs::read_dir(&dir).map_err(failed)?.next().is_some() {
        let words = format!("{} is not empty: choose an empty folder to mount at", dir.display());
        return Err(Error::new(ErrorKind::Refused, words));
    }
    Ok(dir)
}

/// mount(2), as fuse(4) wants it.
fn by_kernel(place: &MountPlace, dir: &Path) -> Result<OwnedFd> {
    #[expect(clippy::disallowed_methods, reason = "how the kernel's side of a FUSE filesystem is reached")]
    let fd =
        rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
            Error::io(
                errno.into(),
                "opening /dev/fuse (modprobe fuse loads what it takes, if the kernel has it)",
            )
        })?;
    let mut data = format!("fd={},rootmode=40000,user_id=0,group_id=0", fd.as_raw_fd());
    if place.allow_other {
        data += ",allow_other,default_permissions";
    }
    let failed = |error: io::Error| Error::io(error, format!("mounting at {}", dir.display()));
    let data = CString::new(data).map_err(|error| failed(error.into()))?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    let kind = format!("fuse.{SUBTYPE}");
    rustix::mount::mount(place.name.as_str(), dir, kind.as_str(), flags, &*data)
        .map_err(|errno| failed(errno.into()))?;
    Ok(fd)
}

/// By the program that is setuid root for this: it mounts, and sends the descriptor.
fn by_helper(place: &MountPlace, dir: &Path) -> Result<OwnedFd> {
    let helper = find(HELPER).ok_or_else(|| {
        let words = format!("there is no program {HELPER}: install the package fuse3, or mount as root");
        Error::new(ErrorKind::NotFound, words)
    })?;
    let failed = |error| Error::io(error, format!("running {HELPER}"));
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let mut options = format!("ro,nosuid,nodev,fsname={},subtype={SUBTYPE}", place.name);
    if place.allow_other {
        options += ",allow_other,default_permissions";
    }
    // It is told the number of the socket: that of its standard input.
    let output = Command::new(helper)
        .args(["-o", &options, "--"])
        .arg(dir)
        .env("_FUSE_COMMFD", "0")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .output()
        .map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let refused = || Error::new(ErrorKind::Io, format!("{HELPER}: {}", printable(said.trim())));
    if !output.status.success() {
        return Err(refused());
    }
    received(&ours).map_err(failed)?.ok_or_else(refused)
}

/// The descriptor that comes with one byte.
fn received(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let fds = beside.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok(fds.flatten().next())
}

impl Mounted {
    /// Unmounts, if it is still there. `true`: files of it are still open, and it goes when they are closed.
    pub(super) fn unmount(&self) -> Result<bool> {
        self.at.unmount()
    }
}

impl Watcher {
    fn start(at: &Mountpoint) -> io::Result<Self> {
        let (its_end, life) = io::pipe()?;
        let (major, minor) = at.devno;
        let child = Command::new("/proc/self/exe")
            .env(WATCHED, &at.dir)
            .env(WATCHED_DEVNO, format!("{major}:{minor}"))
            // Of another group: what a terminal sends to its jobs does not end it.
            .process_group(0)
            .stdin(its_end)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, life: Some(life) })
    }

    fn end(&mut self) {
        self.life = None;
        // It may have been killed.
        let _ = self.child.wait();
    }
}

/// Is this process to watch?
pub fn is_watcher() -> bool {
    std::env::var_os(WATCHED).is_some()
}

/// Waits until the monitor is gone, and unmounts what it has left. It holds nothing of the disk or the backup.
pub fn watch() -> Result<()> {
    let dir = PathBuf::from(std::env::var_os(WATCHED).unwrap_or_default());
    let devno = std::env::var(WATCHED_DEVNO).unwrap_or_default();
    let devno =
        devno.split_once(':').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let devno = devno.ok_or_else(|| Error::new(ErrorKind::Bug, "no number of what is mounted"))?;
    io::copy(&mut io::stdin(), &mut io::sink())
        .map_err(|error| Error::io(error, "waiting for the monitor"))?;
    Mountpoint { dir, devno }.unmount().map(drop)
}

impl Mountpoint {
    fn unmount(&self) -> Result<bool> {
        let is_it = |mount: &device::Mount| mount.dir == self.dir && mount.devno == self.devno;
        if !Machine::host().own_mounts().iter().any(is_it) {
            return Ok(false);
        }
        let busy = match self.try_unmount(false) {
            Ok(()) => return Ok(false),
            Err(error) => error,
        };
        match self.try_unmount(true) {
            Ok(()) => Ok(true),
            Err(_) => Err(Error::io(busy, format!("unmounting {}", self.dir.display()))),
        }
    }

    fn try_unmount(&self, lazily: bool) -> io::Result<()> {
        if geteuid().is_root() {
            let lazily = if lazily { UnmountFlags::DETACH } else { UnmountFlags::empty() };
            return Ok(rustix::mount::unmount(&self.dir, UnmountFlags::NOFOLLOW | lazily)?);
        }
        let helper = find(HELPER).ok_or(io::ErrorKind::NotFound)?;
        let how = if lazily { "-uz" } else { "-u" };
        let output = Command::new(helper).args([how, "--"]).arg(&self.dir).stdin(Stdio::null()).output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // However the job ended, nothing dead stays behind. There is nobody left to tell if it does.
        let _ = self.at.unmount();
        self.watcher.end();
    }
}
