//! The live view. Each file uses only those before it: `hangup`, `state`, `keys`, `columns`, `panels` and `draw`.

mod columns;
mod draw;
mod hangup;
mod keys;
mod panels;
pub(crate) mod state;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use storport_pool::watch::Reader;

pub(crate) use draw::draw;
use keys::Flow;
use state::State;

/// How long a signal may go unnoticed.
const NOTICED: Duration = Duration::from_millis(200);

/// Shows the watch until the user has enough. The terminal is as it was afterwards: also after a panic, whose hook
/// restores it, and after the signals that end a program. When the terminal hangs up, the program ends, with status 0.
///
/// # Errors
/// A sentence, when there is no terminal to draw on.
pub(crate) fn run(reader: &mut Reader, mut state: State) -> Result<(), String> {
    let failed = |error: io::Error| format!("the terminal: {error}");
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(failed)?;
    }
    hangup::guard().map_err(failed)?;
    // It sets the panic hook, too.
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let result = show(&mut terminal, reader, &mut state, &ended);
    if result.is_err() && hangup::hung_up(Duration::ZERO) {
        return Ok(());
    }
    ratatui::restore();
    result.map_err(failed)
}

fn look(reader: &mut Reader, state: &mut State) {
    // In this order: what is read after the end is the last picture.
    let process = reader.process();
    let picture = reader.read().map_err(|error| error.to_string());
    state.take(picture, process);
}

fn show(
    terminal: &mut DefaultTerminal,
    reader: &mut Reader,
    state: &mut State,
    ended: &AtomicBool,
) -> io::Result<()> {
    look(reader, state);
    let mut last = Instant::now();
    // ORDERING: Relaxed - a flag that says nothing of other memory.
    while !ended.load(Ordering::Relaxed) {
        terminal.draw(|frame| draw(frame, state, SystemTime::now()))?;
        let left = state.interval.saturating_sub(last.elapsed());
        if event::poll(left.min(NOTICED))? {
            if let Event::Key(key) = event::read()?
                && state.key(key) == Flow::End
            {
                return Ok(());
            }
        } else if last.elapsed() >= state.interval {
            last = Instant::now();
            if !state.paused {
                look(reader, state);
            }
        }
    }
    Ok(())
}
