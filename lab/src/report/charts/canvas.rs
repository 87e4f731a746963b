//! An area to draw on in the data's own units.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{TIMER_DASHES, colour, dashes};

type Failure = Box<dyn std::error::Error>;
pub(super) type Drawn = Result<(), Failure>;

/// Who draws. Stands in an SVG as a colour that the page's own replaces, so that one drawing serves light
/// and dark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pen {
    Ink,
    Grid,
    Timer,
    /// An allocator, by its place.
    Allocator(usize),
}

impl Pen {
    fn stand_in(self) -> RGBColor {
        match self {
            Pen::Ink => RGBColor(1, 1, 1),
            Pen::Grid => RGBColor(1, 1, 2),
            Pen::Timer => RGBColor(1, 1, 3),
            Pen::Allocator(place) => RGBColor(1, 2, u8::try_from(place).unwrap_or(u8::MAX)),
        }
    }

    fn colour(self) -> String {
        match self {
            Pen::Ink => "currentColor".to_owned(),
            Pen::Grid => "var(--grid)".to_owned(),
            Pen::Timer => "var(--timer)".to_owned(),
            Pen::Allocator(place) => colour(place),
        }
    }

    fn dashes(self) -> &'static str {
        match self {
            Pen::Ink | Pen::Grid => "",
            Pen::Timer => TIMER_DASHES,
            Pen::Allocator(place) => dashes(place),
        }
    }

    /// Puts the page's colours, and dashes, into a drawing.
    fn dip(self, svg: &str) -> String {
        let RGBColor(r, g, b) = self.stand_in();
        let stand_in = format!("#{r:02X}{g:02X}{b:02X}");
        let (colour, dashes) = (self.colour(), self.dashes());
        let stroke = match dashes {
            "" => format!("stroke=\"{colour}\""),
            dashes => format!("stroke=\"{colour}\" stroke-dasharray=\"{dashes}\""),
        };
        svg.replace(&format!("stroke=\"{stand_in}\""), &stroke)
            .replace(&format!("fill=\"{stand_in}\""), &format!("fill=\"{colour}\""))
    }
}

/// Size of all writing.
pub(super) const LABEL: i32 = 15;

/// Which end of a text stands at its point.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Left,
    Middle,
    Right,
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

/// A drawing.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

impl Canvas<'_> {
    pub(super) fn line(&self, points: impl IntoIterator<Item = (i32, i32)>, pen: Pen, width: u32) -> Drawn {
        let points: Vec<_> = points.into_iter().collect();
        Ok(self.area.draw(&PathElement::new(points, pen.stand_in().stroke_width(width)))?)
    }

    pub(super) fn bar(&self, corners: [(i32, i32); 2], pen: Pen, strength: f64) -> Drawn {
        Ok(self.area.draw(&Rectangle::new(corners, pen.stand_in().mix(strength).filled()))?)
    }

    pub(super) fn dot(&self, at: (i32, i32), radius: i32, pen: Pen) -> Drawn {
        Ok(self.area.draw(&Circle::new(at, radius, pen.stand_in().filled()))?)
    }

    /// A stick up to each point.
    pub(super) fn sticks(&self, plot: &Plot, points: impl Iterator<Item = (i32, i32)>, pen: Pen) -> Drawn {
        let bottom = plot.bottom();
        let stick = |(x, y): (i32, i32)| {
            let top = y.min(bottom - 1);
            [(x - 1, bottom), (x - 1, top), (x + 1, top), (x + 1, bottom)]
        };
        let corners: Vec<_> = points.flat_map(stick).collect();
        Ok(self.area.draw(&Polygon::new(corners, pen.stand_in().filled()))?)
    }

    pub(super) fn text(&self, text: &str, at: (i32, i32), side: Side, bold: bool) -> Drawn {
        let side = match side {
            Side::Left => HPos::Left,
            Side::Middle => HPos::Center,
            Side::Right => HPos::Right,
        };
        let weight = if bold { FontStyle::Bold } else { FontStyle::Normal };
        let ink = Pen::Ink.stand_in();
        let style = TextStyle::from(("sans-serif", LABEL, weight).into_font())
            .color(&ink)
            .pos(Pos::new(side, VPos::Center));
        Ok(self.area.draw(&Text::new(text.to_owned(), at, style))?)
    }

    /// Grid lines across, each with its label on the left.
    pub(super) fn across(&self, plot: &Plot, ticks: impl IntoIterator<Item = (f64, String)>) -> Drawn {
        for (value, label) in ticks {
            let (_, y) = plot.at(plot.x.start, value);
            self.line([(plot.left, y), (plot.right(), y)], Pen::Grid, 1)?;
            self.text(&label, (plot.left - 6, y), Side::Right, false)?;
        }
        Ok(())
    }

    /// Grid lines up, each with its label below.
    pub(super) fn up(&self, plot: &Plot, ticks: impl IntoIterator<Item = (f64, String)>) -> Drawn {
        for (value, label) in ticks {
            let (x, _) = plot.at(value, plot.y.start);
            self.line([(x, plot.top), (x, plot.bottom())], Pen::Grid, 1)?;
            self.text(&label, (x, plot.bottom() + 12), Side::Middle, false)?;
        }
        Ok(())
    }
}

/// Draws an SVG and hands it over to the page. `allocators` places are in use.
pub(super) fn svg(
    (width, height): (i32, i32),
    label: &str,
    allocators: usize,
    draw: impl FnOnce(&Canvas<'_>) -> Drawn,
) -> Result<String, String> {
    let size = (width.unsigned_abs(), height.unsigned_abs());
    let mut text = String::new();
    {
        let canvas = Canvas { area: SVGBackend::with_string(&mut text, size).into_drawing_area() };
        draw(&canvas)
            .and_then(|()| Ok(canvas.area.present()?))
            .map_err(|error| format!("the chart '{label}': {error}"))?;
    }
    let pens = [Pen::Ink, Pen::Grid, Pen::Timer].into_iter().chain((0..allocators).map(Pen::Allocator));
    for pen in pens {
        text = pen.dip(&text);
    }
    // Without a fixed size it fits its column.
    let fixed = format!("<svg width=\"{}\" height=\"{}\" ", size.0, size.1);
    let label = label.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    Ok(text.replacen(&fixed, &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1))
}
