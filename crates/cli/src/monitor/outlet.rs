//! Files of `get`: the job says what shall be made, the monitor makes it, many at a time.

use super::client::Client;
use super::wire::{MADE, Question, StepAnswer};
use image::{Attrs, Made, Outlet, Step};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;

/// Bytes of names and attributes in a question: as JSON four times as many at most.
const MOST: usize = 192 << 10;

/// What is made by the monitor.
#[derive(Debug)]
pub struct RemoteOutlet {
    client: Client,
}

impl Client {
    /// Where the command line says that files shall be made: `None` in the folder of that name, else under this
    /// name in the folder that it is in.
    pub fn outlet(&self) -> io::Result<(RemoteOutlet, Option<OsString>)> {
        let (only, _): (Option<OsString>, _) = self.file(&Question::OpenOutlet)?;
        Ok((RemoteOutlet { client: self.clone() }, only))
    }
}

impl RemoteOutlet {
    fn ask(&self, steps: Vec<Step>, made: &mut Vec<io::Result<Made>>) -> io::Result<()> {
        let (wanted, question) = (steps.len(), Question::Make(steps));
        let (answers, fds): (Vec<StepAnswer>, _) = self.client.file(&question)?;
        let mut fds = fds.into_iter();
        if answers.len() != wanted {
            return Err(io::Error::other("not an answer to each step"));
        }
        for answer in answers {
            made.push(match answer {
                Err(failure) => Err(failure.into()),
                Ok((false, lacking)) => Ok(Made { file: None, lacking }),
                Ok((true, lacking)) => {
                    let file = fds.next().ok_or_else(|| io::Error::other("a file without its descriptor"))?;
                    Ok(Made { file: Some(file), lacking })
                }
            });
        }
        Ok(())
    }
}

impl Outlet for RemoteOutlet {
    fn apply(&mut self, steps: Vec<Step>) -> io::Result<Vec<io::Result<Made>>> {
        let mut made = Vec::with_capacity(steps.len());
        let (mut batch, mut bytes, mut files) = (vec![], 0, 0);
        for step in steps {
            let cost = cost(&step);
            let is_file = usize::from(matches!(step, Step::File { .. }));
            if !batch.is_empty() && (bytes + cost > MOST || files + is_file > MADE) {
                self.ask(std::mem::take(&mut batch), &mut made)?;
                (bytes, files) = (0, 0);
            }
            batch.push(step);
            bytes += cost;
            files += is_file;
        }
        if !batch.is_empty() {
            self.ask(batch, &mut made)?;
        }
        Ok(made)
    }
}

/// Bytes of a step, about.
fn cost(step: &Step) -> usize {
    let of = |attrs: &Attrs| -> usize {
        128 + attrs.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    };
    match step {
        Step::Folder { name, .. } | Step::File { name, .. } => 32 + name.as_bytes().len(),
        Step::Symlink { name, target, attrs, .. } => {
            of(attrs) + name.as_bytes().len() + target.as_bytes().len()
        }
        Step::Special { name, attrs, .. } => of(attrs) + name.as_bytes().len(),
        Step::Link { name, to, .. } => {
            32 + name.as_bytes().len() + to.iter().map(|name| name.as_bytes().len() + 16).sum::<usize>()
        }
        Step::Done { attrs, .. } => of(attrs),
        Step::Abandon { .. } => 32,
    }
}
