//! What other programs write, and what they read: weights from PyTorch, models for ONNX runtimes,
//! logs for TensorBoard.

pub mod onnx;
mod protobuf;
pub mod pytorch;
pub mod tensorboard;
