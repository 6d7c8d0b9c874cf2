//! Other people's programs, as makers of test disks and as oracles.

use std::path::Path;
use std::process::Command;

/// Runs a line of shell in which `$F` is `file`; its stdout, or what it said of its failure.
pub fn shell(line: &str, file: &Path) -> Result<String, String> {
    let mut sh = Command::new("sh");
    sh.args(["-euc", line]).env("F", file).env("LC_ALL", "C.UTF-8");
    sh.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    let output = sh.output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The same of a line that has to work.
///
/// # Panics
/// If it does not.
#[expect(clippy::panic, reason = "a test that cannot go on")]
pub fn run(line: &str, file: &Path) -> String {
    shell(line, file).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Are these programs there? If one is not, says that `test` is skipped.
#[expect(clippy::print_stdout, reason = "CI looks for this word")]
pub fn has(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find(|name| shell(&format!("command -v {name}"), Path::new("")).is_err());
    if let Some(name) = missing {
        println!("SKIPPED: {test}: needs {name}");
    }
    missing.is_none()
}
