//! An area to draw on in the data's own units. What is drawn is SVG whose colours are classes of the style sheet, so that
//! one drawing serves light and dark.

use std::fmt::Write;
use std::ops::Range;

use maud::{Markup, PreEscaped, html};

use super::{PALETTE, class, style};

/// Who draws: a class of the style sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pen {
    Ink,
    Grid,
    Timer,
    /// An allocator, by its place.
    Allocator(usize),
    Faster,
    Slower,
}

impl Pen {
    fn class(self) -> String {
        match self {
            Pen::Ink => "ink".to_owned(),
            Pen::Grid => "grid".to_owned(),
            Pen::Timer => "timer".to_owned(),
            Pen::Allocator(place) => class(place),
            Pen::Faster => "faster".to_owned(),
            Pen::Slower => "slower".to_owned(),
        }
    }
}

/// Size of all writing, as the style sheet has it.
pub(super) const LABEL: i32 = 12;

/// Which end of a text stands at its point.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Left,
    Middle,
    Right,
}

/// How a text is written.
#[derive(Clone, Copy)]
pub(super) enum Face {
    Plain,
    Bold,
    Dim,
}

/// Where the data goes on a drawing, in its own units on both axes.
#[derive(Clone)]
pub(super) struct Plot {
    /// From the left and the top of the drawing.
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) x: Range<f64>,
    pub(super) y: Range<f64>,
}

impl Plot {
    pub(super) fn at(&self, x: f64, y: f64) -> (i32, i32) {
        let share = |value: f64, range: &Range<f64>| {
            let length = range.end - range.start;
            if length > 0.0 { ((value - range.start) / length).clamp(0.0, 1.0) } else { 0.0 }
        };
        let right = share(x, &self.x) * f64::from(self.width);
        let up = share(y, &self.y) * f64::from(self.height);
        (self.left + right.round() as i32, self.top + self.height - up.round() as i32)
    }

    pub(super) fn right(&self) -> i32 {
        self.left + self.width
    }

    pub(super) fn bottom(&self) -> i32 {
        self.top + self.height
    }
}

/// What was drawn, and how large it is.
pub(in super::super) struct Drawing {
    pub(in super::super) size: (i32, i32),
    /// What it shows, for who does not see it.
    pub(in super::super) label: String,
    pub(in super::super) body: Markup,
}

impl Drawing {
    /// In a page, whose style sheet it takes. Without a fixed size it fits its column.
    pub(in super::super) fn inline(&self) -> Markup {
        let (width, height) = self.size;
        html! { svg viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(self.label) { (self.body) } }
    }

    /// As a file of its own that brings its colours; shown at so many hundredths of its size, where there is room.
    pub(in super::super) fn alone(&self, scale: i32) -> String {
        let (width, height) = self.size;
        let shown = |length: i32| length * scale / 100;
        let style = [PALETTE, &style()].concat();
        let drawing = html! {
            svg xmlns="http://www.w3.org/2000/svg" width=(shown(width)) height=(shown(height))
                viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(self.label) {
                style { (PreEscaped(style)) }
                rect class="paper" width=(width) height=(height) {}
                (self.body)
            }
        };
        drawing.into_string() + "\n"
    }

    /// Several in one, side by side where there is more than one column, each under its name.
    pub(in super::super) fn many<'a>(
        label: &str,
        shared: Option<&Markup>,
        all: impl Iterator<Item = (&'a str, &'a Drawing)>,
        columns: usize,
    ) -> Drawing {
        let mut canvas = Canvas::default();
        if let Some(shared) = shared {
            canvas.add(&html! { defs { (shared) } });
        }
        let all: Vec<_> = all.collect();
        let (mut top, mut widest) = (0, 0);
        for row in all.chunks(columns.max(1)) {
            let (mut left, mut tallest) = (0, 0);
            for (name, drawing) in row {
                let (width, height) = drawing.size;
                canvas.text(name, (left + APART, top + APART), Side::Left, Face::Bold);
                canvas.add(&html! {
                    svg x=(left + APART) y=(top + 2 * APART) width=(width) height=(height) { (drawing.body) }
                });
                left += width + APART;
                tallest = tallest.max(height);
            }
            top += tallest + 3 * APART;
            widest = widest.max(left);
        }
        canvas.done((widest + APART, top), label.to_owned())
    }
}

/// Between drawings.
const APART: i32 = 14;

/// A drawing that is made.
#[derive(Default)]
pub(super) struct Canvas {
    body: String,
}

impl Canvas {
    fn add(&mut self, markup: &Markup) {
        self.body.push_str(&markup.0);
    }

    pub(super) fn done(self, size: (i32, i32), label: String) -> Drawing {
        Drawing { size, label, body: PreEscaped(self.body) }
    }

    /// What is drawn so far, to be drawn again by [`Canvas::again`] in each drawing of a page.
    pub(super) fn shared(self, id: &str) -> Markup {
        html! { g id=(id) { (PreEscaped(self.body)) } }
    }

    pub(super) fn again(&mut self, id: &str) {
        self.add(&html! { use href=(format!("#{id}")) {} });
    }

    pub(super) fn line(&mut self, points: impl IntoIterator<Item = (i32, i32)>, pen: Pen) {
        self.path(&path(points), &pen.class());
    }

    /// The same, as thin as the grid.
    pub(super) fn thin(&mut self, points: impl IntoIterator<Item = (i32, i32)>, pen: Pen) {
        self.path(&path(points), &format!("{} thin", pen.class()));
    }

    fn path(&mut self, data: &str, class: &str) {
        self.add(&html! { path class=(class) d=(data) {} });
    }

    /// A bar between two corners, of this strength: 3, 2 or 1.
    pub(super) fn bar(&mut self, [(left, top), (right, bottom)]: [(i32, i32); 2], pen: Pen, strength: u8) {
        let class = match strength {
            3.. => pen.class(),
            2 => format!("{} half", pen.class()),
            _ => format!("{} third", pen.class()),
        };
        self.add(&html! {
            rect class=(class) x=(left) y=(top) width=((right - left).max(1)) height=(bottom - top) {}
        });
    }

    /// Steps from point to point, filled down to the plot's bottom.
    pub(super) fn steps(&mut self, plot: &Plot, points: impl Iterator<Item = (i32, i32)>, pen: Pen) {
        let bottom = plot.bottom();
        let mut outline = vec![(plot.left, bottom)];
        for (x, y) in points {
            let before = outline.last().map_or(bottom, |&(_, y)| y);
            outline.extend([(x, before), (x, y.min(bottom - 1))]);
        }
        let last = outline.last().map_or(bottom, |&(_, y)| y);
        outline.extend([(plot.right(), last), (plot.right(), bottom)]);
        let class = format!("{} fill", pen.class());
        self.path(&path(outline), &class);
    }

    pub(super) fn text(&mut self, text: &str, (x, y): (i32, i32), side: Side, face: Face) {
        let side = match side {
            Side::Left => "",
            Side::Middle => "mid",
            Side::Right => "end",
        };
        let face = match face {
            Face::Plain => "",
            Face::Bold => "bold",
            Face::Dim => "pale",
        };
        let class = [side, face].join(" ");
        let class = Some(class.trim()).filter(|class| !class.is_empty());
        self.add(&html! { text x=(x) y=(y) class=[class] { (text) } });
    }

    /// Grid lines across, each with its label on the left.
    pub(super) fn across(&mut self, plot: &Plot, ticks: impl IntoIterator<Item = (f64, String)>) {
        for (value, label) in ticks {
            let (_, y) = plot.at(plot.x.start, value);
            self.line([(plot.left, y), (plot.right(), y)], Pen::Grid);
            self.text(&label, (plot.left - 5, y), Side::Right, Face::Plain);
        }
    }

    /// Grid lines up, each with its label below.
    pub(super) fn up(&mut self, plot: &Plot, ticks: impl IntoIterator<Item = (f64, String)>) {
        for (value, label) in ticks {
            let (x, _) = plot.at(value, plot.y.start);
            self.line([(x, plot.top), (x, plot.bottom())], Pen::Grid);
            if !label.is_empty() {
                self.text(&label, (x, plot.bottom() + LABEL), Side::Middle, Face::Plain);
            }
        }
    }
}

/// A line through points, in as few characters as it needs: a point between two others on one straight way says nothing.
fn path(points: impl IntoIterator<Item = (i32, i32)>) -> String {
    let mut kept: Vec<(i32, i32)> = Vec::new();
    for point in points {
        while let [.., before, last] = kept.as_slice() {
            let (way, on) = ((last.0 - before.0, last.1 - before.1), (point.0 - last.0, point.1 - last.1));
            let straight = way.0 * on.1 == way.1 * on.0 && way.0 * on.0 + way.1 * on.1 >= 0;
            if !straight {
                break;
            }
            kept.pop();
        }
        if kept.last() != Some(&point) {
            kept.push(point);
        }
    }
    let mut data = String::new();
    let mut at: Option<(i32, i32)> = None;
    let mut lines = false;
    for (x, y) in kept {
        // Writing to a string does not fail.
        let _ = match at {
            None => write!(data, "M{x} {y}"),
            Some((_, from)) if from == y => write!(data, "h{}", x - at.unwrap_or_default().0),
            Some((from, _)) if from == x => write!(data, "v{}", y - at.unwrap_or_default().1),
            Some(from) => {
                let (right, down) = (x - from.0, y - from.1);
                let letter = match lines {
                    false => "l",
                    true if right < 0 => "",
                    true => " ",
                };
                let gap = if down < 0 { "" } else { " " };
                write!(data, "{letter}{right}{gap}{down}")
            }
        };
        lines = at.is_some_and(|from| from.0 != x && from.1 != y);
        at = Some((x, y));
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_short_and_go_where_they_should() {
        assert_eq!(path([]), "");
        assert_eq!(path([(1, 2)]), "M1 2");
        assert_eq!(path([(0, 5), (10, 5), (20, 5), (20, 0), (30, 2), (40, 1)]), "M0 5h20v-5l10 2 10-1");
        assert_eq!(path([(0, 0), (1, 1), (2, 2), (4, 4), (3, 3)]), "M0 0l4 4-1-1");
        assert_eq!(path([(3, 3), (3, 3), (3, 3)]), "M3 3");
        assert_eq!(path([(0, 0), (5, 5), (9, 5), (12, 6)]), "M0 0l5 5h4l3 1");
        // There and back again is no straight way.
        assert_eq!(path([(0, 0), (9, 0), (4, 0)]), "M0 0h9h-5");
    }
}
