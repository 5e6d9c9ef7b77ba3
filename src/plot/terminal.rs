//! The loss of runs over the steps, in characters.

use super::curves::{Curve, Curves, range};

/// Characters of the curves' field.
const WIDTH: usize = 72;
const HEIGHT: usize = 20;

/// The losses of runs, by name: a small letter for the training loss of each, the same one in
/// capitals for its validation loss.
pub fn in_characters(runs: &[(String, Curves)]) -> String {
    let curves = || {
        runs.iter()
            .flat_map(|(_, c)| c.train.iter().chain(&c.valid))
    };
    let last_step = curves().map(|p| p.0).fold(1.0, f64::max);
    let (lowest, highest) = range(curves().map(|p| p.1));
    let column = |step: f64| (step / last_step * (WIDTH - 1) as f64).round() as usize;
    let row = |loss: f64| {
        let share = ((highest - loss) / (highest - lowest)).clamp(0.0, 1.0);
        (share * (HEIGHT - 1) as f64).round() as usize
    };
    let mut field = vec![[' '; WIDTH]; HEIGHT];
    for (letter, (_, curves)) in letters().zip(runs) {
        for (column, loss) in columns(&curves.train, column) {
            field[row(loss)][column] = letter;
        }
    }
    // Above the training curves, since they have fewer points.
    for (letter, (_, curves)) in letters().zip(runs) {
        for &(step, loss) in curves.valid.iter().filter(|p| p.1.is_finite()) {
            field[row(loss)][column(step)] = letter.to_ascii_uppercase();
        }
    }
    let mut picture = String::from("loss (nats per token)\n");
    for (index, line) in field.iter().enumerate() {
        let loss = highest - (highest - lowest) * index as f64 / (HEIGHT - 1) as f64;
        // A label for every third line, and the last.
        let label = match index % 3 == 0 || index == HEIGHT - 1 {
            true => format!("{loss:>9.4} ┤"),
            false => format!("{:>9} │", ""),
        };
        let line: String = line.iter().collect();
        picture += &format!("{label}{}\n", line.trim_end());
    }
    picture += &format!("{:>9} └{}\n", "", "─".repeat(WIDTH));
    picture += &format!(
        "{:>11}0{:>width$}\n",
        "",
        format!("step {last_step}"),
        width = WIDTH - 1
    );
    for (letter, (name, _)) in letters().zip(runs) {
        let capital = letter.to_ascii_uppercase();
        picture += &format!("{letter} {name}: training, {capital} validation\n");
    }
    picture
}

/// a to z, over and over.
fn letters() -> impl Iterator<Item = char> {
    ('a'..='z').cycle()
}

/// A loss for every column from the first to the last point of a curve: the mean of the points in
/// it, or what lies between its neighbours.
fn columns(curve: &Curve, column: impl Fn(f64) -> usize) -> Vec<(usize, f64)> {
    // Of each column with points: their sum and number.
    let mut means: Vec<(usize, f64, f64)> = Vec::new();
    for &(step, loss) in curve.iter().filter(|p| p.1.is_finite()) {
        match means.last_mut().filter(|mean| mean.0 == column(step)) {
            Some((_, sum, count)) => (*sum, *count) = (*sum + loss, *count + 1.0),
            None => means.push((column(step), loss, 1.0)),
        }
    }
    let means: Vec<_> = means
        .iter()
        .map(|(at, sum, count)| (*at, sum / count))
        .collect();
    let mut filled = Vec::new();
    for pair in means.windows(2) {
        let ((from, first), (to, last)) = (pair[0], pair[1]);
        let between = |at| {
            let share = (at - from) as f64 / (to - from) as f64;
            (at, first + share * (last - first))
        };
        filled.extend((from..to).map(between));
    }
    filled.extend(means.last());
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_go_from_corner_to_corner() {
        let falling = Curves {
            train: (0..=100)
                .map(|i| (f64::from(i), 5.0 - f64::from(i) / 25.0))
                .collect(),
            valid: vec![(100.0, 3.0)],
            ..Curves::default()
        };
        let sparse = Curves {
            train: vec![(0.0, 1.0), (100.0, 5.0)],
            ..Curves::default()
        };
        let picture = in_characters(&[("one".to_owned(), falling), ("two".to_owned(), sparse)]);
        let lines: Vec<&str> = picture.lines().collect();
        assert!(
            lines[1].starts_with("   5.0000 ┤a") && lines[1].ends_with('b'),
            "{picture}"
        );
        assert!(
            lines[20].starts_with("   1.0000 ┤b") && lines[20].ends_with('a'),
            "{picture}"
        );
        assert_eq!(
            picture.matches('A').count(),
            2,
            "a point and the legend: {picture}"
        );
        // Two points make a line.
        assert!(
            lines[1..21]
                .iter()
                .filter(|line| line.contains('b'))
                .count()
                == HEIGHT
        );
        assert!(lines[22].trim_end().ends_with("step 100"));
    }

    #[test]
    fn nothing_and_one_point_are_drawn() {
        in_characters(&[]);
        let one = Curves {
            train: vec![(10.0, 2.0), (20.0, f64::NAN)],
            ..Curves::default()
        };
        let picture = in_characters(&[("one".to_owned(), one)]);
        assert!(picture.lines().take(21).any(|line| line.contains('a')));
    }
}
