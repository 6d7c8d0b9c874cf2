//! The only map from what happened to an exit code, and to a hint what to do next.

use block::{Error, ErrorKind};
use std::process::ExitCode;

/// How the program ends. Scripts depend on the numbers; `--help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All that was asked is done.
    Done = 0,
    /// It failed: a read error, no space, nothing of this name.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Done, but some sectors could not be read, or are bad in the backup.
    Losses = 3,
    /// The backup is damaged, or differs from what it was compared with.
    Mismatch = 4,
    /// Refused for safety; nothing was written.
    Refused = 5,
    /// Stopped by Ctrl-C or a signal.
    Interrupted = 130,
}

/// The exit codes as each verb's help lists them.
pub const HELP: &str = "\
Exit codes:
  0    done
  1    failed: a read or write error, no space, nothing of this name
  2    the command line makes no sense
  3    done, but some sectors could not be read (save) or are bad in the backup (restore)
  4    the backup is damaged, or differs from what it was compared with
  5    refused for safety; nothing was written
  130  interrupted";

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage => Self::Usage,
            ErrorKind::Corrupt => Self::Mismatch,
            ErrorKind::Refused => Self::Refused,
            ErrorKind::Cancelled => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        error.kind().into()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// The word that the last line of a job begins with, and `result` in its JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "DONE",
            Self::Losses => "DONE WITH LOSSES",
            _ => "FAILED",
        }
    }
}

/// What to do about an error of this kind, if its own sentence does not say.
pub fn hint(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Permission => Some("Try again with sudo, or as a user who has that permission."),
        ErrorKind::NoSpace => Some(
            "Make room there or choose another folder. An unfinished backup is kept as a folder that ends \
             in .part; it may be deleted.",
        ),
        ErrorKind::Media => {
            Some("The disk has sectors that cannot be read. Copy it with GNU ddrescue while it still runs.")
        }
        ErrorKind::Gone => Some("The disk went away: look at its cable and power, then start again."),
        ErrorKind::Corrupt => Some("Nothing of it was trusted. What is damaged: selfsame verify BACKUP"),
        ErrorKind::Usage => Some("How it is used: selfsame --help"),
        ErrorKind::Bug => Some("Please report this, with the command line and this message."),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_help_lists() {
        use Exit::*;
        for exit in [Done, Failed, Usage, Losses, Mismatch, Refused, Interrupted] {
            let line = format!("\n  {:<4} ", exit as u8);
            assert!(HELP.contains(&line), "{line:?}");
        }
    }

    #[test]
    fn the_kind_decides_the_code() {
        let code = |kind: ErrorKind| Exit::from(kind) as u8;
        assert_eq!(code(ErrorKind::Usage), 2);
        assert_eq!(code(ErrorKind::Corrupt), 4);
        assert_eq!(code(ErrorKind::Refused), 5);
        assert_eq!(code(ErrorKind::Cancelled), 130);
        for kind in [ErrorKind::Media, ErrorKind::NoSpace, ErrorKind::NotFound, ErrorKind::Permission] {
            assert_eq!(code(kind), 1);
        }
    }
}
