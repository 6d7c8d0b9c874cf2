//! QEMU's machine protocol: one order, one answer; events in between are of no interest.

use crate::Result;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::Duration;

/// How long QEMU may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often and at what distance a device is plugged in before that has failed.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// A connection to a running QEMU.
pub(crate) struct Qmp {
    lines: BufReader<UnixStream>,
}

impl Qmp {
    /// Takes the connection that QEMU made.
    pub(crate) fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut qmp = Self { lines: BufReader::new(stream) };
        qmp.line()?; // its greeting
        qmp.order("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Pulls a disk out, with the controller that it has of its own.
    pub(crate) fn unplug(&mut self, controller: Option<&Value>, disk: &Value) -> Result<()> {
        self.order("device_del", &json!({"id": controller.unwrap_or(disk)["id"]}))
    }

    /// Plugs a disk in. Its own controller is attached when the disk is there: the guest looks once.
    pub(crate) fn plug(&mut self, controller: Option<&Value>, disk: &Value) -> Result<()> {
        let Some(controller) = controller else {
            return self.patiently("device_add", disk);
        };
        let mut detached = controller.clone();
        detached["attached"] = json!(false);
        self.patiently("device_add", &detached)?;
        self.patiently("device_add", disk)?;
        let path = format!("/machine/peripheral/{}", controller["id"].as_str().unwrap_or_default());
        self.order("qom-set", &json!({"path": path, "property": "attached", "value": true}))
    }

    /// A device that the guest has let go is gone a moment later; until then its name is taken.
    fn patiently(&mut self, command: &str, arguments: &Value) -> Result<()> {
        for _ in 1..TRIES {
            match self.order(command, arguments) {
                Err(_) => sleep(PAUSE),
                done => return done,
            }
        }
        self.order(command, arguments)
    }

    fn order(&mut self, command: &str, arguments: &Value) -> Result<()> {
        let order = json!({"execute": command, "arguments": arguments});
        self.lines.get_mut().write_all(format!("{order}\n").as_bytes())?;
        loop {
            let answer = self.line()?;
            if let Some(error) = answer.get("error") {
                return Err(format!("{command}: {}", error["desc"].as_str().unwrap_or("failed")).into());
            }
            if answer.get("return").is_some() {
                return Ok(());
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        match self.lines.read_line(&mut line)? {
            0 => Err("QEMU closed its socket".into()),
            _ => Ok(serde_json::from_str(&line)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_answers() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let answers: &[&[u8]] = &[
            b"{\"QMP\": {}}\n{\"return\": {}}\n{\"event\": \"X\"}\n{\"return\": {}}\n",
            b"{\"error\": {\"desc\": \"Duplicate device ID\"}}\n{\"return\": {}}\n",
            b"{\"error\": {\"desc\": \"no such device\"}}\n",
        ];
        answers.iter().for_each(|answer| theirs.write_all(answer).unwrap());
        let mut qmp = Qmp::new(ours).unwrap();
        let disk = json!({"id": "usb"});
        qmp.unplug(None, &disk).unwrap();
        qmp.plug(None, &disk).unwrap();
        assert!(qmp.unplug(None, &disk).unwrap_err().to_string().contains("no such device"));
        let mut heard = vec![0; 4096];
        let count = std::io::Read::read(&mut theirs, &mut heard).unwrap();
        assert!(String::from_utf8_lossy(&heard[..count]).contains("device_del"));
        drop(theirs);
        assert!(qmp.unplug(None, &disk).is_err());
    }
}
