//! A job that has turned bad, and what it can reach: nothing that the command line did not name, and no disk
//! to write to without the user's yes.
//!
//! This program is both sides: as the job it tries, and says what it was not refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout
)]

use block::{Error, ErrorKind, Files, Found, How, ReadAt};
use clap::Parser;
use device::{DiskId, Instance, Monitor, SourceOptions, Wanted};
use image::{Attrs, Outlet, Special, Step, TOP};
use rustix::process::{Pid, Signal, kill_process};
use selfsame::args::Cli;
use selfsame::monitor::{self, Asked, Client, RemoteOutlet, sandbox};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Which attempts the job makes; its arguments are behind it.
const ATTEMPTS: &str = "SELFSAME_ATTEMPTS";

fn main() -> ExitCode {
    if monitor::is_job() {
        return job();
    }
    // Harnesses ask for a list of tests.
    if std::env::args().any(|word| word == "--list") {
        println!("sandbox: test");
        return ExitCode::SUCCESS;
    }
    let lab = tempfile::tempdir().unwrap();
    let at = |name: &str| lab.path().join(name);
    std::fs::write(at("disk.img"), testkit::pattern(1 << 20)).unwrap();
    std::fs::write(at("secret"), "secret").unwrap();
    std::fs::create_dir(at("dest")).unwrap();
    std::fs::create_dir(at("dest/there")).unwrap();
    std::fs::create_dir(at("dest/other.part")).unwrap();
    std::fs::write(at("dest/there/manifest.json"), "{}").unwrap();

    system(&at("disk.img"), &at("secret"));
    folders(lab.path());
    outlets(lab.path());
    disks(&at("disk.img"));
    println!("\ntest result: ok. 4 passed; 0 failed");
    ExitCode::SUCCESS
}

/// Runs a job of `line` that makes these attempts, and fails if one of them was not refused.
fn tries(line: &[&str], attempts: &str, paths: &[&Path]) {
    let cli = Cli::try_parse_from(["selfsame"].iter().chain(line)).unwrap();
    let mut job = Command::new(std::env::current_exe().unwrap());
    let code = monitor::run_job(&cli.verb, job.args(paths).env(ATTEMPTS, attempts)).unwrap();
    assert_eq!(code, 0, "{attempts}: something was not refused");
    println!("test {attempts} ... ok");
}

fn system(image: &Path, secret: &Path) {
    let me = std::process::id().to_string();
    let line = ["show", image.to_str().unwrap()];
    tries(&line, "system", &[image, secret, Path::new(&me)]);
}

fn folders(lab: &Path) {
    let [image, dest] = ["disk.img", "dest"].map(|name| lab.join(name));
    let line = ["save", image.to_str().unwrap(), dest.to_str().unwrap()];
    tries(&line, "folders", &[&image, &dest, lab]);
    assert!(dest.join("mine/file").exists());
}

/// What `get` may make: files in a folder that is there, and one new name.
fn outlets(lab: &Path) {
    let [image, out, new] = ["disk.img", "out", "new"].map(|name| lab.join(name));
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("there"), "mine").unwrap();
    std::os::unix::fs::symlink(lab, out.join("up")).unwrap();
    let line =
        |out: &Path| ["get", "-r", image.to_str().unwrap(), "0/x", out.to_str().unwrap()].map(str::to_owned);
    let words = line(&out);
    tries(&words.each_ref().map(String::as_str), "outlet", &[&image, lab]);
    assert_eq!(std::fs::read(out.join("there")).unwrap(), b"mine");
    assert_eq!(std::fs::read(out.join("dir/good")).unwrap(), b"good");
    let mut names: Vec<_> =
        std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["dir", "link", "there", "up"], "what is not complete has no name");
    let words = line(&new);
    tries(&words.each_ref().map(String::as_str), "outlet-new", &[&image, lab]);
    assert!(new.is_dir() && !lab.join("other").exists());
}

fn disks(image: &Path) {
    let copy = image.with_file_name("other.img");
    std::fs::copy(image, &copy).unwrap();
    let (Some(one), Some(other)) =
        (testkit::LoopDevice::attach(image, 512), testkit::LoopDevice::attach(&copy, 512))
    else {
        return println!("SKIPPED: a_bad_job_reaches_no_other_disk: needs loop devices");
    };
    let names = [one.path(), other.path()];
    let words = names.map(|path| path.to_str().unwrap());
    let id = id_of(one.path());
    // Looks only.
    tries(&["show", words[0]], "reads", &names);
    // The user named the first one, and its ID.
    tries(&["restore", "/", words[0], "--yes", "--target-id", &id], "writes", &names);
    // The user named another ID.
    tries(&["restore", "/", words[0], "--yes", "--target-id", "0000000000"], "unconfirmed", &names);
    assert!(std::fs::read(&copy).unwrap() == testkit::pattern(1 << 20));
    println!("a_bad_job_reaches_no_other_disk ran");
}

/// As the user reads it.
fn id_of(device: &Path) -> String {
    let machine = device::Machine::host();
    let place = machine.find(device.to_str().unwrap()).unwrap();
    let monitor = device::InProcess { machine };
    let opened = monitor.open_source(place.instance(), SourceOptions::default()).unwrap();
    device::disk_id(&place.identity(), &*opened.source).unwrap().to_string()
}

/// What was not refused.
struct Attempts(Vec<String>);

impl Attempts {
    fn refused<T, E: std::fmt::Display>(&mut self, what: &str, result: Result<T, E>) {
        match result {
            Ok(_) => self.0.push(what.to_owned()),
            Err(error) => println!("  refused: {what}: {error}"),
        }
    }

    fn permitted<T, E: std::fmt::Display>(&mut self, what: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.0.push(format!("{what} was refused: {error}"))).ok()
    }
}

fn job() -> ExitCode {
    let client = Client::on_stdin().unwrap();
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let which = std::env::var(ATTEMPTS).unwrap();
    for missing in sandbox::enter().unwrap() {
        println!("note: {missing}");
    }
    let mut attempts = Attempts(vec![]);
    match which.as_str() {
        "system" => try_system(&mut attempts, &client, &paths),
        "folders" => try_folders(&mut attempts, &client, &paths),
        "outlet" => try_outlet(&mut attempts, &client, &paths),
        "outlet-new" => try_new_name(&mut attempts, &client),
        _ => try_disks(&mut attempts, &client, &paths, &which),
    }
    attempts.0.iter().for_each(|what| println!("NOT AS IT MUST BE: {what}"));
    u8::from(!attempts.0.is_empty()).into()
}

fn try_system(attempts: &mut Attempts, client: &Client, paths: &[PathBuf]) {
    attempts.refused("mounting something", client.mount());
    attempts.refused("unmounting something", client.unmount());
    attempts.refused("starting a virtual computer", client.start_guest(false, 512));
    attempts.refused("waiting for one", client.guest_ended());
    let [image, secret, monitor] = paths else { panic!("{paths:?}") };
    for path in [image, secret, Path::new("/etc/passwd"), Path::new("/dev/null"), Path::new("/dev/vda")] {
        attempts.refused(&format!("open {}", path.display()), std::fs::File::open(path));
        attempts.refused(&format!("write {}", path.display()), std::fs::write(path, "x"));
        attempts.refused(&format!("look at {}", path.display()), std::fs::metadata(path));
    }
    attempts.refused("list /", std::fs::read_dir("/"));
    attempts.refused("remove a file", std::fs::remove_file(secret));
    attempts.refused("rename a file", std::fs::rename(secret, "x"));
    attempts.refused("its own memory", std::fs::File::open("/proc/self/mem"));
    attempts.refused("start a program", Command::new("/bin/true").spawn());
    attempts.refused("the network", std::net::TcpListener::bind("127.0.0.1:0"));
    attempts.refused("a socket", std::os::unix::net::UnixDatagram::unbound());
    attempts.refused("be root", rustix::thread::set_thread_uid(rustix::process::Uid::ROOT));
    let monitor = Pid::from_raw(monitor.to_str().unwrap().parse().unwrap()).unwrap();
    attempts.refused("kill the monitor", kill_process(monitor, Signal::KILL));
    attempts.refused(
        "limits",
        rustix::process::setrlimit(
            rustix::process::Resource::Nofile,
            rustix::process::Rlimit { current: Some(1), maximum: Some(1) },
        ),
    );
    // By the monitor.
    for path in [secret, Path::new("/etc/passwd"), Path::new("/"), Path::new("."), Path::new("")] {
        attempts.refused(&format!("have {} found", path.display()), Files::find(client, path));
    }
    let found = attempts.permitted("the image", Files::find(client, image));
    let Some(Found::File(folder, name)) = found else { panic!("{}", image.display()) };
    attempts.permitted("read the image", folder.open(&name, How::Read));
    let secret = secret.file_name().unwrap();
    attempts.refused("read the file beside it", folder.open(secret, How::Read));
    attempts.refused("write the image", folder.open(&name, How::WriteDirect));
    attempts.refused("list its folder", folder.list());
    attempts.refused("the folder above", folder.folder(OsStr::new("..")));
    attempts.refused("below a path that is not its own", client.below(Path::new("/")));
    // Threads work, and what is printed.
    let sum = std::thread::spawn(|| 1 + 1).join().unwrap();
    assert_eq!(sum, 2);
}

fn try_folders(attempts: &mut Attempts, client: &Client, paths: &[PathBuf]) {
    let [_, dest, lab] = paths else { panic!("{paths:?}") };
    attempts.refused("the folder of all", Files::find(client, lab));
    let Some(Found::Folder(dest)) = attempts.permitted("dest", Files::find(client, dest)) else {
        return;
    };
    let name = OsStr::new;
    attempts.refused("a file in it", dest.open(name("x"), How::Make));
    for escape in ["..", "../x", "/etc", "", "."] {
        attempts.refused("another folder", dest.make_folder(name(escape), true));
        attempts.refused("the folder above", dest.folder(name(escape)));
    }
    attempts.refused("remove what is there", dest.remove(name("there")));
    attempts.refused("finish another backup", dest.rename(name("other.part"), name("other"), false));
    attempts.refused("rename what is there", dest.rename(name("there"), name("gone"), false));
    attempts.refused("rename over", dest.rename(name("x.part"), name("there"), true));
    if let Some(there) = attempts.permitted("what is there", dest.folder(name("there"))) {
        attempts.permitted("read it", there.open(name("manifest.json"), How::Read));
        attempts.refused("write to it", there.open(name("new"), How::Make));
        attempts.refused("change it", there.open(name("manifest.json"), How::WriteDirect));
        attempts.refused("remove it", there.remove(name("manifest.json")));
    }
    if let Some(mine) = attempts.permitted("a folder of its own", dest.make_folder(name("mine"), true)) {
        attempts.permitted("a file of its own", mine.open(name("file"), How::Make));
        attempts.refused("a file outside", mine.open(name("../x"), How::Make));
        attempts.refused("a folder in it", mine.make_folder(name("deep"), true));
    }
}

/// One step, and the descriptor that it gives.
fn make(outlet: &mut RemoteOutlet, step: Step) -> io::Result<Option<OwnedFd>> {
    let mut answers = outlet.apply(vec![step])?;
    assert_eq!(answers.len(), 1);
    answers.remove(0).map(|made| made.file)
}

fn file(parent: u32, name: &str, id: u32) -> Step {
    Step::File { parent, name: name.into(), id }
}

fn try_outlet(attempts: &mut Attempts, client: &Client, paths: &[PathBuf]) {
    let [image, lab] = paths else { panic!("{paths:?}") };
    let Some((mut outlet, only)) = attempts.permitted("OUT", client.outlet()) else { return };
    assert_eq!(only, None);
    attempts.refused("OUT a second time", client.outlet().map(|_| ()));
    attempts.refused("OUT as a folder", Files::find(client, &lab.join("out")));
    let out = &mut outlet;
    for escape in ["..", ".", "", "../x", "/etc/x", "a/b", "a\0b", "up/x"] {
        attempts.refused(&format!("a file {escape:?}"), make(out, file(TOP, escape, 1)));
        let folder = Step::Folder { parent: TOP, name: escape.into(), id: 1 };
        attempts.refused(&format!("a folder {escape:?}"), make(out, folder));
        let (name, target) = (escape.into(), "x".into());
        let link = Step::Symlink { parent: TOP, name, target, attrs: Attrs::default() };
        attempts.refused(&format!("a link {escape:?}"), make(out, link));
    }
    attempts.refused("a file over one that is there", make(out, file(TOP, "there", 1)));
    attempts.refused("a file in a folder that is not open", make(out, file(77, "x", 1)));
    attempts.refused("a name that is too long", make(out, file(TOP, &"x".repeat(256), 1)));
    let folder = |name: &str, id| Step::Folder { parent: TOP, name: name.into(), id };
    attempts.refused("a folder through a link", make(out, folder("up", 2)));
    let target = lab.clone().into_os_string();
    let link = Step::Symlink { parent: TOP, name: "link".into(), target, attrs: Attrs::default() };
    attempts.permitted("a link", make(out, link));
    attempts.refused("a folder through its own link", make(out, folder("link", 2)));
    attempts.permitted("a folder", make(out, folder("dir", 2)));
    attempts.refused("a number that is taken", make(out, file(TOP, "x", 2)));
    let special = |special| Step::Special { parent: 2, name: "s".into(), special, attrs: Attrs::default() };
    attempts.refused("a pipe", make(out, special(Special::Fifo)));
    attempts.refused("a device node", make(out, special(Special::Block(8, 0))));
    for to in [&["..", "secret"][..], &["link", "secret"], &["up", "secret"], &["/etc/passwd"], &[]] {
        let to = to.iter().map(OsString::from).collect();
        let step = Step::Link { parent: 2, name: "l".into(), to };
        attempts.refused("another name of a file outside", make(out, step));
    }
    let done = |id| Step::Done { id, attrs: Attrs { mode: Some(0o644), ..Attrs::default() } };
    let made = attempts.permitted("a file", make(out, file(2, "good", 3))).flatten();
    std::fs::File::from(made.unwrap()).write_all(b"good").unwrap();
    attempts.permitted("its name", make(out, done(3)));
    attempts.refused("its name again", make(out, done(3)));
    attempts.refused("the top folder's attributes", make(out, done(TOP)));
    attempts.permitted("a file that stays undone", make(out, file(TOP, "half", 4)));
    let image = attempts.permitted("the image", Files::find(client, image));
    assert!(matches!(image, Some(Found::File(..))));
}

fn try_new_name(attempts: &mut Attempts, client: &Client) {
    let Some((mut outlet, only)) = attempts.permitted("OUT", client.outlet()) else { return };
    assert_eq!(only.as_deref(), Some(OsStr::new("new")));
    let out = &mut outlet;
    let folder = |name: &str, id| Step::Folder { parent: TOP, name: name.into(), id };
    attempts.refused("another file beside it", make(out, file(TOP, "other", 1)));
    attempts.refused("a folder beside it", make(out, folder("dest", 1)));
    let link = Step::Link { parent: TOP, name: "new".into(), to: vec!["secret".into()] };
    attempts.refused("a name of the file beside it", make(out, link));
    attempts.permitted("the folder", make(out, folder("new", 1)));
    attempts.permitted("a file in it", make(out, file(1, "x", 2)));
}

fn try_disks(attempts: &mut Attempts, client: &Client, paths: &[PathBuf], which: &str) {
    let place = |path: &PathBuf| Monitor::find(client, path.to_str().unwrap()).unwrap();
    let [one, other] = [&paths[0], &paths[1]].map(place);
    let open = |instance| client.open_source(instance, SourceOptions::default());
    attempts.refused("read the other disk", open(other.instance()));
    attempts.refused("read it when it comes back", client.reopen(&other.identity()));
    attempts.refused(
        "have its drive asked",
        match &client.hidden(other.instance()).unknown[..] {
            [] => Ok(()),
            [why, ..] => Err(why.clone()),
        },
    );
    let Some(opened) = attempts.permitted("read the disk", open(one.instance())) else { return };
    let id = device::disk_id(&one.identity(), &*opened.source).unwrap();
    let asked = |instance: Instance, id: DiskId| Asked {
        instance,
        id,
        blank: true,
        from: "nothing".into(),
        holds: vec![],
    };
    let wanted = |instance, id| Wanted { instance, id, need: 0, sector: 512, never: vec![] };
    // It tells its own refusals from a claim.
    let claim = |instance, id| match client.claim(&wanted(instance, id)) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(refusals)) => Err(Error::new(ErrorKind::Refused, format!("{refusals:?}"))),
        Err(error) => Err(error),
    };
    attempts.refused("write without a question", claim(one.instance(), id));
    let write = rustix::io::pwrite(opened.source.handle().fd(), b"x", 0);
    attempts.refused("write by the descriptor to read", write.map_err(io::Error::from));
    let confirmed = client.confirm(asked(one.instance(), id));
    if which != "writes" {
        attempts.refused("a confirmation", confirmed);
        return attempts.refused("write all the same", claim(one.instance(), id));
    }
    attempts.permitted("what the user confirmed", confirmed);
    attempts.refused("confirm the other disk", client.confirm(asked(other.instance(), id)));
    attempts.refused("write the other disk", claim(other.instance(), id));
    attempts.refused("use a confirmation twice", claim(one.instance(), id));
    attempts.permitted("again", client.confirm(asked(one.instance(), id)));
    attempts.permitted("claim", claim(one.instance(), id));
    assert_eq!(opened.source.size(), 1 << 20);
}
