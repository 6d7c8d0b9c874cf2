//! Controllers without a driver, and slow USB links.

use crate::fake::{Fake, SATA, USB};

#[test]
fn controllers_without_a_driver_are_named() {
    let fake = Fake::new();
    let controller = |address: &str, class: &str, vendor: &str, device: &str| {
        for (file, text) in [("class", class), ("vendor", vendor), ("device", device)] {
            fake.write(&format!("sys/bus/pci/devices/{address}/{file}"), format!("{text}\n"));
        }
    };
    controller("0000:00:17.0", "0x010400", "0x8086", "0x282a");
    controller("0000:00:1f.2", "0x010601", "0x8086", "0x2922");
    controller("0000:02:00.0", "0x010700", "0x1000", "0x0072");
    controller("0000:00:02.0", "0x030000", "0x8086", "0x0000");
    fake.write("sys/bus/pci/drivers/ahci/bind", "");
    fake.link("sys/bus/pci/devices/0000:00:1f.2/driver", "../../drivers/ahci");
    let said = fake.machine.silent_controllers();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("RAID controller 0000:00:17.0 (8086:282a)") && said[0].contains("VMD"));
    assert!(said[1].contains("SAS controller 0000:02:00.0 (1000:0072)") && said[1].contains("driver"));
}

#[test]
fn a_link_below_what_the_disk_can_do_is_named() {
    for (speed, version, said) in [
        ("12", " 2.00", Some("480 or more")),
        ("480", " 2.00", None),
        ("480", " 2.10", Some("perhaps")),
        ("480", " 3.20", Some("5000")),
        ("5000", " 3.20", None),
        ("1.5", " 1.10", None),
        ("x", "", None),
    ] {
        let fake = Fake::new();
        fake.disk("sda", USB);
        fake.disk("sdb", SATA);
        let device = "sys/devices/pci0000:00/0000:00:14.0/usb2/2-3";
        for (file, text) in [("idVendor", "0951"), ("speed", speed), ("version", version)] {
            fake.write(&format!("{device}/{file}"), format!("{text}\n"));
        }
        let disks = fake.machine.disks().unwrap();
        let link = disks[0].slow_link.as_deref();
        assert_eq!(link.is_some(), said.is_some(), "{speed} {version}: {link:?}");
        assert!(said.is_none_or(|words| link.unwrap().contains(words)), "{link:?}");
        assert_eq!(disks[1].slow_link, None);
    }
}
