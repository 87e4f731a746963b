//! Resident bytes over the bytes asked for.

use super::Drawing;
use super::canvas::{Canvas, Face, Pen, Plot, Side};
use crate::results::Memory;

const WIDTH: i32 = 440;
const BAR: i32 = 13;
const GROUP: i32 = 3 * BAR + 8;
const LEFT: i32 = 118;

/// At the peak, after everything was freed, after a trim: how strongly each is drawn.
const STRENGTHS: [(&str, u8); 3] = [("peak", 3), ("freed", 2), ("trimmed", 1)];

/// A group of bars for each allocator of a scenario: its place, its name, its memory.
pub(in super::super) fn draw(scenario: &str, groups: &[(usize, &str, Memory)]) -> Drawing {
    let over = |memory: &Memory| memory.grown().map(|bytes| bytes as f64 / memory.payload as f64);
    let longest = groups.iter().flat_map(|(_, _, memory)| over(memory)).fold(1.0, f64::max);
    let plot = Plot {
        left: LEFT,
        top: 6,
        width: WIDTH - LEFT - 88,
        height: GROUP * groups.len() as i32,
        x: 0.0..longest,
        y: 0.0..1.0,
    };
    let mut canvas = Canvas::default();
    let step = if longest > 3.0 { (longest / 4.0).ceil() } else { 0.5 };
    let ticks = (0..=6).map(|tick| step * f64::from(tick)).filter(|value| *value <= longest);
    canvas.up(&plot, ticks.map(|value| (value, value.to_string())));
    for (row, (place, name, memory)) in groups.iter().enumerate() {
        let top = plot.top + GROUP * row as i32 + 4;
        let face = if *place == 0 { Face::Bold } else { Face::Plain };
        canvas.text(name, (LEFT - 8, top + 3 * BAR / 2), Side::Right, face);
        for (bar, ((what, strength), value)) in STRENGTHS.iter().zip(over(memory)).enumerate() {
            let y = top + BAR * bar as i32;
            let (x, _) = plot.at(value, 0.0);
            canvas.bar([(LEFT, y + 1), (x, y + BAR - 1)], Pen::Allocator(*place), *strength);
            canvas.text(&format!("{value:.2} {what}"), (x + 5, y + BAR / 2), Side::Left, Face::Plain);
        }
    }
    // What was asked for.
    let (x, _) = plot.at(1.0, 0.0);
    canvas.thin([(x, plot.top), (x, plot.bottom())], Pen::Ink);
    canvas.done((WIDTH, plot.bottom() + 22), format!("resident bytes over bytes asked for in {scenario}"))
}
