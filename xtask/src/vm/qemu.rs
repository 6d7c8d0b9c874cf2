//! One boot: QEMU is started, the guest's lines are heard and its orders carried out, until it is over.

use super::files;
use super::guest::Cache;
use super::machine::{CONSOLE, CONTROL, Files, Machine, QMP};
use super::qmp::Qmp;
use super::talk::{Outcome, Protocol, Said};
use crate::Result;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long QEMU may take to connect to us.
const CONNECTING: Duration = Duration::from_secs(20);
/// How often it is looked whether it still runs.
const TICK: Duration = Duration::from_millis(50);
/// A guest that has said that it is done is left this long to power itself off.
const LEAVING: Duration = Duration::from_secs(20);

/// A started QEMU, killed when it is dropped.
pub(crate) struct Qemu(Child);

impl Qemu {
    /// Starts it; what it says goes to `log`.
    pub(crate) fn start(cache: &Cache, arguments: &[String], log: &Path) -> Result<Self> {
        let out = files::create(log)?.into_inner()?;
        let mut command = cache.qemu("qemu-system-x86_64");
        command.args(arguments).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        Ok(Self(command.spawn().map_err(|error| format!("QEMU does not start: {error}"))?))
    }

    /// Has it ended?
    pub(crate) fn is_over(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// What a power cut does.
    pub(crate) fn kill(&mut self) -> Result<()> {
        // It may have ended by itself.
        drop(self.0.kill());
        Ok(self.0.wait().map(drop)?)
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("xtask: QEMU: {error}");
        }
    }
}

/// What a boot is to do.
pub(crate) struct Boot<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) files: Files<'a>,
    /// Cases that the guest has to tell of.
    pub(crate) cases: &'a [&'a str],
    /// The last case ends in a power cut.
    pub(crate) is_cut: bool,
    pub(crate) limit: Duration,
}

/// Why a boot was over.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Done(String),
    Cut,
    Gone,
    TimedOut,
    Interrupted,
}

impl End {
    fn why(&self) -> String {
        match self {
            Self::Done(code) => format!("the script ended with {code}"),
            Self::Cut => "the power was cut".to_owned(),
            Self::Gone => "the guest went away".to_owned(),
            Self::TimedOut => "time-out".to_owned(),
            Self::Interrupted => "interrupted".to_owned(),
        }
    }
}

impl Boot<'_> {
    /// Boots and runs to the end. `report` is given each outcome as it comes.
    pub(crate) fn run(
        &self,
        cache: &Cache,
        interrupted: &dyn Fn() -> bool,
        report: &mut dyn FnMut(Outcome),
    ) -> Result<()> {
        let folder = self.files.folder;
        let [control, qmp] = [CONTROL, QMP].map(|name| listen(&folder.join(name)));
        let (control, qmp) = (control?, qmp?);
        let log = folder.join("qemu.log");
        let mut qemu = Qemu::start(cache, &self.machine.arguments(&self.files), &log)?;
        // What QEMU itself says tells more than a closed socket does.
        let lost = |error| format!("{error}\n{}", files::tail(&log, 10));
        let control = accept(&control, &mut qemu).map_err(lost)?;
        let qmp = accept(&qmp, &mut qemu).and_then(Qmp::new).map_err(lost)?;
        let mut guest = Guest { control, qmp, protocol: Protocol::new(self.cases), heard: vec![] };
        let end = self.listen(&mut guest, &mut qemu, interrupted, report)?;
        if matches!(end, End::Done(_)) {
            let deadline = Instant::now() + LEAVING;
            while !qemu.is_over()? && Instant::now() < deadline {
                sleep(TICK);
            }
        }
        qemu.kill()?;
        if end == End::Cut && self.is_cut {
            guest.protocol.cut().into_iter().for_each(&mut *report);
        }
        guest.protocol.missing(&end.why()).into_iter().for_each(report);
        Ok(())
    }

    fn listen(
        &self,
        guest: &mut Guest,
        qemu: &mut Qemu,
        interrupted: &dyn Fn() -> bool,
        report: &mut dyn FnMut(Outcome),
    ) -> Result<End> {
        let deadline = Instant::now() + self.limit;
        loop {
            while let Some(said) = guest.next_line() {
                match said {
                    Said::Done(code) => return Ok(End::Done(code)),
                    Said::Cut => return Ok(End::Cut),
                    said => {
                        guest.protocol.hear(&said).into_iter().for_each(&mut *report);
                        guest.obey(&said, self.machine)?;
                    }
                }
            }
            if interrupted() {
                return Ok(End::Interrupted);
            }
            if Instant::now() > deadline {
                return Ok(End::TimedOut);
            }
            if !guest.hear()? || qemu.is_over()? {
                // What it said last may still be on its way.
                guest.hear()?;
                if !guest.heard.contains(&b'\n') {
                    return Ok(End::Gone);
                }
            }
        }
    }
}

/// The guest's side of the two sockets.
struct Guest {
    control: UnixStream,
    qmp: Qmp,
    protocol: Protocol,
    heard: Vec<u8>,
}

impl Guest {
    /// Waits a moment for more; `false` when there will be no more.
    fn hear(&mut self) -> Result<bool> {
        let mut bytes = [0; 4096];
        match self.control.read(&mut bytes) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.heard.extend_from_slice(&bytes[..count]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(true),
            // QEMU was killed by somebody else.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn next_line(&mut self) -> Option<Said> {
        let end = self.heard.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.heard.drain(..=end).collect();
        Some(Said::parse(&String::from_utf8_lossy(&line)))
    }

    /// Carries out an order and answers it.
    fn obey(&mut self, said: &Said, machine: &Machine) -> Result<()> {
        let disk = |id: &str| machine.pluggable(id).ok_or_else(|| format!("there is no disk {id}"));
        let done = match said {
            Said::Unplug(id) => disk(id)
                .map_err(Into::into)
                .and_then(|(controller, disk)| self.qmp.unplug(controller.as_ref(), &disk)),
            Said::Plug(id) => disk(id)
                .map_err(Into::into)
                .and_then(|(controller, disk)| self.qmp.plug(controller.as_ref(), &disk)),
            Said::Unknown(line) => Err(format!("nobody knows the order: {line}").into()),
            _ => return Ok(()),
        };
        let answer = done.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
        Ok(self.control.write_all(format!("{answer}\n").as_bytes())?)
    }
}

fn listen(path: &Path) -> Result<UnixListener> {
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path).map_err(|error| format!("{}: {error}", path.display()))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The connection that QEMU makes at its start.
fn accept(listener: &UnixListener, qemu: &mut Qemu) -> Result<UnixStream> {
    let deadline = Instant::now() + CONNECTING;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(TICK))?;
                return Ok(stream);
            }
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
            Err(_) if qemu.is_over()? => return Err("QEMU ended at once:".into()),
            Err(_) if Instant::now() > deadline => return Err("QEMU does not connect:".into()),
            Err(_) => sleep(TICK),
        }
    }
}

/// The console of a boot, for a person.
pub(crate) fn console(folder: &Path) -> String {
    files::tail(&folder.join(CONSOLE), 40)
}
