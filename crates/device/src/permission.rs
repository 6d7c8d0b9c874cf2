//! Which permission is missing, in words.

use rustix::fs::{Mode, stat};
use std::fs;
use std::path::Path;

/// To be said behind what was tried: who may open the node at `path`. Empty if that cannot be told.
pub(crate) fn who_may(path: &Path) -> String {
    let Ok(node) = stat(path) else { return String::new() };
    let mode = Mode::from_raw_mode(node.st_mode);
    let owner = name_in("/etc/passwd", node.st_uid);
    let group = name_in("/etc/group", node.st_gid);
    let may = if mode.contains(Mode::RGRP | Mode::WGRP) {
        format!("root, the user {owner} and members of the group {group}")
    } else {
        format!("root and the user {owner}")
    };
    format!(" (only {may} may)")
        .replace("root, the user root", "root")
        .replace("root and the user root", "root")
}

/// The name of a number in a list whose lines are `name:password:number:..`; the number where it has none.
fn name_in(list: &str, number: u32) -> String {
    let number = number.to_string();
    let text = fs::read_to_string(list).unwrap_or_default();
    let named = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, found) = (fields.next()?, fields.next()?, fields.next()?);
        (found == number).then(|| name.to_owned())
    });
    named.unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn names_who_may() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let said = |mode| {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            who_may(file.path())
        };
        assert!(said(0o660).contains("members of the group "), "{}", said(0o660));
        assert!(!said(0o600).contains("group"));
        assert_eq!(who_may(Path::new("/no/such")), "");
        assert_eq!([name_in("/etc/passwd", 0), name_in("/no/such", 7)], ["root", "7"]);
    }
}
