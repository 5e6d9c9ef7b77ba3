//! Pictures as SVG: the loss curve of a run, and the roofline of a profile.

mod roofline;

use std::path::Path;

use plotters::prelude::*;

pub use roofline::roofline;

use crate::error::{Error, Result};
use crate::train::Event;

/// Width and height of the picture, in pixels.
const SIZE: (u32, u32) = (800, 450);

/// Points of a curve: step and loss.
type Curve = Vec<(f64, f64)>;

/// Draws the training loss of every logged interval and epoch, and the validation loss of every
/// epoch, over the steps.
///
/// # Errors
/// [`Error::Write`] if the file cannot be written.
pub fn loss_curve(path: &Path, title: &str, events: &[Event]) -> Result<()> {
    let mut picture = String::new();
    // Drawing goes to memory and cannot run out of anything but that.
    draw(&mut picture, title, events).map_err(|e| Error::Run {
        path: path.to_owned(),
        what: format!("drawing the loss curve failed: {e}"),
    })?;
    crate::checkpoint::folder::replace(path, picture.as_bytes())
}

fn draw(
    picture: &mut String,
    title: &str,
    events: &[Event],
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (train, valid) = curves(events);
    let all = || train.iter().chain(&valid);
    let last_step = all().map(|p| p.0).fold(1.0, f64::max);
    let lowest = all().map(|p| p.1).fold(f64::INFINITY, f64::min);
    let highest = all().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
    let (lowest, highest) = if lowest < highest {
        (lowest, highest)
    } else {
        (0.0, 1.0)
    };
    let margin = 0.05 * (highest - lowest);

    let area = SVGBackend::with_string(picture, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..last_step, lowest - margin..highest + margin)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("step")
        .y_desc("loss (nats per token)")
        .x_label_formatter(&|step| format!("{step:.0}"))
        .draw()?;
    for (name, curve, color) in [
        ("train", train, RGBColor(31, 119, 180)),
        ("validation", valid, RGBColor(214, 39, 40)),
    ] {
        if curve.is_empty() {
            continue;
        }
        chart
            .draw_series(LineSeries::new(curve, color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

/// The training and the validation curve. Intervals are finer than epochs where there are any.
fn curves(events: &[Event]) -> (Curve, Curve) {
    let (mut intervals, mut epochs, mut valid) = (Curve::new(), Curve::new(), Curve::new());
    for event in events {
        match *event {
            Event::Steps { step, loss, .. } => intervals.push((step as f64, loss)),
            Event::Epoch {
                step,
                loss,
                valid_loss,
                ..
            } => {
                epochs.push((step as f64, loss));
                valid.extend(valid_loss.map(|loss| (step as f64, loss)));
            }
            Event::Evaluation {
                step, valid_loss, ..
            } => valid.push((step as f64, valid_loss)),
        }
    }
    if intervals.len() > epochs.len() {
        (intervals, valid)
    } else {
        (epochs, valid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_curves_are_drawn_and_no_event_at_all_is_no_error() {
        let epoch = |epoch, loss, valid_loss| Event::Epoch {
            step: 10 * epoch as u64,
            epoch,
            loss,
            valid_loss,
            seconds: 1.0,
        };
        let mut picture = String::new();
        let events = [epoch(1, 3.0, Some(3.1)), epoch(2, 2.0, Some(2.5))];
        draw(&mut picture, "a run", &events).unwrap();
        for color in ["#1F77B4", "#D62728"] {
            assert_eq!(picture.matches(color).count(), 2, "a curve and its legend");
        }
        draw(&mut String::new(), "nothing", &[]).unwrap();
    }
}
