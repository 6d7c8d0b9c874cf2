//! Names and paths.

/// One component that is a name: what is none does not come from a filesystem.
pub(super) fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// A folder in a folder.
pub(super) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let between: &[u8] = if folder.is_empty() { b"" } else { b"/" };
    [folder, between, name].concat()
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation
)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_of_names() {
        assert_eq!((join(b"", b"a"), join(b"a", b"b")), (b"a".to_vec(), b"a/b".to_vec()));
        assert!(is_name(b"...") && !is_name(b"a/b") && !is_name(b""));
    }
}
