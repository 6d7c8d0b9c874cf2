//! Two processes (DESIGN, section 5): the *monitor* keeps the privileges and parses nothing that comes from a
//! disk; the *job* gives all of them up and does the work.
//!
//! The monitor starts the job, which is this program again, with one end of a socket as its standard input.
//! The job asks for devices and files by it and gets open descriptors; what the command line does not name it
//! does not get, and no disk to write to unless its user said yes to the monitor.

mod bridge;
mod client;
mod door;
mod fuse;
mod guest;
mod inhibit;
mod made;
mod outlet;
mod rights;
pub mod sandbox;
mod server;
mod wire;

pub use bridge::{become_bridge, is_bridge};
pub use client::Client;
pub use fuse::{MountAnswer, is_watcher, watch};
pub use guest::GuestAnswer;
pub use outlet::RemoteOutlet;
pub use wire::Asked;

use crate::args::Verb;
use crate::exit::Exit;
use crate::ui::say;
use block::{Error, ErrorKind, Result};
use image::LocalFiles;
use rights::Permitted;
use rustix::process::{Pid, Signal, kill_process};
use server::Server;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Sent};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set for the process that is the job.
const JOB: &str = "SELFSAME_JOB";

/// Is this process the job of a monitor?
pub fn is_job() -> bool {
    std::env::var_os(JOB).is_some()
}

/// Runs the job of `verb` in a process of its own, and answers what it asks. The exit code is the job's.
pub fn run(verb: &Verb) -> Result<u8> {
    run_job(verb, Command::new("/proc/self/exe").args(std::env::args_os().skip(1)))
}

/// The same with a job that another program does: for tests of what a job may do.
pub fn run_job(verb: &Verb, job: &mut Command) -> Result<u8> {
    let cannot = |error| Error::io(error, "starting the job (is procfs mounted?)");
    let asking = Arc::new(AtomicBool::new(false));
    let mut signals = SignalsInfo::<WithOrigin>::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Error::io(error, "watching for signals"))?;
    let (socket, theirs) = UnixStream::pair().map_err(cannot)?;
    let mut child = job.env(JOB, "1").stdin(OwnedFd::from(theirs)).spawn().map_err(cannot)?;
    // The command held the job's end of the socket.
    job.stdin(std::process::Stdio::null());

    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let asks = Arc::clone(&asking);
    std::thread::spawn(move || {
        for signal in signals.forever() {
            // The terminal sends its signals to both processes.
            if let (Cause::Sent(Sent::User | Sent::TKill | Sent::Queue), Some(pid)) = (signal.cause, pid) {
                // It may have ended just now.
                let _ = kill_process(pid, named(signal.signal));
            }
            if asks.load(Ordering::SeqCst) {
                #[expect(clippy::exit, reason = "the question on the terminal is read by another thread")]
                std::process::exit(i32::from(Exit::Interrupted as u8));
            }
        }
    });

    let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let files = LocalFiles { owner: id("SUDO_UID").zip(id("SUDO_GID")) };
    let mut server = Server::new(Permitted::by(verb), files, asking);
    let served = server.serve(&socket);
    // A job that waits for an answer that does not come must end too.
    drop(socket);
    let status = child.wait().map_err(|error| Error::io(error, "waiting for the job"))?;
    served?;
    ended(status, &server)
}

fn named(signal: i32) -> Signal {
    match signal {
        SIGTERM => Signal::TERM,
        SIGHUP => Signal::HUP,
        _ => Signal::INT,
    }
}

/// The job's exit code; an error if it was killed.
fn ended(status: ExitStatus, server: &Server) -> Result<u8> {
    if let Some(code) = status.code().and_then(|code| u8::try_from(code).ok()) {
        return Ok(code);
    }
    if let Some(target) = server.target() {
        say(&format!("{} is not to be trusted: what makes it a disk may be missing", target.display()));
    }
    let signal = status.signal().unwrap_or_default();
    let why = match signal {
        libc::SIGABRT => " (abort: it asked for more memory than it may have, or failed beyond repair)",
        libc::SIGKILL => " (kill: by somebody, or because the machine had no memory left)",
        libc::SIGSEGV | libc::SIGBUS => " (it reached for memory that is not its own, or nested too deep)",
        libc::SIGXCPU => " (it took too long)",
        _ => "",
    };
    let words = format!("the job was ended by signal {signal}{why}; what it made is called .part");
    Err(Error::new(ErrorKind::Io, words))
}
