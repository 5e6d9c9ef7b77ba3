//! Opens the device that was asked for, and says which it is and why.

use super::terminal::note;
use crate::device::adapter::{self, Chosen, DeviceChoice, LimitsChoice, describe};
use crate::device::{Cpu, Device, Gpu, GpuSettings, memory};
use crate::error::{Error, Result};
use crate::fit::{Need, Room};
use crate::parity::Subject;

/// Work that any device can do.
pub trait Job {
    /// What it comes to.
    type Output;

    /// Does it. After [`Job::goes_on`] it is called again, with the device opened anew.
    fn run<O: Subject>(&mut self, ops: &mut O) -> Result<Self::Output>;

    /// Is it to go on after the device was lost?
    fn goes_on(&mut self, lost: &Error) -> bool {
        let _ = lost;
        false
    }
}

/// The flags that say where to run.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// Where to run: auto, cpu, gpu, gpu:N or gpu:NAME (see `bptt devices`); auto takes a hardware GPU
    /// if there is one, else the CPU
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceChoice,
    /// What of a GPU is used: all that it has, or only what every GPU has (WebGPU's default limits)
    #[arg(long, value_enum, default_value_t)]
    pub limits: LimitsChoice,
}

/// How a GPU is opened: [`Gpu::open_with`], or that and more.
pub type Open<'a> = &'a mut dyn FnMut(&wgpu::Adapter, GpuSettings) -> Result<Gpu>;

/// Runs `job` at `place`. What does not fit there is refused first.
pub fn on_device<J: Job>(place: &Place, need: Option<&Need>, job: J) -> Result<J::Output> {
    on_opened(place, need, job, &mut Gpu::open_with)
}

/// [`on_device`], with a GPU opened by `open`: anew when it is lost, as long as the job goes on.
pub fn on_opened<J: Job>(
    place: &Place,
    need: Option<&Need>,
    mut job: J,
    open: Open,
) -> Result<J::Output> {
    let Some(adapter) = choose(place, need)? else {
        return job.run(&mut Cpu::<f32>::new());
    };
    loop {
        let mut gpu = open(&adapter, place.limits.settings(&adapter))?;
        let done = job.run(&mut gpu);
        for choice in gpu.choices() {
            note(&format!("kernel: {choice}"));
        }
        match done {
            Err(error @ Error::DeviceLost { .. }) if job.goes_on(&error) => {}
            done => return done,
        }
    }
}

/// The GPU of `place`, or none for the CPU. Says which and why, and refuses what does not fit.
pub fn choose(place: &Place, need: Option<&Need>) -> Result<Option<wgpu::Adapter>> {
    match adapter::choose(&place.device)? {
        Chosen::Cpu(why) => {
            let cpu = Cpu::<f32>::new().describe();
            announce(&cpu, why);
            check(need, || room_of_host(cpu))?;
            Ok(None)
        }
        Chosen::Gpu(adapter, why) => {
            announce(&describe(&adapter.get_info()), why);
            check(need, || room_of(&adapter, place.limits))?;
            Ok(Some(*adapter))
        }
    }
}

fn announce(device: &str, why: &str) {
    note(&format!("device: {device} ({why})"));
}

fn check(need: Option<&Need>, room: impl FnOnce() -> Result<Room>) -> Result<()> {
    need.map_or(Ok(()), |need| room()?.check(need))
}

fn room_of_host(device: String) -> Result<Room> {
    Ok(Room {
        device,
        available: memory::host_available(),
        rehearsal: None,
    })
}

/// A software adapter's memory is the host's: an allocation beyond it may seem to succeed, and the
/// process be killed when it is used.
fn room_of(adapter: &wgpu::Adapter, limits: LimitsChoice) -> Result<Room> {
    let available = match adapter::is_hardware(adapter) {
        true => memory::of_adapter(adapter),
        false => memory::host_available(),
    };
    let settings = GpuSettings {
        plan_only: true,
        ..limits.settings(adapter)
    };
    Ok(Room {
        device: describe(&adapter.get_info()),
        available,
        rehearsal: Some(Gpu::open_with(adapter, settings)?),
    })
}
