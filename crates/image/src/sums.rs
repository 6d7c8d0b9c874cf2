//! SHA256SUMS: the digest of every other file as it is stored (FORMAT 7), for `sha256sum -c`.

use crate::Hex;
use crate::name::check_name;
use block::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fmt;

/// Names with their SHA-256, each once, ascending. `Display` is the file's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums(BTreeMap<String, Hex<32>>);

impl Sums {
    /// Its name in the folder.
    pub const NAME: &str = "SHA256SUMS";
    /// The longest one that is read, in bytes.
    pub const MAX: u64 = 1 << 20;

    /// From the file's bytes: fails with [`ErrorKind::Corrupt`] for any spelling but the one of FORMAT 7.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |what: &str| Error::new(ErrorKind::Corrupt, format!("{}: {what}", Self::NAME));
        let text = str::from_utf8(bytes).map_err(|_| wrong("not text"))?;
        let mut sums = BTreeMap::new();
        for line in text.split_inclusive('\n') {
            let line = line.strip_suffix('\n').ok_or_else(|| wrong("the last line is cut off"))?;
            let (digest, name) = line.split_once("  ").ok_or_else(|| wrong("a line without two spaces"))?;
            let digest = digest.parse().map_err(|error: Error| error.context(Self::NAME))?;
            check_name(name).map_err(|error| error.context(Self::NAME))?;
            if name == Self::NAME {
                return Err(wrong("it lists itself"));
            }
            if sums.last_key_value().is_some_and(|(last, _): (&String, _)| last.as_str() >= name) {
                return Err(wrong("names are not in ascending order"));
            }
            sums.insert(name.to_owned(), digest);
        }
        Ok(Self(sums))
    }

    /// In any order. A name that occurs twice, or is none of FORMAT 1, is [`ErrorKind::Bug`].
    pub fn new(sums: Vec<(String, Hex<32>)>) -> Result<Self> {
        let bug = |what: String| Error::new(ErrorKind::Bug, format!("{}: {what}", Self::NAME));
        let mut sorted = BTreeMap::new();
        for (name, digest) in sums {
            check_name(&name).map_err(|error| error.with_kind(ErrorKind::Bug))?;
            if name == Self::NAME || sorted.contains_key(&name) {
                return Err(bug(format!("{name} does not belong there")));
            }
            sorted.insert(name, digest);
        }
        Ok(Self(sorted))
    }

    /// In ascending byte order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The digest of a file; `None`: it is not listed.
    pub fn get(&self, name: &str) -> Option<Hex<32>> {
        self.0.get(name).copied()
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, digest)| writeln!(f, "{digest}  {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::process::Command;

    fn sums() -> Sums {
        let sum = |name: &str| (name.to_owned(), Hex(Sha256::digest(name).into()));
        Sums::new(["b", "manifest.json", "B.idx"].map(sum).to_vec()).unwrap()
    }

    #[test]
    fn sha256sum_accepts_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = crate::Store::create(&crate::LocalFiles::default(), dir.path(), "x").unwrap();
        for name in sums().names() {
            store.write_small(name, name.as_bytes()).unwrap();
        }
        store.write_small(Sums::NAME, sums().to_string().as_bytes()).unwrap();
        let check =
            |dir| Command::new("sha256sum").args(["-c", "--strict", Sums::NAME]).current_dir(dir).output();
        let output = check(store.path()).unwrap();
        assert!(output.status.success(), "{output:?}");
        store.replace_small("b", b"c").unwrap();
        assert!(!check(store.path()).unwrap().status.success());
    }

    #[test]
    fn comes_back_from_its_text() {
        let sums = sums();
        assert_eq!(Sums::parse(sums.to_string().as_bytes()).unwrap(), sums);
        assert_eq!(sums.names().collect::<Vec<_>>(), ["B.idx", "b", "manifest.json"]);
        assert_eq!(sums.get("b"), Some(Hex(Sha256::digest("b").into())));
        assert_eq!(sums.get("c"), None);
        assert_eq!(Sums::parse(b"").unwrap(), Sums::default());
    }

    #[test]
    fn no_other_spelling() {
        let digest = "0123456789abcdef".repeat(4);
        let upper = digest.to_uppercase();
        let line = |name: &str| format!("{digest}  {name}\n");
        let wrong = [
            format!("{digest}  a"),
            format!("{digest} a\n"),
            format!("{digest} *a\n"),
            format!("{digest}   a\n"),
            format!("{upper}  a\n"),
            format!("{}  a\n", &digest[2..]),
            format!("{digest}  a\r\n"),
            format!("{digest}  ../a\n"),
            format!("\\{digest}  a\n"),
            format!("{}\n", line("a")),
            format!("{}{}", line("b"), line("a")),
            format!("{}{}", line("a"), line("a")),
            line(Sums::NAME),
            "# a comment\n".to_owned(),
        ];
        assert!(Sums::parse(line("a").as_bytes()).is_ok());
        for text in wrong {
            assert_eq!(Sums::parse(text.as_bytes()).unwrap_err().kind(), ErrorKind::Corrupt, "{text:?}");
        }
        assert!(Sums::parse(b"\xff\n").is_err());
    }

    #[test]
    fn a_name_twice_is_our_own_mistake() {
        for names in [["a", "a"], ["a", Sums::NAME], ["a", "b/c"]] {
            let sums = names.map(|name| (name.to_owned(), Hex([0; 32])));
            assert_eq!(Sums::new(sums.to_vec()).unwrap_err().kind(), ErrorKind::Bug);
        }
    }
}
