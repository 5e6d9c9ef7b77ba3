//! Draws `benches/tokens-per-second.svg` from the CSV beside it, which `compare_pytorch.py` writes:
//! a part for each machine, bars for each workload and system.
//!
//!     cargo bench --bench tokens_per_second

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

/// Width of the picture, and height of a machine's part, in pixels.
const SIZE: (u32, u32) = (800, 340);
/// Share of a workload's width that its bars take.
const BARS: f64 = 0.8;

/// A line of the CSV.
struct Figure {
    date: String,
    machine: String,
    system: String,
    workload: String,
    tokens_per_second: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    let csv = std::fs::read_to_string(folder.join("tokens-per-second.csv"))?;
    let figures = csv.lines().skip(1).map(figure);
    let figures = figures.collect::<Result<Vec<_>, _>>()?;
    let machines = in_order(&figures, |f| &f.machine);
    let path = folder.join("tokens-per-second.svg");
    let height = SIZE.1 * machines.len() as u32;
    let area = SVGBackend::new(&path, (SIZE.0, height)).into_drawing_area();
    area.fill(&WHITE)?;
    for (machine, part) in machines.iter().zip(area.split_evenly((machines.len(), 1))) {
        let figures: Vec<_> = figures.iter().filter(|f| f.machine == *machine).collect();
        draw(&part, machine, &figures)?;
    }
    area.present()?;
    Ok(())
}

fn figure(line: &str) -> Result<Figure, Box<dyn Error>> {
    let [date, machine, system, workload, tokens_per_second, _memory] =
        line.split(',').collect::<Vec<_>>()[..]
    else {
        return Err(format!("not six columns: {line}").into());
    };
    Ok(Figure {
        date: date.to_owned(),
        machine: machine.to_owned(),
        system: system.to_owned(),
        workload: workload.to_owned(),
        tokens_per_second: tokens_per_second.parse()?,
    })
}

/// The different values of a column, in the order of the file.
fn in_order<'a>(
    figures: impl IntoIterator<Item = &'a Figure>,
    column: impl Fn(&'a Figure) -> &'a str,
) -> Vec<&'a str> {
    let mut values = Vec::new();
    for value in figures.into_iter().map(column) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

fn draw(
    part: &DrawingArea<SVGBackend<'_>, Shift>,
    machine: &str,
    figures: &[&Figure],
) -> Result<(), Box<dyn Error>> {
    let workloads = in_order(figures.iter().copied(), |f| &f.workload);
    let systems = in_order(figures.iter().copied(), |f| &f.system);
    let rates = || figures.iter().map(|f| f.tokens_per_second);
    // A bar has no foot on a logarithmic axis: all begin at the power of ten below the lowest.
    let foot = 10f64.powf(rates().fold(f64::INFINITY, f64::min).log10().floor());
    let top = 3.0 * rates().fold(foot, f64::max);
    let dates = in_order(figures.iter().copied(), |f| &f.date);
    let title = format!(
        "Training, tokens per second (logarithmic): {machine}, {}",
        dates.join(", ")
    );
    let mut chart = ChartBuilder::on(part)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..workloads.len() as f64, (foot..top).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.08))
        .x_labels(0)
        .y_label_formatter(&|rate| format!("{rate:.0}"))
        .draw()?;
    let width = BARS / systems.len() as f64;
    let mut texts = Vec::new();
    for (i, system) in systems.iter().enumerate() {
        let color = match *system {
            "bptt" => RGBColor(31, 119, 180),
            _ => [
                RGBColor(170, 170, 170),
                RGBColor(214, 170, 90),
                RGBColor(120, 170, 120),
            ][i % 3],
        };
        let bars = figures.iter().filter(|f| f.system == *system).map(|f| {
            let workload = workloads.iter().position(|w| *w == f.workload).unwrap_or(0);
            let left = workload as f64 + (1.0 - BARS) / 2.0 + i as f64 * width;
            let rate = f.tokens_per_second;
            texts.push((format!("{rate:.0}"), left + width / 2.0, rate));
            Rectangle::new([(left, foot), (left + width, rate)], color.filled())
        });
        let bars: Vec<_> = bars.collect();
        chart
            .draw_series(bars)?
            .label(*system)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
    }
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    let black = |size| ("sans-serif", size).into_font().color(&BLACK);
    let above = black(12).pos(Pos::new(HPos::Center, VPos::Bottom));
    chart.draw_series(texts.into_iter().map(|(text, x, rate)| {
        EmptyElement::at((x, rate)) + Text::new(text, (0, -3), above.clone())
    }))?;
    let below = black(13).pos(Pos::new(HPos::Center, VPos::Top));
    chart.draw_series(workloads.iter().enumerate().map(|(i, workload)| {
        let at = (i as f64 + 0.5, foot);
        EmptyElement::at(at) + Text::new((*workload).to_owned(), (0, 8), below.clone())
    }))?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    Ok(())
}
