//! What is printed, and where: the answer on stdout, everything else on stderr.

pub mod json;
pub mod progress;
pub mod text;

use crate::exit::{self, Exit};
use block::{Error, ErrorKind, Result};
use std::io::{BufWriter, StdoutLock, Write};

/// Prints the answer on stdout. A reader that has seen enough (`| head`) is no error.
pub fn answer(text: &str) -> Result<()> {
    let mut safe: String = text.split('\n').map(text::printable).collect::<Vec<_>>().join("\n");
    if !safe.ends_with('\n') {
        safe.push('\n');
    }
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(safe.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io(error, "writing the answer to standard output"))
        }
        _ => Ok(()),
    }
}

/// Standard output for answers that come in pieces. Functions give `false` once nobody reads any more.
pub struct Out {
    stdout: BufWriter<StdoutLock<'static>>,
    gone: bool,
}

impl Out {
    /// From now on nobody else prints there.
    #[expect(clippy::new_without_default, reason = "it locks")]
    pub fn new() -> Self {
        Self { stdout: BufWriter::with_capacity(1 << 16, std::io::stdout().lock()), gone: false }
    }

    /// Text that is harmless already.
    pub fn text(&mut self, text: &str) -> Result<bool> {
        self.bytes(text.as_bytes())
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<bool> {
        let written = self.stdout.write_all(bytes);
        self.written(written)
    }

    /// What was said so far goes out.
    pub fn flush(&mut self) -> Result<bool> {
        let flushed = self.stdout.flush();
        self.written(flushed)
    }

    /// The same at the end.
    pub fn finish(mut self) -> Result<()> {
        self.flush().map(|_| ())
    }

    fn written(&mut self, result: std::io::Result<()>) -> Result<bool> {
        match result {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::io(error, "writing the answer to standard output"))
            }
            Err(_) => {
                self.gone = true;
                Ok(false)
            }
            Ok(()) => Ok(!self.gone),
        }
    }
}

/// One message on stderr. If nobody reads it any more, there is nobody to tell.
pub fn say(message: &str) {
    let lines: Vec<_> = message.split('\n').map(text::printable).collect();
    let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
}

/// The end of a run that failed: what, in which words, what next.
pub fn failed(error: &Error, json: bool) -> Exit {
    let exit = Exit::from(error);
    if json {
        // The document says it too; if stdout is broken, stderr below still says it.
        let _ = json::answer(&json::Failed::new(error));
    }
    let sentence = match error.kind() {
        ErrorKind::Refused => format!("Refused: {error}"),
        _ => format!("selfsame: {error}"),
    };
    say(&sentence);
    match exit::hint(error.kind()) {
        Some(hint) => say(&format!("FAILED. {hint}")),
        None => say("FAILED."),
    }
    exit
}
