//! Keeps the machine from going to sleep or off under a job, where systemd's logind is.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Says that systemd runs the machine: `sd_booted(3)`.
const BOOTED: &str = "/run/systemd/system";

/// As long as it lives, the machine stays on.
#[derive(Debug)]
pub(super) struct Inhibitor {
    /// Holds the lock until its standard input ends: with this process, however that ends.
    child: Option<Child>,
}

impl Inhibitor {
    /// Asks logind. Without it nothing is inhibited: nothing else would put the machine to sleep by itself.
    pub(super) fn start() -> Self {
        let child = Path::new(BOOTED).is_dir().then(|| hold("systemd-inhibit".as_ref())).flatten();
        Self { child }
    }
}

/// `None`: there is no such program.
fn hold(program: &OsStr) -> Option<Child> {
    Command::new(program)
        .args(["--what=sleep:shutdown:idle", "--who=selfsame", "--mode=block"])
        .args(["--why=a disk is being copied", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()
}

impl Drop for Inhibitor {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.stdin.take());
            // Only to leave no zombie; the lock went with its input.
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A stand-in for logind's program says what it is asked, and that it lives as long as the inhibitor.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a program for this test")]
    fn holds_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let (program, said) = (dir.path().join("inhibit"), dir.path().join("said"));
        let script = format!(
            "#!/bin/sh\necho \"$@\" > {0}.new; mv {0}.new {0}; \"$5\"; echo ended >> {0}\n",
            said.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let inhibitor = Inhibitor { child: hold(program.as_os_str()) };
        let read = || std::fs::read_to_string(&said).unwrap_or_default();
        while read().is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(read().starts_with("--what=sleep:shutdown:idle --who=selfsame"), "{}", read());
        assert!(!read().contains("ended"));
        drop(inhibitor);
        assert!(read().ends_with("ended\n"), "{}", read());
        assert!(hold("/no/such/program".as_ref()).is_none());
    }
}
