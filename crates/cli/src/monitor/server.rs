//! The side that keeps the privileges: answers the job's questions, as far as the command line permits.
//!
//! It reads no byte of a disk or a backup but the ends of a disk, for its ID and to see whether they are
//! zero, and parses none.

use super::bridge::{self, Bridge};
use super::door::{self, SocketFile};
use super::fuse::{self, Mounted};
use super::guest::{self, Guest};
use super::inhibit::Inhibitor;
use super::made;
use super::rights::{Action, Devices, Permitted, Prepared, Rights};
use super::wire::{
    Asked, DeviceAnswer, Failure, FolderAnswer, FoundAnswer, HowOnWire, MADE, MAX_LINES, MAX_QUESTION,
    Question, StepAnswer, Token, receive, send,
};
use crate::confirm;
use crate::ui::text::{exact, printable};
use block::{ByteRange, Error, ErrorKind, Files, Folder, Found, ReadAt, Result};
use device::{
    DiskId, Identity, InProcess, Instance, Machine, Monitor, Opened, Place, SourceOptions, Target, Wanted,
};
use image::{Allowed, LocalFiles, LocalOutlet, Outlet, Step, is_zero};
use rustix::io::Errno;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Folders that a job may hold at once: the backups of a folder are opened one after the other.
const MAX_FOLDERS: usize = 256;
/// Bytes at each end of a disk that must be zero before it is called blank.
const END: u64 = 1 << 20;

/// Foreign images that are open at once: a VMDK may be many files.
const MAX_BRIDGES: usize = 64;

/// A folder that is held for the job.
struct Held {
    folder: Arc<dyn Folder>,
    rights: Vec<Rights>,
}

/// All that the monitor knows and holds.
pub(super) struct Server {
    permitted: Permitted,
    monitor: InProcess,
    files: LocalFiles,
    held: BTreeMap<Token, Held>,
    next: Token,
    /// What is read lies there: the disks below are never written.
    read: Vec<PathBuf>,
    /// Disks that were opened: they may come back under another name.
    opened: Vec<Identity>,
    confirmed: Option<(Instance, DiskId)>,
    target: Option<Target>,
    inhibitor: Option<Inhibitor>,
    socket: Option<SocketFile>,
    /// Where files of `get` are made.
    outlet: Option<LocalOutlet>,
    mounted: Option<Mounted>,
    guest: Option<Guest>,
    bridges: Vec<Bridge>,
    /// The partition that was made on the target.
    made: Option<(PathBuf, Instance)>,
    /// A question stands on the terminal.
    asking: Arc<AtomicBool>,
}

/// The JSON of an answer, and what goes beside it.
type Answer = (serde_json::Value, Vec<OwnedFd>);

fn answer(value: impl Serialize) -> Answered {
    with(value, vec![])
}

fn with(value: impl Serialize, fds: Vec<OwnedFd>) -> Answered {
    match serde_json::to_value(value) {
        Ok(value) => Ok((value, fds)),
        Err(error) => Err(Error::new(ErrorKind::Bug, "an answer").with_source(error).into()),
    }
}

type Answered = std::result::Result<Answer, Failure>;

fn denied() -> io::Error {
    Errno::ACCESS.into()
}

impl Server {
    /// For a job that may do this much.
    pub(super) fn new(permitted: Permitted, files: LocalFiles, asking: Arc<AtomicBool>) -> Self {
        Self {
            permitted,
            monitor: InProcess { machine: Machine::host() },
            files,
            held: BTreeMap::new(),
            next: 0,
            read: vec![],
            opened: vec![],
            confirmed: None,
            target: None,
            inhibitor: None,
            socket: None,
            outlet: None,
            mounted: None,
            guest: None,
            bridges: vec![],
            made: None,
            asking,
        }
    }

    /// Answers until the job ends. Fails if the job says what makes no sense.
    pub(super) fn serve(&mut self, socket: &UnixStream) -> Result<()> {
        while let Some((question, _)) = receive::<Question>(socket, MAX_QUESTION)? {
            let sent = match self.handle(question) {
                Ok((value, fds)) => {
                    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
                    send(socket, &Ok::<_, Failure>(value), &fds)
                }
                Err(failure) => send(socket, &Err::<(), _>(failure), &[]),
            };
            match sent {
                // It was killed while it waited.
                Err(error) if error.kind() == ErrorKind::Gone => break,
                sent => sent?,
            }
        }
        Ok(())
    }

    /// Was a disk being written?
    pub(super) fn target(&self) -> Option<&Path> {
        self.target.as_ref().map(|target| target.handle().path())
    }

    fn handle(&mut self, question: Question) -> Answered {
        match question {
            Question::Disks => answer(self.monitor.disks()?),
            Question::SilentControllers => answer(self.monitor.silent_controllers()?),
            Question::Find(word) => answer(self.monitor.find(&word)?),
            Question::UsageOf(devno) => answer(self.monitor.usage_of(devno)?),
            Question::Below(path) => answer(self.monitor.below(self.held_path(&path)?)?),
            Question::OpenSource(shown, how) => self.open_source(shown, how),
            Question::Reopen(same) => {
                self.opened.contains(&same).then_some(()).ok_or_else(denied)?;
                device_answer(&self.monitor.reopen(&same)?)
            }
            Question::Hidden(shown) => self.hidden(shown),
            Question::Confirm(asked) => answer(self.confirm(&asked)?),
            Question::Claim(wanted) => self.claim(wanted),
            Question::DiskId(shown) => answer(self.monitor.disk_id(shown)?),
            Question::IoHints(shown) => answer(self.monitor.io_hints(shown)?),
            Question::BootVariables => answer(self.monitor.boot_variables()),
            Question::CheckPrepare => answer(made::check(self.prepared()?)?),
            Question::NewPartition(start, len) => self.new_partition(start, len),
            Question::MakeFilesystem => answer(made::make(self.prepared()?, self.made()?, self.files.owner)?),
            Question::MountFilesystem => {
                answer(made::mount(self.prepared()?, self.made()?, self.files.owner)?)
            }
            Question::RereadTable => match &self.target {
                Some(target) => answer(self.monitor.reread_table(target)),
                None => Err(denied().into()),
            },
            Question::Begin => {
                self.inhibitor.get_or_insert_with(Inhibitor::start);
                answer(())
            }
            Question::Listen => {
                let door = self.permitted.listen.take().ok_or_else(denied)?;
                let (where_to, fd, socket) = door::open(&door)?;
                self.socket = socket;
                with(where_to, vec![fd])
            }
            Question::Bridge(format) => {
                // Who reads no file has none to be understood.
                let reads = self.permitted.paths.iter().any(|(_, rights)| *rights == Rights::Read);
                let many = self.bridges.len() >= MAX_BRIDGES;
                (reads && !many).then_some(()).ok_or_else(denied)?;
                let (bridge, fds) = bridge::start(&format)?;
                self.bridges.push(bridge);
                with((), fds)
            }
            Question::Guest(esp, sector) => {
                let wanted = self.permitted.guest.take().ok_or_else(denied)?;
                let (said, guest, fds) = guest::start(&wanted, self.files.owner, esp, sector)?;
                self.guest = Some(guest);
                with(said, fds)
            }
            Question::GuestEnded => answer(self.guest.as_mut().ok_or_else(denied)?.wait()?),
            Question::Mount => {
                let place = self.permitted.mount.take().ok_or_else(denied)?;
                let (where_to, fd, mounted) = fuse::mount(&place, self.files.owner)?;
                self.mounted = Some(mounted);
                with(where_to, vec![fd])
            }
            Question::Unmount => answer(self.mounted.as_ref().ok_or_else(denied)?.unmount()?),
            Question::FindPath(path) => self.find_path(Path::new(&path)),
            Question::List(token) => {
                let entries = self.may(token, Action::List)?.0.list()?;
                answer(entries.into_iter().map(|entry| (entry.name, entry.size)).collect::<Vec<_>>())
            }
            Question::Has(token, name) => answer(self.may(token, Action::Has(&name))?.0.has(&name)?),
            Question::Open(token, name, how) => self.open(token, &name, how),
            Question::Folder(token, name) => {
                let (folder, rights) = self.may(token, Action::Folder)?;
                let child = folder.folder(&name)?;
                self.hold(child, rights)
            }
            Question::MakeFolder(token, name, private) => {
                let (folder, rights) = self.may(token, Action::MakeFolder(&name))?;
                let made = folder.make_folder(&name, private)?;
                let held = self.held.get_mut(&token).map(|held| held.rights.iter_mut());
                for right in held.into_iter().flatten() {
                    if let Rights::Backups(made) = right {
                        made.push(name.clone());
                    }
                }
                self.hold(made, rights)
            }
            Question::Rename(token, from, to, replace) => {
                let (folder, _) = self.may(token, Action::Rename(&from, &to, replace))?;
                answer(folder.rename(&from, &to, replace)?)
            }
            Question::Remove(token, name) => answer(self.may(token, Action::Remove(&name))?.0.remove(&name)?),
            Question::Close(token) => {
                self.held.remove(&token);
                answer(())
            }
            Question::OpenOutlet => self.open_outlet(),
            Question::Make(steps) => self.make(steps),
        }
    }

    /// The folder that the command line names for files, or the name that they shall have in its folder. Once.
    fn open_outlet(&mut self) -> Answered {
        let out = self.permitted.out.take().ok_or_else(denied)?;
        let (folder, only) = match self.files.find(&out.path)? {
            Found::Folder(folder) => (folder, None),
            Found::File(folder, name) | Found::Nothing(folder, name) => (folder, Some(name)),
        };
        let allowed = Allowed { force: out.force, devices: out.devices, only: only.clone() };
        let top = folder.fd().try_clone_to_owned()?;
        self.outlet = Some(LocalOutlet::new(top, allowed, self.files.owner));
        answer(only)
    }

    fn make(&mut self, steps: Vec<Step>) -> Answered {
        let outlet = self.outlet.as_mut().ok_or_else(denied)?;
        if steps.iter().filter(|step| matches!(step, Step::File { .. })).count() > MADE {
            return Err(denied().into());
        }
        let mut fds = vec![];
        let answers: Vec<StepAnswer> = outlet
            .apply(steps)?
            .into_iter()
            .map(|made| {
                let made = made?;
                let file = made.file.is_some();
                fds.extend(made.file);
                Ok((file, made.lacking))
            })
            .collect();
        with(answers, fds)
    }

    /// A folder in which this may be done, and what may be done in what is opened so.
    fn may(&self, token: Token, action: Action<'_>) -> io::Result<(Arc<dyn Folder>, Vec<Rights>)> {
        let held = self.held.get(&token).ok_or_else(denied)?;
        let rights: Vec<Rights> = held.rights.iter().filter_map(|rights| rights.then(action)).collect();
        if rights.is_empty() { Err(denied()) } else { Ok((Arc::clone(&held.folder), rights)) }
    }

    fn hold(&mut self, folder: Arc<dyn Folder>, rights: Vec<Rights>) -> Answered {
        let (held, fds) = self.held_answer(folder, rights)?;
        with(held, fds)
    }

    fn held_answer(
        &mut self,
        folder: Arc<dyn Folder>,
        rights: Vec<Rights>,
    ) -> io::Result<(FolderAnswer, Vec<OwnedFd>)> {
        if self.held.len() >= MAX_FOLDERS {
            return Err(io::Error::other("the job holds too many folders"));
        }
        let fd = folder.fd().try_clone_to_owned()?;
        let path = folder.path().as_os_str().to_owned();
        let token = self.next;
        self.next = token.wrapping_add(1);
        self.held.insert(token, Held { folder, rights });
        Ok((FolderAnswer { token, path }, vec![fd]))
    }

    /// Only what was typed leads anywhere.
    fn find_path(&mut self, path: &Path) -> Answered {
        let typed = self.permitted.paths.iter().filter(|(typed, _)| typed == path);
        let rights: Vec<Rights> = typed.map(|(_, rights)| rights.clone()).collect();
        if rights.is_empty() {
            return Err(denied().into());
        }
        let found = self.files.find(path)?;
        if let (Found::Folder(folder) | Found::File(folder, _), true) =
            (&found, rights.contains(&Rights::Read))
        {
            self.read.push(folder.path().to_owned());
        }
        match found {
            Found::Folder(folder) => {
                let (held, fds) = self.held_answer(folder, rights)?;
                with(FoundAnswer::Folder(held), fds)
            }
            Found::File(folder, name) => {
                let (held, fds) = self.held_answer(folder, vec![Rights::ReadOnly(name.clone())])?;
                with(FoundAnswer::File(held, name), fds)
            }
            Found::Nothing(folder, name) => {
                let backups = rights.iter().any(|right| matches!(right, Rights::Backups(_)));
                let make = backups.then(|| Rights::Missing(name.clone()));
                let (held, fds) = self.held_answer(folder, make.into_iter().collect())?;
                with(FoundAnswer::Nothing(held, name), fds)
            }
        }
    }

    fn open(&self, token: Token, name: &OsStr, how: HowOnWire) -> Answered {
        let (folder, _) = self.may(token, Action::Open(name, how.into()))?;
        with((), vec![folder.open(name, how.into())?])
    }

    /// The path of a folder that is held or read: where others lie is not told.
    fn held_path<'a>(&self, path: &'a OsStr) -> Result<&'a Path> {
        let held = self.held.values().map(|held| held.folder.path());
        if held.chain(self.read.iter().map(PathBuf::as_path)).any(|held| held == Path::new(path)) {
            Ok(Path::new(path))
        } else {
            Err(Error::io(denied(), path.display().to_string()))
        }
    }

    fn prepared(&self) -> Result<&Prepared> {
        let prepared = self.permitted.prepared.as_ref();
        prepared.ok_or_else(|| Error::io(denied(), "this command makes no filesystem"))
    }

    /// The node of the partition that was made.
    fn made(&self) -> Result<&Path> {
        let made = self.made.as_ref().map(|(node, _)| node.as_path());
        made.ok_or_else(|| Error::io(denied(), "a partition that was not made here"))
    }

    /// Of the target that was claimed, which is given back: held as a whole, it keeps others from its partitions.
    fn new_partition(&mut self, start: u64, len: u64) -> Answered {
        self.prepared()?;
        let target = self.target.take().ok_or_else(denied)?;
        let disk = target.handle().instance();
        drop(target);
        let range = ByteRange::new(start, len).ok_or_else(denied)?;
        let (node, instance) = made::partition(&self.monitor.machine, disk, range)?;
        self.made = Some((node.clone(), instance));
        answer(node.into_os_string())
    }

    /// Fails unless the command line names this disk or partition, or the job made it.
    fn must_be_named(&self, shown: Instance) -> Result<()> {
        let made = self.made.as_ref().is_some_and(|(_, made)| *made == shown);
        if made || self.is_named(|place| place.instance() == shown) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Refused, "a disk that the command line does not name"))
    }

    fn is_named(&self, is_meant: impl Fn(&Place) -> bool) -> bool {
        let Devices::Named(words) = &self.permitted.devices else { return true };
        words.iter().any(|word| self.monitor.find(word).is_ok_and(|place| is_meant(&place)))
    }

    /// What the drive of a named disk, or of a named partition's disk, hides.
    fn hidden(&self, shown: Instance) -> Answered {
        if !self.is_named(|place| place.disk.instance == shown) {
            return Err(denied().into());
        }
        answer(self.monitor.hidden(shown))
    }

    fn open_source(&mut self, shown: Instance, how: SourceOptions) -> Answered {
        self.must_be_named(shown)?;
        let opened = self.monitor.open_source(shown, how)?;
        self.opened.push(self.monitor.machine.place_of(shown)?.identity());
        device_answer(&opened)
    }

    /// Shows what will be written over, by what this process knows of it, and reads the answer.
    fn confirm(&mut self, asked: &Asked) -> Result<()> {
        let Some(given) = self.permitted.writes.clone() else {
            return Err(Error::new(ErrorKind::Refused, "this command writes to no disk"));
        };
        self.must_be_named(asked.instance)?;
        let place = self.monitor.machine.place_of(asked.instance)?;
        let ends = Ends::read(&self.monitor, &place)?;
        if ends.id != asked.id {
            let words = format!("{} is not the disk that was looked at: its ID is {}", place.name(), ends.id);
            return Err(Error::new(ErrorKind::Refused, words));
        }
        let blank = asked.blank && ends.zero;
        let mut shown = vec![format!("copy FROM {}", asked.from), write_to(&place, ends.id)];
        shown.push(match blank {
            true => "It is blank.".to_owned(),
            false => "It holds now, and all of it will be lost:".to_owned(),
        });
        shown.extend(asked.holds.iter().take(MAX_LINES).map(|line| printable(line).to_string()));
        let serial = place.identity().serial;
        let target = confirm::Target { id: ends.id.to_string(), serial, blank };
        self.asking.store(true, Ordering::SeqCst);
        let confirmed = confirm::confirm(&shown.join("\n"), &target, &given);
        self.asking.store(false, Ordering::SeqCst);
        confirmed?;
        self.confirmed = Some((asked.instance, asked.id));
        Ok(())
    }

    /// Claims what was confirmed, once, and never a disk that is read.
    fn claim(&mut self, mut wanted: Wanted) -> Answered {
        if self.confirmed.take() != Some((wanted.instance, wanted.id)) {
            let words = "a disk that nobody confirmed is not written";
            return Err(Error::new(ErrorKind::Refused, words).into());
        }
        for path in &self.read {
            wanted.never.extend(self.monitor.below(path)?.disks);
        }
        let sources = self.permitted.sources.iter().filter_map(|word| self.monitor.find(word).ok());
        wanted.never.extend(sources.map(|place| place.disk.attached()));
        match self.monitor.claim(&wanted)? {
            Err(refusals) => answer(Err::<(), _>(refusals)),
            Ok(target) => {
                let fd = target.handle().fd().try_clone_to_owned()?;
                let path = target.handle().path().as_os_str().to_owned();
                self.target = Some(target);
                with(Ok::<_, Vec<device::Refusal>>(path), vec![fd])
            }
        }
    }
}

fn device_answer(opened: &Opened) -> Answered {
    let handle = opened.source.handle();
    let path = handle.path().as_os_str().to_owned();
    let fd = handle.fd().try_clone_to_owned()?;
    with(DeviceAnswer { path, live: opened.live, rotational: opened.source.is_rotational() }, vec![fd])
}

/// What the target is, in the words of sysfs and of its ID.
fn write_to(place: &Place, id: DiskId) -> String {
    let identity = place.identity();
    let serial = if identity.serial.is_empty() { "-" } else { &identity.serial };
    format!(
        "write TO  {}: {} {}, serial {serial}, {}, ID {id}",
        place.path.display(),
        identity.transport,
        identity.model,
        exact(place.size()),
    )
}

/// What this process sees of a disk by itself.
struct Ends {
    /// Of the whole disk.
    id: DiskId,
    /// Both ends of what was named are readable and zero.
    zero: bool,
}

impl Ends {
    fn read(monitor: &InProcess, place: &Place) -> Result<Self> {
        let named = monitor.open_source(place.instance(), SourceOptions::default())?;
        let size = named.source.size();
        let end = size.min(END);
        let zero = |offset| {
            let mut bytes = vec![0; usize::try_from(end).unwrap_or_default()];
            named.source.read_at(offset, &mut bytes).is_ok() && is_zero(&bytes)
        };
        Ok(Self { id: monitor.disk_id(place.instance())?, zero: zero(0) && zero(size - end) })
    }
}
