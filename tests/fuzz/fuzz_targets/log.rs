//! The log of a run: read, and drawn.
#![no_main]

use std::fs;

use bptt::plot::{self, Curves};
use bptt::run;
use bptt_fuzz::FOLDER;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let folder = &*FOLDER;
    fs::write(folder.join("metrics.jsonl"), input).expect("a file");
    let Ok(events) = run::read_log(folder) else {
        return;
    };
    plot::loss_curve(&folder.join("loss.svg"), "a run", &events).expect("a picture");
    let runs = [("a".to_owned(), Curves::of(&events))];
    plot::panels(&folder.join("plot.svg"), &runs).expect("a picture");
    plot::in_characters(&runs);
});
