//! `cargo xtask mutate`: filesystems whose metadata was damaged, thousands of ways, and what reading them does.
//!
//! A child reads case after case, within a limit of memory, and says when it begins and ends one. If it dies or is
//! silent for too long that is a finding, and another child goes on behind that case.

mod case;
mod images;

use crate::Result;
use crate::place::Place;
use case::{Mutated, Outcome};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use wait4::Wait4;

/// Silence after which a child hangs.
const HANG: Duration = Duration::from_secs(10);
/// Bytes of address space that a child may have.
const MEMORY: u64 = 512 << 20;
/// Of so many cases one is also shown to the program itself.
const PROGRAM_EACH: u64 = 50;

/// What can be chosen.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cases in all, shared among the filesystems
    #[arg(long, default_value_t = 2000)]
    cases: u64,
    /// Decides every change
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these filesystems
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// The program that is also tried
    #[arg(long, value_name = "FILE", default_value = "target/release/selfsame")]
    program: PathBuf,
    /// Be the child: image, first case, cases
    #[arg(long, hide = true, num_args = 3, value_names = ["IMAGE", "FIRST", "COUNT"])]
    child: Option<Vec<String>>,
}

/// Figures of one filesystem.
#[derive(Default)]
struct Tally {
    cases: u64,
    refused: u64,
    entries: u64,
    errors: u64,
    findings: Vec<String>,
    slowest: Duration,
    peak_kib: u64,
    programs: u64,
}

/// Runs it; fails if there is a finding.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(child) = &args.child {
        return be_child(child, args.seed);
    }
    let place = Place::new(None, 2 << 30)?;
    let mut made = vec![];
    for kind in images::KINDS {
        if args.only.is_empty() || args.only.iter().any(|name| name == kind.name) {
            made.extend(images::make(kind, place.path())?.map(|image| (kind.name, image)));
        }
    }
    let count = args.cases.div_ceil((made.len() as u64).max(1));
    println!(
        "{:<12} {:>8} {:>9} {:>9} {:>9} {:>10} {:>9} {:>8} {:>8}",
        "filesystem",
        "cases",
        "refused",
        "entries",
        "errors",
        "slowest ms",
        "peak MiB",
        "program",
        "findings"
    );
    let mut findings = String::new();
    // Two at once, as there are two cores on the smallest machine that this is for.
    let queue = std::sync::Mutex::new(made.iter());
    std::thread::scope(|scope| -> Result<()> {
        let work = || -> Result<Vec<(&'static str, Tally)>> {
            let mut done = vec![];
            loop {
                let next = queue.lock().map_err(|_| "a worker failed")?.next();
                let Some((name, image)) = next else { return Ok(done) };
                let tally = mutate(image, args, count)?;
                println!(
                    "{name:<12} {:>8} {:>9} {:>9} {:>9} {:>10} {:>9} {:>8} {:>8}",
                    tally.cases,
                    tally.refused,
                    tally.entries,
                    tally.errors,
                    tally.slowest.as_millis(),
                    tally.peak_kib >> 10,
                    tally.programs,
                    tally.findings.len()
                );
                done.push((*name, tally));
            }
        };
        let workers: Vec<_> = (0..block::cores()).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            for (name, tally) in worker.join().map_err(|_| "a worker failed")?? {
                for finding in tally.findings {
                    writeln!(findings, "{name}: {finding}")?;
                }
            }
        }
        Ok(())
    })?;
    if findings.is_empty() { Ok(()) } else { Err(findings.into()) }
}

/// All cases of one image.
fn mutate(image: &Path, args: &Args, count: u64) -> Result<Tally> {
    let metadata = case::trace(image)?;
    let list: Vec<String> = metadata.iter().map(ToString::to_string).collect();
    #[expect(clippy::disallowed_methods, reason = "a scratch file")]
    std::fs::write(trace_of(image), list.join("\n"))?;
    let mut tally = Tally::default();
    let mut next = 0;
    while next < count {
        next = with_child(image, args.seed, next, count, &mut tally)?;
    }
    try_program(image, &metadata, args, count, &mut tally)?;
    Ok(tally)
}

fn trace_of(image: &Path) -> PathBuf {
    image.with_extension("metadata")
}

/// What becomes of a seed and a case.
fn seed_of(seed: u64, case: u64) -> u64 {
    seed.wrapping_mul(1 << 40).wrapping_add(case)
}

/// Cases from `first` on, until the child ends, one way or another. The case to go on with.
fn with_child(image: &Path, seed: u64, first: u64, count: u64, tally: &mut Tally) -> Result<u64> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["mutate", "--seed", &seed.to_string(), "--child"])
        .arg(image)
        .args([first.to_string(), (count - first).to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let lines = lines(&mut child)?;
    let (mut at, mut began) = (first, Instant::now());
    loop {
        match lines.recv_timeout(HANG) {
            Ok(line) => {
                let words: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
                match words[..] {
                    [case] => (at, began) = (case, Instant::now()),
                    [case, refused, entries, errors] => {
                        tally.cases += 1;
                        tally.refused += refused;
                        tally.entries += entries;
                        tally.errors += errors;
                        tally.slowest = tally.slowest.max(began.elapsed());
                        at = case + 1;
                    }
                    _ => return Err(format!("a child says {line:?}").into()),
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                tally.findings.push(format!("case {at} of seed {seed} hangs"));
                tally.slowest = tally.slowest.max(HANG);
                return Ok(at + 1);
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let used = child.wait4()?;
    tally.peak_kib = tally.peak_kib.max(used.rusage.maxrss >> 10);
    if used.status.success() {
        return Ok(count);
    }
    tally.findings.push(format!("case {at} of seed {seed}: the reader died ({})", used.status));
    Ok(at + 1)
}

/// What it prints, by a thread, so that silence is noticed.
fn lines(child: &mut Child) -> Result<Receiver<String>> {
    let stdout = child.stdout.take().ok_or("a child without output")?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

/// Reads cases, and says which.
fn be_child(words: &[String], seed: u64) -> Result<()> {
    let [image, first, count] = words else { return Err("three words".into()) };
    let (first, count): (u64, u64) = (first.parse()?, count.parse()?);
    let image = Path::new(image);
    let limit = Rlimit { current: Some(MEMORY), ..getrlimit(Resource::As) };
    setrlimit(Resource::As, limit)?;
    let list = std::fs::read_to_string(trace_of(image))?;
    let metadata: Vec<u64> = list.lines().filter_map(|line| line.parse().ok()).collect();
    let mut out = std::io::stdout().lock();
    for case in first..first + count {
        writeln!(out, "{case}")?;
        let mutated = Mutated::new(image, &metadata, seed_of(seed, case))?;
        let Outcome { refused, entries, errors } = case::run(Arc::new(mutated), true);
        writeln!(out, "{case} {} {entries} {errors}", u64::from(refused))?;
    }
    Ok(())
}

/// Every so many cases in a copy of the file, shown to the program: it may refuse, and must neither die nor hang.
fn try_program(image: &Path, metadata: &[u64], args: &Args, count: u64, tally: &mut Tally) -> Result<()> {
    if !args.program.exists() {
        return Ok(());
    }
    let copy = image.with_extension("copy");
    for case in (0..count).step_by(usize::try_from(PROGRAM_EACH)?) {
        let mutated = Mutated::new(image, metadata, seed_of(args.seed, case))?;
        let copied = Command::new("cp").args(["--sparse=always"]).args([image, &copy]).status()?;
        if !copied.success() {
            return Err("copying an image".into());
        }
        #[expect(clippy::disallowed_methods, reason = "a copy in the scratch folder")]
        let file = std::fs::OpenOptions::new().write(true).open(&copy)?;
        for (at, bytes) in mutated.changes() {
            file.write_all_at(bytes, at)?;
        }
        for words in [&["ls", "-lR", "--json"][..], &["ls", "--deleted"], &["show", "--map"]] {
            let (verb, options) = words.split_first().ok_or("no verb")?;
            let mut command = Command::new("timeout");
            command.args(["--signal=KILL", "20"]).arg(&args.program).arg(verb).args(options).arg(&copy);
            if *verb == "ls" {
                command.arg("0");
            }
            let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
            tally.programs += 1;
            if status.signal().is_some() || status.code().is_some_and(|code| code > 5) {
                tally
                    .findings
                    .push(format!("case {case} of seed {}: selfsame {words:?}: {status}", args.seed));
            }
        }
    }
    Ok(())
}
