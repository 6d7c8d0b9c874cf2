//! Keeps the machine from going to sleep or off under a job, where systemd's logind is.

use std::process::{Child, Command, Stdio};

/// As long as it lives, the machine stays on.
pub(super) struct Inhibitor {
    /// Holds the lock until its standard input ends: with this process, however that ends.
    child: Option<Child>,
}

impl Inhibitor {
    /// Asks logind. Without it nothing is inhibited: nothing else would put the machine to sleep by itself.
    pub(super) fn start() -> Self {
        // `sd_booted(3)`.
        if !std::path::Path::new("/run/systemd/system").is_dir() {
            return Self { child: None };
        }
        let child = Command::new("systemd-inhibit")
            .args(["--what=sleep:shutdown:idle", "--who=selfsame", "--mode=block"])
            .args(["--why=a disk is being copied", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self { child: child.ok() }
    }
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
