//! Pictures as SVG.

use std::error::Error as StdError;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::curves::{Curve, Curves, range};
use crate::checkpoint::folder;
use crate::error::{Error, Result};
use crate::train::Event;

/// Width and height of the loss curve, in pixels.
const SIZE: (u32, u32) = (800, 450);
/// Width of the panels together, height of a row of them, and of a line of the legend.
const PANELS: (u32, u32) = (1200, 380);
const LEGEND_LINE: u32 = 22;
/// Pixels that a character of the legend takes, roughly.
const CHARACTER: u32 = 8;

/// Colours that also the colour-blind tell apart (Okabe and Ito), without the yellow.
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

type Drawn = std::result::Result<(), Box<dyn StdError>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A curve with its looks.
struct Line {
    /// Its name in the legend of its panel, if it has one.
    name: Option<&'static str>,
    points: Curve,
    color: RGBColor,
    /// Dashes, with a mark at each point.
    dashed: bool,
}

/// Curves on the same axes.
struct Panel<'a> {
    caption: &'a str,
    /// What the values are.
    values: &'a str,
    lines: Vec<Line>,
}

/// Draws the training loss of every logged interval or epoch, and the validation loss, over the
/// steps.
///
/// # Errors
/// [`Error::Write`] if the file cannot be written.
pub fn loss_curve(path: &Path, title: &str, events: &[Event]) -> Result<()> {
    write(path, |picture| draw_loss(picture, title, events))
}

/// Draws runs over each other, by name: losses, learning rate, gradient norm and tokens per second
/// over the steps.
///
/// # Errors
/// [`Error::Write`] if the file cannot be written.
pub fn panels(path: &Path, runs: &[(String, Curves)]) -> Result<()> {
    write(path, |picture| draw_panels(picture, runs))
}

fn write(path: &Path, draw: impl FnOnce(&mut String) -> Drawn) -> Result<()> {
    let mut picture = String::new();
    // Drawing goes to memory and cannot run out of anything but that.
    draw(&mut picture).map_err(|e| Error::Run {
        path: path.to_owned(),
        what: format!("drawing failed: {e}"),
    })?;
    folder::replace(path, picture.as_bytes())
}

fn draw_loss(picture: &mut String, title: &str, events: &[Event]) -> Drawn {
    let curves = Curves::of(events);
    let line = |name, points, color| Line {
        name: Some(name),
        points,
        color,
        dashed: false,
    };
    let area = SVGBackend::with_string(picture, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let panel = Panel {
        caption: title,
        values: "loss (nats per token)",
        lines: vec![
            line("train", curves.train, RGBColor(31, 119, 180)),
            line("validation", curves.valid, RGBColor(214, 39, 40)),
        ],
    };
    panel.draw(&area)?;
    area.present()?;
    Ok(())
}

fn draw_panels(picture: &mut String, runs: &[(String, Curves)]) -> Drawn {
    let (width, height) = PANELS;
    let legend = Legend::of(runs.iter().map(|(name, _)| name.as_str()));
    let size = (width, legend.height() + 2 * height);
    let area = SVGBackend::with_string(picture, size).into_drawing_area();
    area.fill(&WHITE)?;
    let (top, rest) = area.split_vertically(legend.height());
    legend.draw(&top)?;
    let lines = |curve: fn(&Curves) -> &Curve, dashed| {
        let line = move |(index, (_, curves)): (usize, &(String, Curves))| Line {
            name: None,
            points: curve(curves).clone(),
            color: color(index),
            dashed,
        };
        runs.iter().enumerate().map(line)
    };
    let losses = lines(|c| &c.train, false).chain(lines(|c| &c.valid, true));
    let panel = |caption, values, lines| Panel {
        caption,
        values,
        lines,
    };
    let panels = [
        panel("loss", "nats per token", losses.collect()),
        panel("learning rate", "", lines(|c| &c.lr, false).collect()),
        panel(
            "gradient norm",
            "before clipping",
            lines(|c| &c.gradient_norm, false).collect(),
        ),
        panel(
            "speed",
            "tokens per second",
            lines(|c| &c.tokens_per_second, false).collect(),
        ),
    ];
    for (area, panel) in rest.split_evenly((2, 2)).iter().zip(panels) {
        panel.draw(area)?;
    }
    area.present()?;
    Ok(())
}

/// The colour of run `index`: of the palette, and beyond it hues a golden angle apart.
fn color(index: usize) -> RGBColor {
    COLORS.get(index).copied().unwrap_or_else(|| {
        let hue = index as f64 * 0.381_966;
        let (r, g, b) = HSLColor(hue.fract(), 0.6, 0.4).rgb();
        RGBColor(r, g, b)
    })
}

impl Panel<'_> {
    fn draw(self, area: &Area<'_>) -> Drawn {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let last_step = points().map(|p| p.0).fold(1.0, f64::max);
        let (lowest, highest) = range(points().map(|p| p.1));
        let margin = 0.05 * (highest - lowest);
        let mut chart = ChartBuilder::on(area)
            .caption(self.caption, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..last_step, lowest - margin..highest + margin)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("step")
            .y_desc(self.values)
            .x_label_formatter(&|step| short(*step))
            .y_label_formatter(&|value| short(*value))
            .draw()?;
        let mut named = false;
        for line in self.lines {
            let points = line.points.into_iter().filter(|p| p.1.is_finite());
            // What lies far outside of the axis has no place in pixels.
            let points = points.map(|(at, value)| (at, value.clamp(lowest, highest)));
            let points: Curve = points.collect();
            if points.is_empty() {
                continue;
            }
            let style = line.color.stroke_width(2);
            if line.dashed || points.len() == 1 {
                let mark = |&point| Circle::new(point, 3, line.color.filled());
                chart.draw_series(points.iter().map(mark))?;
            }
            let drawn = match line.dashed {
                true => chart.draw_series(DashedLineSeries::new(points, 6, 4, style))?,
                false => chart.draw_series(LineSeries::new(points, style))?,
            };
            if let Some(name) = line.name {
                named = true;
                let key = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style);
                drawn.label(name).legend(key);
            }
        }
        if named {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .background_style(WHITE)
                .border_style(BLACK)
                .draw()?;
        }
        Ok(())
    }
}

/// A number with as many digits as an axis needs: "250k", "1.5", "2e-5".
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        1e6.. => format!("{}M", round(value / 1e6)),
        1e4.. => format!("{}k", round(value / 1e3)),
        1e-3.. => round(value).to_string(),
        // Where a label should be zero, it may be off by a rounding.
        ..1e-12 => "0".to_owned(),
        _ => format!("{value:.0e}"),
    }
}

/// To four digits behind the point.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// The names of runs with their colours, in lines.
struct Legend<'a> {
    /// Of each name: the line, and where it begins on it.
    entries: Vec<(&'a str, u32, u32)>,
}

impl<'a> Legend<'a> {
    fn of(names: impl Iterator<Item = &'a str>) -> Self {
        let (mut line, mut x) = (0, 0);
        let place = |name: &'a str| {
            let width = 60 + CHARACTER * name.chars().count() as u32;
            if x > 0 && x + width > PANELS.0 {
                (line, x) = (line + 1, 0);
            }
            let entry = (name, line, x);
            x += width;
            entry
        };
        Legend {
            entries: names.map(place).collect(),
        }
    }

    /// With a line for what dashes mean.
    fn height(&self) -> u32 {
        let lines = self.entries.last().map_or(0, |(_, line, _)| line + 1);
        (lines + 1) * LEGEND_LINE + 12
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        let font = ("sans-serif", 15).into_font();
        let y = |line: u32| (12 + line * LEGEND_LINE) as i32;
        for (index, (name, line, x)) in self.entries.iter().enumerate() {
            let (x, y) = (20 + *x as i32, y(*line));
            let style = color(index).stroke_width(3);
            area.draw(&PathElement::new([(x, y + 7), (x + 24, y + 7)], style))?;
            area.draw(&Text::new((*name).to_owned(), (x + 32, y), font.clone()))?;
        }
        let last = self.height() - 12 - LEGEND_LINE;
        let what = "loss: lines are of training, dashes of validation";
        area.draw(&Text::new(what, (20, 12 + last as i32), font))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: usize, loss: f64, valid_loss: Option<f64>) -> Event {
        Event::Epoch {
            step: 10 * epoch as u64,
            epoch,
            loss,
            valid_loss,
            seconds: 1.0,
        }
    }

    #[test]
    fn both_curves_are_drawn_and_no_event_at_all_is_no_error() {
        let mut picture = String::new();
        let events = [epoch(1, 3.0, Some(3.1)), epoch(2, 2.0, Some(2.5))];
        draw_loss(&mut picture, "a run", &events).unwrap();
        for color in ["#1F77B4", "#D62728"] {
            assert_eq!(picture.matches(color).count(), 2, "a curve and its legend");
        }
        draw_loss(&mut String::new(), "nothing", &[]).unwrap();
    }

    #[test]
    fn every_run_has_a_colour_and_its_name_in_the_legend() {
        let events = [epoch(1, 3.0, Some(3.1)), epoch(2, 2.0, Some(2.5))];
        let run = |index| (format!("<run & {index}>"), Curves::of(&events));
        let runs: Vec<_> = (0..12).map(run).collect();
        let mut picture = String::new();
        draw_panels(&mut picture, &runs).unwrap();
        let mut colors = std::collections::BTreeSet::new();
        for index in 0..12 {
            let RGBColor(r, g, b) = color(index);
            colors.insert(format!("#{r:02X}{g:02X}{b:02X}"));
            let name = format!("&lt;run &amp; {index}&gt;");
            assert_eq!(picture.matches(&name).count(), 1, "{index}");
        }
        assert_eq!(colors.len(), 12);
        assert!(colors.iter().all(|color| picture.contains(color)));
        draw_panels(&mut String::new(), &[]).unwrap();
    }

    #[test]
    fn labels_are_short() {
        let labels = [0.0, 1e-17, 2e-5, 0.05, 1.5, 4000.0, 25e4, 15e5].map(short);
        let expected = ["0", "0", "2e-5", "0.05", "1.5", "4000", "250k", "1.5M"];
        assert_eq!(labels, expected);
    }
}
