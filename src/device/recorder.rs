//! Records a step's dispatches into compute passes, and submits them: all at once, unless that is more
//! work than a driver lets pass.

use std::collections::VecDeque;

use super::work::Recorded;

/// Submissions that may be under way before the host waits for the oldest: enough to keep the
/// device busy, few enough that queued uploads stay small.
const IN_FLIGHT: usize = 3;

/// The compute pass of the current submission.
#[derive(Debug, Default)]
pub struct Recorder {
    open: Option<(wgpu::CommandEncoder, wgpu::ComputePass<'static>)>,
    submitted: VecDeque<wgpu::SubmissionIndex>,
    /// Seconds on a slow GPU of what is recorded and not submitted; none if there is nothing.
    pending: Option<f64>,
    recorded: Recorded,
}

impl Recorder {
    /// Adds a dispatch to the current pass, and opens one if there is none.
    pub fn dispatch(
        &mut self,
        device: &wgpu::Device,
        pipeline: &wgpu::ComputePipeline,
        bind_group: &wgpu::BindGroup,
        [x, y]: [u32; 2],
    ) {
        let pass = self.pass(device, None);
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, bind_group, &[]);
        pass.dispatch_workgroups(x, y, 1);
    }

    /// Counts a dispatch that takes a slow GPU so many seconds.
    pub fn count(&mut self, seconds: f64) {
        let pending = self.pending.get_or_insert(0.0);
        *pending += seconds;
        let recorded = &mut self.recorded;
        recorded.dispatches += 1;
        recorded.seconds += seconds;
        recorded.longest_dispatch = recorded.longest_dispatch.max(seconds);
        recorded.longest_submission = recorded.longest_submission.max(*pending);
    }

    /// Seconds on a slow GPU of what is recorded and not submitted.
    pub fn pending_seconds(&self) -> f64 {
        self.pending.unwrap_or_default()
    }

    /// The current pass; a new one writes `timestamps` when it begins and ends.
    pub fn pass(
        &mut self,
        device: &wgpu::Device,
        timestamps: Option<wgpu::ComputePassTimestampWrites<'_>>,
    ) -> &mut wgpu::ComputePass<'static> {
        let (_, pass) = self.open.get_or_insert_with(|| {
            let mut encoder = device.create_command_encoder(&Default::default());
            let descriptor = wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: timestamps,
            };
            let pass = encoder.begin_compute_pass(&descriptor).forget_lifetime();
            (encoder, pass)
        });
        pass
    }

    /// Is anything recorded that was not submitted?
    pub fn is_pending(&self) -> bool {
        self.open.is_some() || self.pending.is_some()
    }

    /// What was recorded since the device was opened.
    pub fn recorded(&self) -> Recorded {
        self.recorded
    }

    /// Submits what was recorded, as one command buffer. Returns the submission to wait for, if too
    /// many are under way.
    pub fn submit(&mut self, queue: &wgpu::Queue) -> Option<wgpu::SubmissionIndex> {
        if self.pending.take().is_some() {
            self.recorded.submissions += 1;
        }
        if let Some((encoder, pass)) = self.open.take() {
            drop(pass);
            self.submitted.push_back(queue.submit([encoder.finish()]));
        }
        if self.submitted.len() > IN_FLIGHT {
            self.submitted.pop_front()
        } else {
            None
        }
    }
}
