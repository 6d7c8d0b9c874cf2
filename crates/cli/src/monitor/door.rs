//! The socket by which clients of the job come in. Made by the monitor, because the job has no paths.

use super::rights::Door;
use super::wire::ListenAnswer;
use block::{Error, ErrorKind, Result};
use rustix::fs::Mode;
use rustix::process::{geteuid, umask};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

/// A socket in the file system, removed when the program ends.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Opens it. For its user alone, if it is in the file system.
pub(super) fn open(door: &Door) -> Result<(ListenAnswer, OwnedFd, Option<SocketFile>)> {
    match door {
        Door::Tcp(address) => {
            let failed = |error| Error::io(error, format!("listening on {address}"));
            let listener = TcpListener::bind(address).map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            Ok((ListenAnswer::Tcp(address), listener.into(), None))
        }
        Door::Unix(path) => {
            let path = path.clone().unwrap_or_else(usual);
            let path = std::path::absolute(&path).unwrap_or(path);
            // The mode of a socket is that of its making: afterwards would be too late.
            let before = umask(Mode::RWXG | Mode::RWXO);
            let listener = UnixListener::bind(&path);
            umask(before);
            let listener = listener.map_err(|error| match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    let words = format!("{} exists: remove it, or choose another name", path.display());
                    Error::new(ErrorKind::Refused, words)
                }
                _ => Error::io(error, format!("making the socket {}", path.display())),
            })?;
            let answer = ListenAnswer::Unix(path.clone().into_os_string());
            Ok((answer, listener.into(), Some(SocketFile(path))))
        }
    }
}

/// Where sockets of this user are: file-hierarchy(7). Without such a folder where temporary files are.
fn usual() -> PathBuf {
    let of_user = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
    let of_root = || geteuid().is_root().then(|| PathBuf::from("/run")).filter(|dir| dir.is_dir());
    let dir = of_user.or_else(of_root).unwrap_or_else(std::env::temp_dir);
    dir.join(format!("selfsame-{}.sock", std::process::id()))
}
