//! Train recurrent language models on any GPU.
//!
//! A token's way is [`data`] → [`model`] → [`ops`] → [`device`] and its shaders, and back:
//! [`train`] runs it, [`optimizer`] updates, [`checkpoint`] saves into a [`run`]'s folder,
//! [`generate`] samples, [`evaluate`] scores, [`interchange`] reads and writes what other programs
//! do, and
//! [`parity`] holds a device to the f64 reference.
//!
//! ```
//! use bptt::device::Cpu;
//! use bptt::model::{ModelSize, RnnLm};
//! use bptt::optimizer::Optimizer;
//!
//! # fn main() -> bptt::Result<()> {
//! // Four tokens in a circle, two streams, three time steps.
//! let size = ModelSize { vocab: 4, embedding: 8, hidden: 16, batch: 2, time_steps: 3, biases: 1 };
//! let mut cpu = Cpu::<f32>::new();
//! let mut model = RnnLm::new(&mut cpu, size, true)?;
//! model.init(&mut cpu, 1)?;
//! let mut sgd = Optimizer::sgd(&mut cpu, &model, None)?;
//! sgd.set_rate(&mut cpu, 1.0)?;
//! for _ in 0..200 {
//!     model.forward(&mut cpu, &[0, 2, 1, 3, 2, 0], &[1, 3, 2, 0, 3, 1])?;
//!     model.backward(&mut cpu)?;
//!     sgd.step(&mut cpu, &mut model)?;
//! }
//! model.take_loss_sum(&mut cpu)?;
//! model.evaluate(&mut cpu, &[0, 2, 1, 3, 2, 0], &[1, 3, 2, 0, 3, 1])?;
//! assert!(model.take_loss_sum(&mut cpu)? < 0.1);
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs, missing_debug_implementations)]
// tests/policy.rs lists where it is expected.
#![deny(unsafe_code)]

pub mod bench;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod data;
pub mod device;
pub mod error;
pub mod evaluate;
pub mod fit;
pub mod generate;
pub mod inspect;
pub mod interchange;
mod json;
pub mod math;
pub mod model;
pub mod ops;
pub mod optimizer;
pub mod parity;
pub mod plot;
pub mod run;
pub mod schedule;
pub mod train;

pub use error::{Error, Result};

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sent<T: Send + 'static>() {}
    fn is_shared<T: Send + Sync + 'static>() {}

    /// (That this compiles is the test.)
    #[test]
    fn what_people_hold_can_go_to_other_threads() {
        is_shared::<Error>();
        is_shared::<config::Config>();
        is_shared::<checkpoint::Checkpoint>();
        is_shared::<data::Corpus>();
        is_shared::<device::Cpu<f32>>();
        is_shared::<model::RnnLm<device::Cpu<f64>>>();
        is_sent::<device::Gpu>();
        is_sent::<model::RnnLm<device::Gpu>>();
        is_sent::<optimizer::Optimizer<device::Gpu>>();
    }
}
