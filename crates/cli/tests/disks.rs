//! `disks`, on whatever machine this is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::process::Command;

#[test]
fn lists_the_sizes_that_sysfs_has() {
    let listed = Command::new(env!("CARGO_BIN_EXE_selfsame")).args(["disks", "--json"]).output().unwrap();
    assert_eq!(listed.status.code(), Some(0), "{}", String::from_utf8_lossy(&listed.stderr));
    let document: Value = serde_json::from_slice(&listed.stdout).unwrap();
    for disk in document["disks"].as_array().unwrap() {
        let name = disk["name"].as_str().unwrap().replace('/', "!");
        let sectors = std::fs::read_to_string(format!("/sys/block/{name}/size")).unwrap();
        let sectors: u64 = sectors.trim().parse().unwrap();
        assert_eq!(disk["size"].as_u64(), Some(sectors * 512), "{name}");
    }
}

#[test]
fn says_it_to_people_too() {
    let listed = Command::new(env!("CARGO_BIN_EXE_selfsame")).arg("disks").output().unwrap();
    assert_eq!(listed.status.code(), Some(0), "{}", String::from_utf8_lossy(&listed.stderr));
    assert!(!listed.stdout.is_empty());
}
