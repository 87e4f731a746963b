//! What the screen shows: pictures, and what the keys chose.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use ratatui::style::{Color, Style};
use storport_pool::watch::{Picture, Process};

use crate::poolmon::filter::Filter;
use crate::poolmon::growth::Growth;
use crate::poolmon::once::About;
use crate::poolmon::rows::{self, Key, Row, Sort};

/// Points of the curve of live bytes that are kept: as many as the widest terminal has columns.
const POINTS: usize = 512;

/// What stands below the table, or beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Panel {
    Sizes,
    Adapters,
    Cpus,
    Suspects,
}

impl Panel {
    pub(crate) const ALL: [Panel; 4] = [Panel::Sizes, Panel::Adapters, Panel::Cpus, Panel::Suspects];

    pub(crate) fn next(self) -> Panel {
        let place = Panel::ALL.iter().position(|panel| *panel == self).unwrap_or(0);
        Panel::ALL[(place + 1) % Panel::ALL.len()]
    }
}

/// All of it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) about: About,
    pub(crate) now: Option<Picture>,
    pub(crate) before: Option<Picture>,
    pub(crate) growth: Growth,
    /// Live bytes by picture.
    pub(crate) live: VecDeque<u64>,
    /// The rows as they are shown.
    pub(crate) rows: Vec<Row>,
    pub(crate) filter: Filter,
    pub(crate) sort: Sort,
    pub(crate) by_change: bool,
    pub(crate) by_adapter: bool,
    pub(crate) totals: bool,
    pub(crate) highlight: bool,
    pub(crate) color: bool,
    pub(crate) panel: Panel,
    pub(crate) help: bool,
    pub(crate) paused: bool,
    /// A pattern that is being typed.
    pub(crate) typed: Option<String>,
    /// What there is to say.
    pub(crate) note: String,
    pub(crate) interval: Duration,
    /// The chosen row; it keeps its place in the order, not on the screen.
    pub(crate) chosen: Option<Key>,
    /// Rows of the table that the screen has, as it was drawn last.
    pub(crate) height: usize,
}

impl State {
    /// A new picture, or the same one again, or a reason why there is none.
    pub(crate) fn take(&mut self, read: Result<Picture, String>, process: Process) {
        self.about.process = process;
        match read {
            Ok(picture) => {
                self.note.clear();
                if self.now.as_ref().is_none_or(|now| now.number != picture.number) {
                    self.growth.add(&picture);
                    self.live.push_back(picture.totals.bytes_requested);
                    if self.live.len() > POINTS {
                        self.live.pop_front();
                    }
                    self.before = self.now.replace(picture);
                }
            }
            // The last picture stays.
            Err(why) => self.note = why,
        }
        self.arrange();
    }

    /// The rows anew, after a key.
    pub(crate) fn arrange(&mut self) {
        let Some(now) = &self.now else { return };
        let of = if self.by_adapter { rows::accounts } else { rows::tags };
        let mut rows = of(now, self.before.as_ref());
        rows::arrange(&mut rows, &self.filter, self.sort, self.by_change);
        self.rows = rows;
        if self.chosen_place().is_none() {
            self.chosen = self.rows.first().map(|row| row.key);
        }
    }

    pub(crate) fn chosen_place(&self) -> Option<usize> {
        self.rows.iter().position(|row| Some(row.key) == self.chosen)
    }

    pub(crate) fn chosen_row(&self) -> Option<&Row> {
        self.rows.get(self.chosen_place()?)
    }

    /// Moves the choice by so many rows.
    pub(crate) fn choose(&mut self, by: isize) {
        let last = self.rows.len().saturating_sub(1);
        let place = self.chosen_place().unwrap_or(0).saturating_add_signed(by).min(last);
        self.chosen = self.rows.get(place).map(|row| row.key);
    }

    /// A style with this colour, where there are colours.
    pub(crate) fn colored(&self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    /// How old the picture is, by this machine's clock.
    pub(crate) fn age(&self, clock: SystemTime) -> Duration {
        let time = self.now.as_ref().map(|picture| picture.time);
        time.and_then(|time| clock.duration_since(time).ok()).unwrap_or_default()
    }
}
