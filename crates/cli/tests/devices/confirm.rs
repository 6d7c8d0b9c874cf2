//! The question before a disk is written (DESIGN, "Confirming"), at a pseudo-terminal.

use super::terminal::{CTRL_C, CTRL_D, Session};
use super::*;
use std::process::Stdio;

/// What the question ends in.
const PROMPT: &str = "to write to it: ";

/// Starts a restore and waits for the question; what must be typed, as the question says it.
fn asked(backup: &str, disk: &Disk) -> (Session, String) {
    let mut session = Session::start(&[SELFSAME, "restore", backup, disk.word(), "--progress", "none"]);
    let seen = session.wait_for(PROMPT);
    let (_, question) = seen.rsplit_once("Type \"").unwrap();
    let (wanted, _) = question.split_once('"').unwrap();
    let wanted = wanted.to_owned();
    (session, wanted)
}

/// Answers the question with these keys; the exit code, and all that was shown.
fn answer(backup: &str, disk: &Disk, keys: &str) -> (Option<i32>, String) {
    let (mut session, _) = asked(backup, disk);
    session.type_keys(keys);
    session.end()
}

/// Each of these answers ends in this exit code and leaves the disk as it is.
fn writes_nothing(backup: &str, disk: &Disk, code: i32, answers: &[&str]) {
    let before = disk.bytes();
    for keys in answers {
        let (ended, seen) = answer(backup, disk, keys);
        assert_eq!(ended, Some(code), "{keys:?}: {seen}");
        assert!(code != 5 || seen.contains("not confirmed; nothing was written"), "{keys:?}: {seen}");
        assert!(disk.bytes() == before, "{keys:?} let it write");
    }
}

#[test]
fn a_blank_disk_wants_yes_in_full() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", testkit::sample::SIZE) else { return };
    let backup = lab.sample();
    writes_nothing(&backup, &disk, 5, &["\n", "y\n", "YES\n", "Yes\n", "no\n", "yes yes\n", "yes 0000\n"]);
    writes_nothing(&backup, &disk, 5, &[CTRL_D, "ye\ns\n"]);

    let (mut session, wanted) = asked(&backup, &disk);
    assert_eq!(wanted, "yes");
    session.type_keys("yes\n");
    let (ended, seen) = session.end();
    assert_eq!(ended, Some(0), "{seen}");
    assert!(seen.contains("It is blank.") && seen.contains("DONE"), "{seen}");
    assert!(disk.bytes() == testkit::sample::disk());
}

#[test]
fn a_disk_that_holds_something_wants_the_end_of_its_id_too() {
    let lab = Lab::new();
    let Some(disk) = lab.ext4("target.img", testkit::sample::SIZE) else { return };
    let backup = lab.sample();
    let id = disk.id();
    let right = format!("yes {}", &id[6..]);
    let wrong = [
        "yes\n".to_owned(),
        "yes 0000\n".to_owned(),
        format!("{}\n", &id[6..]),
        format!("yes {id}\n"),
        format!("YES {}\n", &id[6..]),
        // Not ended by Enter: the terminal was given up in mid-answer.
        format!("{right}{CTRL_D}{CTRL_D}"),
    ];
    writes_nothing(&backup, &disk, 5, &wrong.each_ref().map(String::as_str));
    writes_nothing(&backup, &disk, 130, &[CTRL_C]);

    let (mut session, wanted) = asked(&backup, &disk);
    assert_eq!(wanted, right);
    session.type_keys(&format!("{right}\n"));
    let (ended, seen) = session.end();
    assert_eq!(ended, Some(0), "{seen}");
    for words in ["copy FROM", "write TO", disk.word(), &id, "all of it will be lost", "ext4 \"family\""] {
        assert!(seen.contains(words), "{seen:?} does not show {words:?}");
    }
    assert!(disk.bytes() == testkit::sample::disk());
}

#[test]
fn only_the_terminal_is_asked() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", testkit::sample::SIZE) else { return };
    let backup = lab.sample();
    let before = disk.bytes();

    // A pipe says yes, the person says no.
    let piped = r#"printf 'yes\nyes\n' | "$@""#;
    let mut session = Session::start(&["sh", "-c", piped, "sh", SELFSAME, "restore", &backup, disk.word()]);
    session.wait_for(PROMPT);
    session.type_keys("no\n");
    let (ended, seen) = session.end();
    assert_eq!(ended, Some(5), "{seen}");

    // Without a terminal nobody is asked, and the way out is named.
    let mut yes = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
    let alone = ["--wait", SELFSAME, "restore", &backup, disk.word()];
    let output = Command::new("setsid").args(alone).stdin(yes.stdout.take().unwrap()).output().unwrap();
    yes.kill().and_then(|()| yes.wait()).unwrap();
    refused(&output, 5, &["no terminal", &format!("--yes --target-id {}", disk.id())]);
    assert!(disk.bytes() == before);
}

#[test]
fn what_was_typed_before_the_question_is_no_answer() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", testkit::sample::SIZE) else { return };
    let backup = lab.sample();
    // The program starts when the terminal holds the line already.
    let late = r#"while ! read -r go <"$0"; do sleep 0.1; done; exec "$@""#;
    let go = lab.path("go");
    let mut session =
        Session::start(&["sh", "-c", late, text(&go), SELFSAME, "restore", &backup, disk.word()]);
    session.type_keys("yes\n");
    session.wait_for("yes");
    std::fs::write(&go, "go\n").unwrap();
    session.wait_for(PROMPT);
    session.type_keys("no\n");
    let (ended, seen) = session.end();
    assert_eq!(ended, Some(5), "{seen}");
    assert!(disk.bytes().iter().all(|byte| *byte == 0));
}

#[test]
fn scripts_name_the_disk() {
    let lab = Lab::new();
    let Some(disk) = lab.ext4("target.img", testkit::sample::SIZE) else { return };
    let backup = lab.sample();
    let (before, id) = (disk.bytes(), disk.id());
    let restore = |more: &[&str]| selfsame(&[&["restore", &backup, disk.word()], more].concat());
    refused(&restore(&["--yes"]), 5, &["--yes needs --target-id"]);
    refused(&restore(&["--yes", "--target-id", "0123456789"]), 5, &["0123456789", &id]);
    refused(&restore(&["--target-id", "0123456789"]), 5, &["0123456789", &id]);
    // What `yes` wants is not the ID.
    refused(&restore(&["--yes", "--target-id", &id[6..]]), 5, &[&id]);
    assert!(disk.bytes() == before);
    let done = restore(&["--yes", "--target-id", &id.to_uppercase()]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(disk.bytes() == testkit::sample::disk());
}

#[test]
fn a_blank_source_over_a_full_target_is_questioned() {
    let lab = Lab::new();
    let Some(disk) = lab.ext4("target.img", 8 * MIB) else { return };
    let backup = lab.blank(8 * MIB);
    let before = disk.bytes();
    let (mut session, wanted) = asked(&backup, &disk);
    session.type_keys("yes\n");
    let (ended, seen) = session.end();
    assert_eq!(ended, Some(5), "{seen}");
    assert!(seen.contains("are they swapped?"), "{seen}");
    assert!(disk.bytes() == before);
    let (ended, seen) = answer(&backup, &disk, &format!("{wanted}\n"));
    assert_eq!(ended, Some(0), "{seen}");
    assert!(disk.bytes().iter().all(|byte| *byte == 0));
}

#[test]
fn what_was_shown_is_what_is_written() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", 8 * MIB) else { return };
    let backup = lab.blank(8 * MIB);

    // While the question stands, the disk gets another content.
    let (mut session, _) = asked(&backup, &disk);
    let mut now = vec![0; 8 << 20];
    now[510..512].copy_from_slice(&[0x55, 0xAA]);
    std::fs::write(disk.0.path(), &now).unwrap();
    session.type_keys("yes\n");
    let (ended, seen) = session.end();
    assert_eq!(ended, Some(5), "{seen}");
    assert!(seen.contains("its content changed"), "{seen}");
    assert!(disk.bytes() == now);
}
