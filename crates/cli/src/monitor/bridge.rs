//! Foreign image formats: `qemu-nbd` shows what is in them, and reads nothing by itself.
//!
//! ```text
//! job: the file's bytes --NBD server--> qemu-nbd: understands the format --NBD server--> job: the disk
//! ```
//!
//! The file is given to it byte by byte over a socket, so that it needs no file, no folder and no rights at all. It is
//! started by way of this program, which gives up what it has ([`super::sandbox::enter_to_run`]) and becomes it.

use super::made::find;
use super::sandbox;
use block::{Error, ErrorKind, Result};
use engine::Format;
use std::fs::{DirBuilder, remove_dir, remove_file};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Set for the process that becomes the bridge: the program.
const BRIDGE: &str = "SELFSAME_BRIDGE";
/// What it is to read.
const DRIVER: &str = "SELFSAME_BRIDGE_DRIVER";
/// Who does it.
const PROGRAM: &str = "qemu-nbd";
/// Connections of the job to each bridge.
pub(super) const CONNECTIONS: usize = 4;
/// The first descriptor behind the standard ones: where sd_listen_fds(3) says that a socket is.
const FIRST_FD: i32 = 3;

/// A bridge, as long as it is needed.
#[derive(Debug)]
pub(super) struct Bridge(Child);

impl Drop for Bridge {
    fn drop(&mut self) {
        // It ends by itself with its last client; a job that was killed may have left it waiting.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How QEMU calls a format.
fn driver(name: &str) -> Option<&'static str> {
    let all = [Format::Qcow2, Format::Vmdk, Format::Vhd, Format::Vhdx, Format::Vdi];
    let drivers = ["qcow2", "vmdk", "vpc", "vhdx", "vdi"];
    let found = all.iter().zip(drivers).find(|(format, _)| format.to_string() == name);
    found.map(|(_, driver)| driver)
}

/// Starts one. Beside it come descriptors: by the first one the job gives it the bytes of the file, from the second
/// one come its words, by the others the disk is read.
pub(super) fn start(format: &str) -> Result<(Bridge, Vec<OwnedFd>)> {
    let driver = driver(format).ok_or_else(|| Error::new(ErrorKind::Unsupported, "no such format"))?;
    let program = find(PROGRAM).ok_or_else(|| {
        let words = format!("to read {format} takes the program {PROGRAM}: install the package qemu-utils");
        Error::new(ErrorKind::NotFound, words)
    })?;
    let failed = |error| Error::io(error, format!("starting {PROGRAM}"));
    let (bytes, its_bytes) = UnixStream::pair().map_err(failed)?;
    let (words, its_words) = std::io::pipe().map_err(failed)?;
    let (listener, clients) = connected().map_err(failed)?;
    let child = Command::new("/proc/self/exe")
        .env(BRIDGE, program)
        .env(DRIVER, driver)
        .stdin(Stdio::from(OwnedFd::from(its_bytes)))
        .stdout(Stdio::from(OwnedFd::from(listener)))
        .stderr(Stdio::from(its_words))
        .spawn()
        .map_err(failed)?;
    let fds = [OwnedFd::from(bytes), OwnedFd::from(words)].into_iter().chain(clients);
    Ok((Bridge(child), fds.collect()))
}

/// A listening socket, and connections to it that wait to be accepted. It has a path only for this moment.
fn connected() -> std::io::Result<(UnixListener, Vec<OwnedFd>)> {
    let dir = private_folder()?;
    let path = dir.join("nbd");
    let listener = UnixListener::bind(&path);
    let connect = |_| UnixStream::connect(&path).map(OwnedFd::from);
    let clients = (0..CONNECTIONS).map(connect).collect::<std::io::Result<_>>();
    // If they cannot be removed they are empty, and the user's own.
    let _ = remove_file(&path);
    let _ = remove_dir(&dir);
    Ok((listener?, clients?))
}

fn private_folder() -> std::io::Result<PathBuf> {
    let name = |try_number: u32| format!("selfsame-{}-{try_number}", std::process::id());
    let make = |number| {
        let dir = std::env::temp_dir().join(name(number));
        DirBuilder::new().mode(0o700).create(&dir).map(|()| dir)
    };
    let taken = |made: &std::io::Result<PathBuf>| {
        made.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::AlreadyExists)
    };
    (0..100)
        .map(make)
        .find(|made| !taken(made))
        .unwrap_or_else(|| Err(std::io::ErrorKind::AlreadyExists.into()))
}

/// Is this process to become a bridge?
pub fn is_bridge() -> bool {
    std::env::var_os(BRIDGE).is_some()
}

/// Becomes it: standard input is the socket that gives the file, standard output the one that clients connect to.
/// Comes back only if that fails.
pub fn become_bridge() -> Error {
    match prepared() {
        Ok(mut command) => Error::io(command.exec(), format!("running {PROGRAM}")),
        Err(error) => error,
    }
}

fn prepared() -> Result<Command> {
    let failed = |error: std::io::Error| Error::io(error, format!("preparing {PROGRAM}"));
    let program = std::env::var_os(BRIDGE).unwrap_or_default();
    let driver = std::env::var(DRIVER).unwrap_or_default();
    // Without the flag that closes it, and never closed: it is meant for what comes.
    let listener = rustix::io::dup(std::io::stdout().as_fd()).map_err(|errno| failed(errno.into()))?;
    if listener.into_raw_fd() != FIRST_FD {
        return Err(Error::new(ErrorKind::Bug, "a descriptor that nobody was handed"));
    }
    sandbox::enter_to_run()?;
    let node = format!(
        r#"json:{{"driver":"{driver}","read-only":true{},"file":{{"driver":"nbd","server":{{"type":"fd","str":"0"}}}}}}"#,
        // Only this one has such a thing; null: there is none, whatever the image says.
        if driver == "qcow2" { r#","backing":null"# } else { "" },
    );
    let mut command = Command::new(program);
    command
        .args(["--read-only", "--shared", &CONNECTIONS.to_string(), &node])
        .env_clear()
        .env("LISTEN_PID", std::process::id().to_string())
        .env("LISTEN_FDS", "1")
        .stdin(Stdio::inherit())
        .stdout(Stdio::from(std::io::stderr().as_fd().try_clone_to_owned().map_err(failed)?));
    Ok(command)
}
