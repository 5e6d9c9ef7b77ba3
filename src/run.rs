//! The folder of a run: its settings, its log, its checkpoints, its pictures.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `config.toml`, `tokenizer.json` | the settings and the vocabulary |
//! | `checkpoints/NAME/` | a [`Checkpoint`] each |
//! | `checkpoints/last`, `checkpoints/best` | the name of the newest, and of the one with the lowest validation loss |
//! | `metrics.jsonl` | the log: an [`Event`] a line |
//! | `events.out.tfevents.…` | the same for TensorBoard: an [`EventFile`] of each process that trained |
//! | `loss.svg` | the loss curve |
//! | `summary.json` | how it ended |
//! | `lock` | held by the process that trains |

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint::folder::{self, LOCK, parent};
use crate::checkpoint::growing::Growing;
use crate::checkpoint::{CONFIG, Checkpoint, MANIFEST, NewFolder, VOCABULARY, source};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::interchange::tensorboard::EventFile;
use crate::json;
use crate::plot;
use crate::train::{Best, Event, Progress, State};

/// The log of a run, a JSON object a line.
pub const METRICS: &str = "metrics.jsonl";
/// The picture of a run.
pub const LOSS_CURVE: &str = "loss.svg";
/// How a run ended.
pub const SUMMARY: &str = "summary.json";
/// The outcome of a run whose epochs are done.
pub const FINISHED: &str = "finished";
/// The outcome of a run that ended because its validation loss did not get better.
pub const STOPPED_EARLY: &str = "stopped early";
/// The folder of checkpoints.
const CHECKPOINTS: &str = "checkpoints";
/// The file with the name of the newest checkpoint.
const LAST: &str = "last";
/// The file with the name of the best checkpoint.
const BEST: &str = "best";

/// A run that this process trains, and no other meanwhile.
#[derive(Debug)]
pub struct Run {
    path: PathBuf,
    metrics: Growing,
    /// The log for TensorBoard, from the first event on.
    events: Option<EventFile>,
    /// Checkpoints kept beside the last and the best.
    keep: usize,
    _lock: File,
}

/// How a run ended, or stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// [`FINISHED`], [`STOPPED_EARLY`], "interrupted" or "diverged".
    pub outcome: &'static str,
    /// The version of this crate.
    pub bptt: &'static str,
    /// The device in words.
    pub device: String,
    /// Number of parameters.
    pub parameters: usize,
    /// Steps done.
    pub steps: u64,
    /// Epochs done.
    pub epochs: usize,
    /// Seconds of training.
    pub seconds: f64,
    /// The validation loss at the end, in nats per token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_loss: Option<f64>,
    /// The lowest validation loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
}

impl Run {
    /// A new run, as the folder that `folder` has taken the name of. It appears with its first
    /// checkpoint in it.
    ///
    /// # Errors
    /// [`Error::Write`] or [`Error::Unpublished`] if it cannot be written.
    pub fn create(folder: NewFolder, mut first: Checkpoint) -> Result<Self> {
        let files = folder.files();
        let checkpoints = files.join(CHECKPOINTS);
        std::fs::create_dir(&checkpoints).map_err(Error::write(&checkpoints))?;
        let name = name(&mut first, 0);
        first.write(&checkpoints.join(&name))?;
        for file in [CONFIG, VOCABULARY] {
            let from = checkpoints.join(&name).join(file);
            let bytes = std::fs::read(&from).map_err(Error::read(&from))?;
            folder::write(&files.join(file), &bytes)?;
        }
        folder::write(&checkpoints.join(LAST), name.as_bytes())?;
        folder::write(&files.join(METRICS), b"")?;
        folder::sync_folder(&checkpoints)?;
        let keep = first.config.keep;
        Run::lock(&folder.publish()?, keep)
    }

    /// The run of `path`, for this process alone.
    ///
    /// # Errors
    /// [`Error::Run`] if it is no run or another process trains it; [`Error::Write`] if it cannot
    /// be written.
    pub fn open(path: &Path) -> Result<Self> {
        last_of(path)?;
        let run = Run::lock(path, 0)?;
        folder::remove_unfinished(path)?;
        folder::remove_unfinished(&run.checkpoints())?;
        Ok(run)
    }

    /// Makes the run what it was at `checkpoint`, one of its own: what the log holds beyond it is
    /// cut off, and later checkpoints are removed. Returns how many that were.
    ///
    /// # Errors
    /// [`Error::Run`] if the run has no checkpoint of the name that `checkpoint` has by its progress: it
    /// was renamed, or is not what it says; [`Error::Write`] if it cannot be written.
    pub fn rewind(&mut self, checkpoint: &Checkpoint) -> Result<usize> {
        self.keep = checkpoint.config.keep;
        let Some(State { progress, .. }) = &checkpoint.state else {
            return Ok(0);
        };
        let name = directory_name(progress);
        let mut later = checkpoint_names(&self.path)?;
        if !later.contains(&name) {
            let what = format!("the checkpoint says that it is {name}, which is not there");
            return Err(Error::run(&self.checkpoints(), what));
        }
        // A process that is killed in here leaves a run that goes on from this checkpoint, and
        // whose log has at least what this checkpoint says.
        self.point(progress, &name)?;
        self.metrics.cut(progress.log_bytes)?;
        self.rewind_events(progress.step)?;
        if pointer(&self.path, BEST)?.is_some_and(|best| age(&best) > age(&name)) {
            let path = self.checkpoints().join(BEST);
            std::fs::remove_file(&path).map_err(Error::write(&path))?;
            folder::sync_folder(&self.checkpoints())?;
        }
        later.retain(|other| age(other) > age(&name));
        for later in &later {
            self.remove(later)?;
        }
        self.prune()?;
        Ok(later.len())
    }

    /// Takes back what TensorBoard has been told of `step` and later ones, but for what the log
    /// holds of it: before and after an evaluation is the same step.
    fn rewind_events(&mut self, step: u64) -> Result<()> {
        let mut events = EventFile::create(&self.path)?;
        events.restart_at(step)?;
        let log = read_log(&self.path)?;
        for event in log.iter().filter(|event| event.step() >= step) {
            events.log(event)?;
        }
        self.events = Some(events);
        Ok(())
    }

    fn remove(&self, checkpoint: &str) -> Result<()> {
        let path = self.checkpoints().join(checkpoint);
        log::debug!("removing {}", path.display());
        folder::remove_folder(&path)
    }

    fn lock(path: &Path, keep: usize) -> Result<Self> {
        let lock = path.join(LOCK);
        source::metadata(&lock)?;
        let open = File::options().create(true).append(true).open(&lock);
        let file = open.map_err(Error::write(&lock))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let what = "another process is training this run; wait for it, or stop it";
                return Err(Error::run(path, what.to_owned()));
            }
            Err(TryLockError::Error(source)) => return Err(Error::write(&lock)(source)),
        }
        let metrics = path.join(METRICS);
        source::metadata(&metrics)?;
        let open = File::options().create(true).append(true).open(&metrics);
        let open = open.map_err(Error::write(&metrics))?;
        Ok(Run {
            path: path.to_owned(),
            metrics: Growing::new(metrics, open)?,
            events: None,
            keep,
            _lock: file,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    /// Appends a line to the log, and the same to TensorBoard's.
    ///
    /// # Errors
    /// [`Error::Write`] with what the operating system said: the line waits to be written with the
    /// next one, or with a checkpoint.
    pub fn log(&mut self, event: &Event) -> Result<()> {
        let line = serde_json::to_string(event)
            .map_err(|e| Error::run(self.metrics.path(), e.to_string()))?;
        let logged = self.metrics.append(format!("{line}\n").as_bytes());
        logged.and(self.log_for_tensorboard(event))
    }

    fn log_for_tensorboard(&mut self, event: &Event) -> Result<()> {
        let events = match self.events.take() {
            Some(events) => events,
            None => EventFile::create(&self.path)?,
        };
        self.events.insert(events).log(event)
    }

    /// Saves a checkpoint, makes it the last one, and the best one if it is; removes those that
    /// are not to be kept. Returns its folder.
    ///
    /// # Errors
    /// [`Error::Write`] with what the operating system said: the checkpoints before are untouched.
    pub fn save(&mut self, mut checkpoint: Checkpoint) -> Result<PathBuf> {
        let name = name(&mut checkpoint, self.metrics.sync()?);
        self.events.as_mut().map_or(Ok(()), EventFile::flush)?;
        let path = self.checkpoints().join(&name);
        let is_there = pointer(&self.path, LAST)?.as_deref() == Some(&name);
        // The same step again, with nothing done since: it is there already.
        if !is_there {
            checkpoint.write(&path)?;
            log::debug!("saved {}", path.display());
        }
        if let Some(state) = &checkpoint.state {
            self.point(&state.progress, &name)?;
        }
        self.keep_settings(&checkpoint.config)?;
        self.prune()?;
        Ok(path)
    }

    /// Writes the settings of the last checkpoint where they are not those that the run has.
    fn keep_settings(&self, config: &Config) -> Result<()> {
        let (path, settings) = (self.path.join(CONFIG), config.to_toml()?);
        if source::read(&path).is_ok_and(|found| found == settings.as_bytes()) {
            return Ok(());
        }
        folder::replace(&path, settings.as_bytes())
    }

    /// `name` becomes the last checkpoint, and the best one what its progress says is. In this order:
    /// the last one is what a run goes on from, and it must never be behind the best.
    fn point(&self, progress: &Progress, name: &str) -> Result<()> {
        self.point_to(LAST, name)?;
        let Some(best) = progress.best else {
            return Ok(());
        };
        let prefix = step_name(best.step);
        if name.starts_with(&prefix) {
            return self.point_to(BEST, name);
        }
        // It has been pointed to, but where that failed, or where the run has gone back.
        let is_best = |name: &String| name.starts_with(&prefix);
        if pointer(&self.path, BEST)?.is_some_and(|best| is_best(&best)) {
            return Ok(());
        }
        let mut best = checkpoint_names(&self.path)?.into_iter().filter(is_best);
        best.next_back()
            .map_or(Ok(()), |best| self.point_to(BEST, &best))
    }

    fn point_to(&self, pointer_file: &str, name: &str) -> Result<()> {
        if pointer(&self.path, pointer_file)?.as_deref() == Some(name) {
            return Ok(());
        }
        folder::replace(&self.checkpoints().join(pointer_file), name.as_bytes())
    }

    /// Removes checkpoints that are neither the last, nor the best, nor among the newest, and what is
    /// left of attempts that failed.
    fn prune(&self) -> Result<()> {
        folder::remove_unfinished(&self.checkpoints())?;
        let mut names = checkpoint_names(&self.path)?;
        names.truncate(names.len().saturating_sub(self.keep));
        let (last, best) = (pointer(&self.path, LAST)?, pointer(&self.path, BEST)?);
        let is_kept = |name: &String| [&last, &best].contains(&&Some(name.clone()));
        for name in names.iter().filter(|name| !is_kept(name)) {
            self.remove(name)?;
        }
        Ok(())
    }

    /// Draws the loss curve from the log and, as the last thing of all, writes the summary.
    ///
    /// # Errors
    /// [`Error::Write`] with what the operating system said.
    pub fn conclude(&mut self, title: &str, summary: &Summary) -> Result<()> {
        self.metrics.sync()?;
        let events = read_log(&self.path)?;
        plot::loss_curve(&self.path.join(LOSS_CURVE), title, &events)?;
        folder::replace_json(&self.path.join(SUMMARY), summary)
    }

    /// Does the summary say that training came to its end where `progress` stands?
    ///
    /// # Errors
    /// [`Error::Run`] for a link, and for what is no small file; [`Error::Read`].
    pub fn is_concluded_at(&self, progress: &Progress) -> Result<bool> {
        #[derive(Deserialize)]
        struct End {
            outcome: String,
            steps: u64,
            epochs: usize,
        }
        let path = self.path.join(SUMMARY);
        // One that is not there, or damaged, is written again.
        if source::metadata(&path)?.is_none() {
            return Ok(false);
        }
        let summary = source::read_small(&path)?;
        Ok(serde_json::from_slice(&summary).is_ok_and(|end: End| {
            [FINISHED, STOPPED_EARLY].contains(&end.outcome.as_str())
                && (end.steps, end.epochs) == (progress.step, progress.epoch)
        }))
    }
}

/// Completes the checkpoint's progress by the length of the log, and names it: names sort by step.
fn name(checkpoint: &mut Checkpoint, log_bytes: u64) -> String {
    match &mut checkpoint.state {
        Some(state) => {
            state.progress.log_bytes = log_bytes;
            directory_name(&state.progress)
        }
        None => directory_name(&Progress::default()),
    }
}

/// Before and after the end of an epoch is the same step, but not the same checkpoint.
fn directory_name(progress: &Progress) -> String {
    format!("{}epoch-{:05}", step_name(progress.step), progress.epoch)
}

/// What checkpoints are ordered by, the oldest first: longer names are later ones, from step 10⁹ on.
fn age(name: &str) -> (usize, &str) {
    (name.len(), name)
}

fn step_name(step: u64) -> String {
    format!("step-{step:09}-")
}

/// The events of a run's log. A last line that was cut short is left out.
///
/// # Errors
/// [`Error::Read`] if there is none, [`Error::Run`] for a line that is not an event.
pub fn read_log(run: &Path) -> Result<Vec<Event>> {
    let path = run.join(METRICS);
    let text = source::read(&path)?;
    let ends = (0..text.len()).filter(|&at| text[at] == b'\n');
    let mut begin = 0;
    let parse = |end| {
        let line = begin..end;
        begin = end + 1;
        json::parse_part(&text, line).map_err(|what| Error::run(&path, what))
    };
    ends.map(parse).collect()
}

/// The checkpoint to read a model from: `path` itself if it is one, else the best of the run, or the
/// last one where none was validated.
///
/// # Errors
/// [`Error::Run`] if there is none.
pub fn model_of(path: &Path) -> Result<PathBuf> {
    find(path, &[BEST, LAST])
}

/// The checkpoint to go on from: `path` itself if it is one, else the last of the run.
///
/// # Errors
/// [`Error::Run`] if there is none.
pub fn last_of(path: &Path) -> Result<PathBuf> {
    find(path, &[LAST])
}

/// Every checkpoint of a run, the oldest first.
///
/// # Errors
/// [`Error::Read`] if there is no folder of them.
pub fn checkpoints(run: &Path) -> Result<Vec<PathBuf>> {
    let names = checkpoint_names(run)?;
    let path = |name| run.join(CHECKPOINTS).join(name);
    Ok(names.into_iter().map(path).collect())
}

/// The run that a checkpoint is in.
pub fn of_checkpoint(checkpoint: &Path) -> PathBuf {
    let path = std::path::absolute(checkpoint);
    let path = path.as_deref().unwrap_or(checkpoint);
    parent(parent(path)).to_owned()
}

fn find(path: &Path, pointers: &[&str]) -> Result<PathBuf> {
    if path.join(MANIFEST).is_file() {
        return Ok(path.to_owned());
    }
    for file in pointers {
        if let Some(name) = pointer(path, file)? {
            return Ok(path.join(CHECKPOINTS).join(name));
        }
    }
    let what = "not a run, it has no checkpoint; give the folder that `bptt train` named";
    Err(Error::run(path, what.to_owned()))
}

/// The name that a pointer file holds, if it is there: one of a checkpoint of this run.
fn pointer(run: &Path, file: &str) -> Result<Option<String>> {
    source::metadata(&run.join(CHECKPOINTS))?;
    let path = run.join(CHECKPOINTS).join(file);
    if source::metadata(&path)?.is_none() {
        return Ok(None);
    }
    let name = source::read_line(&path)?;
    match checkpoint_names(run)?.contains(&name) {
        true => Ok(Some(name)),
        false => Err(Error::run(
            &path,
            format!("there is no checkpoint {name:?} beside it"),
        )),
    }
}

/// The names of all checkpoints of a run, the oldest first.
fn checkpoint_names(run: &Path) -> Result<Vec<String>> {
    let path = run.join(CHECKPOINTS);
    source::metadata(&path)?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(Error::read(&path))? {
        let entry = entry.map_err(Error::read(&path))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // A link to a folder is none.
        let is_folder = entry.file_type().map_err(Error::read(&path))?.is_dir();
        if name.starts_with("step-") && is_folder {
            names.push(name);
        }
    }
    names.sort_by(|a, b| age(a).cmp(&age(b)));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::data::Corpus;
    use crate::device::Cpu;
    use crate::train::Trainer;

    /// A save whose last step fails leaves nothing that the next one does not make good.
    #[test]
    fn what_a_save_could_not_do_the_next_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            emsize: 2,
            nhid: 2,
            keep: 1,
            ..Config::default()
        };
        let corpus = Corpus::load(&config.source()).unwrap();
        let cpu = &mut Cpu::<f32>::new();
        let mut trainer = Trainer::new(cpu, &config, &corpus).unwrap();
        let mut at = |step, best| {
            let mut checkpoint = trainer.checkpoint(cpu, &corpus.vocabulary).unwrap();
            let progress = &mut checkpoint.state.as_mut().unwrap().progress;
            progress.step = step;
            progress.best = Some(Best {
                step: best,
                loss: 1.0,
            });
            checkpoint
        };
        let new = NewFolder::prepare(&folder.path().join("run")).unwrap();
        let mut run = Run::create(new, at(0, 0)).unwrap();
        let checkpoints = run.checkpoints();
        // A folder in its place keeps the pointer to the best one from being written.
        std::fs::create_dir(checkpoints.join(BEST)).unwrap();
        assert!(run.save(at(1, 1)).is_err());
        std::fs::remove_dir(checkpoints.join(BEST)).unwrap();
        std::fs::create_dir(checkpoints.join(".bptt-left")).unwrap();
        let last = run.save(at(2, 1)).unwrap();
        let best = pointer(run.path(), BEST).unwrap().unwrap();
        assert!(best.starts_with(&step_name(1)), "{best}");
        assert_eq!(last_of(run.path()).unwrap(), last);
        let names = std::fs::read_dir(&checkpoints).unwrap();
        // Two checkpoints, two pointers.
        assert_eq!(names.count(), 4);
    }
}
