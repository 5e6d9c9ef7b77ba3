//! Opens the device that was asked for, and says which it is and why.

use super::terminal::note;
use crate::device::adapter::{self, Chosen, DeviceChoice};
use crate::device::{Cpu, Device, Gpu, MemoryPlan, memory};
use crate::error::Result;
use crate::parity::Subject;

/// Work that any device can do.
pub trait Job {
    /// What it comes to.
    type Output;

    /// Does it.
    fn run<O: Subject>(self, ops: &mut O) -> Result<Self::Output>;
}

/// Runs `job` on the device of `choice`. With a `plan`, what does not fit the memory is refused
/// first.
pub fn on_device<J: Job>(
    choice: &DeviceChoice,
    plan: Option<&MemoryPlan>,
    job: J,
) -> Result<J::Output> {
    match adapter::choose(choice)? {
        Chosen::Cpu(why) => {
            let mut cpu = Cpu::<f32>::new();
            announce(&cpu, why);
            check_host(plan, &cpu)?;
            job.run(&mut cpu)
        }
        Chosen::Gpu(adapter, why) => {
            let mut gpu = Gpu::open(&adapter)?;
            announce(&gpu, why);
            if gpu.is_software() {
                check_host(plan, &gpu)?;
            }
            let done = job.run(&mut gpu);
            for choice in gpu.choices() {
                note(&format!("kernel: {choice}"));
            }
            done
        }
    }
}

fn announce(device: &impl Device, why: &str) {
    note(&format!("device: {} ({why})", device.describe()));
}

fn check_host(plan: Option<&MemoryPlan>, device: &impl Device) -> Result<()> {
    plan.map_or(Ok(()), |plan| memory::check_host(plan, &device.describe()))
}
