//! Boot variables in a tree like efivarfs.

use crate::fake::Fake;

#[test]
fn boot_entries_and_their_order() {
    let fake = Fake::new();
    assert!(fake.machine.boot_variables().is_empty());
    let global = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let dir = "sys/firmware/efi/efivars";
    for (name, value) in [
        (format!("BootOrder-{global}"), &b"\x07\0\0\0\x01\0\x00\0"[..]),
        (format!("Boot0001-{global}"), b"\x07\0\0\0one"),
        (format!("Boot00FA-{global}"), b"\x07\0\0\0"),
        (format!("Boot0002-{global}"), b"\x07\0"),
        (format!("BootCurrent-{global}"), b"\x06\0\0\0\x01\0"),
        (format!("Boot000g-{global}"), b"\x07\0\0\0x"),
        ("Boot0003-00000000-0000-0000-0000-000000000000".to_owned(), b"\x07\0\0\0x"),
        (format!("SecureBoot-{global}"), b"\x06\0\0\0\x01"),
    ] {
        fake.write(&format!("{dir}/{name}"), value);
    }
    let found = fake.machine.boot_variables();
    let want = [("Boot0001", &b"one"[..]), ("Boot00FA", b""), ("BootOrder", b"\x01\0\x00\0")];
    assert_eq!(found, want.map(|(name, value)| (name.to_owned(), value.to_vec())));
}
