//! What a guest says over its control port, one line each, and what becomes of it.

use std::time::{Duration, Instant};

/// A line of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// `case NAME`: it begins.
    Case(String),
    /// `pass`: the case that began last is well.
    Pass,
    /// `fail WHY`.
    Fail(String),
    /// `note TEXT`: what the program said, worth printing with the case.
    Note(String),
    /// `unplug ID` of a disk; answered when QEMU has taken the order.
    Unplug(String),
    /// `plug ID`; answered in the same way.
    Plug(String),
    /// `cut`: the power is cut now.
    Cut,
    /// `done CODE`: the script has ended with this exit code.
    Done(String),
    /// Anything else.
    Unknown(String),
}

impl Said {
    /// Reads a line.
    pub(crate) fn parse(line: &str) -> Self {
        let (word, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        let rest = rest.to_owned();
        match word {
            "case" => Self::Case(rest),
            "pass" => Self::Pass,
            "fail" => Self::Fail(rest),
            "note" => Self::Note(rest),
            "unplug" => Self::Unplug(rest),
            "plug" => Self::Plug(rest),
            "cut" => Self::Cut,
            "done" => Self::Done(rest),
            _ => Self::Unknown(line.to_owned()),
        }
    }
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) case: String,
    pub(crate) took: Duration,
    /// What the program said.
    pub(crate) notes: Vec<String>,
    /// Why it failed.
    pub(crate) failure: Option<String>,
}

impl Outcome {
    /// Of a case that did not come to run.
    pub(crate) fn never_ran(case: &str, why: &str) -> Self {
        let failure = Some(format!("it never ran: {why}"));
        Self { case: case.to_owned(), took: Duration::ZERO, notes: vec![], failure }
    }

    /// One line: `PASS   4.1 s  nvme-4k`; below it what the program said.
    pub(crate) fn text(&self) -> String {
        let word = if self.failure.is_some() { "FAIL" } else { "PASS" };
        let mut text = format!("{word} {:6.1} s  {}", self.took.as_secs_f64(), self.case);
        if let Some(why) = &self.failure {
            text.push_str(": ");
            text.push_str(why);
        }
        for note in &self.notes {
            text.push_str("\n               ");
            text.push_str(note);
        }
        text
    }
}

/// The cases of one boot, as they begin and end.
#[derive(Debug)]
pub(crate) struct Protocol {
    wanted: Vec<String>,
    running: Option<(String, Instant)>,
    notes: Vec<String>,
    ended: Vec<Outcome>,
}

impl Protocol {
    /// Of a boot that shall run these cases.
    pub(crate) fn new(wanted: &[&str]) -> Self {
        let wanted = wanted.iter().map(|case| (*case).to_owned()).collect();
        Self { wanted, running: None, notes: vec![], ended: vec![] }
    }

    /// Takes note of a line; the outcome of the case that it ends.
    pub(crate) fn hear(&mut self, said: &Said) -> Option<Outcome> {
        let failure = match said {
            Said::Case(name) => {
                self.running = Some((name.clone(), Instant::now()));
                self.notes.clear();
                return None;
            }
            Said::Note(text) => {
                self.notes.push(text.clone());
                return None;
            }
            Said::Pass => None,
            Said::Fail(why) => Some(why.clone()),
            _ => return None,
        };
        self.end(failure)
    }

    /// A power cut that was asked for ends the case that runs, well.
    pub(crate) fn cut(&mut self) -> Option<Outcome> {
        self.end(None)
    }

    fn end(&mut self, failure: Option<String>) -> Option<Outcome> {
        let (case, began) = self.running.take()?;
        let notes = std::mem::take(&mut self.notes);
        let outcome = Outcome { case, took: began.elapsed(), notes, failure };
        self.ended.push(outcome.clone());
        Some(outcome)
    }

    /// The outcomes of the cases that the guest never told of, because of `why`. A guest that stops in
    /// silence has not passed.
    pub(crate) fn missing(&mut self, why: &str) -> Vec<Outcome> {
        let mut missing = Vec::from_iter(self.end(Some(why.to_owned())));
        for case in &self.wanted {
            let told = self.ended.iter().any(|outcome| outcome.case == *case);
            if !told {
                missing.push(Outcome::never_ran(case, why));
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_guest() {
        assert_eq!(Said::parse("case usb-roundtrip\r\n"), Said::Case("usb-roundtrip".into()));
        assert_eq!(Said::parse("fail exit 3, not 0\n"), Said::Fail("exit 3, not 0".into()));
        assert_eq!(Said::parse("pass"), Said::Pass);
        assert_eq!(Said::parse("passed well"), Said::Unknown("passed well".into()));
    }

    fn names(outcomes: &[Outcome]) -> Vec<(&str, bool)> {
        outcomes.iter().map(|outcome| (outcome.case.as_str(), outcome.failure.is_some())).collect()
    }

    #[test]
    fn a_case_that_was_never_told_of_has_failed() {
        let mut protocol = Protocol::new(&["a", "b", "c"]);
        assert_eq!(protocol.hear(&Said::Case("a".into())), None);
        assert!(protocol.hear(&Said::Pass).unwrap().failure.is_none());
        assert_eq!(protocol.hear(&Said::Pass), None, "no case is running");
        protocol.hear(&Said::Case("b".into()));
        let missing = protocol.missing("time-out");
        assert_eq!(names(&missing), [("b", true), ("c", true)]);
        assert!(missing[1].failure.as_ref().unwrap().contains("never ran"));
    }

    #[test]
    fn a_power_cut_ends_the_case_well() {
        let mut protocol = Protocol::new(&["a"]);
        protocol.hear(&Said::Case("a".into()));
        assert!(protocol.cut().unwrap().failure.is_none());
        assert_eq!(protocol.missing("gone"), []);
    }

    #[test]
    fn an_outcome_is_one_line_and_its_notes() {
        let mut protocol = Protocol::new(&["ide"]);
        protocol.hear(&Said::Case("ide".into()));
        protocol.hear(&Said::parse("note exit 5: Refused: it is mounted"));
        let mut outcome = protocol.hear(&Said::Pass).unwrap();
        outcome.took = Duration::from_millis(4_120);
        assert_eq!(outcome.text(), "PASS    4.1 s  ide\n               exit 5: Refused: it is mounted");
        outcome.failure = Some("they differ".into());
        assert!(outcome.text().starts_with("FAIL    4.1 s  ide: they differ\n"));
        assert_eq!(Outcome::never_ran("a", "x").text(), "FAIL    0.0 s  a: it never ran: x");
    }
}
