//! A run under training: events to the terminal and the log, checkpoints into the run's folder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::generate::{CHOICE, Sample};
use super::interrupts::Interrupts;
use super::on_device::Job;
use super::profile;
use super::progress::Display;
use super::terminal::note;
use crate::checkpoint::{Checkpoint, NewFolder, Weights};
use crate::config::{Config, OnDeviceLost, OnNan, OnSaveError};
use crate::data::{Corpus, Level};
use crate::error::{Error, Result};
use crate::generate::Sampling;
use crate::ops::Ops;
use crate::parity::Subject;
use crate::run::{self, FINISHED, LOSS_CURVE, Run, STOPPED_EARLY, Summary};
use crate::train::{Advance, Event, Trainer};

/// Characters, and words or other tokens, of the sample at the end.
const SAMPLE: (usize, usize) = (400, 80);

/// What learning rates are multiplied by at least, after divergences.
const SMALLEST_SCALE: f64 = 1.0 / (1u64 << 32) as f64;

/// Where a session begins.
pub enum Beginning {
    /// With a new run, in the folder that has been taken, and new weights or these.
    New(NewFolder, Option<Weights>),
    /// With a run that goes on from one of its checkpoints.
    Resumed(Run, Box<Checkpoint>),
}

/// Training of one run, from a beginning on.
pub struct Session<'a> {
    /// The settings.
    pub config: &'a Config,
    /// The text.
    pub corpus: &'a Corpus,
    /// What to call the text in pictures.
    pub title: String,
    /// Signals that stop it.
    pub interrupts: &'a Interrupts,
    /// Steps to profile before.
    pub profile: Option<u32>,
    /// Where it begins, until it has.
    pub beginning: Option<Beginning>,
    /// The run, once it has begun.
    pub run: Option<Run>,
    /// How often the device was lost.
    pub retries: Retries,
}

/// How often the device may be lost without a checkpoint in between.
const RETRIES: u32 = 3;

/// Losses of the device since training last got on.
#[derive(Debug, Default)]
pub struct Retries {
    count: u32,
    /// The checkpoint that was the last one then.
    last: Option<PathBuf>,
}

impl Retries {
    /// Notes a loss with `last` as the last checkpoint; may it be tried again?
    fn are_left(&mut self, last: Option<PathBuf>) -> bool {
        if last != self.last {
            self.count = 0;
            self.last = last;
        }
        self.count += 1;
        self.count <= RETRIES
    }
}

impl Session<'_> {
    /// Puts `trainer` where training begins, or goes on after the device was lost: what was done
    /// since the last checkpoint is undone. Is there nothing left to do?
    fn begin<O: Subject>(&mut self, ops: &mut O, trainer: &mut Trainer<'_, O>) -> Result<bool> {
        let mut is_done = false;
        match self.beginning.take() {
            Some(Beginning::New(folder, weights)) => {
                match first_checkpoint(ops, trainer, weights.as_ref(), self.corpus) {
                    Ok(first) => self.run = Some(Run::create(folder, first)?),
                    Err(error) => {
                        self.beginning = Some(Beginning::New(folder, weights));
                        return Err(error);
                    }
                }
            }
            Some(Beginning::Resumed(mut run, checkpoint)) => {
                if let Err(error) = trainer.restore(ops, &checkpoint, run.path()) {
                    self.beginning = Some(Beginning::Resumed(run, checkpoint));
                    return Err(error);
                }
                is_done = trainer.is_finished() && run.is_concluded_at(trainer.progress())?;
                if !is_done {
                    let removed = run.rewind(&checkpoint)?;
                    if removed > 0 {
                        note(&format!("checkpoints of later steps, removed: {removed}"));
                    }
                }
                self.run = Some(run);
            }
            None => {
                if let Some(run) = &mut self.run {
                    let path = run::last_of(run.path())?;
                    let mut checkpoint = Checkpoint::read(&path)?;
                    checkpoint.config = self.config.clone();
                    trainer.restore(ops, &checkpoint, &path)?;
                    run.rewind(&checkpoint)?;
                }
            }
        }
        Ok(is_done)
    }
}

fn first_checkpoint<O: Subject>(
    ops: &mut O,
    trainer: &mut Trainer<'_, O>,
    weights: Option<&Weights>,
    corpus: &Corpus,
) -> Result<Checkpoint> {
    if let Some(weights) = weights {
        weights.put(ops, &mut trainer.model)?;
    }
    trainer.checkpoint(ops, &corpus.vocabulary)
}

impl Job for Session<'_> {
    type Output = ExitCode;

    fn run<O: Subject>(&mut self, ops: &mut O) -> Result<ExitCode> {
        // Before the run has the device's memory.
        let profile = profile::of_twin(ops, self.config, self.corpus, self.profile)?;
        let mut trainer = Trainer::new(ops, self.config, self.corpus)?;
        let is_done = self.begin(ops, &mut trainer)?;
        let Some(run) = &mut self.run else {
            return Ok(ExitCode::FAILURE);
        };
        if let Some(report) = profile {
            profile::write(&report, run.path())?;
            self.profile = None;
        }
        let mut training = Training {
            trainer,
            run,
            config: self.config,
            corpus: self.corpus,
            title: &self.title,
            interrupts: self.interrupts,
            valid_loss: None,
            is_saved: true,
        };
        if is_done {
            return Ok(training.has_nothing_left());
        }
        for event in run::read_log(training.run.path())? {
            training.note_valid_loss(&event);
        }
        training.run(ops)
    }

    fn goes_on(&mut self, lost: &Error) -> bool {
        if self.config.on_device_lost == OnDeviceLost::Stop {
            return false;
        }
        let path = self.run.as_ref().map(Run::path);
        let last = path.and_then(|path| run::last_of(path).ok());
        let place = match &last {
            Some(last) => last.display().to_string(),
            None => "the beginning".to_owned(),
        };
        if self.retries.are_left(last) {
            note(&format!("{lost}"));
            note(&format!("opening it again, to go on from {place}"));
            return true;
        }
        note(&format!(
            "given up: lost {RETRIES} times more at {place}, without getting on"
        ));
        if let Some(path) = path {
            note_kept(path);
        }
        false
    }
}

/// Says what there is to go on from.
fn note_kept(run: &Path) {
    note(&format!(
        "the last good checkpoint is kept; to go on from it: bptt train --resume {}",
        run.display()
    ));
}

struct Training<'a, O: Ops> {
    trainer: Trainer<'a, O>,
    run: &'a mut Run,
    config: &'a Config,
    corpus: &'a Corpus,
    title: &'a str,
    interrupts: &'a Interrupts,
    /// The validation loss that was measured last.
    valid_loss: Option<f64>,
    /// Did the last save succeed?
    is_saved: bool,
}

impl<O: Subject> Training<'_, O> {
    fn run(&mut self, ops: &mut O) -> Result<ExitCode> {
        let display = Display::new(
            self.corpus.vocabulary.level(),
            self.trainer.total_steps(),
            self.config.epochs,
        );
        let ended = self.train(ops, &display);
        display.finish();
        let concluded = ended.and_then(|end| match end {
            Advance::Stopped => self.interrupted(ops),
            _ => self.finished(ops),
        });
        if let Err(error) = &concluded {
            self.failed(error);
        }
        concluded
    }

    /// A run that has been trained to its end.
    fn has_nothing_left(&self) -> ExitCode {
        let run = self.run.path().display();
        let (done, longer) = match (self.trainer.is_stopped_early(), self.config.early_stop) {
            (true, Some(epochs)) => (
                format!("it stopped early, with no better validation loss for {epochs} epochs"),
                format!("--early-stop {}", epochs.saturating_mul(2)),
            ),
            _ => {
                let epochs = self.trainer.progress().epoch;
                (
                    format!("all {epochs} epochs are done"),
                    format!("--epochs {}", epochs.saturating_mul(2)),
                )
            }
        };
        note(&format!(
            "{run}: nothing is left to do, {done}; to train longer: bptt train --resume {run} {longer}"
        ));
        ExitCode::SUCCESS
    }

    /// Trains until all epochs are done or a signal comes; the last state is saved.
    fn train(&mut self, ops: &mut O, display: &Display) -> Result<Advance> {
        let interrupts = self.interrupts;
        let mut stop = || interrupts.came();
        loop {
            match self.turn(ops, display, &mut stop) {
                Ok(None) => {}
                Ok(Some(end)) => return Ok(end),
                Err(error @ Error::Diverged { .. }) if self.config.on_nan == OnNan::Rollback => {
                    self.roll_back(ops, display, error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Trains until there is something to tell, and tells it; what training ended by, if it did.
    fn turn(
        &mut self,
        ops: &mut O,
        display: &Display,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Advance>> {
        match self.trainer.advance(ops, stop)? {
            Advance::Event(event) => self.tell(display, &event)?,
            Advance::Save => {
                let saved = self.save(ops)?;
                self.is_saved = saved.is_ok();
                self.go_on_without(display, saved)?;
            }
            Advance::Stopped => {
                self.save(ops)??;
                return Ok(Some(Advance::Stopped));
            }
            Advance::Finished => {
                if !self.is_saved {
                    self.save(ops)??;
                }
                return Ok(Some(Advance::Finished));
            }
        }
        Ok(None)
    }

    /// What could not be written is only warned of, if that is what was asked for.
    fn go_on_without(&self, display: &Display, written: Result<()>) -> Result<()> {
        match (written, self.config.on_save_error) {
            (Err(error), OnSaveError::Continue) => {
                display.warn(&format!(
                    "{error}; training goes on, the next save tries again"
                ));
                Ok(())
            }
            (written, _) => written,
        }
    }

    fn tell(&mut self, display: &Display, event: &Event) -> Result<()> {
        display.show(event);
        self.note_valid_loss(event);
        let logged = self.run.log(event);
        self.go_on_without(display, logged)
    }

    /// Goes on from the last checkpoint at half the rate, unless that has been halved too often.
    fn roll_back(&mut self, ops: &mut O, display: &Display, error: Error) -> Result<()> {
        let path = run::last_of(self.run.path())?;
        let checkpoint = Checkpoint::read(&path)?;
        let event = self.trainer.roll_back(ops, &checkpoint, &path)?;
        match event {
            Event::Rollback { lr_scale, .. } if lr_scale < SMALLEST_SCALE => Err(error),
            _ => self.tell(display, &event),
        }
    }

    /// The outer error is of training, the inner one of the disk.
    fn save(&mut self, ops: &mut O) -> Result<Result<()>> {
        let checkpoint = self.trainer.checkpoint(ops, &self.corpus.vocabulary)?;
        Ok(self.run.save(checkpoint).map(drop))
    }

    fn note_valid_loss(&mut self, event: &Event) {
        if let Event::Evaluation { valid_loss, .. } = event {
            self.valid_loss = Some(*valid_loss);
        }
        if let Event::Epoch { valid_loss, .. } = event {
            self.valid_loss = *valid_loss;
        }
    }

    fn interrupted(&mut self, ops: &mut O) -> Result<ExitCode> {
        let run = self.run.path().display().to_string();
        note(&format!(
            "interrupted after step {}; saved in {run}; to go on: bptt train --resume {run}",
            self.trainer.progress().step
        ));
        self.valid_loss = match self.trainer.evaluate(ops, &mut || false) {
            Err(error @ Error::Diverged { .. }) => {
                note(&error.to_string());
                None
            }
            evaluated => evaluated?,
        };
        if let Some(loss) = self.valid_loss {
            let metric = self.corpus.vocabulary.level().metric(loss);
            note(&format!("validation loss {loss:.4}  {metric}"));
        }
        self.conclude("interrupted")?;
        Ok(self.interrupts.exit_code())
    }

    fn finished(&mut self, ops: &mut O) -> Result<ExitCode> {
        if self.trainer.is_stopped_early() {
            let epochs = self.config.early_stop.unwrap_or_default();
            note(&format!(
                "stopped early: no better validation loss for {epochs} epochs"
            ));
            self.conclude(STOPPED_EARLY)?;
        } else {
            self.conclude(FINISHED)?;
        }
        let path = self.run.path();
        note(&format!(
            "saved in {run}; the loss curve is {curve}; for more text, bptt generate {run}",
            run = path.display(),
            curve = path.join(LOSS_CURVE).display()
        ));
        let (characters, words) = SAMPLE;
        let mut sample = Sample {
            checkpoint: &self.trainer.checkpoint(ops, &self.corpus.vocabulary)?,
            prompt: "",
            prompt_ids: &[],
            length: match self.corpus.vocabulary.level() {
                Level::Char => characters,
                Level::Word | Level::Token => words,
            },
            samples: 1,
            sampling: Sampling {
                choice: CHOICE,
                seed: self.config.seed,
            },
            json: false,
        };
        sample.run(ops)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Says what there is to go on from.
    fn failed(&mut self, error: &Error) {
        // What has been read of the sample is a matter of who reads it; a folder may be gone.
        if matches!(error, Error::Output { .. }) || run::last_of(self.run.path()).is_err() {
            return;
        }
        if let Error::Diverged { .. } = error {
            // The error that is reported is the one that came first.
            let _ = self.conclude("diverged");
        }
        let retries = self.config.on_device_lost == OnDeviceLost::Retry;
        if !(retries && matches!(error, Error::DeviceLost { .. })) {
            note_kept(self.run.path());
        }
    }

    fn conclude(&mut self, outcome: &'static str) -> Result<()> {
        let size = self.config.model_size(self.corpus.vocabulary.len());
        let progress = self.trainer.progress();
        let summary = Summary {
            outcome,
            bptt: env!("CARGO_PKG_VERSION"),
            device: progress.device.clone(),
            parameters: size.parameters(),
            steps: progress.step,
            epochs: progress.epoch,
            seconds: self.trainer.seconds(),
            valid_loss: self.valid_loss,
            best: progress.best,
        };
        self.run.conclude(self.title, &summary)
    }
}
