//! One JSON document a command, with the fields that docs/JSON.md lists.

use super::text::is_hostile;
use crate::exit::Exit;
use block::{Error, ErrorKind, Result};
use serde::Serialize;
use std::fmt::Write;

/// Prints the document on stdout.
pub fn answer(document: &impl Serialize) -> Result<()> {
    super::answer(&pretty(document)?)
}

/// The document as text in which hostile characters are `\u` escapes: JSON is printed on terminals too.
pub fn pretty(document: &impl Serialize) -> Result<String> {
    let wrong = |source| Error::new(ErrorKind::Bug, "writing JSON").with_source(source);
    Ok(escaped(&serde_json::to_string_pretty(document).map_err(wrong)?))
}

/// The document on one line.
pub fn line(document: &impl Serialize) -> Result<String> {
    let wrong = |source| Error::new(ErrorKind::Bug, "writing JSON").with_source(source);
    Ok(escaped(&serde_json::to_string(document).map_err(wrong)?))
}

fn escaped(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hostile(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

/// What every command answers when it fails.
#[derive(Debug, Serialize)]
pub struct Failed {
    result: &'static str,
    exit: u8,
    error: String,
}

impl Failed {
    /// Of this error.
    pub fn new(error: &Error) -> Self {
        Self { result: result(Exit::from(error)), exit: Exit::from(error) as u8, error: error.to_string() }
    }
}

/// `result` in a document: the last line's word in small letters.
pub fn result(exit: Exit) -> &'static str {
    match exit {
        Exit::Done => "done",
        Exit::Losses => "done with losses",
        _ => "failed",
    }
}

/// A name from outside: lossy if it is not UTF-8, and then its exact bytes too.
#[derive(Debug, Serialize)]
pub struct Name {
    /// With U+FFFD for what is not UTF-8.
    pub name: String,
    /// Only if `name` is lossy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_bytes: Option<Vec<u8>>,
}

impl Name {
    /// Of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let lossy = std::str::from_utf8(bytes).is_err();
        Self { name: String::from_utf8_lossy(bytes).into_owned(), name_bytes: lossy.then(|| bytes.to_vec()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_characters_come_back_as_they_were() {
        let label = "a\u{1b}\u{9b}\u{202e}\u{e0001}\n\"b";
        let json = pretty(&[label]).unwrap();
        assert!(json.chars().all(|c| c == '\n' || !is_hostile(c)), "{json}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [label]);
    }

    #[test]
    fn a_name_that_is_not_utf8_keeps_its_bytes() {
        assert_eq!(line(&Name::new(b"a\xff")).unwrap(), "{\"name\":\"a\u{fffd}\",\"name_bytes\":[97,255]}");
        assert_eq!(line(&Name::new(b"a")).unwrap(), "{\"name\":\"a\"}");
    }
}
