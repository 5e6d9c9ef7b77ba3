//! The log of a run: read, and drawn.

use std::fs;

use super::FOLDER;
use bptt::plot::{self, Curves};
use bptt::run;

/// Panics at a finding.
pub fn run(input: &[u8]) {
    let folder = &*FOLDER;
    fs::write(folder.join("metrics.jsonl"), input).expect("a file");
    let Ok(events) = run::read_log(folder) else {
        return;
    };
    plot::loss_curve(&folder.join("loss.svg"), "a run", &events).expect("a picture");
    let runs = [("a".to_owned(), Curves::of(&events))];
    plot::panels(&folder.join("plot.svg"), &runs).expect("a picture");
    plot::in_characters(&runs);
}
