//! Lines of bash, with what they may name as variables.

use crate::Result;
use std::ffi::{OsStr, OsString};
use std::process::{Command, Stdio};

/// Runs lines of bash. Variables are set once for all of them.
pub(crate) struct Shell {
    variables: Vec<(String, OsString)>,
}

/// The folder of the project.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

impl Shell {
    /// With the folders of tools for root, and of those that the system has no package for.
    pub(crate) fn new() -> Self {
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{path}:{ROOT}/target/tools/bin:/usr/sbin:/sbin");
        Self { variables: vec![("PATH".to_owned(), path.into()), ("LC_ALL".to_owned(), "C.UTF-8".into())] }
    }

    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.as_ref().to_owned()));
    }

    /// A program with these variables.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// Lines of bash that stop at the first failure, also within a pipe.
    pub(crate) fn command(&self, lines: &str) -> Command {
        let mut command = self.program("bash");
        command.args(["-euo", "pipefail", "-c", lines]);
        command
    }

    /// Runs lines that have to work; what they print.
    pub(crate) fn run(&self, lines: &str) -> Result<String> {
        let output = self.command(lines).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(format!("{lines}\nfailed ({}): {}", output.status, text(&output.stderr)).into())
    }

    /// Is this program there?
    pub(crate) fn has(&self, name: &str) -> bool {
        self.run(&format!("command -v {name}")).is_ok()
    }
}

/// Has this process the rights of root?
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_in_a_pipe_is_one() {
        let mut shell = Shell::new();
        shell.set("WORD", "one two");
        assert_eq!(shell.run("echo \"$WORD\"").unwrap(), "one two");
        assert!(shell.run("false | cat").is_err());
        assert!(shell.has("bash") && !shell.has("no-such-program"));
    }
}
