//! A person at a terminal: a pseudo-terminal that is the controlling terminal of the program.

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Nothing takes this long; a test that would wait for ever fails instead.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a terminal sends for these keys.
pub(crate) const CTRL_C: &str = "\x03";
pub(crate) const CTRL_D: &str = "\x04";

/// A program at a terminal, which is its stdin, stdout and stderr.
pub(crate) struct Session {
    program: Child,
    keyboard: File,
    screen: Receiver<String>,
    seen: String,
}

impl Session {
    /// Starts it. `setsid --ctty` makes the terminal the controlling one.
    pub(crate) fn start(words: &[&str]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = File::from(rustix::fs::open(name, flags, Mode::empty()).unwrap());
        let program = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .args(words)
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal)
            .spawn()
            .unwrap();
        let keyboard = File::from(keyboard);
        let mut output = keyboard.try_clone().unwrap();
        let (shown, screen) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // EIO: nobody has the terminal open any more.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                if shown.send(text).is_err() {
                    break;
                }
            }
        });
        Self { program, keyboard, screen, seen: String::new() }
    }

    /// Waits until the screen shows this; all that it has shown.
    pub(crate) fn wait_for(&mut self, words: &str) -> &str {
        while !self.seen.contains(words) {
            match self.screen.recv_timeout(PATIENCE) {
                Ok(text) => self.seen += &text,
                Err(error) => panic!("{error}, and {words:?} was not shown: {}", self.seen),
            }
        }
        &self.seen
    }

    pub(crate) fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for its end; the exit code, and all that was shown.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        while let Ok(text) = self.screen.recv_timeout(PATIENCE) {
            self.seen += &text;
        }
        (self.program.wait().unwrap().code(), std::mem::take(&mut self.seen))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Of a test that failed; else it has ended already.
        let _gone = self.program.kill();
        let _reaped = self.program.wait();
    }
}
