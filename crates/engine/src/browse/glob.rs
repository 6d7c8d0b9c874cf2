//! `*`, `?` and `[..]` in paths inside a filesystem, as shells have them. A name that is there as typed wins.

use super::path::{Found, names, resolve};
use super::walk::list;
use block::{Error, ErrorKind, Result};
use disk::fs::{Case, FileKind, FileSystem};

/// What a path with patterns in it leads to.
#[derive(Debug, Default)]
pub struct Expanded {
    /// What is there, by name.
    pub found: Vec<Found>,
    /// Folders of which not all names could be read, so that more may match.
    pub failed: Vec<(Vec<u8>, Error)>,
}

/// What a path with patterns in it leads to: itself if it is there, else all that it matches. Fails with
/// [`ErrorKind::NotFound`] if that is nothing.
pub fn expand(fs: &dyn FileSystem, path: &[u8], follow: bool) -> Result<Expanded> {
    let mut all = Expanded::default();
    let error = match resolve(fs, path, follow) {
        Ok(found) => return Ok(Expanded { found: vec![found], ..all }),
        Err(error) if error.kind() == ErrorKind::NotFound && is_pattern(path) => error,
        Err(error) => return Err(error),
    };
    let case = fs.info().case;
    let mut paths: Vec<Vec<u8>> = vec![vec![]];
    for part in names(path) {
        let mut next = vec![];
        for dir in paths {
            let below =
                |name: &[u8]| if dir.is_empty() { name.to_vec() } else { [&dir, &b"/"[..], name].concat() };
            let Ok(found) = resolve(fs, &dir, true) else { continue };
            if found.meta.kind != FileKind::Directory {
                continue;
            }
            if !is_pattern(part) || fs.lookup(found.node, part)?.is_some() {
                next.push(below(part));
                continue;
            }
            let pattern = folded(part, case);
            let (entries, failed) = list(fs, found.node);
            all.failed.extend(failed.map(|error| (dir.clone(), error)));
            let mut matching: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
            matching.retain(|name| matches(&pattern, &folded(name, case)));
            matching.sort();
            next.extend(matching.iter().map(|name| below(name)));
        }
        paths = next;
    }
    let end = if path.ends_with(b"/") { &b"/"[..] } else { b"" };
    for path in paths {
        match resolve(fs, &[&path, end].concat(), follow) {
            Ok(one) => all.found.push(one),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => all.failed.push((path, error)),
        }
    }
    match (all.found.is_empty(), all.failed.pop()) {
        // That is why there is nothing, as far as is known.
        (true, Some((_, failed))) => Err(failed),
        (true, None) => Err(error),
        (false, last) => {
            all.failed.extend(last);
            Ok(all)
        }
    }
}

fn is_pattern(path: &[u8]) -> bool {
    path.iter().any(|byte| b"*?[".contains(byte))
}

fn folded(name: &[u8], case: Case) -> Vec<char> {
    let text = String::from_utf8_lossy(name);
    match case {
        Case::Sensitive => text.chars().collect(),
        Case::Insensitive => text.chars().flat_map(char::to_uppercase).collect(),
    }
}

/// Does all of `name` match? In time of the product of both lengths.
fn matches(pattern: &[char], name: &[char]) -> bool {
    if name.first() == Some(&'.') && pattern.first() != Some(&'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    // Behind the last star, and how much of the name it has swallowed.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p + 1, n));
            p += 1;
            continue;
        }
        if let Some(end) = one(pattern, p, name[n]) {
            (p, n) = (end, n + 1);
            continue;
        }
        let Some((behind, swallowed)) = star else { return false };
        star = Some((behind, swallowed + 1));
        (p, n) = (behind, swallowed + 1);
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Does what stands at `p` match this one character? Where the pattern goes on.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match *pattern.get(p)? {
        '?' => Some(p + 1),
        '[' => match set(&pattern[p + 1..], c) {
            Some((true, len)) => Some(p + 1 + len),
            Some((false, _)) => None,
            None => (c == '[').then_some(p + 1),
        },
        '\\' if pattern.get(p + 1) == Some(&c) => Some(p + 2),
        plain => (plain == c).then_some(p + 1),
    }
}

/// Is `c` in the set that begins here, and how long is it? `None`: it does not end.
fn set(pattern: &[char], c: char) -> Option<(bool, usize)> {
    let negated = matches!(pattern.first(), Some('!' | '^'));
    let first = usize::from(negated);
    let mut at = first;
    let mut within = false;
    loop {
        let low = *pattern.get(at)?;
        if low == ']' && at > first {
            return Some((within != negated, at + 1));
        }
        match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some('-'), Some(high)) if *high != ']' => {
                within |= (low..=*high).contains(&c);
                at += 3;
            }
            _ => {
                within |= low == c;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_shells_have_it() {
        let matches = |pattern: &str, name: &str| {
            matches(&folded(pattern.as_bytes(), Case::Sensitive), &folded(name.as_bytes(), Case::Sensitive))
        };
        for (pattern, yes, no) in [
            ("*", "a", ".a"),
            (".*", ".a", "a"),
            ("*.jpg", "x.y.jpg", "x.jpeg"),
            ("a?c", "a\u{fc}c", "ac"),
            ("[a-c]x", "bx", "dx"),
            ("[!a-c]x", "dx", "bx"),
            ("[]]", "]", "x"),
            ("[a", "[a", "a"),
            ("a*b*c", "aXbYbZc", "aXbY"),
            ("\\*", "*", "a"),
            ("**a**", "bab", "b"),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(!matches(pattern, no), "{pattern} {no}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern: Vec<char> = "*a".repeat(500).chars().collect();
        assert!(!matches(&pattern, &vec!['a'; 499]));
        assert!(matches(&pattern, &vec!['a'; 5000]));
    }
}
