//! What the job may ask for: what the command line names, and nothing else. Pure.

use super::guest::GuestWanted;
use crate::args::{ConfirmArgs, MountArgs, Verb};
use block::{How, folder_of};
use engine::NewFs;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What may be done in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    /// Look at it and below it.
    Read,
    /// Read this one file; of a VMDK also the files that it is kept in.
    ReadOnly(OsString),
    /// Look at it, make new folders in it, and give those their names. Those that were made.
    Backups(Vec<OsString>),
    /// Make this folder, in which backups will be made.
    Missing(OsString),
    /// Fill it: it was made by this job.
    Backup,
    /// Make and change this one file in place.
    Overlay(OsString),
    /// Make and replace this one file, by way of `NAME.part`.
    File(OsString),
}

/// What the job wants to do in a folder.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action<'a> {
    List,
    Has(&'a OsStr),
    Open(&'a OsStr, How),
    Folder,
    MakeFolder(&'a OsStr),
    Rename(&'a OsStr, &'a OsStr, bool),
    Remove(&'a OsStr),
}

impl Rights {
    /// `None`: not this. Else what may be done in the folder that is opened so.
    pub(super) fn then(&self, action: Action<'_>) -> Option<Self> {
        let reads = matches!(action, Action::Open(_, How::Read | How::ReadDirect));
        match (self, action) {
            (Self::Read | Self::Backups(_), Action::List | Action::Has(_) | Action::Folder) => {
                Some(Self::Read)
            }
            (Self::Read, _) if reads => Some(Self::Read),
            (Self::ReadOnly(name), Action::Open(wanted, _)) if reads => {
                (wanted == name || is_extent(name, wanted)).then_some(Self::Read)
            }
            (Self::Backups(_), Action::MakeFolder(_)) => Some(Self::Backup),
            (Self::Backups(made), Action::Rename(from, to, false)) => {
                (from == part(to) && made.iter().any(|made| made == from)).then(|| self.clone())
            }
            (Self::Missing(name), Action::MakeFolder(wanted)) => {
                (wanted == name).then_some(Self::Backups(vec![]))
            }
            (Self::Backup, Action::List | Action::Has(_) | Action::Open(..)) => Some(Self::Backup),
            (Self::Backup, Action::Rename(..) | Action::Remove(_)) => Some(Self::Backup),
            (Self::Overlay(name), Action::Open(wanted, How::Make | How::Write)) => {
                (wanted == name).then(|| self.clone())
            }
            (Self::File(name), Action::Has(wanted)) => (wanted == name).then_some(self.clone()),
            (Self::File(name), Action::Open(wanted, _)) => {
                (wanted == part(name) || reads && wanted == name).then_some(self.clone())
            }
            (Self::File(name), Action::Rename(from, to, _)) => {
                (from == part(name) && to == name).then_some(self.clone())
            }
            (Self::File(name), Action::Remove(wanted)) => (wanted == part(name)).then_some(self.clone()),
            _ => None,
        }
    }
}

fn part(name: &OsStr) -> OsString {
    let mut part = name.to_owned();
    part.push(".part");
    part
}

/// `disk-flat.vmdk`, `disk-s001.vmdk` of `disk.vmdk`: where VMware keeps what that describes.
fn is_extent(name: &OsStr, wanted: &OsStr) -> bool {
    const END: &[u8] = b".vmdk";
    let stem = name.as_encoded_bytes().strip_suffix(END);
    let rest = stem.and_then(|stem| wanted.as_encoded_bytes().strip_prefix(stem)?.strip_prefix(b"-"));
    rest.and_then(|rest| rest.strip_suffix(END))
        .is_some_and(|rest| rest.iter().all(u8::is_ascii_alphanumeric))
}

/// Which devices may be opened for reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Devices {
    /// All: the verb lists them, or chooses among them.
    All,
    /// Those that these words name.
    Named(Vec<String>),
}

/// Where clients of this program come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// A socket at this path, or where sockets of this user are.
    Unix(Option<PathBuf>),
    /// A port.
    Tcp(SocketAddr),
}

/// Where a filesystem of the job's is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountPlace {
    pub(super) dir: PathBuf,
    /// What `mount` lists as its source: only letters that need no escape.
    pub(super) name: String,
    /// Other users may look too, each as far as the modes of the files let them.
    pub(super) allow_other: bool,
}

impl MountPlace {
    fn new(args: &MountArgs) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "/._-".contains(c) { c } else { '_' };
        let name = args.source.to_string_lossy().chars().map(plain).take(200).collect();
        Self { dir: args.dir.clone(), name, allow_other: args.allow_other }
    }
}

/// What `prepare` is to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) fs: NewFs,
    /// As it was typed.
    pub(super) label: String,
    pub(super) mount: Option<PathBuf>,
}

/// Where files of a filesystem may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OutTo {
    /// As it was typed.
    pub(super) path: PathBuf,
    /// Files that are there may be replaced.
    pub(super) force: bool,
    /// Pipes and device nodes too, as root.
    pub(super) devices: bool,
}

/// All that a command line permits.
#[derive(Clone, Debug)]
pub(super) struct Permitted {
    /// Paths as they were typed, and what may be done where they lead.
    pub(super) paths: Vec<(PathBuf, Rights)>,
    /// To read.
    pub(super) devices: Devices,
    /// Words for what is copied from a disk to a disk: those are never written.
    pub(super) sources: Vec<String>,
    /// Where clients may come from.
    pub(super) listen: Option<Door>,
    /// Where files are made.
    pub(super) out: Option<OutTo>,
    /// Where its filesystem is mounted.
    pub(super) mount: Option<MountPlace>,
    /// What starts from what is served.
    pub(super) guest: Option<GuestWanted>,
    /// What is made on a disk.
    pub(super) prepared: Option<Prepared>,
    /// A disk may be written, once that is confirmed: so far by the command line. `None`: never.
    pub(super) writes: Option<ConfirmArgs>,
}

impl Permitted {
    /// By a command line.
    pub(super) fn by(verb: &Verb) -> Self {
        let mut permitted = Self {
            paths: vec![],
            devices: Devices::Named(vec![]),
            sources: vec![],
            listen: None,
            out: None,
            mount: None,
            guest: None,
            prepared: None,
            writes: None,
        };
        match verb {
            Verb::Disks(_) => permitted.devices = Devices::All,
            Verb::Backups(args) => permitted.read(&args.dir),
            Verb::Show(args) => permitted.read(&args.source),
            Verb::Ls(args) => permitted.read(&args.source),
            Verb::Cat(args) => permitted.read(&args.source),
            Verb::Get(args) => {
                permitted.read(&args.source);
                let path = args.out().to_owned();
                permitted.out = Some(OutTo { path, force: args.force, devices: args.devices });
            }
            Verb::Save(args) => {
                permitted.read(&args.source);
                permitted.paths.push((args.dest.clone(), Rights::Backups(vec![])));
            }
            Verb::Verify(args) => {
                permitted.read(&args.backup);
                args.against.iter().for_each(|word| permitted.read(word));
            }
            Verb::Restore(args) => {
                permitted.read(&args.backup);
                permitted.writes = Some(args.confirm.clone());
                match &args.target {
                    None => permitted.devices = Devices::All,
                    Some(target) => permitted.write(target),
                }
            }
            Verb::Clone(args) => {
                permitted.read(&args.source);
                permitted.sources.push(args.source.to_string_lossy().into_owned());
                permitted.write(&args.target);
                permitted.writes = Some(args.confirm.clone());
            }
            Verb::Serve(args) => {
                permitted.read(&args.source);
                args.overlay.iter().for_each(|file| permitted.file(file, Rights::Overlay));
                permitted.listen = Some(match (args.listen, &args.socket) {
                    (Some(address), _) => Door::Tcp(address),
                    (None, path) => Door::Unix(path.clone()),
                });
            }
            Verb::Mount(args) => {
                permitted.read(&args.source);
                permitted.mount = Some(MountPlace::new(args));
            }
            Verb::Try(args) => {
                permitted.read(&args.source);
                permitted.guest = Some(GuestWanted {
                    uefi: (args.uefi || args.bios).then_some(args.uefi),
                    memory: args.memory,
                    headless: args.headless,
                    emulate: args.emulate,
                });
            }
            Verb::Prepare(args) => {
                permitted.name(Path::new(&args.disk));
                permitted.writes = Some(args.confirm.clone());
                permitted.prepared = Some(Prepared {
                    fs: args.fs.into(),
                    label: args.label.clone(),
                    mount: args.mount.clone(),
                });
            }
            Verb::Man(_) => {}
        }
        permitted
    }

    /// A word names a device, a folder or a file.
    fn read(&mut self, word: &Path) {
        self.name(word);
        self.paths.push((word.to_owned(), Rights::Read));
    }

    /// A device, which is looked at first, or a new file.
    fn write(&mut self, target: &Path) {
        self.name(target);
        self.file(target, Rights::File);
    }

    /// This may be done with a file, in the folder that it is in.
    fn file(&mut self, path: &Path, rights: impl Fn(OsString) -> Rights) {
        if let Some(name) = path.file_name() {
            self.paths.push((folder_of(path).to_owned(), rights(name.to_owned())));
        }
    }

    fn name(&mut self, word: &Path) {
        if let Devices::Named(words) = &mut self.devices {
            words.push(word.to_string_lossy().into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::Parser;

    fn by(line: &str) -> Permitted {
        Permitted::by(&Cli::try_parse_from(line.split(' ')).unwrap().verb)
    }

    #[test]
    fn only_what_the_command_line_names() {
        let save = by("selfsame save sda /mnt/big");
        assert_eq!(save.devices, Devices::Named(vec!["sda".into()]));
        assert_eq!(save.paths[1], ("/mnt/big".into(), Rights::Backups(vec![])));
        assert!(save.writes.is_none());
        let restore = by("selfsame restore /mnt/b sdb --yes --target-id 0123456789");
        let confirmed = restore.writes.unwrap();
        assert!(confirmed.yes && confirmed.target_id.as_deref() == Some("0123456789"));
        assert_eq!(restore.paths[0], ("/mnt/b".into(), Rights::Read));
        assert_eq!(restore.paths[1], (".".into(), Rights::File("sdb".into())));
        assert_eq!(by("selfsame restore b").devices, Devices::All);
        assert_eq!(by("selfsame disks").paths, []);
        assert_eq!(by("selfsame show x/y").devices, Devices::Named(vec!["x/y".into()]));
    }

    #[test]
    fn only_who_is_told_to_mounts_or_starts_something() {
        let mount = by("selfsame mount a,b=c\\d /mnt/x");
        let place = MountPlace { dir: "/mnt/x".into(), name: "a_b_c_d".into(), allow_other: false };
        assert_eq!((mount.mount, mount.guest), (Some(place), None));
        let bios = by("selfsame try b --bios --memory 64").guest.unwrap();
        assert_eq!((bios.uefi, bios.memory, bios.headless), (Some(false), 64, false));
        assert_eq!(by("selfsame try b").guest.unwrap().uefi, None);
        for line in ["show b", "serve b", "verify b", "save b c"] {
            let permitted = by(&format!("selfsame {line}"));
            assert!(permitted.mount.is_none() && permitted.guest.is_none(), "{line}");
        }
    }

    /// Every action on every name that matters, by what is permitted.
    #[test]
    fn what_each_right_is_good_for() {
        let name = OsStr::new("a");
        let [part, other] = ["a.part", "b"].map(OsStr::new);
        let all = [
            Action::List,
            Action::Has(name),
            Action::Open(name, How::Read),
            Action::Open(other, How::ReadDirect),
            Action::Open(name, How::Make),
            Action::Open(part, How::Make),
            Action::Open(part, How::WriteDirect),
            Action::Open(name, How::Write),
            Action::Folder,
            Action::MakeFolder(name),
            Action::MakeFolder(other),
            Action::Rename(part, name, false),
            Action::Rename(part, name, true),
            Action::Rename(other, name, false),
            Action::Remove(part),
            Action::Remove(name),
        ];
        let good = |rights: Rights| -> String {
            all.iter().map(|action| if rights.then(*action).is_some() { 'x' } else { '-' }).collect()
        };
        assert_eq!(good(Rights::Read), "xxxx----x-------");
        assert_eq!(good(Rights::ReadOnly("a".into())), "--x-------------");
        assert_eq!(good(Rights::Backups(vec![])), "xx------xxx-----");
        assert_eq!(good(Rights::Backups(vec!["a.part".into()])), "xx------xxxx----");
        assert_eq!(good(Rights::Missing("a".into())), "---------x------");
        assert_eq!(good(Rights::Backup), "xxxxxxxx---xxxxx");
        assert_eq!(good(Rights::Overlay("a".into())), "----x--x--------");
        assert_eq!(good(Rights::File("a".into())), "-xx--xx----xx-x-");
    }

    #[test]
    fn of_a_vmdk_its_extents_too() {
        let reads = |name: &str, wanted: &str| {
            Rights::ReadOnly(name.into()).then(Action::Open(wanted.as_ref(), How::Read)).is_some()
        };
        assert!(["a.vmdk", "a-flat.vmdk", "a-s001.vmdk"].iter().all(|wanted| reads("a.vmdk", wanted)));
        for wanted in ["b-flat.vmdk", "a-flat.img", "aflat.vmdk", "a-x/../b.vmdk", "shadow"] {
            assert!(!reads("a.vmdk", wanted), "{wanted}");
        }
        assert!(!reads("a.img", "a-flat.vmdk"));
        let changed =
            Rights::ReadOnly("a.vmdk".into()).then(Action::Open("a-flat.vmdk".as_ref(), How::Write));
        assert_eq!(changed, None);
    }

    #[test]
    fn only_folders_made_by_the_job_are_filled() {
        let made = Rights::Backups(vec![]).then(Action::MakeFolder(OsStr::new("x"))).unwrap();
        assert_eq!(made, Rights::Backup);
        let there = Rights::Backups(vec![]).then(Action::Folder).unwrap();
        assert_eq!(there, Rights::Read);
        assert_eq!(there.then(Action::Open(OsStr::new("y"), How::Make)), None);
    }
}
