//! The job's side: what it may not do itself it asks the monitor for, and gets descriptors.

use super::fuse::MountAnswer;
use super::guest::GuestAnswer;
use super::wire::{
    Asked, DeviceAnswer, Failure, FolderAnswer, FoundAnswer, ListenAnswer, MAX_ANSWER, MAX_LINES, Question,
    Token, receive, send,
};
use crate::nbd::{self, Export, Listener};
use crate::ui::say;
use block::{ByteRange, Entry, Error, ErrorKind, Files, Folder, Found, How, Result, Source};
use device::{
    Below, DeviceSource, Disk, DiskId, Hidden, Identity, Instance, IoHints, Monitor, Opened, Place, Refusal,
    SourceOptions, Target, Usage, Wanted,
};
use engine::{Bridge, Format};
use serde::de::DeserializeOwned;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Most bytes of what another program says about its failure.
const MAX_WORDS: u64 = 4096;

/// The monitor, as the job sees it.
#[derive(Clone, Debug)]
pub struct Client(Arc<Mutex<UnixStream>>);

impl Client {
    /// Whose monitor is at the other end of standard input.
    pub fn on_stdin() -> Result<Self> {
        let socket = io::stdin().as_fd().try_clone_to_owned();
        let socket = socket.map_err(|error| Error::io(error, "standard input"))?;
        Ok(Self(Arc::new(Mutex::new(socket.into()))))
    }

    /// The outer error is of the way, the inner one the monitor's answer.
    fn ask<T: DeserializeOwned>(
        &self,
        question: &Question,
    ) -> Result<std::result::Result<(T, Vec<OwnedFd>), Failure>> {
        let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        send(&socket, question, &[])?;
        let (answer, fds) = receive::<std::result::Result<T, Failure>>(&socket, MAX_ANSWER)?
            .ok_or_else(|| Error::new(ErrorKind::Gone, "the monitor of selfsame is gone"))?;
        Ok(answer.map(|value| (value, fds)))
    }

    /// About devices.
    fn device<T: DeserializeOwned>(&self, question: &Question) -> Result<(T, Vec<OwnedFd>)> {
        Ok(self.ask(question)??)
    }

    /// About files.
    pub(super) fn file<T: DeserializeOwned>(&self, question: &Question) -> io::Result<(T, Vec<OwnedFd>)> {
        Ok(self.ask(question).map_err(io::Error::other)??)
    }

    fn opened(&self, question: &Question) -> Result<Opened> {
        let (answer, fds): (DeviceAnswer, _) = self.device(question)?;
        let source = DeviceSource::received(one(fds)?, Path::new(&answer.path), answer.rotational)?;
        Ok(Opened { source: Arc::new(source), live: answer.live })
    }

    fn folder(&self, answer: FolderAnswer, fds: Vec<OwnedFd>) -> io::Result<Arc<dyn Folder>> {
        let fd = one(fds).map_err(io::Error::other)?;
        Ok(Arc::new(RemoteFolder { client: self.clone(), token: answer.token, path: answer.path.into(), fd }))
    }

    /// Has the monitor ask the user. Fails with [`ErrorKind::Refused`] unless the answer is yes.
    pub fn confirm(&self, mut asked: Asked) -> Result<()> {
        let more = asked.holds.len().saturating_sub(MAX_LINES);
        if more > 0 {
            asked.holds.truncate(MAX_LINES - 1);
            asked.holds.push(format!("  and {} more", more + 1));
        }
        self.device(&Question::Confirm(asked)).map(|((), _)| ())
    }

    /// Where clients come in, and in which words they find it.
    pub fn listen(&self) -> Result<(Listener, String)> {
        let (answer, fds) = self.device(&Question::Listen)?;
        let fd = one(fds)?;
        Ok(match answer {
            ListenAnswer::Unix(path) => (Listener::Unix(fd.into()), nbd::unix_uri(&path)),
            ListenAnswer::Tcp(address) => (Listener::Tcp(fd.into()), format!("nbd://{address}")),
        })
    }

    /// Starts a virtual computer. A file for what it writes, the socket by which it asks for the disk, and its
    /// serial line.
    pub fn start_guest(&self, esp: bool, sector: u64) -> Result<(GuestAnswer, OwnedFd, [UnixStream; 2])> {
        let (answer, fds) = self.device(&Question::Guest(esp, sector))?;
        let [file, disk, line] = <[OwnedFd; 3]>::try_from(fds)
            .map_err(|_| Error::new(ErrorKind::Bug, "an answer of the monitor without its descriptors"))?;
        Ok((answer, file, [disk.into(), line.into()]))
    }

    /// Waits for its end; its exit code, if it was not killed.
    pub fn guest_ended(&self) -> Result<Option<i32>> {
        Ok(self.device(&Question::GuestEnded)?.0)
    }

    /// Where the filesystem that this job serves is mounted, and the descriptor by which the kernel asks for it.
    pub fn mount(&self) -> Result<(MountAnswer, OwnedFd)> {
        let (answer, fds) = self.device(&Question::Mount)?;
        Ok((answer, one(fds)?))
    }

    /// Unmounts it. `true`: files of it are still open.
    pub fn unmount(&self) -> Result<bool> {
        Ok(self.device(&Question::Unmount)?.0)
    }

    /// Is there what `prepare` needs? Before anything is written.
    pub fn check_prepare(&self) -> Result<()> {
        self.device(&Question::CheckPrepare).map(|((), _)| ())
    }

    /// The node of the only partition of the target, which must have been dropped here: it is given back.
    pub fn new_partition(&self, range: ByteRange) -> Result<PathBuf> {
        let (node, _): (OsString, _) = self.device(&Question::NewPartition(range.start(), range.len()))?;
        Ok(node.into())
    }

    /// Has the filesystem made that the command line names.
    pub fn make_filesystem(&self) -> Result<()> {
        self.device(&Question::MakeFilesystem).map(|((), _)| ())
    }

    /// Has it mounted where the command line says.
    pub fn mount_filesystem(&self) -> Result<()> {
        self.device(&Question::MountFilesystem).map(|((), _)| ())
    }

    /// A long job begins.
    pub fn begin(&self) -> Result<()> {
        self.device(&Question::Begin).map(|((), _)| ())
    }
}

/// The descriptor that belongs to an answer.
fn one(fds: Vec<OwnedFd>) -> Result<OwnedFd> {
    let missing = || Error::new(ErrorKind::Bug, "an answer of the monitor without its descriptor");
    fds.into_iter().next().ok_or_else(missing)
}

impl Monitor for Client {
    fn disks(&self) -> Result<Vec<Disk>> {
        Ok(self.device(&Question::Disks)?.0)
    }

    fn silent_controllers(&self) -> Result<Vec<String>> {
        Ok(self.device(&Question::SilentControllers)?.0)
    }

    fn find(&self, word: &str) -> Result<Place> {
        Ok(self.device(&Question::Find(word.to_owned()))?.0)
    }

    fn usage_of(&self, devno: (u32, u32)) -> Result<Usage> {
        Ok(self.device(&Question::UsageOf(devno))?.0)
    }

    fn below(&self, path: &Path) -> Result<Below> {
        Ok(self.device(&Question::Below(path.into()))?.0)
    }

    fn open_source(&self, shown: Instance, how: SourceOptions) -> Result<Opened> {
        self.opened(&Question::OpenSource(shown, how))
    }

    fn reopen(&self, same: &Identity) -> Result<Opened> {
        self.opened(&Question::Reopen(same.clone()))
    }

    fn hidden(&self, shown: Instance) -> Hidden {
        let unknown = |error: Error| Hidden { known: vec![], unknown: vec![error.to_string()] };
        self.device(&Question::Hidden(shown)).map_or_else(unknown, |(hidden, _)| hidden)
    }

    fn claim(&self, want: &Wanted) -> Result<std::result::Result<Target, Vec<Refusal>>> {
        let (answer, fds) = self.device(&Question::Claim(want.clone()))?;
        let answer: std::result::Result<OsString, Vec<Refusal>> = answer;
        match answer {
            Ok(path) => Ok(Ok(Target::received(one(fds)?, Path::new(&path))?)),
            Err(refusals) => Ok(Err(refusals)),
        }
    }

    fn disk_id(&self, shown: Instance) -> Result<DiskId> {
        Ok(self.device(&Question::DiskId(shown))?.0)
    }

    fn io_hints(&self, shown: Instance) -> Result<IoHints> {
        Ok(self.device(&Question::IoHints(shown))?.0)
    }

    fn boot_variables(&self) -> Vec<(String, Vec<u8>)> {
        self.device(&Question::BootVariables).map(|(found, _)| found).unwrap_or_default()
    }

    fn reread_table(&self, _: &Target) -> std::result::Result<(), String> {
        self.device(&Question::RereadTable).map_err(|error| error.to_string())?.0
    }
}

impl Bridge for Client {
    fn read(&self, format: Format, file: Source) -> Result<Source> {
        let ((), fds) = self.device(&Question::Bridge(format.to_string()))?;
        let mut fds = fds.into_iter();
        let missing = || Error::new(ErrorKind::Bug, "an answer of the monitor without its descriptors");
        let bytes = UnixStream::from(fds.next().ok_or_else(missing)?);
        let mut words = std::fs::File::from(fds.next().ok_or_else(missing)?);
        let export = Export { name: String::new(), description: String::new(), source: file, overlay: None };
        std::thread::spawn(move || nbd::converse(bytes, &[Arc::new(export)]));
        match nbd::Disk::connect(fds.map(UnixStream::from).collect()) {
            Ok(disk) => {
                // What it says later is of no use, but must go somewhere.
                std::thread::spawn(move || io::copy(&mut words, &mut io::sink()));
                say(&format!("note: this is a {format} image; what it shows is read, by way of qemu-nbd"));
                Ok(Arc::new(disk))
            }
            Err(error) => {
                // It has ended, so that this ends too.
                let mut said = String::new();
                let _ = (&mut words).take(MAX_WORDS).read_to_string(&mut said);
                let words = match said.trim() {
                    "" => format!("reading this {format} image failed"),
                    said => format!("reading this {format} image failed: {said}"),
                };
                Err(Error::io(error, words).with_kind(ErrorKind::Unsupported))
            }
        }
    }
}

impl Files for Client {
    fn find(&self, path: &Path) -> io::Result<Found> {
        let (answer, fds) = self.file(&Question::FindPath(path.into()))?;
        Ok(match answer {
            FoundAnswer::Folder(held) => Found::Folder(self.folder(held, fds)?),
            FoundAnswer::File(held, name) => Found::File(self.folder(held, fds)?, name),
            FoundAnswer::Nothing(held, name) => Found::Nothing(self.folder(held, fds)?, name),
        })
    }
}

/// A folder that the monitor holds.
#[derive(Debug)]
struct RemoteFolder {
    client: Client,
    token: Token,
    path: PathBuf,
    fd: OwnedFd,
}

impl Folder for RemoteFolder {
    fn path(&self) -> &Path {
        &self.path
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let (entries, _): (Vec<(OsString, Option<u64>)>, _) =
            self.client.file(&Question::List(self.token))?;
        Ok(entries.into_iter().map(|(name, size)| Entry { name, size }).collect())
    }

    fn has(&self, name: &OsStr) -> io::Result<bool> {
        Ok(self.client.file(&Question::Has(self.token, name.into()))?.0)
    }

    fn open(&self, name: &OsStr, how: How) -> io::Result<OwnedFd> {
        let ((), fds) = self.client.file(&Question::Open(self.token, name.into(), how.into()))?;
        one(fds).map_err(io::Error::other)
    }

    fn folder(&self, name: &OsStr) -> io::Result<Arc<dyn Folder>> {
        let (held, fds) = self.client.file(&Question::Folder(self.token, name.into()))?;
        self.client.folder(held, fds)
    }

    fn make_folder(&self, name: &OsStr, private: bool) -> io::Result<Arc<dyn Folder>> {
        let (held, fds) = self.client.file(&Question::MakeFolder(self.token, name.into(), private))?;
        self.client.folder(held, fds)
    }

    fn rename(&self, from: &OsStr, to: &OsStr, replace: bool) -> io::Result<()> {
        self.client.file(&Question::Rename(self.token, from.into(), to.into(), replace)).map(|((), _)| ())
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        self.client.file(&Question::Remove(self.token, name.into())).map(|((), _)| ())
    }
}

impl Drop for RemoteFolder {
    fn drop(&mut self) {
        // If the monitor is gone, so is what it held.
        let _ = self.client.file::<()>(&Question::Close(self.token));
    }
}
