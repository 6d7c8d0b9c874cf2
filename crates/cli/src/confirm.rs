//! The question before a disk is written, asked on the controlling terminal (DESIGN, "Confirming").

use crate::args::ConfirmArgs;
use crate::ui::text::printable;
use block::{Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{QueueSelector, tcflush};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};

/// Longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 256;

/// What the target is, as far as the question needs it.
#[derive(Clone, Debug)]
pub struct Target {
    /// As `disks` prints it.
    pub id: String,
    /// Empty: it has none.
    pub serial: String,
    /// It holds nothing.
    pub blank: bool,
}

impl Target {
    /// What must be typed: `yes` for a blank disk, else `yes` and the last four characters of its serial
    /// (of its ID where it has none).
    pub fn expected(&self) -> String {
        let name = if self.serial.trim().is_empty() { &self.id } else { &self.serial };
        let name: Vec<char> = name.trim().chars().collect();
        let last: String = name.iter().skip(name.len().saturating_sub(4)).collect();
        if self.blank { "yes".to_owned() } else { format!("yes {}", printable(&last)) }
    }
}

/// Fails with [`ErrorKind::Refused`] unless this target was named by the options, or is confirmed on the
/// terminal after `shown`: what will be written to what, and what the target holds now.
pub fn confirm(shown: &str, target: &Target, given: &ConfirmArgs) -> Result<()> {
    let refused = |words: String| Err(Error::new(ErrorKind::Refused, words));
    if let Some(id) = given.target_id.as_ref().filter(|id| !id.eq_ignore_ascii_case(&target.id)) {
        return refused(format!("--target-id is {id}, but this disk is {}", target.id));
    }
    if given.yes && given.target_id.is_none() {
        return refused("--yes needs --target-id ID, as `selfsame disks` prints it".to_owned());
    }
    if given.yes {
        return Ok(());
    }
    #[expect(clippy::disallowed_methods, reason = "the terminal of this process, which is no disk")]
    let Ok(terminal) =
        rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
    else {
        return refused(format!(
            "there is no terminal to ask on; a script confirms with --yes --target-id {}",
            target.id
        ));
    };
    let failed = |error| Error::io(error, "asking on the terminal");
    let mut terminal = File::from(terminal);
    let expected = target.expected();
    let shown: Vec<_> = shown.split('\n').map(printable).collect();
    // What was typed before the question is no answer to it.
    tcflush(&terminal, QueueSelector::IFlush).map_err(|errno| failed(errno.into()))?;
    write!(terminal, "{}\nType {expected:?} to write to it: ", shown.join("\n")).map_err(failed)?;
    let mut typed = vec![];
    let mut input = BufReader::new(std::io::Read::take(&terminal, MAX_ANSWER));
    input.read_until(b'\n', &mut typed).map_err(failed)?;
    // Without Enter the terminal was given up in mid-answer.
    match typed.strip_suffix(b"\n").map(<[u8]>::trim_ascii) {
        Some(answer) if answer == expected.as_bytes() => Ok(()),
        _ => refused("not confirmed; nothing was written".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(serial: &str, blank: bool) -> Target {
        Target { id: "0123456789".to_owned(), serial: serial.to_owned(), blank }
    }

    #[test]
    fn what_must_be_typed() {
        assert_eq!(target("WD-1234AB", true).expected(), "yes");
        assert_eq!(target("WD-1234AB ", false).expected(), "yes 34AB");
        assert_eq!(target("", false).expected(), "yes 6789");
        assert_eq!(target("ab", false).expected(), "yes ab");
    }

    #[test]
    fn options_confirm_only_the_disk_that_they_name() {
        let ask = |yes, target_id: Option<&str>| {
            let given = ConfirmArgs { yes, target_id: target_id.map(str::to_owned) };
            confirm("", &target("S", false), &given)
        };
        assert!(ask(true, Some("0123456789")).is_ok());
        for (yes, id) in [(true, None), (true, Some("9999999999")), (false, Some("9999999999"))] {
            assert_eq!(ask(yes, id).unwrap_err().kind(), ErrorKind::Refused);
        }
    }
}
