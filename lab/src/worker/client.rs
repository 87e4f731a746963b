//! The program's side.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::talk::{Answer, Ask};
use crate::latency::Collected;
use crate::meter::Figures;
use crate::results::{Measured, Memory};
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

/// What a process is started for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'a> {
    pub(crate) scenario: &'a str,
    pub(crate) effort: Effort,
    /// The trace that is replayed, if one is.
    pub(crate) trace: Option<&'a Path>,
}

/// One allocator in one scenario: its processes, one after the other, and what all of them found.
pub(crate) struct Row<'a> {
    program: &'a Program,
    name: String,
    timed: Timed,
    worker: Option<Worker>,
    alloc: Collected,
    free: Collected,
    memory: Option<Memory>,
    /// Why there is nothing more to come.
    cannot: Option<String>,
}

impl<'a> Row<'a> {
    pub(crate) fn new(program: &'a Program, name: String, timed: Timed, clock: Clock) -> Row<'a> {
        let (alloc, free) = (Collected::new(clock), Collected::new(clock));
        Row { program, name, timed, worker: None, alloc, free, memory: None, cannot: None }
    }

    /// Starts a process, and waits until it is ready; nothing, once one was not able to.
    ///
    /// # Errors
    /// A sentence, when it cannot be started.
    pub(crate) fn start(&mut self, task: Task<'_>) -> Result<(), String> {
        if self.cannot.is_none() {
            let mut worker = Worker::spawn(self.program, &self.name, task)?;
            match worker.hear(PATIENCE) {
                Ok(Answer::Ready) => self.worker = Some(worker),
                Ok(Answer::Cannot(why)) | Err(why) => self.cannot = Some(why),
                Ok(_) => self.cannot = Some(UNASKED.to_owned()),
            }
        }
        Ok(())
    }

    /// The process's turn, of which nothing is kept.
    pub(crate) fn warm(&mut self, length: Duration) {
        let _ = self.play(length);
    }

    /// The process's turn.
    pub(crate) fn turn(&mut self, length: Duration) {
        if let Some([alloc, free]) = self.play(length) {
            self.alloc.add(&alloc);
            self.free.add(&free);
        }
    }

    /// The end of the process, which says what was resident.
    pub(crate) fn stop(&mut self) {
        match self.asked(Ask::End, PATIENCE) {
            Some(Answer::End(memory)) => self.memory = Some(memory),
            Some(_) => self.cannot = Some(UNASKED.to_owned()),
            None => {}
        }
        self.worker = None;
    }

    /// What its processes measured; what was resident, the last one.
    pub(crate) fn measured(self) -> Measured {
        let mut measured = Measured { name: self.name, cannot: self.cannot, ..Measured::default() };
        if measured.cannot.is_some() {
            return measured;
        }
        // 0 where the system does not say.
        measured.memory = self.memory.filter(|memory| memory.before > 0);
        let (alloc, free) = (self.alloc, self.free);
        match self.timed {
            Timed::Pair => measured.pair = alloc.latency(),
            Timed::Both => (measured.alloc, measured.free) = (alloc.latency(), free.latency()),
            Timed::Allocate => measured.alloc = alloc.latency(),
            Timed::Free => measured.free = free.latency(),
        }
        measured
    }

    fn play(&mut self, length: Duration) -> Option<[Figures; 2]> {
        match self.asked(Ask::Turn(length.as_nanos() as u64), PATIENCE + length)? {
            Answer::Turn { alloc, free } => Some([alloc, free]),
            _ => {
                self.cannot = Some(UNASKED.to_owned());
                None
            }
        }
    }

    /// What the process answers. `None`: it cannot, or could not before.
    fn asked(&mut self, ask: Ask, patience: Duration) -> Option<Answer> {
        let worker = self.worker.as_mut().filter(|_| self.cannot.is_none())?;
        worker.ask(ask, patience).map_err(|why| self.cannot = Some(why)).ok()
    }
}

/// All of a text, but of a long one the end.
fn said(mut from: impl Read) -> String {
    const LONG: usize = 64 << 10;
    let (mut said, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(bytes @ 1..) = from.read(&mut part) {
        said.extend_from_slice(&part[..bytes]);
        if said.len() > 2 * LONG {
            said.drain(..said.len() - LONG);
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// What is said of a process that says something else.
const UNASKED: &str = "it answered what nobody asked";

/// A process.
struct Worker {
    child: Child,
    lines: Receiver<String>,
    /// What it said beside its answers, once all of it was read. A thread reads it, so that it never waits for a reader.
    errors: Receiver<String>,
}

impl Worker {
    /// Starts it.
    ///
    /// # Errors
    /// A sentence, when it cannot be started.
    fn spawn(program: &Program, name: &str, task: Task<'_>) -> Result<Worker, String> {
        let mut command = Command::new(&program.file);
        command.args(program.arguments).args([name, task.scenario]).envs(program.environment.iter().copied());
        if task.effort == Effort::Quick {
            command.arg("--quick");
        }
        if let Some(trace) = task.trace {
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
        let (sender, errors) = channel();
        if let Some(from) = child.stderr.take() {
            std::thread::spawn(move || sender.send(said(from)));
        }
        Ok(Worker { child, lines, errors })
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
        // It closed its answers: it has ended, or does now.
        let _ = self.child.kill();
        // (A process of its own may keep the other end open.)
        let said = self.errors.recv_timeout(Duration::from_secs(2)).unwrap_or_default();
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

/// How long a worker may take to end after its last answer, or after the end of its input.
const FAREWELL: Duration = Duration::from_secs(10);

/// No worker outlives its program's interest.
impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let since = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && since.elapsed() < FAREWELL {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Nothing is lost by it: what it measured was heard.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
