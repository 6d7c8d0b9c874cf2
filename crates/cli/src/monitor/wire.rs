//! What job and monitor say to each other: one question, one answer, and descriptors beside it.
//!
//! A message is its length as a little-endian `u32`, then JSON. Descriptors travel with the length
//! (`SCM_RIGHTS`, unix(7)).

use block::{Error, ErrorKind, How, Result};
use device::{DiskId, Identity, Instance, SourceOptions, Wanted};
use image::{Lacking, Step};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Most bytes of a question: names and attributes of many files, the words of a confirmation.
pub(super) const MAX_QUESTION: u32 = 1 << 20;
/// Most bytes of an answer: a folder of many files, a machine of many disks.
pub(super) const MAX_ANSWER: u32 = 64 << 20;

/// Most lines of the job's words that are shown before a question.
pub(super) const MAX_LINES: usize = 100;

/// Most files that one question makes: as many descriptors come beside the answer.
pub(super) const MADE: usize = 64;

/// What became of a step: whether a descriptor belongs to it, and what the file lacks.
pub(super) type StepAnswer = std::result::Result<(bool, Vec<Lacking>), Failure>;

/// A folder that the monitor holds for the job.
pub(super) type Token = u32;

/// What the job asks for. Each has an answer of its own, as [`super::server`] gives it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    Disks,
    SilentControllers,
    Find(String),
    UsageOf((u32, u32)),
    Below(OsString),
    OpenSource(Instance, SourceOptions),
    Reopen(Identity),
    Hidden(Instance),
    Confirm(Asked),
    Claim(Wanted),
    DiskId(Instance),
    IoHints(Instance),
    BootVariables,
    /// Is there what `prepare` needs?
    CheckPrepare,
    /// The new partition at this byte, of this length. The target is given back.
    NewPartition(u64, u64),
    MakeFilesystem,
    MountFilesystem,
    RereadTable,
    Begin,
    Listen,
    /// A program that reads files of this format, by its name.
    Bridge(String),
    /// A virtual computer that starts from the disk: it has an EFI system partition, and sectors of so many bytes.
    Guest(bool, u64),
    /// Back comes its exit code, when it has ended.
    GuestEnded,
    /// The filesystem that the job serves.
    Mount,
    /// Back comes whether files of it are still open.
    Unmount,
    FindPath(OsString),
    List(Token),
    Has(Token, OsString),
    Open(Token, OsString, HowOnWire),
    Folder(Token, OsString),
    MakeFolder(Token, OsString, bool),
    Rename(Token, OsString, OsString, bool),
    Remove(Token, OsString),
    Close(Token),
    /// The place that the command line names for files.
    OpenOutlet,
    /// Files and folders in it.
    Make(Vec<Step>),
}

/// What shall be written over, and what the job says of it. The monitor believes none of it: it looks the
/// disk up by itself, and shows the words as what the job says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The disk or partition.
    pub instance: Instance,
    /// ID of the whole disk.
    pub id: DiskId,
    /// It holds nothing.
    pub blank: bool,
    /// What is copied from, one line.
    pub from: String,
    /// What the target holds now, and what speaks against it.
    pub holds: Vec<String>,
}

/// A folder in an answer; its descriptor is beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FolderAnswer {
    pub(super) token: Token,
    pub(super) path: OsString,
}

/// What a path leads to, in an answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FoundAnswer {
    Folder(FolderAnswer),
    File(FolderAnswer, OsString),
    Nothing(FolderAnswer, OsString),
}

/// A device in an answer; its descriptor is beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DeviceAnswer {
    pub(super) path: OsString,
    pub(super) live: bool,
    pub(super) rotational: bool,
}

/// Where clients come from, in an answer; the socket's descriptor is beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ListenAnswer {
    Unix(OsString),
    Tcp(SocketAddr),
}

/// [`How`], which has no form of its own in serde.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum HowOnWire {
    Read,
    ReadDirect,
    Make,
    Write,
    WriteDirect,
}

impl From<How> for HowOnWire {
    fn from(how: How) -> Self {
        match how {
            How::Read => Self::Read,
            How::ReadDirect => Self::ReadDirect,
            How::Make => Self::Make,
            How::Write => Self::Write,
            How::WriteDirect => Self::WriteDirect,
        }
    }
}

impl From<HowOnWire> for How {
    fn from(how: HowOnWire) -> Self {
        match how {
            HowOnWire::Read => Self::Read,
            HowOnWire::ReadDirect => Self::ReadDirect,
            HowOnWire::Make => Self::Make,
            HowOnWire::Write => Self::Write,
            HowOnWire::WriteDirect => Self::WriteDirect,
        }
    }
}

/// Why a question was not answered.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    /// Index in [`KINDS`].
    kind: usize,
    words: String,
    /// Of a call of the operating system.
    errno: Option<i32>,
}

/// All kinds of errors; the last one stands for those of a newer version.
const KINDS: [ErrorKind; 14] = [
    ErrorKind::OutOfRange,
    ErrorKind::Media,
    ErrorKind::Absent,
    ErrorKind::Corrupt,
    ErrorKind::Unsupported,
    ErrorKind::Gone,
    ErrorKind::NoSpace,
    ErrorKind::NotFound,
    ErrorKind::Permission,
    ErrorKind::Refused,
    ErrorKind::Usage,
    ErrorKind::Cancelled,
    ErrorKind::Bug,
    ErrorKind::Io,
];

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = KINDS.iter().position(|kind| *kind == error.kind()).unwrap_or(KINDS.len() - 1);
        Self { kind, words: error.to_string(), errno: None }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self { errno: error.raw_os_error(), ..Error::io(error, "").into() }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::new(KINDS.get(failure.kind).copied().unwrap_or(ErrorKind::Io), failure.words)
    }
}

impl From<Failure> for std::io::Error {
    fn from(failure: Failure) -> Self {
        failure.errno.map_or_else(|| Self::other(failure.words), Self::from_raw_os_error)
    }
}

/// Sends one message. Fails with [`ErrorKind::Gone`] if nobody is at the other end.
pub(super) fn send(socket: &UnixStream, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let json = serde_json::to_vec(message).map_err(|error| {
        Error::new(ErrorKind::Bug, "a message between job and monitor").with_source(error)
    })?;
    let len = u32::try_from(json.len()).map_err(|_| broken("a message of more than 4 GiB"))?.to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MADE))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Error::new(ErrorKind::Bug, "too many descriptors in a message"));
    }
    let sent = loop {
        match sendmsg(socket, &[IoSlice::new(&len)], &mut beside, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => break sent.map_err(|errno| lost(errno.into()))?,
        }
    };
    let mut socket = socket;
    socket.write_all(&len[sent..]).and_then(|()| socket.write_all(&json)).map_err(lost)
}

/// Receives one message of at most `max` bytes, and what came beside it; `None`: the other end has closed.
pub(super) fn receive<T: DeserializeOwned>(
    socket: &UnixStream,
    max: u32,
) -> Result<Option<(T, Vec<OwnedFd>)>> {
    let mut len = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MADE))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        let flags = RecvFlags::CMSG_CLOEXEC;
        match recvmsg(socket, &mut [IoSliceMut::new(&mut len)], &mut beside, flags) {
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(None),
            got => break got.map_err(|errno| lost(errno.into()))?.bytes,
        }
    };
    let mut fds = vec![];
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if got == 0 {
        return Ok(None);
    }
    let mut socket = socket;
    socket.read_exact(&mut len[got..]).map_err(lost)?;
    let len = u32::from_le_bytes(len);
    if len > max {
        return Err(broken(&format!("a message of {len} bytes")));
    }
    let mut json = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    let read = socket.take(len.into()).read_to_end(&mut json).map_err(lost)?;
    if read as u64 != u64::from(len) {
        return Err(broken("half a message"));
    }
    match serde_json::from_slice(&json) {
        Ok(message) => Ok(Some((message, fds))),
        Err(error) => Err(broken("a message that makes no sense").with_source(error)),
    }
}

fn lost(error: std::io::Error) -> Error {
    Error::io(error, "the other process of selfsame is gone").with_kind(ErrorKind::Gone)
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Bug, format!("between job and monitor: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn messages_and_descriptors_go_over() {
        let (one, other) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"hello").unwrap();
        send(&one, &Question::Find("sda".into()), &[file.as_fd(), file.as_fd()]).unwrap();
        let (question, fds) = receive::<Question>(&other, MAX_QUESTION).unwrap().unwrap();
        assert!(matches!(question, Question::Find(word) if word == "sda"));
        assert_eq!(fds.len(), 2);
        let copy = std::fs::File::from(fds.into_iter().next().unwrap());
        assert_eq!(copy.metadata().unwrap().len(), 5);
        drop(one);
        assert!(receive::<Question>(&other, MAX_QUESTION).unwrap().is_none());
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        for bytes in [&b"\xff\xff\xff\xff"[..], b"\x02\0\0\0x", b"\x02\0", b"\x03\0\0\0{}}"] {
            let (mut one, other) = UnixStream::pair().unwrap();
            one.write_all(bytes).unwrap();
            drop(one);
            assert!(receive::<Question>(&other, MAX_QUESTION).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn every_kind_of_error_comes_back_as_itself() {
        for kind in KINDS {
            let back = Error::from(Failure::from(Error::new(kind, "words")));
            assert_eq!((back.kind(), back.to_string().as_str()), (kind, "words"));
        }
        let back = std::io::Error::from(Failure::from(std::io::Error::from_raw_os_error(17)));
        assert_eq!(back.raw_os_error(), Some(17));
    }
}
