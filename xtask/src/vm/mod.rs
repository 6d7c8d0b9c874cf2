//! `cargo xtask vm`: the laboratory. It boots Debian's kernel under QEMU with disks of every kind and runs scripts
//! there that save, verify and restore; docs/TESTING.md says more.

mod accelerator;
mod cpio;
mod disk;
mod files;
mod firmware;
mod guest;
mod images;
mod kernel;
mod laboratory;
mod machine;
mod qemu;
mod qmp;
mod suites;
mod talk;

use crate::Result;
use crate::shell::{ROOT, Shell};
use guest::Cache;
use laboratory::Laboratory;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use suites::{SUITES, Stage, Suite};
use talk::Outcome;

/// Runs scenarios on virtual computers with disks of every kind.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these suites or cases
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Print the names of all suites and cases
    #[arg(long)]
    list: bool,
    /// Keep disks and logs, and say where
    #[arg(long)]
    keep: bool,
    /// Do not install or download anything
    #[arg(long)]
    no_setup: bool,
}

/// Runs all cases that are wanted.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.list {
        println!("{}", list());
        return Ok(());
    }
    let wanted = chosen(&args.only)?;
    let cache = Cache::here()?;
    if !args.no_setup {
        let told = Shell::new().run(&format!("{ROOT}/scripts/setup-vm 2>&1"));
        println!("{}", told.unwrap_or_else(|error| error.to_string()));
    }
    if !cache.is_filled() {
        println!("SKIPPED: vm: needs QEMU and a kernel from scripts/setup-vm");
        return Ok(());
    }
    let began = Instant::now();
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let laboratory = Laboratory::new(cache, interrupted, args.keep)?;
    let outcomes = all(&laboratory, wanted);
    if laboratory.is_interrupted() {
        return Err("interrupted".into());
    }
    summary(&outcomes, began.elapsed())
}

/// Runs suites, as many at once as there are cores: a guest without virtualisation keeps one busy.
fn all(laboratory: &Laboratory, wanted: Vec<(&'static Suite, Vec<&'static str>)>) -> Vec<Outcome> {
    let (left, outcomes) = (Mutex::new(wanted.into_iter()), Mutex::new(vec![]));
    let work = || {
        loop {
            let next = locked(&left).next();
            let Some((suite, cases)) = next else { return };
            let mut found = vec![];
            // What keeps one suite from running says nothing of the others.
            if let Err(error) = laboratory.suite(suite, &cases, &mut found) {
                let outcome = Outcome::never_ran(suite.name, &error.to_string());
                println!("{}", outcome.text());
                found.push(outcome);
            }
            locked(&outcomes).extend(found);
            if laboratory.is_interrupted() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        (0..block::cores()).for_each(|_| drop(scope.spawn(work)));
    });
    outcomes.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All names, a suite a line with its cases behind it.
fn list() -> String {
    let line = |suite: &Suite| {
        let cases: Vec<&str> = suite.stages.iter().flat_map(Stage::cases).copied().collect();
        format!("{}: {}", suite.name, cases.join(" "))
    };
    SUITES.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The suites that are wanted and their cases. Stages of a suite build on each other, so one that has several
/// runs as a whole.
fn chosen(only: &[String]) -> Result<Vec<(&'static Suite, Vec<&'static str>)>> {
    let mut unknown: Vec<&str> = only.iter().map(String::as_str).collect();
    let mut wanted = vec![];
    for suite in SUITES {
        let all: Vec<&str> = suite.stages.iter().flat_map(Stage::cases).copied().collect();
        let named: Vec<&str> =
            all.iter().copied().filter(|case| only.iter().any(|name| name == case)).collect();
        let whole = only.is_empty() || only.iter().any(|name| name == suite.name);
        unknown.retain(|name| *name != suite.name && !all.contains(name));
        if whole || (!named.is_empty() && suite.stages.len() > 1) {
            wanted.push((suite, all));
        } else if !named.is_empty() {
            wanted.push((suite, named));
        }
    }
    match unknown.first() {
        Some(name) => Err(format!("no suite or case is called {name}; there are:\n{}", list()).into()),
        None => Ok(wanted),
    }
}

/// One line, and an error if a case failed.
fn summary(outcomes: &[Outcome], took: Duration) -> Result<()> {
    let failed: Vec<&str> = outcomes
        .iter()
        .filter(|outcome| outcome.failure.is_some())
        .map(|outcome| outcome.case.as_str())
        .collect();
    let seconds = took.as_secs();
    println!("\n{} cases, {} of them failed, {seconds} s", outcomes.len(), failed.len());
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str]) -> Vec<(&'static str, usize)> {
        let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
        chosen(&only).unwrap().into_iter().map(|(suite, cases)| (suite.name, cases.len())).collect()
    }

    #[test]
    fn suites_and_cases_are_chosen_by_name() {
        assert_eq!(names(&["ide", "usb"]), [("ata", 1), ("usb-disks", 1)]);
        assert_eq!(names(&["ata"]), [("ata", 2)]);
        // The disks that are booted are those that the guest restored.
        assert_eq!(names(&["bios-boots"]), [("boot", 4)]);
        assert_eq!(names(&[]).len(), SUITES.len());
        assert!(chosen(&["nothing".to_owned()]).err().unwrap().to_string().contains("ata: ide sata"));
    }

    #[test]
    fn one_failure_fails_the_run() {
        let failed = Outcome::never_ran("a", "x");
        let passed = Outcome { failure: None, ..failed.clone() };
        assert!(summary(std::slice::from_ref(&passed), Duration::ZERO).is_ok());
        assert!(summary(&[passed, failed], Duration::ZERO).is_err());
    }
}
