//! Weights that other programs wrote: imported, and described.

use std::fs;

use super::FOLDER;
use bptt::inspect::Report;
use bptt::interchange::pytorch;

/// Panics at a finding.
pub fn run(input: &[u8]) {
    let rename = "model.=".parse().expect("a renaming");
    for (renames, biases) in [(&[][..], 1), (&[], 2), (&[rename], 1)] {
        if let Ok(imported) = pytorch::read(input, renames, biases) {
            assert!(imported.weights.are_finite());
        }
    }
    let file = FOLDER.join("weights");
    fs::write(&file, input).expect("a file");
    let _ = Report::of(&file);
}
