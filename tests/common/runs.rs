//! Training as a process: a run that nothing disturbs, and what another must have in common with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::command;
use super::timeless::timeless;
use bptt::checkpoint::Checkpoint;
use bptt::run;
use serde_json::Value;

/// The files of a checkpoint that hold what was computed, and nothing that a clock gives.
const COMPUTED: [&str; 2] = ["model.safetensors", "state.safetensors"];

/// The epochs of a whole run.
pub const EPOCHS: &str = "6";

/// A folder with a text, and a run on it that nothing disturbed and that kept every checkpoint.
pub struct Lab {
    folder: tempfile::TempDir,
    device: &'static str,
    intervals: [&'static str; 4],
    whole: PathBuf,
    /// What it printed.
    sample: Vec<u8>,
}

impl Lab {
    /// Trains the run that nothing disturbs, with a validation and a checkpoint every so many steps.
    pub fn new(
        device: &'static str,
        eval_interval: &'static str,
        save_interval: &'static str,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let line = |i| format!("the {i} quick brown foxes jump over {} lazy dogs\n", 9 - i);
        let text: String = (0..10).map(line).collect();
        fs::write(folder.path().join("text.txt"), text).unwrap();
        let mut lab = Lab {
            whole: folder.path().join("whole"),
            folder,
            device,
            intervals: [
                "--eval-interval",
                eval_interval,
                "--save-interval",
                save_interval,
            ],
            sample: Vec::new(),
        };
        let whole = lab
            .train(&lab.whole, EPOCHS)
            .args(["--keep", "100000"])
            .output();
        lab.sample = succeeds(&whole.unwrap()).to_owned();
        lab.check(&lab.whole).unwrap();
        lab
    }

    /// The folder of texts and runs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `bptt` in the folder.
    pub fn bptt<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = command::bptt(self.folder.path(), &[]);
        command.args(arguments);
        command
    }

    /// Training of a new run.
    pub fn train(&self, run: &Path, epochs: &str) -> Command {
        let flags = "train --data text.txt --valid-fraction 0.2 --emsize 8 --nhid 16 \
            --batch-size 2 --bptt 5 --optimizer adam --log-interval 7";
        let mut command = self.bptt(flags.split_whitespace());
        command.args(self.intervals);
        let rest = ["--device", self.device, "--epochs", epochs, "--out"];
        command.args(rest).arg(run);
        command
    }

    /// Is the run what a process must find that goes on with it? Each checkpoint is whole and holds
    /// the bits of the run that nothing disturbed, and so does the log up to the last of them.
    pub fn check(&self, run: &Path) -> Result<(), String> {
        let text = |error: bptt::Error| error.to_string();
        let last = run::last_of(run).map_err(text)?;
        run::model_of(run).map_err(text)?;
        for checkpoint in run::checkpoints(run).map_err(text)? {
            self.check_checkpoint(&checkpoint)?;
        }
        let whole = self.whole_of(&last);
        let (found, expected) = (log_up_to(run, &last)?, log_up_to(&self.whole, &whole)?);
        equal("the log", &found, &expected)
    }

    fn check_checkpoint(&self, path: &Path) -> Result<(), String> {
        let read = |path: &Path| Checkpoint::read(path).map_err(|error| error.to_string());
        let whole = self.whole_of(path);
        read(path)?;
        read(&whole)?;
        for file in COMPUTED {
            let bytes = |folder: &Path| fs::read(folder.join(file)).map_err(|e| e.to_string());
            equal(file, &bytes(path)?, &bytes(&whole)?)?;
        }
        let progress = |folder: &Path| {
            let json = fs::read_to_string(folder.join("progress.json"));
            timeless(&json.map_err(|e| e.to_string())?)
        };
        equal("progress.json", &progress(path)?, &progress(&whole)?)
    }

    /// The same checkpoint of the run that nothing disturbed.
    fn whole_of(&self, checkpoint: &Path) -> PathBuf {
        let name = checkpoint.file_name().unwrap();
        self.whole.join("checkpoints").join(name)
    }

    /// Did the run end as the one that nothing disturbed: the same last checkpoint, the same log, the
    /// same sample, also as far as it was printed?
    pub fn check_end(&self, run: &Path, printed: &[u8]) -> Result<(), String> {
        self.check(run)?;
        let last = |run: &Path| run::last_of(run).map_err(|error| error.to_string());
        let path = last(run)?;
        equal(
            "the last checkpoint",
            &self.whole_of(&path),
            &last(&self.whole)?,
        )?;
        let log = |run: &Path| {
            let text = fs::read_to_string(run.join("metrics.jsonl"));
            lines(&text.map_err(|e| e.to_string())?)
        };
        equal("the log", &log(run)?, &log(&self.whole)?)?;
        let path = path.display().to_string();
        let generate = [
            "generate",
            &path,
            "--device",
            self.device,
            "--length",
            "400",
        ];
        let sample = self.bptt(generate).output().unwrap();
        for sample in [succeeds(&sample), printed] {
            // A process that was killed in its last moments has printed none.
            if !sample.is_empty() {
                equal("the sample", sample, &self.sample)?;
            }
        }
        Ok(())
    }
}

/// What a process printed that must have succeeded.
#[track_caller]
pub fn succeeds(output: &Output) -> &[u8] {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    &output.stdout
}

/// The log of a run up to one of its checkpoints.
fn log_up_to(run: &Path, checkpoint: &Path) -> Result<Vec<Value>, String> {
    let read = Checkpoint::read(checkpoint).map_err(|error| error.to_string())?;
    let length = read.state.map_or(0, |state| state.progress.log_bytes);
    let log = fs::read(run.join("metrics.jsonl")).map_err(|error| error.to_string())?;
    let log = log.get(..length as usize).ok_or("the log is too short")?;
    lines(std::str::from_utf8(log).map_err(|error| error.to_string())?)
}

fn lines(log: &str) -> Result<Vec<Value>, String> {
    log.lines().map(timeless).collect()
}

fn equal<T: PartialEq + std::fmt::Debug + ?Sized>(
    what: &str,
    found: &T,
    expected: &T,
) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => {
            let show = |value: &T| format!("{value:?}").chars().take(500).collect::<String>();
            let (found, expected) = (show(found), show(expected));
            Err(format!("{what} differs: {found}, expected {expected}"))
        }
    }
}
