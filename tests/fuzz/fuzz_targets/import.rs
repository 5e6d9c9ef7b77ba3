//! Weights that other programs wrote: imported, and described.
#![no_main]

use std::fs;

use bptt::inspect::Report;
use bptt::interchange::pytorch;
use bptt_fuzz::FOLDER;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let rename = "model.=".parse().expect("a renaming");
    for (renames, biases) in [(&[][..], 1), (&[], 2), (&[rename], 1)] {
        if let Ok(imported) = pytorch::read(input, renames, biases) {
            assert!(imported.weights.are_finite());
        }
    }
    let file = FOLDER.join("weights");
    fs::write(&file, input).expect("a file");
    let _ = Report::of(&file);
});
