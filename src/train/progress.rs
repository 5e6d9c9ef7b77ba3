//! Where training stands.

use serde::{Deserialize, Serialize};

use crate::checkpoint::Tensors;
use crate::schedule::{BestLoss, ScheduleState};

/// The lowest validation loss so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Best {
    /// The step that it was reached at.
    pub step: u64,
    /// The loss, in nats per token.
    pub loss: f64,
}

/// Where training stands, apart from tensors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// The epoch under way, from 0.
    pub epoch: usize,
    /// The epoch's windows that are done.
    pub window: usize,
    /// Sum of the losses that are still on the device.
    pub loss_on_device: f64,
    /// Windows whose losses have been taken from the device.
    pub taken: u64,
    /// Sum and number of the losses taken since the last line of the log.
    pub recent_loss: (f64, u64),
    /// Sum and number of the losses taken in this epoch.
    pub epoch_loss: (f64, u64),
    /// The step of the last evaluation in the middle of an epoch.
    pub evaluated: u64,
    /// The lowest validation loss so far, if there is a validation part.
    pub best: Option<Best>,
    /// What the learning rate depends on.
    #[serde(default)]
    pub schedule: ScheduleState,
    /// What early stopping depends on.
    #[serde(default)]
    pub early_stop: BestLoss,
    /// Seconds of training.
    pub seconds: f64,
    /// SHA-256 of the training and of the validation part, as token ids.
    pub text: (String, String),
    /// The device that computed it, in words.
    pub device: String,
    /// Length of the log in bytes.
    pub log_bytes: u64,
}

/// All that training needs, beside the weights, to go on as if it had never stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Where it stands.
    pub progress: Progress,
    /// The hidden state, inside an epoch, and the optimizer's state.
    pub tensors: Tensors,
}
