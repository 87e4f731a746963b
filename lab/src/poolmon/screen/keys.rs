//! Keys: PoolMon's, and some of our own.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::State;
use crate::poolmon::rows::Sort;

/// What the program does after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    On,
    End,
}

/// Each key, and what it does.
pub(crate) const HELP: [(&str, &str); 21] = [
    ("t", "sort by tag"),
    ("a", "sort by allocations"),
    ("f", "sort by frees"),
    ("d, s", "sort by allocations less frees"),
    ("b", "sort by bytes"),
    ("m", "sort by bytes per allocation"),
    ("( or )", "sort by value, or by change"),
    ("e", "totals line"),
    ("l", "highlight changed rows"),
    ("p", "pool type: there is nonpaged only"),
    ("q, Esc", "quit"),
    ("h, ?", "this help"),
    ("o", "rows by adapter and tag, or by tag"),
    ("Tab", "next panel"),
    ("/", "filter: a tag, * any characters, ? one"),
    ("x", "exclude: the same"),
    ("c", "clear filters"),
    ("Space", "pause"),
    ("+ -", "refresh more or less often"),
    ("Up Down", "choose a row"),
    ("PgUp PgDn", "the same by pages; Home, End"),
];

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);

impl State {
    pub(crate) fn key(&mut self, event: KeyEvent) -> Flow {
        if event.kind == KeyEventKind::Release {
            return Flow::On;
        }
        if event.modifiers.contains(KeyModifiers::CONTROL) && event.code == KeyCode::Char('c') {
            return Flow::End;
        }
        if self.typed.is_some() {
            self.type_key(event.code);
            return Flow::On;
        }
        if self.help {
            // As PoolMon: Esc closes the help; q still ends.
            self.help = false;
            return if event.code == KeyCode::Char('q') { Flow::End } else { Flow::On };
        }
        let page = self.height.max(1).cast_signed();
        match event.code {
            KeyCode::Char('q') | KeyCode::Esc => return Flow::End,
            KeyCode::Char('h' | '?') => self.help = true,
            KeyCode::Char('t') => self.sort = Sort::Tag,
            KeyCode::Char('a') => self.sort = Sort::Allocs,
            KeyCode::Char('f') => self.sort = Sort::Frees,
            KeyCode::Char('d' | 's') => self.sort = Sort::Diff,
            KeyCode::Char('b') => self.sort = Sort::Bytes,
            KeyCode::Char('m') => self.sort = Sort::PerAlloc,
            KeyCode::Char('(' | ')') => self.by_change = !self.by_change,
            KeyCode::Char('e') => self.totals = !self.totals,
            KeyCode::Char('l') => self.highlight = !self.highlight,
            KeyCode::Char('p') => self.note = "All of this pool is nonpaged.".to_owned(),
            KeyCode::Char('o') => self.by_adapter = !self.by_adapter,
            KeyCode::Char('/' | 'i') => self.typed = Some("/".to_owned()),
            KeyCode::Char('x') => self.typed = Some("x".to_owned()),
            KeyCode::Char('c') => self.filter = Default::default(),
            KeyCode::Char(' ') => self.paused = !self.paused,
            KeyCode::Char('+') => self.interval = (self.interval / 2).max(SHORTEST),
            KeyCode::Char('-') => self.interval = (self.interval * 2).min(LONGEST),
            KeyCode::Tab => self.panel = self.panel.next(),
            KeyCode::Up => self.choose(-1),
            KeyCode::Down => self.choose(1),
            KeyCode::PageUp => self.choose(-page),
            KeyCode::PageDown => self.choose(page),
            KeyCode::Home => self.choose(isize::MIN),
            KeyCode::End => self.choose(isize::MAX),
            _ => {}
        }
        self.arrange();
        Flow::On
    }

    /// The first character of what is typed says what it is for.
    fn type_key(&mut self, code: KeyCode) {
        let Some(typed) = &mut self.typed else { return };
        match code {
            KeyCode::Esc => self.typed = None,
            KeyCode::Backspace if typed.len() > 1 => {
                typed.pop();
            }
            KeyCode::Backspace => self.typed = None,
            KeyCode::Char(c) if !c.is_control() => typed.push(c),
            KeyCode::Enter => {
                let text = std::mem::take(typed);
                self.typed = None;
                match text[1..].parse() {
                    Ok(pattern) if text.starts_with('x') => self.filter.exclude.push(pattern),
                    Ok(pattern) => self.filter.include = vec![pattern],
                    // Nothing typed: all are shown.
                    Err(_) if text.len() == 1 => self.filter = Default::default(),
                    Err(why) => self.note = why,
                }
                self.arrange();
            }
            _ => {}
        }
    }
}
