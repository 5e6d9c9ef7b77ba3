//! What training has to tell, and what it comes back to its caller for.

use serde::{Deserialize, Serialize};

/// What training has to tell. A line of `metrics.jsonl` each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Event {
    /// Some steps are done.
    Steps {
        /// Steps since the beginning.
        step: u64,
        /// The epoch under way, from 1.
        epoch: usize,
        /// Mean loss, in nats per token, since the last event of this kind.
        loss: f64,
        /// The learning rate.
        lr: f64,
        /// The norm of all gradients at the last step, before clipping; none without clipping.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gradient_norm: Option<f64>,
        /// Tokens per second since the last event of this kind.
        tokens_per_second: f64,
        /// Seconds of training so far.
        seconds: f64,
    },
    /// The model was validated in the middle of an epoch.
    Evaluation {
        /// Steps since the beginning.
        step: u64,
        /// The epoch under way, from 1.
        epoch: usize,
        /// Loss on the validation part, in nats per token.
        valid_loss: f64,
        /// Seconds of training so far.
        seconds: f64,
    },
    /// The loss was no longer a number, or exploded, and training goes on from a checkpoint.
    Rollback {
        /// The step that it was found at.
        step: u64,
        /// The step of the checkpoint.
        to_step: u64,
        /// What every learning rate is multiplied by from now on.
        lr_scale: f64,
    },
    /// An epoch is done.
    Epoch {
        /// Steps since the beginning.
        step: u64,
        /// The epoch, from 1.
        epoch: usize,
        /// Its mean loss, in nats per token.
        loss: f64,
        /// Loss on the validation part, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        valid_loss: Option<f64>,
        /// Seconds of training so far.
        seconds: f64,
    },
}

impl Event {
    /// Steps since the beginning.
    pub fn step(&self) -> u64 {
        match *self {
            Event::Steps { step, .. }
            | Event::Evaluation { step, .. }
            | Event::Rollback { step, .. }
            | Event::Epoch { step, .. } => step,
        }
    }
}

/// What [`Trainer::advance`](super::Trainer::advance) comes back for.
#[derive(Debug, Clone, PartialEq)]
pub enum Advance {
    /// There is something to tell.
    Event(Event),
    /// This is a good moment to save a checkpoint.
    Save,
    /// `stop` said to stop. Training can go on from here.
    Stopped,
    /// All epochs are done.
    Finished,
}
