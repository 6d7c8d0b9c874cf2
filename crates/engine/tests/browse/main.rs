//! Paths, patterns and walks inside a filesystem.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod fake;

use block::ErrorKind;
use disk::fs::FileKind;
use engine::browse::{Step, Walk, expand, resolve, resolve_stream};
use fake::{Fake, Node};

fn way(fs: &Fake, path: &str, follow: bool) -> Option<String> {
    match resolve(fs, path.as_bytes(), follow) {
        Ok(found) => Some(String::from_utf8(found.path).unwrap()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{path}: {error}");
            None
        }
    }
}

#[test]
fn links_are_followed_inside_only() {
    let fs = Fake::of(&[
        "etc/passwd",
        "home/anna/note",
        "home/link -> anna",
        "home/root -> /",
        "home/out -> ../../../../etc",
        "home/far -> /home/link",
        "home/file -> anna/note",
        "round -> round",
        "a -> b",
        "b -> a",
        "dead -> nothing/there",
    ]);
    let case = |path, follow, to: Option<&str>| assert_eq!(way(&fs, path, follow).as_deref(), to, "{path}");
    case("", true, Some(""));
    case("//home/./anna//note", true, Some("home/anna/note"));
    case("home/link/note", false, Some("home/anna/note"));
    case("home/link", false, Some("home/link"));
    case("home/link", true, Some("home/anna"));
    case("home/link/", false, Some("home/anna"));
    case("home/root/etc/passwd", false, Some("etc/passwd"));
    case("home/out/passwd", false, Some("etc/passwd"));
    case("home/far/note", false, Some("home/anna/note"));
    case("../../etc/passwd", false, Some("etc/passwd"));
    // Of what is typed it takes the name before it away, whatever that is.
    case("nothing/../etc", false, Some("etc"));
    case("home/file/", false, None);
    case("etc/passwd/", false, None);
    case("etc/passwd/x", false, None);
    case("round", false, Some("round"));
    case("round", true, None);
    case("a/x", false, None);
    case("dead", true, None);
    case("nothing", true, None);
}

#[test]
fn a_link_that_grows_ends() {
    let mut fs = Fake::of(&["x -> x/x/x/x/x/x/x/x"]);
    assert_eq!(way(&fs, "x", true), None);
    fs.put("y", Node::Link(b"a/".repeat(100_000)));
    assert_eq!(way(&fs, "y", true), None);
}

#[test]
fn patterns_match_and_names_win() {
    let fs = Fake::of(&["a/1.jpg", "a/2.jpg", "a/.3.jpg", "b/4.jpg", "b/x", "a/[x]", "[b]/file", "l -> b"]);
    let all = |fs: &Fake, path: &str| -> Vec<String> {
        let found = expand(fs, path.as_bytes(), false).map_err(|error| error.kind());
        found.unwrap_or_default().found.into_iter().map(|f| String::from_utf8(f.path).unwrap()).collect()
    };
    assert_eq!(all(&fs, "a/*.jpg"), ["a/1.jpg", "a/2.jpg"]);
    assert_eq!(all(&fs, "*/*.jpg"), ["a/1.jpg", "a/2.jpg", "b/4.jpg", "b/4.jpg"]);
    assert_eq!(all(&fs, "a/[x]"), ["a/[x]"]);
    assert_eq!(all(&fs, "[b]/*"), ["[b]/file"]);
    assert_eq!(all(&fs, "?/x"), ["b/x", "b/x"]);
    assert_eq!(all(&fs, "a/*.png"), Vec::<String>::new());
    assert_eq!(all(&fs, "A/*.JPG"), Vec::<String>::new());
    assert_eq!(all(&Fake::of(&["a/1.jpg"]).insensitive(), "A/*.JPG").len(), 1);
}

#[test]
fn streams_come_after_names() {
    let mut fs = Fake::of(&["a", "b:c"]);
    fs.streams.insert(2, vec![(b"s".to_vec(), b"in the stream".to_vec())]);
    let stream = |path: &str| resolve_stream(&fs, path.as_bytes()).map(|(_, stream)| stream);
    assert_eq!(stream("a").unwrap(), None);
    assert_eq!(stream("b:c").unwrap(), None);
    assert_eq!(stream("a:s").unwrap(), Some(b"s".to_vec()));
    assert_eq!(stream("x:s").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_walk_enters_every_directory_once() {
    let mut fs = Fake::of(&["a/x", "a/b/y", "c"]);
    let at = |fs: &Fake, path: &[u8]| resolve(fs, path, false).unwrap().node.inode;
    let (a, b) = (at(&fs, b"a"), at(&fs, b"a/b"));
    fs.link(b, b"up", a);
    fs.link(b, b"root", 1);
    fs.link(1, b"again", b);
    fs.link(1, b"gone", 999);
    let mut walk = Walk::new(&fs, resolve(&fs, b"", false).unwrap());
    let (mut names, mut failed, mut depth) = (vec![], vec![], 0_i32);
    while let Some(step) = walk.next() {
        let path = String::from_utf8(walk.path().to_vec()).unwrap();
        match step {
            Step::Entry { kind, .. } => {
                depth += i32::from(kind == FileKind::Directory);
                names.push(path);
            }
            Step::Failed(_) => failed.push(path),
            Step::Leave => depth -= 1,
        }
    }
    names.sort();
    assert_eq!(names, ["", "a", "a/b", "a/b/root", "a/b/up", "a/b/y", "a/x", "again", "c"]);
    assert_eq!(failed.len(), 4, "{failed:?}");
    assert_eq!(depth, 0);
}

#[test]
fn what_lies_too_deep_is_said() {
    let mut fs = Fake::of(&[]);
    let mut dir = 1;
    for _ in 0..5000 {
        dir = fs.add(dir, b"d", Node::Dir(vec![]));
    }
    let mut walk = Walk::new(&fs, resolve(&fs, b"", false).unwrap());
    let mut failed = 0;
    while let Some(step) = walk.next() {
        failed += usize::from(matches!(step, Step::Failed(_)));
    }
    assert_eq!(failed, 1);
}
