//! A client of NBD: reads, one at a time, over a socket of the file system. And qemu's server for it.

use crate::Result;
use crate::shell::Shell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MAGIC: &[u8; 8] = b"NBDMAGIC";
const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
/// Handshake flags: fixed newstyle, no zeroes behind the answer. Ours are the same.
const FIXED: u16 = 1;
const NO_ZEROES: u16 = 2;
const EXPORT_NAME: u32 = 1;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
const READ: u16 = 0;
const DISCONNECT: u16 = 2;

/// A connection to the export without a name.
pub(crate) struct Client<S: Read + Write> {
    stream: S,
    handle: u64,
    /// Bytes of the export.
    pub(crate) size: u64,
}

fn take<const N: usize>(stream: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

impl<S: Read + Write> Client<S> {
    /// Shakes hands.
    pub(crate) fn new(mut stream: S) -> Result<Self> {
        if (&take(&mut stream)?, &take(&mut stream)?) != (MAGIC, OPTION_MAGIC) {
            return Err("not an NBD server of the new style".into());
        }
        let flags = u16::from_be_bytes(take(&mut stream)?);
        let wanted = FIXED | NO_ZEROES;
        if flags & wanted != wanted {
            return Err("an NBD server too old".into());
        }
        let mut hello = u32::from(wanted).to_be_bytes().to_vec();
        hello.extend_from_slice(OPTION_MAGIC);
        hello.extend_from_slice(&EXPORT_NAME.to_be_bytes());
        hello.extend_from_slice(&0_u32.to_be_bytes());
        stream.write_all(&hello)?;
        let size = u64::from_be_bytes(take(&mut stream)?);
        let _transmission_flags: [u8; 2] = take(&mut stream)?;
        Ok(Self { stream, handle: 0, size })
    }

    fn request(&mut self, kind: u16, offset: u64, len: u32) -> Result<()> {
        let mut request = [0; 28];
        let fields: [&[u8]; 6] = [
            &REQUEST.to_be_bytes(),
            &0_u16.to_be_bytes(),
            &kind.to_be_bytes(),
            &self.handle.to_be_bytes(),
            &offset.to_be_bytes(),
            &len.to_be_bytes(),
        ];
        let mut rest = &mut request[..];
        for field in fields {
            rest.write_all(field)?;
        }
        Ok(self.stream.write_all(&request)?)
    }

    /// Fills all of `buf`.
    pub(crate) fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.handle += 1;
        self.request(READ, offset, u32::try_from(buf.len())?)?;
        // Magic, error, handle: at once, as every read from a socket counts.
        let head: [u8; 16] = take(&mut self.stream)?;
        let mut want = [0; 16];
        want[..4].copy_from_slice(&REPLY.to_be_bytes());
        want[8..].copy_from_slice(&self.handle.to_be_bytes());
        if head != want {
            return Err(format!("NBD: reading {} bytes at {offset}: {head:02x?}", buf.len()).into());
        }
        Ok(self.stream.read_exact(buf)?)
    }
}

impl<S: Read + Write> Drop for Client<S> {
    fn drop(&mut self) {
        let _best_effort = self.request(DISCONNECT, 0, 0);
    }
}

/// A running server, ended when it is dropped.
pub(crate) struct Server {
    process: Child,
    socket: PathBuf,
}

impl Server {
    /// qemu's, of the qcow2 file; and a client.
    pub(crate) fn qemu(shell: &Shell, qcow: &Path, socket: &Path) -> Result<(Self, Client<UnixStream>)> {
        let mut command = shell.program("qemu-nbd");
        command.args(["-r", "-t", "-f", "qcow2", "-e", "8", "-k"]).arg(socket).arg(qcow);
        Self::start(command, socket)
    }

    /// Ours, of a backup; and a client.
    pub(crate) fn ours(program: &Path, backup: &Path, socket: &Path) -> Result<(Self, Client<UnixStream>)> {
        let mut command = Command::new(program);
        command.arg("serve").arg(backup).arg("--socket").arg(socket).stderr(Stdio::null());
        Self::start(command, socket)
    }

    fn start(mut command: Command, socket: &Path) -> Result<(Self, Client<UnixStream>)> {
        let process = command.stdout(Stdio::null()).spawn()?;
        let server = Self { process, socket: socket.to_owned() };
        let client = server.connect()?;
        Ok((server, client))
    }

    /// One more client. Waits until the server is there.
    pub(crate) fn connect(&self) -> Result<Client<UnixStream>> {
        let began = Instant::now();
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => return Client::new(stream),
                Err(error) if began.elapsed() > Duration::from_secs(10) => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _best_effort = self.process.kill();
        let _best_effort = self.process.wait();
        // A killed one leaves it.
        let _best_effort = std::fs::remove_file(&self.socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server says, and what it was told.
    struct Script(std::io::Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Script {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buf)
        }
    }

    impl Write for Script {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.1.write(buf)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn script(error: u32) -> Script {
        let mut says = b"NBDMAGICIHAVEOPT\0\x03".to_vec();
        says.extend_from_slice(&5000_u64.to_be_bytes());
        says.extend_from_slice(&[0, 3]);
        says.extend_from_slice(&0x6744_6698_u32.to_be_bytes());
        says.extend_from_slice(&error.to_be_bytes());
        says.extend_from_slice(&1_u64.to_be_bytes());
        says.extend_from_slice(b"data");
        Script(std::io::Cursor::new(says), vec![])
    }

    #[test]
    fn it_speaks_as_the_protocol_says() {
        let mut client = Client::new(script(0)).unwrap();
        assert_eq!(client.size, 5000);
        let mut buf = [0; 4];
        client.read_at(0x1234, &mut buf).unwrap();
        assert_eq!(&buf, b"data");
        let told = &client.stream.1;
        assert_eq!(&told[..20], b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\0");
        assert_eq!(told[20..24], 0x2560_9513_u32.to_be_bytes());
        assert_eq!(&told[24..], b"\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x12\x34\0\0\0\x04");
    }

    #[test]
    fn an_error_is_one() {
        let mut client = Client::new(script(5)).unwrap();
        assert!(client.read_at(0, &mut [0; 4]).is_err());
        assert!(
            Client::new(Script(std::io::Cursor::new(b"NBDMAGIC\0\0B\x02\x81\x86\x12\x53".to_vec()), vec![]))
                .is_err()
        );
    }
}
