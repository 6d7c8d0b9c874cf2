//! `cargo xtask bench`: every row, ours and the peer's in turn, on one disk made on the spot.

mod machine;
mod measure;
mod nbd;
mod random;
pub(crate) mod report;
mod rows;
mod slow;

use crate::Result;
use crate::disk::Disk;
use crate::loop_device::LoopDevice;
use crate::place::Place;
use crate::program::program;
use crate::shell::{ROOT, Shell};
use crate::stats::Unit;
use machine::Machine;
use measure::{Neighbours, measure};
use report::{Line, Outcome};
use rows::{Input, Limit, ROWS, Row, VERBS, What, recipe};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The row of our memory.
const MEMORY: &str = "memory";
/// What a verb may take, and what we aim at, in MiB.
const MEMORY_LIMIT: Limit = Limit { what: What::Memory, at_most: 134_217_728.0, aim: Some(67_108_864.0) };

/// Compares selfsame with other programs on a disk made on the spot.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Size of the disk in MiB
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u64).range(64..=1 << 20))]
    size: u64,
    /// Runs that count, of each command; one more before them does not
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: u16,
    /// Only these rows
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    only: Vec<String>,
    /// Where the disk and all else lie [default: a tmpfs for root, else a temporary folder]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Also write all figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Do not install the peers; rows whose peer is missing are left out
    #[arg(long)]
    no_setup: bool,
}

/// What all rows share. Devices are released before the place that they lie in.
pub(crate) struct Bench {
    shell: Shell,
    /// Ours.
    program: PathBuf,
    runs: usize,
    neighbours: Neighbours,
    interrupted: Arc<AtomicBool>,
    part: Option<LoopDevice>,
    disk: Disk,
    place: Place,
}

impl Bench {
    /// The folder of one run.
    fn out(&self) -> PathBuf {
        self.place.join("out")
    }

    /// What is kept for many runs.
    fn kept(&self, name: &str) -> PathBuf {
        self.place.join("kept").join(name)
    }

    /// Empties the folder of one run. `counted`: looks whether others are busy.
    fn fresh(&mut self, counted: bool) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err("interrupted".into());
        }
        if self.out().exists() {
            std::fs::remove_dir_all(self.out())?;
        }
        std::fs::create_dir(self.out())?;
        if counted { self.neighbours.look() } else { Ok(()) }
    }

    /// Makes what a row needs, unless it is there.
    fn prepare(&mut self, inputs: &[Input]) -> Result<()> {
        for input in inputs {
            let there = match input {
                Input::Backup => self.kept("backup").exists(),
                Input::Stream => self.kept("p.zst").exists(),
                Input::Qcow => self.kept("q.qcow2").exists(),
                Input::Tree => self.kept("tree").exists(),
                Input::Part => self.part.is_some(),
            };
            if there {
                continue;
            }
            match recipe(*input) {
                Some(lines) => self.shell.run(lines).map(drop)?,
                None => {
                    let (at, len) = self.disk.shape.files;
                    let options = format!("-r --offset {} --sizelimit {}", at << 20, len << 20);
                    let part = LoopDevice::attach(&self.disk.image, &options)?;
                    self.shell.set("PART", part.path());
                    self.part = Some(part);
                }
            }
        }
        Ok(())
    }

    /// Runs lines of bash once.
    fn once(&mut self, lines: &str, counted: bool) -> Result<measure::Sample> {
        self.fresh(counted)?;
        measure(self.shell.command(lines), &self.out())
    }

    /// Ours and the peer in turn; the first of each does not count.
    fn row(&mut self, row: &Row) -> Result<Outcome> {
        self.prepare(row.inputs)?;
        let theirs = row.theirs.join("\n");
        let mut samples = (vec![], vec![]);
        for run in 0..=self.runs {
            let pair = (self.once(row.ours, run > 0)?, self.once(&theirs, run > 0)?);
            if run > 0 {
                samples.0.push(pair.0);
                samples.1.push(pair.1);
            }
        }
        let lines = report::lines(&samples.0, &samples.1, row.limits);
        Ok(Outcome { name: row.name, peer: row.peer, lines, note: row.note })
    }

    /// The memory of our verbs: the most of all runs.
    fn memory(&mut self) -> Result<Outcome> {
        let mut lines = vec![];
        for (verb, ours, inputs) in VERBS {
            self.prepare(inputs)?;
            let mut most = 0.0_f64;
            for _ in 0..self.runs {
                most = most.max(self.once(ours, false)?.memory);
            }
            lines.push(Line::ours(verb, Unit::Bytes, vec![most]).limited(Some(&MEMORY_LIMIT)));
        }
        Ok(Outcome { name: MEMORY, peer: "nobody", lines, note: "the most of all runs" })
    }
}

/// Names of all rows in their order.
fn names() -> Vec<&'static str> {
    let reads = random::READS.iter().map(|row| row.name).chain([random::IN_ORDER, MEMORY]);
    ROWS.iter().map(|row| row.name).chain(reads).chain(slow::NAMES).collect()
}

/// The rows that are wanted: all, or those named.
fn chosen(only: &[String]) -> Result<Vec<&'static str>> {
    let names = names();
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("no row is called {unknown}; there are: {}", names.join(", ")).into());
    }
    Ok(names.into_iter().filter(|name| only.is_empty() || only.iter().any(|wanted| wanted == name)).collect())
}

/// Runs all rows and prints what was found.
pub(crate) fn run(args: &Args) -> Result<()> {
    let wanted = chosen(&args.only)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let program = program("SELFSAME")?;
    let mut shell = Shell::new();
    if !args.no_setup {
        let told = shell.run(&format!("{ROOT}/scripts/setup-bench 2>&1"));
        println!("{}", told.unwrap_or_else(|error| error.to_string()));
    }
    let machine = Machine::look(&shell)?;
    println!("{}", machine.text());
    // The disk, a copy of it, and three compressed ones.
    let place = Place::new(args.dir.as_deref(), (args.size << 20) * 11 / 4 + (256 << 20))?;
    let disk = Disk::make(&place, args.size)?;
    for (name, value) in [("SELFSAME", program.as_path()), ("D", disk.source()), ("IMG", &disk.image)] {
        shell.set(name, value);
    }
    let names = [("OUT", "out"), ("KEPT", "kept"), ("BACKUP", "kept/backup")];
    for (name, path) in names.into_iter().chain([
        ("PZST", "kept/p.zst"),
        ("QCOW", "kept/q.qcow2"),
        ("TREE", "kept/tree.img"),
        ("TREEBACKUP", "kept/tree"),
    ]) {
        shell.set(name, place.join(path));
    }
    shell.set("ROOT", ROOT);
    std::fs::create_dir(place.join("kept"))?;
    shell.run("cat \"$D\" >/dev/null")?;
    let (runs, neighbours) = (usize::from(args.runs), Neighbours::default());
    let mut bench = Bench { shell, program, runs, neighbours, interrupted, part: None, disk, place };
    let (outcomes, failed) = all(&mut bench, &wanted);
    if !outcomes.is_empty() {
        println!("\n{}", report::text(&outcomes));
    }
    for warning in [bench.neighbours.warning(), report::unsteady(&outcomes)].into_iter().flatten() {
        println!("{warning}");
    }
    if let Some(path) = &args.json {
        save_json(path, args, &machine, &bench, &outcomes)?;
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

/// Every wanted row in order, and the names of those that failed. Those that lack something are told.
fn all(bench: &mut Bench, wanted: &[&'static str]) -> (Vec<Outcome>, Vec<&'static str>) {
    let (mut outcomes, mut failed) = (vec![], vec![]);
    for name in wanted {
        if let Some(missing) = lacks(bench, name) {
            println!("SKIPPED: {name}: {missing}");
            continue;
        }
        println!("running: {name}");
        match one(bench, name) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => {
                println!("FAILED: {name}: {error}");
                failed.push(*name);
            }
        }
        if bench.interrupted.load(Ordering::Relaxed) {
            break;
        }
    }
    (outcomes, failed)
}

/// What keeps a row from being run; `None`: nothing.
fn lacks(bench: &Bench, name: &str) -> Option<String> {
    let mut needed: Vec<&str> = vec![];
    match ROWS.iter().find(|row| row.name == name) {
        Some(row) if row.inputs.contains(&Input::Part) && !bench.disk.is_device() => {
            return Some("needs root".to_owned());
        }
        Some(row) => needed.extend(row.needs()),
        None if slow::NAMES.contains(&name) => return slow::lacks(),
        None if name == MEMORY => {}
        None => needed.extend(random::NEEDS),
    }
    let missing = needed.into_iter().find(|program| !bench.shell.has(program))?;
    Some(format!("needs {missing}"))
}

/// Measures a row.
fn one(bench: &mut Bench, name: &str) -> Result<Outcome> {
    if let Some(row) = ROWS.iter().find(|row| row.name == name) {
        return bench.row(row);
    }
    if let Some(reads) = random::READS.iter().find(|reads| reads.name == name) {
        return random::random(bench, reads);
    }
    match name {
        MEMORY => bench.memory(),
        slow::SAVE => slow::save(bench),
        slow::RESTORE => slow::restore(bench),
        _ => random::sequential(bench),
    }
}

#[expect(clippy::disallowed_methods, reason = "the file that --json names")]
fn save_json(
    path: &std::path::Path,
    args: &Args,
    machine: &Machine,
    bench: &Bench,
    outcomes: &[Outcome],
) -> Result<()> {
    let (busy, runs) = bench.neighbours.counts();
    let document = serde_json::json!({
        "machine": machine.json(), "size_mib": args.size, "runs": args.runs, "device": bench.disk.is_device(),
        "busy": { "busy": busy, "of": runs }, "rows": report::json(outcomes),
    });
    Ok(std::fs::write(path, format!("{document:#}\n"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_name() {
        let only = |names: &[&str]| chosen(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(only(&["verify", "save-nc"]).unwrap(), ["save-nc", "verify"]);
        assert_eq!(only(&[]).unwrap(), names());
        assert!(only(&["nothing"]).unwrap_err().to_string().contains("slow-save"));
    }
}
