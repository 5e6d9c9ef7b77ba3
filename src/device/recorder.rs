//! Records a step's dispatches into one compute pass, and submits it once.

use std::collections::VecDeque;

/// Submissions that may be under way before the host waits for the oldest: enough to keep the
/// device busy, few enough that queued uploads stay small.
const IN_FLIGHT: usize = 3;

/// The compute pass of the current step.
#[derive(Debug, Default)]
pub struct Recorder {
    open: Option<(wgpu::CommandEncoder, wgpu::ComputePass<'static>)>,
    submitted: VecDeque<wgpu::SubmissionIndex>,
    dispatches: u64,
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
        self.dispatches += 1;
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
        self.open.is_some()
    }

    /// Dispatches recorded since the device was opened.
    pub fn dispatches(&self) -> u64 {
        self.dispatches
    }

    /// Submits what was recorded, as one command buffer.
    ///
    /// # Errors
    /// What polling for an earlier submission said.
    pub fn submit(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
    ) -> Result<(), wgpu::PollError> {
        if let Some((encoder, pass)) = self.open.take() {
            drop(pass);
            self.submitted.push_back(queue.submit([encoder.finish()]));
        }
        while self.submitted.len() > IN_FLIGHT {
            let oldest = self.submitted.pop_front();
            device.poll(wgpu::PollType::Wait {
                submission_index: oldest,
                timeout: None,
            })?;
        }
        Ok(())
    }
}
