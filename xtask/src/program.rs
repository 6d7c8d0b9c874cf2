//! The program as users build it.

use crate::Result;
use crate::shell::ROOT;
use std::path::PathBuf;
use std::process::Command;

/// Builds it, unless this variable of the environment names one; its path.
pub(crate) fn program(variable: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(std::path::absolute(path)?);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--locked", "-p", "selfsame"])
        .current_dir(ROOT)
        .status()?;
    if !built.success() {
        return Err("selfsame does not build".into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    Ok(PathBuf::from(ROOT).join(target).join("release/selfsame").canonicalize()?)
}
