//! Train recurrent language models on any GPU.
#![warn(missing_docs)]

pub mod device;
pub mod error;
pub mod math;
pub mod model;
pub mod ops;
pub mod optimizer;
pub mod parity;

pub use error::{Error, Result};
