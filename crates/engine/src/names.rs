//! What a backup and its files are called.

use block::Role;

/// What stands for a character that a file name may not have (FORMAT 1).
const STAND_IN: char = '_';

/// Only characters that every filesystem takes, and no leading dot or dash.
pub(crate) fn safe(name: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { STAND_IN };
    let name: String = name.chars().map(keep).take(100).collect();
    match name.trim_start_matches(['.', '-']) {
        "" => "disk".to_owned(),
        name => name.to_owned(),
    }
}

/// BASE of a backup: machine and disk. An image file has no machine unless one is named.
pub(crate) fn base(machine: Option<&str>, disk: &str) -> String {
    let disk = safe(disk);
    match machine {
        Some(machine) => format!("{}-{disk}", safe(machine)),
        None => disk,
    }
}

/// The name of the stored file that keeps a region. `word`: what it holds. `zst`: compressed.
pub(crate) fn stored_file(base: &str, role: Role, word: &str, zst: bool) -> String {
    let suffix = if zst { ".zst" } else { "" };
    match role {
        Role::Preamble => format!("{base}.mbr"),
        Role::Partition(number) => {
            let p = if base.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
            format!("{base}{p}{number}.{word}{suffix}")
        }
        Role::Ebr | Role::Gap | Role::Tail => format!("{base}.rest{suffix}"),
        Role::Whole => format!("{base}.{word}{suffix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_everywhere() {
        assert_eq!(safe("../../etc/passwd"), "_.._etc_passwd");
        assert_eq!(safe("-rf"), "rf");
        assert_eq!(safe("...") + &safe(""), "diskdisk");
        assert_eq!(base(Some("Großmutter"), "sda"), "Gro_mutter-sda");
    }

    #[test]
    fn partitions_are_called_as_the_kernel_does() {
        let name = |base| stored_file(base, Role::Partition(3), "ext4", true);
        assert_eq!(name("c-sda"), "c-sda3.ext4.zst");
        assert_eq!(name("c-nvme0n1"), "c-nvme0n1p3.ext4.zst");
    }
}
