//! Along a path inside a filesystem. Whatever its links say, the way never leads out of it.

use block::{Error, ErrorKind, Result};
use disk::fs::{FileKind, FileSystem, Metadata, NodeId};

/// Links on one way, as Linux has it (`path_resolution(7)`).
const MAX_LINKS: usize = 40;
/// Names on one way, those in links among them.
const MAX_NAMES: usize = 1 << 16;

/// What a path leads to.
#[derive(Clone, Debug)]
pub struct Found {
    /// The file.
    pub node: NodeId,
    /// From the root, without a slash in front, as the filesystem spells it or as typed; empty: the root.
    pub path: Vec<u8>,
    /// What is known of it.
    pub meta: Metadata,
}

impl Found {
    /// Its own name; empty of the root.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }
}

/// The names of a path; `.` and empty ones say nothing, and `..` takes the name before it away.
pub(super) fn names(path: &[u8]) -> Vec<&[u8]> {
    let mut names = vec![];
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names
}

/// Goes along `path`, through links in the middle, and through one at the end if `follow` or the path ends in a
/// slash. Fails with [`ErrorKind::NotFound`] where it leads to nothing.
pub fn resolve(fs: &dyn FileSystem, path: &[u8], follow: bool) -> Result<Found> {
    match go(fs, path, follow)? {
        (found, None) => Ok(found),
        (file, Some(_)) => Err(missing(path, &format!("{} is no folder", spelled(&file.path)))),
    }
}

/// The regular file that `path` leads to as if it were a folder, and what of the path is behind it, without the slash
/// between. `None` where no file is on the way, or nothing at all.
pub fn resolve_through(fs: &dyn FileSystem, path: &[u8]) -> Option<(Found, Vec<u8>)> {
    let (found, rest) = go(fs, path, true).ok()?;
    Some((found, rest?)).filter(|(found, _)| found.meta.kind == FileKind::File)
}

/// As far as `path` leads, and what of it is left where something is on the way that is no folder.
fn go(fs: &dyn FileSystem, path: &[u8], follow: bool) -> Result<(Found, Option<Vec<u8>>)> {
    let follow = follow || path.ends_with(b"/");
    // The names that are left, the next one last.
    let mut left: Vec<Vec<u8>> = names(path).into_iter().rev().map(<[u8]>::to_vec).collect();
    let mut way: Vec<(Vec<u8>, NodeId)> = vec![];
    let (mut links, mut steps) = (0_usize, 0_usize);
    let mut here = fs.metadata(fs.root())?;
    while let Some(name) = left.pop() {
        steps += 1;
        if steps > MAX_NAMES || left.len() > MAX_NAMES {
            return Err(missing(path, "its links lead on without end"));
        }
        if matches!(&name[..], b"" | b".") {
            continue;
        }
        if name == b".." {
            way.pop();
            here = fs.metadata(at(fs, &way))?;
            continue;
        }
        if here.kind != FileKind::Directory {
            left.push(name);
            left.reverse();
            // The slash at the end is kept: it says something to who reads the rest.
            let mut rest = left.join(&b'/');
            if path.ends_with(b"/") {
                rest.push(b'/');
            }
            return Ok((found_at(fs, &way, here), Some(rest)));
        }
        let node = fs.lookup(at(fs, &way), &name)?;
        let Some(node) = node else {
            return Err(missing(path, &format!("there is no {}", spelled(&name))));
        };
        let meta = fs.metadata(node)?;
        if meta.kind == FileKind::Symlink && (follow || !left.is_empty()) {
            links += 1;
            if links > MAX_LINKS {
                return Err(missing(path, "too many links"));
            }
            let target = fs.read_link(node)?;
            if target.first() == Some(&b'/') {
                way.clear();
            }
            here = fs.metadata(at(fs, &way))?;
            left.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
            continue;
        }
        way.push((name, node));
        here = meta;
    }
    let rest = (path.ends_with(b"/") && here.kind != FileKind::Directory).then(Vec::new);
    Ok((found_at(fs, &way, here), rest))
}

fn found_at(fs: &dyn FileSystem, way: &[(Vec<u8>, NodeId)], meta: Metadata) -> Found {
    Found { node: at(fs, way), path: joined(way), meta }
}

/// The same to a file or one of its streams, `NAME:STREAM`. A file that has a colon in its own name comes first.
pub fn resolve_stream(fs: &dyn FileSystem, path: &[u8]) -> Result<(Found, Option<Vec<u8>>)> {
    let error = match resolve(fs, path, true) {
        Ok(found) => return Ok((found, None)),
        Err(error) if error.kind() == ErrorKind::NotFound => error,
        Err(error) => return Err(error),
    };
    let name = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let Some(colon) = path[name..].iter().position(|byte| *byte == b':').map(|at| name + at) else {
        return Err(error);
    };
    let found = resolve(fs, &path[..colon], true)?;
    Ok((found, Some(path[colon + 1..].to_vec())))
}

fn at(fs: &dyn FileSystem, way: &[(Vec<u8>, NodeId)]) -> NodeId {
    way.last().map_or(fs.root(), |(_, node)| *node)
}

fn joined(way: &[(Vec<u8>, NodeId)]) -> Vec<u8> {
    way.iter().map(|(name, _)| &name[..]).collect::<Vec<_>>().join(&b'/')
}

fn spelled(name: &[u8]) -> String {
    if name.is_empty() { "the root".to_owned() } else { String::from_utf8_lossy(name).into_owned() }
}

fn missing(path: &[u8], why: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no such file: {}: {why}", spelled(path)))
}
