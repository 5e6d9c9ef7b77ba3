//! The roofline of a profile (Williams et al. 2009) as SVG: what each op reaches, beside what the
//! device could do at best with as many operations a byte.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::bench::{OpTime, Report};
use crate::error::{Error, Result};

type Drawn<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::combinators::LogCoord<f64>, RangedY>,
>;
type RangedY = plotters::coord::combinators::LogCoord<f64>;
type Strip<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::combinators::LogCoord<f64>, RangedCoordf64>,
>;
/// A point in pixels.
type Pixel = (i32, i32);

/// Width and height of the picture, and of the part with the points, in pixels.
const SIZE: (u32, u32) = (1200, 710);
const CHART: (u32, u32) = (720, 500);
/// Height of the title.
const TITLE: u32 = 30;
/// Height of a line of the list of ops, and most ops listed.
const LINE: i32 = 18;
const MOST_LISTED: usize = 32;
/// Pixels around a digit of a point's number.
const DIGIT: Pixel = (8, 14);
/// Pixels between a point and its number, if there is room.
const NEAR: i32 = 10;

/// Draws every op of `report`: those that compute under the roof of the two ceilings, those that
/// only move data on a strip by bytes per second. A circle's area is the op's share of the step.
///
/// # Errors
/// [`Error::Write`] if the file cannot be written.
pub fn roofline(path: &Path, report: &Report) -> Result<()> {
    let mut picture = String::new();
    // Drawing goes to memory and cannot run out of anything but that.
    draw(&mut picture, report).map_err(|e| Error::Run {
        path: path.to_owned(),
        what: format!("drawing the roofline failed: {e}"),
    })?;
    crate::checkpoint::folder::replace(path, picture.as_bytes())
}

/// An op to draw, with its number in the list.
struct Point<'a> {
    number: usize,
    op: &'a OpTime,
    share: f64,
}

impl Point<'_> {
    /// Operations a byte.
    fn intensity(&self) -> f64 {
        self.op.flops / self.op.bytes
    }

    fn radius(&self) -> i32 {
        (4.0 + 16.0 * self.share.max(0.0).sqrt()) as i32
    }

    fn color(&self) -> RGBColor {
        match self.op.op {
            "matmul" => RGBColor(31, 119, 180),
            op if op.starts_with("rnn") => RGBColor(214, 39, 40),
            _ => RGBColor(110, 110, 110),
        }
    }
}

fn draw(picture: &mut String, report: &Report) -> Drawn {
    let in_ops: f64 = report.ops.iter().map(|op| op.seconds).sum();
    let points = report.ops.iter().zip(1..).map(|(op, number)| Point {
        number,
        op,
        share: op.seconds / in_ops,
    });
    // An op too short for the clock has no rate.
    let (timed, untimed): (Vec<_>, Vec<_>) = points.partition(|p| p.op.seconds > 0.0);
    let computes = |p: &Point| p.op.flops > 0.0 && p.op.bytes > 0.0;
    let listed: Vec<&Point> = timed.iter().chain(&untimed).collect();
    let (computing, moving): (Vec<&Point>, Vec<&Point>) = timed.iter().partition(|p| computes(p));

    let area = SVGBackend::with_string(picture, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let title = format!("Roofline of a training step: {}", report.device);
    area.draw(&Text::new(title, (12, 8), ("sans-serif", 18).into_font()))?;
    let (_, below) = area.split_vertically(TITLE);
    let (left, right) = below.split_horizontally(CHART.0);
    let (top, bottom) = left.split_vertically(CHART.1);
    let mut labels = Labels::default();
    draw_roof(&top, &area, report, &computing, &mut labels)?;
    draw_strip(&bottom, &area, report, &moving, &mut labels)?;
    draw_list(&right, report, &listed)?;
    area.present()?;
    Ok(())
}

/// Arithmetic intensity against speed, under the two ceilings.
fn draw_roof<'a>(
    part: &Area<'a>,
    area: &Area<'a>,
    report: &Report,
    points: &[&Point],
    labels: &mut Labels,
) -> Drawn {
    let (products, copies) = (report.ceiling_gflops, report.ceiling_gbytes);
    let ridge = products / copies;
    let intensities = points.iter().map(|p| p.intensity());
    let x = around(intensities.chain([ridge / 4.0, ridge * 4.0]));
    let speeds = points.iter().map(|p| p.op.gflops);
    let y = around(speeds.chain([products, products / 1e3]));
    let mut chart: Chart = ChartBuilder::on(part)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(x.clone().log_scale(), y.clone().log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.08))
        .x_desc("operations a byte")
        .y_desc("GFLOP/s")
        .x_label_formatter(&|v| plain(*v))
        .y_label_formatter(&|v| plain(*v))
        .draw()?;
    let lowest = x.start.max(y.start / copies);
    let roof = [
        (lowest, lowest * copies),
        (ridge, products),
        (x.end, products),
    ];
    chart.draw_series(LineSeries::new(roof, BLACK.stroke_width(2)))?;
    let text = format!("a large product: {products:.1} GFLOP/s");
    let (left, y) = chart.backend_coord(&(ridge, products));
    let (right, _) = chart.backend_coord(&(x.end, products));
    labels.taken.push((left, y - 1, right, y + 1));
    labels.note(area, &text, (left + 4, y - 20))?;
    let text = format!("a large copy: {copies:.1} GB/s");
    let middle = (lowest * ridge).sqrt();
    let (x, y) = chart.backend_coord(&(middle, middle * copies));
    let (axis, _) = chart.backend_coord(&(lowest, products));
    let x = (x - 10 - text_width(&text)).max(axis + 4);
    labels.note(area, &text, (x, y - 20))?;
    for p in points {
        let at = chart.backend_coord(&(p.intensity(), p.op.gflops));
        labels.add(area, p, at)?;
    }
    labels.write(area)
}

/// Bytes per second of the ops that only move data.
fn draw_strip<'a>(
    part: &Area<'a>,
    area: &Area<'a>,
    report: &Report,
    points: &[&Point],
    labels: &mut Labels,
) -> Drawn {
    let copies = report.ceiling_gbytes;
    let x = around(
        points
            .iter()
            .map(|p| p.op.gbytes)
            .chain([copies, copies / 1e3]),
    );
    let mut chart: Strip = ChartBuilder::on(part)
        .caption("Ops that only move data", ("sans-serif", 14))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(x.log_scale(), 0.0..1.0)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.08))
        .disable_y_mesh()
        .y_labels(0)
        .x_desc("GB/s")
        .x_label_formatter(&|v| plain(*v))
        .draw()?;
    let ceiling = [(copies, 0.0), (copies, 1.0)];
    chart.draw_series(LineSeries::new(ceiling, BLACK.stroke_width(2)))?;
    let (x, top) = chart.backend_coord(&(copies, 1.0));
    labels.taken.push((x - 1, top, x + 1, i32::MAX));
    let text = "a large copy";
    labels.note(area, text, (x - 8 - text_width(text), top + 4))?;
    for p in points {
        let at = chart.backend_coord(&(p.op.gbytes, 0.5));
        labels.add(area, p, at)?;
    }
    labels.write(area)
}

/// Number, op, size, time and share of every op.
fn draw_list(part: &Area<'_>, report: &Report, points: &[&Point]) -> Drawn {
    let bold = ("sans-serif", 13, FontStyle::Bold).into_font();
    let size = report.size;
    let title = format!(
        "V={} D={} H={} N={} T={}: {:.2} ms a step",
        size.vocab,
        size.embedding,
        size.hidden,
        size.batch,
        size.time_steps,
        1e3 * report.step_seconds
    );
    part.draw(&Text::new(title, (8, 16), bold))?;
    let mut y = 44;
    let mut row = |cells: [&str; 4], color: &RGBColor| -> Drawn {
        let font = ("sans-serif", 12).into_font().color(color);
        for (text, x) in cells.into_iter().zip([28, 32, 376, 440]) {
            let style = match x {
                32 => font.clone(),
                _ => font.pos(right_aligned()),
            };
            part.draw(&Text::new(text.to_owned(), (x, y), style))?;
        }
        y += LINE;
        Ok(())
    };
    for p in points.iter().take(MOST_LISTED) {
        let OpTime { op, size, .. } = p.op;
        let (ms, share) = (1e3 * p.op.seconds, 100.0 * p.share);
        row(
            [
                &p.number.to_string(),
                &format!("{op} {size}"),
                &format!("{ms:.3} ms"),
                &format!("{share:.1} %"),
            ],
            &p.color(),
        )?;
    }
    let more = points.iter().skip(MOST_LISTED);
    let (count, seconds) = more.fold((0, 0.0), |(n, s), p| (n + 1, s + p.op.seconds));
    if count > 0 {
        let text = format!("and {count} more");
        row(["", &text, &format!("{:.3} ms", 1e3 * seconds), ""], &BLACK)?;
    }
    let outside = format!("{:.3} ms", 1e3 * report.outside_ops_seconds);
    row(["", "outside the ops", &outside, ""], &BLACK)?;
    let clock = format!("timed by {}", report.clock);
    row(["", &clock, "", ""], &BLACK)?;
    row(
        ["", "above the slope: tensors that stay in caches", "", ""],
        &BLACK,
    )
}

fn right_aligned() -> plotters::style::text_anchor::Pos {
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    Pos::new(HPos::Right, VPos::Top)
}

/// Half a decade beyond the values on each side.
fn around(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, 0.0f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    low / 3.0..high * 3.0
}

/// A number without an exponent.
fn plain(value: f64) -> String {
    match value {
        v if v >= 1.0 => format!("{v:.0}"),
        v => format!("{v:.6}").trim_end_matches('0').to_owned(),
    }
}

fn write(area: &Area<'_>, text: &str, at: Pixel) -> Drawn {
    area.draw(&Text::new(
        text.to_owned(),
        at,
        ("sans-serif", 12).into_font(),
    ))?;
    Ok(())
}

/// Wide enough for any text of this length, of letters more than digits.
fn text_width(text: &str) -> i32 {
    13 * text.chars().count() as i32 / 2
}

/// Left, top, right, bottom in pixels.
type Frame = (i32, i32, i32, i32);

/// The numbers of points, each in a place of its own.
#[derive(Default)]
struct Labels {
    taken: Vec<Frame>,
    waiting: Vec<(usize, Pixel, i32)>,
}

impl Labels {
    /// Writes a text that numbers keep clear of.
    fn note(&mut self, area: &Area<'_>, text: &str, (x, y): Pixel) -> Drawn {
        self.taken.push((x, y, x + text_width(text), y + DIGIT.1));
        write(area, text, (x, y))
    }

    /// Draws a point; its number comes once all points are there.
    fn add(&mut self, area: &Area<'_>, point: &Point, at: Pixel) -> Drawn {
        let radius = point.radius();
        let color = point.color();
        area.draw(&Circle::new(at, radius, color.mix(0.55).filled()))?;
        area.draw(&Circle::new(at, radius, color))?;
        let frame = (at.0 - radius, at.1 - radius, at.0 + radius, at.1 + radius);
        self.taken.push(frame);
        self.waiting.push((point.number, at, radius));
        Ok(())
    }

    /// Writes the numbers, each as near to its point as there is room.
    fn write(&mut self, area: &Area<'_>) -> Drawn {
        for (number, at, radius) in std::mem::take(&mut self.waiting) {
            let text = number.to_string();
            let width = DIGIT.0 * text.len() as i32;
            let centre = self.free_place(at, radius, width);
            let frame = around_centre(centre, width);
            let (dx, dy) = (f64::from(centre.0 - at.0), f64::from(centre.1 - at.1));
            if dx.hypot(dy) > f64::from(radius + NEAR) {
                let end = 1.0 - f64::from(NEAR) / dx.hypot(dy);
                let end = (at.0 + (end * dx) as i32, at.1 + (end * dy) as i32);
                area.draw(&PathElement::new([at, end], BLACK.mix(0.6)))?;
            }
            self.taken.push(frame);
            write(area, &text, (frame.0 + 1, frame.1 + 1))?;
        }
        Ok(())
    }

    /// The first free centre of a text on growing circles around a point.
    fn free_place(&self, at: Pixel, radius: i32, width: i32) -> Pixel {
        let mut places = (0..12).flat_map(|ring| {
            let distance = f64::from(radius + NEAR + 8 * ring);
            (0..16).map(move |step| {
                // From the upper right on.
                let angle = f64::from(step) * std::f64::consts::TAU / 16.0 - 0.8;
                let (dx, dy) = (distance * angle.cos(), distance * angle.sin());
                (at.0 + dx as i32, at.1 + dy as i32)
            })
        });
        let free = |centre: &Pixel| {
            let frame = around_centre(*centre, width);
            !self.taken.iter().any(|other| overlap(frame, *other))
        };
        places.find(free).unwrap_or(at)
    }
}

fn around_centre((x, y): Pixel, width: i32) -> Frame {
    let height = DIGIT.1;
    (
        x - width / 2,
        y - height / 2,
        x + width / 2 + 1,
        y + height / 2,
    )
}

fn overlap(a: Frame, b: Frame) -> bool {
    a.0 < b.2 && b.0 < a.2 && a.1 < b.3 && b.1 < a.3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Timing, measure};
    use crate::device::Cpu;
    use crate::model::ModelSize;
    use crate::optimizer::Rule;

    fn report() -> Report {
        let size = ModelSize {
            vocab: 10,
            embedding: 4,
            hidden: 8,
            batch: 2,
            time_steps: 3,
            biases: 1,
        };
        measure(
            &mut Cpu::<f32>::new(),
            size,
            Rule::Sgd,
            None,
            Timing::of_steps(2),
        )
        .unwrap()
    }

    #[test]
    fn every_op_is_a_circle_with_its_number() {
        let mut report = report();
        report.ops.iter_mut().for_each(|op| op.seconds = 1e-3);
        report.ops[0].gflops = report.ceiling_gflops;
        let mut picture = String::new();
        draw(&mut picture, &report).unwrap();
        // A disc and its edge.
        assert_eq!(picture.matches("<circle").count(), 2 * report.ops.len());
        for number in 1..=report.ops.len() {
            // At the point, and in the list.
            let texts = picture.lines().filter(|line| *line == number.to_string());
            assert!(texts.count() >= 2, "{number}");
        }
    }

    #[test]
    fn an_op_too_short_for_the_clock_is_listed_and_not_drawn() {
        let mut report = report();
        report.ops.iter_mut().for_each(|op| op.seconds = 1e-3);
        report.ops[0].seconds = 0.0;
        let mut picture = String::new();
        draw(&mut picture, &report).unwrap();
        let drawn = report.ops.len() - 1;
        assert_eq!(picture.matches("<circle").count(), 2 * drawn);
        assert!(picture.contains("0.000 ms"));
    }

    #[test]
    fn numbers_of_points_in_one_place_do_not_cover_each_other() {
        let mut picture = String::new();
        let area = SVGBackend::with_string(&mut picture, SIZE).into_drawing_area();
        let report = report();
        let mut labels = Labels::default();
        for number in 1..=12 {
            let op = &report.ops[0];
            let point = Point {
                number,
                op,
                share: 0.1,
            };
            labels.add(&area, &point, (300, 300)).unwrap();
        }
        labels.write(&area).unwrap();
        let numbers = &labels.taken[12..];
        assert_eq!(numbers.len(), 12);
        for (i, a) in numbers.iter().enumerate() {
            assert!(!numbers[..i].iter().any(|b| overlap(*a, *b)), "{i}");
        }
    }
}
