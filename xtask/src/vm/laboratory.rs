//! What all suites share, and how one is run: its disks are made, its stages follow each other on them.

use super::accelerator;
use super::disk::{Content, Disk};
use super::guest::Cache;
use super::machine::{Files, Machine};
use super::qemu::{self, Boot};
use super::suites::{Stage, Suite};
use super::talk::Outcome;
use super::{files, firmware, images};
use crate::Result;
use crate::program::program;
use crate::shell::{ROOT, Shell};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What one boot may take, on a machine that is busy with other things.
const LIMIT: Duration = Duration::from_secs(600);
/// MiB of a guest: its root takes a third of that.
const MEMORY: u32 = 768;
/// Bytes that do not compress, for scripts to fill disks with.
const NOISE: usize = 8 << 20;

/// What all suites share.
pub(crate) struct Laboratory {
    cache: Cache,
    kernel: PathBuf,
    initrd: PathBuf,
    program: PathBuf,
    accelerator: &'static str,
    interrupted: Arc<AtomicBool>,
    keep: bool,
    /// Others wait until this one is over.
    _alone: File,
}

impl Laboratory {
    /// Builds what all guests share: the program, the kernel, the initrd.
    pub(crate) fn new(cache: Cache, interrupted: Arc<AtomicBool>, keep: bool) -> Result<Self> {
        let alone = cache.lock()?;
        let program = program("SELFSAME_VM_PROGRAM")?;
        let (kernel, initrd) = (cache.make_kernel()?, cache.make_initrd(&program)?);
        let accelerator = accelerator::choose(&cache, &kernel)?;
        Ok(Self { cache, kernel, initrd, program, accelerator, interrupted, keep, _alone: alone })
    }

    /// Was Ctrl-C pressed?
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Runs these cases of a suite in a folder of its own.
    pub(crate) fn suite(&self, suite: &Suite, cases: &[&str], outcomes: &mut Vec<Outcome>) -> Result<()> {
        let folder = tempfile::Builder::new().prefix("selfsame-vm-").tempdir()?;
        let machine = Machine { disks: (suite.disks)(), memory: MEMORY, accelerator: self.accelerator };
        for disk in &machine.disks {
            self.make_disk(disk, folder.path())?;
        }
        for (number, stage) in suite.stages.iter().enumerate() {
            let stage_cases: Vec<&str> =
                stage.cases().iter().copied().filter(|case| cases.contains(case)).collect();
            let place = folder.path().join(format!("stage{number}"));
            let before = outcomes.len();
            self.stage(stage, &stage_cases, &machine, folder.path(), &place, outcomes)?;
            if outcomes[before..].iter().any(|outcome| outcome.failure.is_some()) {
                println!("--- console of {}:\n{}", suite.name, qemu::console(folder.path()));
            }
            if self.is_interrupted() {
                break;
            }
        }
        if self.keep {
            println!("kept: {}", folder.keep().display());
        }
        Ok(())
    }

    /// One boot. Failures are shown with the end of their log.
    fn stage(
        &self,
        stage: &Stage,
        cases: &[&str],
        machine: &Machine,
        folder: &Path,
        share: &Path,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<()> {
        std::fs::create_dir_all(share.join("log"))?;
        let mut report = |outcome: Outcome| {
            println!("{}", outcome.text());
            // Cases that never ran have the same reason, which is shown once.
            let is_first = outcomes.iter().all(|other| other.failure != outcome.failure);
            if outcome.failure.is_some() && is_first {
                for log in [outcome.case.as_str(), "prepare", "script"] {
                    let text = files::tail(&share.join("log").join(format!("{log}.log")), 25);
                    if !text.is_empty() {
                        println!("--- {log}:\n{text}");
                    }
                }
            }
            outcomes.push(outcome);
        };
        let interrupted = || self.is_interrupted();
        match stage {
            Stage::Guest { script, .. } | Stage::Cut { script, .. } => {
                self.share(share, script, cases)?;
                let files = Files { kernel: &self.kernel, initrd: &self.initrd, folder, share };
                let is_cut = matches!(stage, Stage::Cut { .. });
                let boot = Boot { machine, files, cases, is_cut, limit: LIMIT };
                boot.run(&self.cache, &interrupted, &mut report)
            }
            Stage::Firmware { firmware, disk, .. } => {
                let file = folder.join(format!("{disk}.disk"));
                let log = |case: &str| share.join("log").join(format!("{case}.log"));
                for case in cases {
                    let serial = log(case);
                    let began = Instant::now();
                    let failure = firmware::boots(&self.cache, *firmware, &file, &serial, &interrupted)?;
                    report(Outcome {
                        case: (*case).to_owned(),
                        took: began.elapsed(),
                        notes: vec![],
                        failure,
                    });
                }
                Ok(())
            }
        }
    }

    /// What host and guest both see.
    fn share(&self, share: &Path, script: &str, cases: &[&str]) -> Result<()> {
        std::fs::create_dir_all(share.join("tests"))?;
        files::copy(&self.program, &share.join("selfsame"))?;
        for entry in std::fs::read_dir(Path::new(ROOT).join("tests/vm"))? {
            let path = entry?.path();
            files::copy(&path, &share.join("tests").join(path.file_name().unwrap_or_default()))?;
        }
        files::write(&share.join("script"), script.as_bytes())?;
        files::write(&share.join("cases"), format!("{}\n", cases.join("\n")).as_bytes())?;
        files::write(&share.join("noise"), &images::noise(NOISE))
    }

    /// The file of a disk, in the folder of its suite.
    fn make_disk(&self, disk: &Disk, folder: &Path) -> Result<()> {
        let mut shell = Shell::new();
        shell.set("DISK", disk.file(folder));
        shell.set("SIZE", format!("{}M", disk.mib));
        match disk.content {
            Content::SameAs(_) => return Ok(()),
            Content::Image(name) => {
                shell.set("IMAGE", images::image(&self.cache, name)?);
                shell.run("cp --sparse=always \"$IMAGE\" \"$DISK\"; truncate -s \">$SIZE\" \"$DISK\"")?;
            }
            Content::Blank if disk.qcow2 => {
                return images::qcow2(&self.cache, &disk.file(folder), disk.mib);
            }
            Content::Blank => drop(shell.run("truncate -s \"$SIZE\" \"$DISK\"")?),
        }
        Ok(())
    }
}
