//! What was found, as a table and as JSON.

use super::measure::Sample;
use super::rows::{Limit, What};
use crate::stats::{Unit, median, ratio, spread};
use serde_json::{Value, json};

/// One figure of a row: all counted runs.
pub(crate) struct Line {
    what: &'static str,
    unit: Unit,
    ours: Vec<f64>,
    theirs: Vec<f64>,
    at_most: Option<f64>,
    aim: Option<f64>,
}

/// A row with its figures.
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) peer: &'static str,
    pub(crate) lines: Vec<Line>,
    pub(crate) note: &'static str,
}

impl Line {
    /// Of ours and of the peer.
    pub(crate) const fn both(what: &'static str, unit: Unit, ours: Vec<f64>, theirs: Vec<f64>) -> Self {
        Self { what, unit, ours, theirs, at_most: None, aim: None }
    }

    /// Of ours alone.
    pub(crate) const fn ours(what: &'static str, unit: Unit, ours: Vec<f64>) -> Self {
        Self::both(what, unit, ours, vec![])
    }

    /// With a limit of the ratio; of the figure itself, if there is no peer.
    pub(crate) fn limited(self, limit: Option<&Limit>) -> Self {
        Self { at_most: limit.map(|limit| limit.at_most), aim: limit.and_then(|limit| limit.aim), ..self }
    }

    fn ratio(&self) -> Option<f64> {
        let medians = median(&self.ours).zip(median(&self.theirs));
        medians.filter(|_| self.unit.less_is_better()).and_then(|(ours, theirs)| ratio(ours, theirs))
    }

    /// What the limits are about.
    fn judged(&self) -> Option<f64> {
        if self.theirs.is_empty() { median(&self.ours) } else { self.ratio() }
    }

    /// What became of the limits.
    fn verdict(&self) -> &'static str {
        match (self.judged(), self.aim, self.at_most) {
            (Some(found), Some(aim), _) if found <= aim => "aim met",
            (Some(found), _, Some(at_most)) if found <= at_most => "met",
            (Some(_), _, Some(_)) => "MISSED",
            _ => "",
        }
    }

    fn cells(&self) -> [String; 7] {
        let value = |values: &[f64]| median(values).map(|value| self.unit.show(value)).unwrap_or_default();
        let limit = |limit: Option<f64>| match limit {
            Some(limit) if self.theirs.is_empty() => self.unit.show(limit),
            Some(limit) => format!("{limit:.2}"),
            None => String::new(),
        };
        let ratio = self.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        let (ours, theirs) = (value(&self.ours), value(&self.theirs));
        let (what, verdict) = (self.what.to_owned(), self.verdict().to_owned());
        [what, ours, theirs, ratio, limit(self.at_most), limit(self.aim), verdict]
    }
}

/// What is measured, its name, its unit, and where it is in a sample.
type Figure = (What, &'static str, Unit, fn(&Sample) -> f64);

/// The figures of commands; `theirs` may be of none.
pub(crate) fn lines(ours: &[Sample], theirs: &[Sample], limits: &[Limit]) -> Vec<Line> {
    let all: [Figure; 5] = [
        (What::Wall, "wall", Unit::Seconds, |sample| sample.wall),
        (What::Cpu, "CPU", Unit::Seconds, |sample| sample.cpu),
        (What::Machine, "CPU, all", Unit::Seconds, |sample| sample.machine),
        (What::Memory, "memory", Unit::Bytes, |sample| sample.memory),
        (What::Size, "size", Unit::Bytes, |sample| sample.size),
    ];
    let written = ours.iter().chain(theirs).any(|sample| sample.size > 0.0);
    let figures = all.into_iter().filter(|(what, ..)| *what != What::Size || written);
    let values = |samples: &[Sample], pick: fn(&Sample) -> f64| samples.iter().map(pick).collect::<Vec<_>>();
    figures
        .map(|(what, name, unit, pick)| {
            let limit = limits.iter().find(|limit| limit.what == what);
            Line::both(name, unit, values(ours, pick), values(theirs, pick)).limited(limit)
        })
        .collect()
}

const HEAD: [&str; 8] = ["row", "what", "ours", "peer", "ratio", "at most", "aim", ""];

/// A Markdown table, its columns aligned for people too.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let head = head.map(str::to_owned);
    let width = |column: usize| {
        let cells = std::iter::once(&head).chain(rows).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(3)
    };
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().enumerate().map(|(column, cell)| format!("{cell:<w$}", w = width(column))).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<String> = (0..N).map(|column| "-".repeat(width(column))).collect();
    let mut text = line(&head);
    text.push_str(&format!("| {} |\n", rule.join(" | ")));
    rows.iter().for_each(|row| text.push_str(&line(row)));
    text
}

/// All outcomes as one table, and the notes below it.
pub(crate) fn text(outcomes: &[Outcome]) -> String {
    let mut rows = vec![];
    for outcome in outcomes {
        for (number, line) in outcome.lines.iter().enumerate() {
            let name = if number == 0 { outcome.name.to_owned() } else { String::new() };
            let [what, ours, theirs, ratio, at_most, aim, verdict] = line.cells();
            rows.push([name, what, ours, theirs, ratio, at_most, aim, verdict]);
        }
    }
    let mut text = table(HEAD, &rows);
    text.push('\n');
    for outcome in outcomes {
        let note = if outcome.note.is_empty() { String::new() } else { format!(" ({})", outcome.note) };
        text.push_str(&format!("* {}: against {}{note}\n", outcome.name, outcome.peer));
    }
    text
}

/// From this part on runs differ too much for a median to say much.
const SPREAD: f64 = 0.25;

/// Rows whose runs took times that differ much: one line, or nothing.
pub(crate) fn unsteady(outcomes: &[Outcome]) -> Option<String> {
    let mut rows = vec![];
    for outcome in outcomes {
        let Some(time) = outcome.lines.first() else { continue };
        for (who, values) in [("ours", &time.ours), ("peer", &time.theirs)] {
            let spread = spread(values);
            if spread > SPREAD {
                rows.push(format!("{} ({who}, {:.0} %)", outcome.name, spread * 100.0));
            }
        }
    }
    let rows = (!rows.is_empty()).then(|| rows.join(", "))?;
    Some(format!("WARNING: from the fastest to the slowest run it is far: {rows}"))
}

/// All runs, for other programs.
pub(crate) fn json(outcomes: &[Outcome]) -> Value {
    let line = |line: &Line| {
        json!({
            "what": line.what, "unit": format!("{:?}", line.unit).to_lowercase(),
            "ours": line.ours, "peer": line.theirs, "ratio": line.ratio(),
            "at_most": line.at_most, "aim": line.aim, "verdict": line.verdict(),
        })
    };
    let rows = outcomes.iter().map(|outcome| {
        let lines: Vec<Value> = outcome.lines.iter().map(line).collect();
        json!({ "name": outcome.name, "peer": outcome.peer, "note": outcome.note, "figures": lines })
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { what: What::Wall, at_most: 0.5, aim: Some(0.4) };

    #[test]
    fn limits_judge_the_ratio_of_medians() {
        let verdict = |ours: f64| {
            Line::both("wall", Unit::Seconds, vec![9.0, ours, 0.0], vec![1.0, 2.0, 3.0])
                .limited(Some(&LIMIT))
                .verdict()
        };
        assert_eq!((verdict(0.8), verdict(1.0), verdict(1.1)), ("aim met", "met", "MISSED"));
        assert_eq!(Line::ours("wall", Unit::Seconds, vec![0.45]).limited(Some(&LIMIT)).verdict(), "met");
        assert_eq!(Line::ours("wall", Unit::Seconds, vec![]).limited(Some(&LIMIT)).verdict(), "");
        assert_eq!(Line::both("speed", Unit::Rate, vec![1.0], vec![2.0]).ratio(), None);
    }

    #[test]
    fn the_table_is_markdown() {
        let outcome = Outcome {
            name: "save",
            peer: "dd",
            lines: vec![Line::both("wall", Unit::Seconds, vec![1.0], vec![4.0]).limited(Some(&LIMIT))],
            note: "so",
        };
        let text = text(&[outcome]);
        let line = "| save | wall | 1.00 s | 4.00 s | 0.25  | 0.50    | 0.40 | aim met |";
        assert!(text.lines().any(|found| found == line), "{text}");
        assert!(text.lines().any(|found| found == "* save: against dd (so)"), "{text}");
    }

    #[test]
    fn unsteady_rows_are_named() {
        let lines = vec![Line::both("wall", Unit::Seconds, vec![1.0, 1.1], vec![1.0, 1.5])];
        let outcome = Outcome { name: "save", peer: "dd", lines, note: "" };
        let text = unsteady(&[outcome]).unwrap();
        assert!(text.ends_with("far: save (peer, 50 %)"), "{text}");
        assert_eq!(unsteady(&[]), None);
    }

    #[test]
    fn commands_that_write_nothing_have_no_size() {
        let sample = Sample { wall: 1.0, ..Sample::default() };
        assert_eq!(lines(&[sample], &[sample], &[LIMIT]).len(), 4);
        assert_eq!(lines(&[Sample { size: 1.0, ..sample }], &[sample], &[]).len(), 5);
    }
}
