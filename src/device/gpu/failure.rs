//! What the device reports outside a call: errors, and that it was lost. Nothing of it ends the
//! process; the next submission, or wait, returns it.

use std::sync::{Arc, Mutex};

use super::lock;
use crate::error::Error;

/// What was reported and not yet returned.
#[derive(Debug, Default)]
struct Reported {
    /// Stays: nothing works after it.
    lost: Option<String>,
    /// The first since the last was returned.
    error: Option<String>,
}

/// Where the handlers of a device put what they are told.
#[derive(Debug, Default, Clone)]
pub(super) struct Failures(Arc<Mutex<Reported>>);

impl Failures {
    /// Takes over what `device` would otherwise panic at.
    pub fn watch(device: &wgpu::Device) -> Self {
        let failures = Failures::default();
        let watching = failures.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            watching.note(error.to_string());
        }));
        let watching = failures.clone();
        device.set_device_lost_callback(move |reason, message| {
            watching.note_loss(format!("{reason:?}: {message}"));
        });
        failures
    }

    /// Notes an error, unless there is one.
    pub fn note(&self, message: String) {
        lock(&self.0).error.get_or_insert(message);
    }

    /// Notes that the device is lost.
    pub fn note_loss(&self, message: String) {
        lock(&self.0).lost.get_or_insert(message);
    }

    /// Is there anything to return?
    pub fn is_any(&self) -> bool {
        let reported = lock(&self.0);
        reported.lost.is_some() || reported.error.is_some()
    }

    /// What there is to return, for a device that is called `device`.
    pub fn take(&self, device: &str) -> Option<Error> {
        let mut reported = lock(&self.0);
        let device = device.to_owned();
        if let Some(message) = &reported.lost {
            let message = message.trim().trim_end_matches(':').to_owned();
            return Some(Error::DeviceLost { device, message });
        }
        let message = reported.error.take()?.trim().to_owned();
        Some(Error::Device { device, message })
    }
}
