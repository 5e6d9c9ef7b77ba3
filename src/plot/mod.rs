//! Pictures: the loss curve of a run, several runs over each other, the roofline of a profile, as SVG
//! or in the terminal.

mod curves;
mod roofline;
mod svg;
mod terminal;

pub use curves::{Curve, Curves};
pub use roofline::roofline;
pub use svg::{loss_curve, panels};
pub use terminal::in_characters;
