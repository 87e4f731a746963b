//! The program's side.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::talk::{Answer, Ask};
use crate::latency::Collected;
use crate::results::Measured;
use crate::scenarios::{Effort, Timed};
use crate::timer::Clock;

/// How long a worker may take beyond its turn before it counts as hanging: an allocator may first fill some
/// hundred megabytes, in a debug build, beside others.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program that has workers.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) file: PathBuf,
    /// What comes before the worker's own arguments.
    pub(crate) arguments: &'static [&'static str],
    pub(crate) environment: &'static [(&'static str, &'static str)],
}

impl Program {
    /// This very program.
    ///
    /// # Errors
    /// A sentence, when the system does not say where it is.
    pub(crate) fn own() -> Result<Program, String> {
        let file = std::env::current_exe().map_err(|error| format!("where the program is: {error}"))?;
        Ok(Program { file, arguments: &["worker"], environment: &[] })
    }
}

/// An allocator's process, in one scenario.
pub(crate) struct Worker {
    name: String,
    child: Child,
    lines: Receiver<String>,
    alloc: Collected,
    free: Collected,
    cannot: Option<String>,
    clock: Clock,
}

impl Worker {
    /// Starts it, and waits until it is ready, or is not able to.
    ///
    /// # Errors
    /// A sentence, when it cannot be started.
    pub(crate) fn start(
        program: &Program,
        name: &str,
        scenario: &str,
        effort: Effort,
        trace: Option<&Path>,
        clock: Clock,
    ) -> Result<Worker, String> {
        let mut command = Command::new(&program.file);
        command.args(program.arguments).args([name, scenario]).envs(program.environment.iter().copied());
        if effort == Effort::Quick {
            command.arg("--quick");
        }
        if let Some(trace) = trace {
            command.arg("--trace").arg(trace);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| format!("starting {}: {error}", program.file.display()))?;
        let (sender, lines) = channel();
        if let Some(out) = child.stdout.take() {
            std::thread::spawn(move || {
                BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
            });
        }
        let (alloc, free) = (Collected::new(clock), Collected::new(clock));
        let mut worker = Worker { name: name.to_owned(), child, lines, alloc, free, cannot: None, clock };
        match worker.hear(PATIENCE) {
            Ok(Answer::Ready) => {}
            Ok(Answer::Cannot(why)) => worker.cannot = Some(why),
            Ok(_) => worker.cannot = Some("it answered what nobody asked".to_owned()),
            Err(why) => worker.cannot = Some(why),
        }
        Ok(worker)
    }

    /// One turn; nothing, once it cannot.
    pub(crate) fn turn(&mut self, length: Duration) {
        if self.cannot.is_some() {
            return;
        }
        match self.ask(Ask::Turn(length.as_nanos() as u64), PATIENCE + length) {
            Ok(Answer::Turn { alloc, free }) => {
                self.alloc.add(&alloc);
                self.free.add(&free);
            }
            Ok(_) => self.cannot = Some("it answered what nobody asked".to_owned()),
            Err(why) => self.cannot = Some(why),
        }
    }

    /// What it measured.
    pub(crate) fn end(mut self, timed: Timed) -> Measured {
        let mut measured = Measured { name: self.name.clone(), ..Measured::default() };
        if self.cannot.is_none() {
            match self.ask(Ask::End, PATIENCE) {
                // 0 where the system does not say.
                Ok(Answer::End(memory)) => measured.memory = Some(memory).filter(|memory| memory.before > 0),
                Ok(_) => self.cannot = Some("it answered what nobody asked".to_owned()),
                Err(why) => self.cannot = Some(why),
            }
        }
        measured.cannot = self.cannot.take();
        if measured.cannot.is_some() {
            return measured;
        }
        let clock = self.clock;
        let empty = || Collected::new(clock);
        let (alloc, free) =
            (std::mem::replace(&mut self.alloc, empty()), std::mem::replace(&mut self.free, empty()));
        match timed {
            Timed::Pair => measured.pair = alloc.latency(),
            Timed::Both => (measured.alloc, measured.free) = (alloc.latency(), free.latency()),
            Timed::Allocate => measured.alloc = alloc.latency(),
            Timed::Free => measured.free = free.latency(),
        }
        measured
    }

    fn ask(&mut self, ask: Ask, patience: Duration) -> Result<Answer, String> {
        let line = serde_json::to_string(&ask).map_err(|error| error.to_string())?;
        if let Some(input) = &mut self.child.stdin {
            // A worker that has ended says why below.
            let _ = writeln!(input, "{line}").and_then(|()| input.flush());
        }
        self.hear(patience)
    }

    fn hear(&mut self, patience: Duration) -> Result<Answer, String> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => serde_json::from_str(&line).map_err(|_| format!("it said {line:?}")),
            Err(RecvTimeoutError::Timeout) => {
                let _ = self.child.kill();
                Err(format!("it did not answer within {} s", patience.as_secs()))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.last_words()),
        }
    }

    /// Why it ended.
    fn last_words(&mut self) -> String {
        let mut said = String::new();
        if let Some(errors) = &mut self.child.stderr {
            let _ = errors.read_to_string(&mut said);
        }
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        // A panic's words stand behind the line that says where, and a stack may follow.
        let panic = said.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
        let last = || said.lines().rfind(|line| !line.trim().is_empty() && !line.starts_with("note:"));
        match panic.or_else(last) {
            Some(line) => format!("it ended ({status}): {}", line.trim()),
            None => format!("it ended ({status})"),
        }
    }
}

/// No worker outlives its program's interest.
impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // After its last answer it only has to end; before, it reads the end of its input.
            let _ = self.child.wait();
        }
    }
}
