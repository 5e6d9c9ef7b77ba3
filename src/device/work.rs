//! How much work a dispatch is, and how much of it a driver lets pass.
//!
//! Drivers end what keeps a GPU busy for too long, as if it hung: Windows after 2 s, others after
//! 2 to 10 s, some by the dispatch and some by the submission. So neither may hold more work than a
//! slow GPU does in less than that.

/// What a dispatch computes and moves.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes of tensors read and written, each counted once.
    pub bytes: f64,
}

/// Floating-point operations a second of a slow GPU, sustained: an eighth of the peak of integrated
/// graphics of 2014 (Intel HD 4400 and 5000, 400 to 700 GFLOP/s).
const SLOW_FLOPS: f64 = 50e9;
/// Bytes a second that it moves: one channel of DDR3-1333.
const SLOW_BYTES: f64 = 10e9;

/// Seconds that a dispatch, and that a submission, may take on a slow GPU: half of what Windows allows.
pub const LONGEST: f64 = 1.0;

impl Work {
    /// So many operations on f32 elements, and so many of those read and written.
    pub fn of(flops: usize, elements: usize) -> Self {
        Work {
            flops: flops as f64,
            bytes: 4.0 * elements as f64,
        }
    }

    /// What a slow GPU takes for it, if it does not overlap the two.
    pub fn seconds_on_slow_gpu(self) -> f64 {
        self.flops / SLOW_FLOPS + self.bytes / SLOW_BYTES
    }
}

/// What the dispatches since a device was opened come to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Recorded {
    /// Dispatches.
    pub dispatches: u64,
    /// Submissions that hold any.
    pub submissions: u64,
    /// Seconds of the longest dispatch on a slow GPU.
    pub longest_dispatch: f64,
    /// Seconds of the longest submission on a slow GPU.
    pub longest_submission: f64,
    /// All seconds on a slow GPU.
    pub seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_gpu_takes_a_second_for_fifty_gigaflop_or_ten_gigabytes() {
        let seconds = |flops, elements| Work::of(flops, elements).seconds_on_slow_gpu();
        assert_eq!(seconds(50_000_000_000, 0), 1.0);
        assert_eq!(seconds(0, 2_500_000_000), 1.0);
        assert_eq!(seconds(25_000_000_000, 1_250_000_000), 1.0);
    }

    /// A kernel that visits elements once or twice needs no cut: what four bindings hold is less.
    #[test]
    fn whatever_is_bound_is_moved_in_time() {
        use crate::device::gpu::LARGEST_BINDING;
        let work = Work {
            flops: 0.0,
            bytes: 4.0 * LARGEST_BINDING as f64,
        };
        assert!(work.seconds_on_slow_gpu() < LONGEST);
    }
}
