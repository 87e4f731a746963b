//! The screen, drawn.

use std::time::SystemTime;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph, Row as Cells, Sparkline, Table, TableState};
use storport_pool::watch::Process;

use super::columns::{Fitted, fit};
use super::keys::HELP;
use super::panels;
use super::state::{Panel, State};
use crate::poolmon::once::{bytes, left_out, missed, time};
use crate::poolmon::rows::{Sort, total};
use crate::report::text::grouped;

/// From so many columns on, the panels stand beside the table.
const WIDE: u16 = 120;
/// The panels' columns there.
const BESIDE: u16 = 42;
/// Rows of a panel below the table, and of a screen that has one.
const BELOW: u16 = 9;
const HIGH: u16 = 18;

const BOLD: Modifier = Modifier::BOLD;

/// Draws all of it. How many rows of the table there is room for is kept for the keys.
pub(crate) fn draw(frame: &mut Frame<'_>, state: &mut State, clock: SystemTime) {
    let area = frame.area();
    let curve = if area.height >= HIGH { 3 } else { 1 };
    let [top, pool, curve, body, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(curve),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(process_line(state, clock, area.width)), top);
    frame.render_widget(Paragraph::new(pool_line(state, area.width)), pool);
    live_curve(frame, state, curve);
    let (table, panels) = if area.width >= WIDE {
        let [table, panels] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(BESIDE)]).spacing(2).areas(body);
        (table, Some(panels))
    } else if area.height >= HIGH {
        let [table, panel] = Layout::vertical([Constraint::Fill(1), Constraint::Length(BELOW)]).areas(body);
        (table, Some(panel))
    } else {
        (body, None)
    };
    draw_table(frame, state, table);
    if let Some(panels) = panels {
        if area.width >= WIDE {
            draw_all(frame, state, panels)
        } else {
            panels::draw(frame, state, state.panel, panels)
        }
    }
    frame.render_widget(Paragraph::new(bottom_line(state, area.width)), bottom);
    if state.help {
        draw_help(frame, area);
    }
}

/// All panels, one above the other; the chosen one comes first where there is no room for all.
fn draw_all(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let wanted =
        |panel| panels::lines(state, panel, usize::from(area.width), usize::from(area.height)).len() as u16;
    let mut left = area.height;
    let mut at = area.y;
    let mut panel = state.panel;
    let mut places = Vec::new();
    for _ in Panel::ALL {
        let height = (wanted(panel) + 1).min(left).min(area.height / 2);
        places.push((panel, height));
        left -= height;
        panel = panel.next();
    }
    for (panel, height) in places {
        panels::draw(frame, state, panel, Rect { y: at, height, ..area });
        at += height;
    }
}

fn process_line(state: &State, clock: SystemTime, width: u16) -> Line<'static> {
    let about = &state.about;
    let who = format!(" {} ({})", about.pid, about.name);
    let (what, color) = match about.process {
        Process::Runs => (" runs", Color::Green),
        Process::Closed => (" has ended its watch", Color::Red),
        Process::Ended => (" has ended", Color::Red),
        _ => (" is not to be seen from here", Color::Yellow),
    };
    let mut state_style = state.colored(color).add_modifier(BOLD);
    if color == Color::Red {
        state_style = state_style.add_modifier(Modifier::REVERSED);
    }
    let mut spans = vec![Span::styled(who, BOLD), Span::styled(what, state_style)];
    if let Some(picture) = &state.now {
        let age = state.age(clock).as_secs_f64();
        let last = if about.process == Process::Runs { "" } else { "last " };
        spans.push(if width >= 70 {
            let seconds =
                if about.process == Process::Runs { format!("{age:.1} s ago") } else { time(picture.time) };
            format!(", {last}picture {}, {seconds}", grouped(picture.number)).into()
        } else {
            format!(", {age:.1} s").into()
        });
        if about.process == Process::Runs && age > 3.0 && age > 3.0 * state.interval.as_secs_f64() {
            spans.push(Span::styled(" no new picture", state.colored(Color::Yellow).add_modifier(BOLD)));
        }
    }
    if state.paused {
        spans.push(Span::styled(" paused", BOLD));
    }
    Line::from(spans)
}

fn pool_line(state: &State, width: u16) -> Line<'static> {
    let Some(picture) = &state.now else { return Line::from(" no picture yet") };
    let of = &picture.snapshot;
    let misuse = if of.violations > 0 { state.colored(Color::Red).add_modifier(BOLD) } else { Style::new() };
    let mut spans = vec![if width >= 70 {
        format!(
            " Range {}, free {}, live {} in {} blocks; ",
            bytes(of.range_bytes),
            bytes(of.free_bytes),
            bytes(picture.totals.bytes_requested),
            grouped(picture.totals.live)
        )
        .into()
    } else {
        format!(" {} of {}, ", bytes(picture.totals.bytes_requested), bytes(of.range_bytes)).into()
    }];
    spans.push(Span::styled(format!("{} violations", grouped(of.violations)), misuse));
    if width >= 100 {
        spans.push(format!(", {} contended", grouped(of.contended)).into());
    }
    if of.fence_refused {
        spans.push(Span::styled(", fence refused", state.colored(Color::Yellow)));
    }
    Line::from(spans)
}

fn live_curve(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let label = 12;
    if area.width < 30 || area.height == 0 || state.live.is_empty() {
        return;
    }
    let [text, curve] = Layout::horizontal([Constraint::Length(label), Constraint::Fill(1)]).areas(area);
    let (low, high) = state.live.iter().fold((u64::MAX, 0), |(low, high), &at| (at.min(low), at.max(high)));
    let lines = if area.height >= 3 {
        vec![
            Line::from(format!(" {:>10}", bytes(high))),
            Line::from(" live bytes"),
            Line::from(format!(" {:>10}", bytes(low))),
        ]
    } else {
        vec![Line::from(" live bytes")]
    };
    frame.render_widget(Paragraph::new(lines), text);
    let skip = state.live.len().saturating_sub(usize::from(curve.width));
    // The lowest has an eighth of a cell, or a flat curve would be none.
    let span = (high - low).max(1);
    let steps = 8 * u64::from(area.height);
    let points: Vec<u64> = state
        .live
        .iter()
        .skip(skip)
        .map(|&at| 1 + (u128::from(at - low) * u128::from(steps - 1) / u128::from(span)) as u64)
        .collect();
    let line = Sparkline::default().data(points).max(steps).style(state.colored(Color::Cyan));
    frame.render_widget(line, curve);
}

fn draw_table(frame: &mut Frame<'_>, state: &mut State, area: Rect) {
    let sum = match (&state.now, state.totals) {
        (Some(now), true) => Some(total(now, state.before.as_ref())),
        _ => None,
    };
    let height = usize::from(area.height).saturating_sub(1 + usize::from(sum.is_some()));
    state.height = height;
    if state.rows.is_empty() {
        let why = match &state.now {
            None => "",
            Some(_) if state.filter.include.is_empty() && state.filter.exclude.is_empty() => {
                " no allocation yet"
            }
            Some(_) => " no tag fits the filter; c clears it",
        };
        frame.render_widget(Paragraph::new(why), area);
        return;
    }
    let mut all = state.rows.clone();
    let shown = all.len();
    all.extend(sum);
    let Fitted { columns, widths, heading, cells } = fit(&all, state.by_adapter, usize::from(area.width));
    let aligned = |line: &[String]| {
        let texts = line.iter().zip(&columns).map(|(text, column)| {
            let line = Line::from(text.clone());
            if column.is_word() { line } else { line.right_aligned() }
        });
        texts.collect::<Vec<_>>()
    };
    let suspects = state.growth.suspects();
    let rows = cells.iter().take(shown).zip(&state.rows).map(|(line, row)| {
        let suspect = suspects.iter().any(|suspect| Some(suspect.tag.raw()) == row.key.1);
        let style = match row {
            row if state.highlight && row.changed() => state.colored(Color::Yellow).add_modifier(BOLD),
            _ => Style::new(),
        };
        let mut cells = aligned(line);
        if suspect
            && let Some(place) = columns.iter().position(|column| *column == super::columns::Column::Tag)
        {
            cells[place] = cells[place]
                .clone()
                .patch_style(state.colored(Color::Red).add_modifier(Modifier::UNDERLINED));
        }
        Cells::new(cells).style(style)
    });
    let widths = widths.iter().map(|&width| Constraint::Length(width.try_into().unwrap_or(u16::MAX)));
    let mut table = Table::new(rows, widths)
        .header(Cells::new(aligned(&heading)).style(Style::new().add_modifier(BOLD | Modifier::UNDERLINED)))
        .column_spacing(1)
        .row_highlight_style(Modifier::REVERSED);
    if let Some(line) = cells.get(shown) {
        table = table.footer(Cells::new(aligned(line)).style(BOLD));
    }
    let mut place = TableState::new().with_selected(state.chosen_place());
    frame.render_stateful_widget(table, area, &mut place);
}

/// What is typed, or what there is to say, or how things are sorted.
fn bottom_line(state: &State, width: u16) -> Line<'static> {
    if let Some(typed) = &state.typed {
        let what = if typed.starts_with('x') { "exclude" } else { "filter" };
        return Line::from(format!(" {what}: {}_", &typed[1..]));
    }
    let missing = state.now.as_ref().map(|now| [left_out(now), missed(now)].join(" ")).unwrap_or_default();
    let note = [state.note.as_str(), missing.trim()].join(" ");
    if !note.trim().is_empty() {
        return Line::from(Span::styled(
            format!(" {}", note.trim()),
            state.colored(Color::Yellow).add_modifier(BOLD),
        ));
    }
    let by = match state.sort {
        Sort::Tag => "tag",
        Sort::Allocs => "allocs",
        Sort::Frees => "frees",
        Sort::Diff => "diff",
        Sort::Bytes => "bytes",
        Sort::PerAlloc => "per alloc",
    };
    let change = if state.by_change && state.sort != Sort::Tag { "change in " } else { "" };
    let mut text = format!(" sorted by {change}{by}");
    let join = |patterns: &[crate::poolmon::filter::Pattern]| {
        patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    if !state.filter.include.is_empty() {
        text += &format!(", only {}", join(&state.filter.include));
    }
    if !state.filter.exclude.is_empty() {
        text += &format!(", without {}", join(&state.filter.exclude));
    }
    let keys = if width >= 70 {
        "   h help, q quit, Tab panels, o by adapter, / filter"
    } else {
        "  h help, q quit"
    };
    Line::from(text + keys)
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let lines: Vec<_> = HELP
        .iter()
        .map(|(key, what)| Line::from(vec![Span::styled(format!(" {key:<10}"), BOLD), Span::from(*what)]))
        .collect();
    let height = (lines.len() as u16 + 3).min(area.height);
    let mut text = vec![Line::styled(" Keys (any key closes this)", BOLD | Modifier::UNDERLINED)];
    // A low screen has two columns of them, if there is room.
    let width = 54.min(area.width);
    let room = usize::from(height.saturating_sub(2));
    if room < lines.len() && area.width >= 100 {
        let (left, right) = lines.split_at(lines.len().div_ceil(2));
        for (place, line) in left.iter().enumerate() {
            let mut spans = line.spans.clone();
            let used: usize = spans.iter().map(Span::width).sum();
            spans.push(" ".repeat(50_usize.saturating_sub(used)).into());
            spans.extend(right.get(place).map(|line| line.spans.clone()).unwrap_or_default());
            text.push(Line::from(spans));
        }
    } else {
        text.extend(lines);
    }
    text.push(Line::from(" A tag underlined: its live count only rises."));
    let two = text.len() < HELP.len();
    let place = Rect {
        width: if two { 100.min(area.width) } else { width },
        height: (text.len() as u16).min(area.height),
        ..area
    };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(text), place);
}
