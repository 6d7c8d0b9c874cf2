//! `backups DIR`.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn backups(dir: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_selfsame")).arg("backups").arg(dir).args(more).output().unwrap()
}

#[test]
fn says_that_there_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let listed = backups(dir.path(), &[]);
    assert_eq!(listed.status.code(), Some(0));
    assert!(String::from_utf8(listed.stdout).unwrap().starts_with("no backups in "));
}

#[test]
fn a_damaged_manifest_is_listed_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("old");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("manifest.json"), b"{").unwrap();
    let listed = backups(dir.path(), &["--json"]);
    assert_eq!(listed.status.code(), Some(0));
    let document: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let found = &document["backups"][0];
    assert_eq!((found["name"].as_str(), found["state"].as_str()), (Some("old"), Some("damaged")));
    assert!(!found["why"].as_str().unwrap().is_empty());
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let listed = backups(Path::new("/nowhere/at/all"), &[]);
    assert_eq!(listed.status.code(), Some(1));
    assert!(listed.stdout.is_empty());
}
