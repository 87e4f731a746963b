//! What PoolMon has not: sizes of a tag, adapters, CPUs' caches, growth suspects.

use std::collections::BTreeMap;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::columns::short;
use super::state::{Panel, State};
use crate::poolmon::once::bytes;
use crate::poolmon::rows;

/// A bar of so many eighths of a cell.
fn bar(part: u64, of: u64, cells: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (u128::from(part) * 8 * cells as u128 / u128::from(of.max(1))) as usize;
    let eighths = eighths.min(8 * cells).max(usize::from(part > 0));
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8]);
    }
    bar
}

fn heading(state: &State, panel: Panel) -> String {
    match panel {
        Panel::Sizes => {
            let row = state.chosen_row();
            let of = row.map_or_else(String::new, |row| format!(" of {}", row.tag));
            format!("Allocations by size{of}")
        }
        Panel::Adapters => "Adapters".to_owned(),
        Panel::Cpus => "Free blocks in CPUs' caches".to_owned(),
        Panel::Suspects => format!("Only risen in {} pictures", state.growth.pictures()),
    }
}

/// The panel's lines but its heading, at most so many. What has no room is counted in the last one.
pub(super) fn lines(state: &State, panel: Panel, width: usize, room: usize) -> Vec<Line<'static>> {
    let mut lines = match panel {
        Panel::Sizes => sizes(state, width),
        Panel::Adapters => adapters(state, width),
        Panel::Cpus => cpus(state, width),
        Panel::Suspects => suspects(state),
    };
    if lines.len() > room && room > 0 {
        let more = lines.len() - room + 1;
        lines.truncate(room - 1);
        lines.push(Line::from(format!(" and {more} more")));
    }
    lines
}

pub(super) fn draw(frame: &mut Frame<'_>, state: &State, panel: Panel, area: Rect) {
    if area.height < 2 {
        return;
    }
    let room = usize::from(area.height) - 1;
    let title = format!("{:<width$}", format!(" {}", heading(state, panel)), width = usize::from(area.width));
    let mut text =
        vec![Line::styled(title, Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED))];
    text.extend(lines(state, panel, usize::from(area.width), room));
    frame.render_widget(Paragraph::new(text), area);
}

/// Label, number, bar.
fn drawn(state: &State, label: String, amount: u64, most: u64, width: usize) -> Line<'static> {
    let text = format!(" {label} {:>6} ", short(amount));
    let cells = width.saturating_sub(text.chars().count() + 1);
    Line::from(vec![text.into(), Span::styled(bar(amount, most, cells), state.colored(Color::Cyan))])
}

fn sizes(state: &State, width: usize) -> Vec<Line<'static>> {
    let Some(row) = state.chosen_row() else { return Vec::new() };
    let most = row.histogram.iter().map(|(_, allocs)| *allocs).max().unwrap_or(0);
    let label = |size: u32| if size == 0 { "larger".to_owned() } else { size.to_string() };
    row.histogram
        .iter()
        .map(|&(size, allocs)| drawn(state, format!("{:>6}", label(size)), allocs, most, width))
        .collect()
}

fn adapters(state: &State, width: usize) -> Vec<Line<'static>> {
    let Some(now) = &state.now else { return Vec::new() };
    let mut sums: BTreeMap<(bool, u32), (String, u64, u64, usize)> = BTreeMap::new();
    for row in rows::accounts(now, None) {
        let key = (row.key.0.is_none(), row.key.0.unwrap_or(0));
        let sum = sums.entry(key).or_insert_with(|| (row.adapter.clone().unwrap_or_default(), 0, 0, 0));
        sum.1 = sum.1.saturating_add(row.diff.now);
        sum.2 = sum.2.saturating_add(row.bytes.now);
        sum.3 += 1;
    }
    let name = width.saturating_sub(26).clamp(6, 20);
    let line = |(label, live, held, tags): &(String, u64, u64, usize)| {
        let label: String = label.chars().take(name).collect();
        let tags = format!("{tags} tag{}", if *tags == 1 { "" } else { "s" });
        Line::from(format!(" {label:<name$} {:>5} {:>10} {tags:>7}", short(*live), bytes(*held)))
    };
    sums.values().map(line).collect()
}

fn cpus(state: &State, width: usize) -> Vec<Line<'static>> {
    let Some(now) = &state.now else { return Vec::new() };
    let cpus = &now.snapshot.cpus;
    let most = cpus.iter().map(|row| row.bytes).max().unwrap_or(0);
    let line = |row: &storport_pool::CpuRow| {
        let label = format!("{:>3} {:>10} in", row.cpu, bytes(row.bytes));
        let text = format!(" {label} {:>5} ", short(row.blocks));
        let cells = width.saturating_sub(text.chars().count() + 1);
        Line::from(vec![text.into(), Span::styled(bar(row.bytes, most, cells), state.colored(Color::Cyan))])
    };
    cpus.iter().map(line).collect()
}

fn suspects(state: &State) -> Vec<Line<'static>> {
    let found = state.growth.suspects();
    if found.is_empty() {
        return vec![Line::from(" none")];
    }
    let line = |suspect: &crate::poolmon::growth::Suspect| {
        let grew = suspect.to - suspect.from;
        let tag =
            Span::styled(format!(" {}", suspect.tag), state.colored(Color::Red).add_modifier(Modifier::BOLD));
        Line::from(vec![
            tag,
            format!(" +{} ({} to {})", short(grew), short(suspect.from), short(suspect.to)).into(),
        ])
    };
    found.iter().map(line).collect()
}
