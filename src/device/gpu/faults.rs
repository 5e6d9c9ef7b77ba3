//! Faults on demand, so that what follows them can be tested on a device that has none.

use super::Gpu;

/// What is to go wrong, counted from the moment that it is injected; 0 is the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The allocation of this number finds no memory left.
    OutOfMemory(u64),
    /// The device is lost before the dispatch of this number is recorded.
    LostAtDispatch(u64),
    /// The device is lost when the result of this number is waited for: its copy is on its way.
    LostAtRead(u64),
}

/// Where a fault can strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Allocation,
    Dispatch,
    Read,
}

/// The fault that is to come, if any.
#[derive(Debug, Default)]
pub(super) struct Faults(Option<Fault>);

impl Faults {
    /// Does the fault strike here and now? Then it was the last.
    pub fn strike(&mut self, place: Place) -> bool {
        let left = match (&mut self.0, place) {
            (Some(Fault::OutOfMemory(left)), Place::Allocation)
            | (Some(Fault::LostAtDispatch(left)), Place::Dispatch)
            | (Some(Fault::LostAtRead(left)), Place::Read) => left,
            _ => return false,
        };
        if *left > 0 {
            *left -= 1;
            return false;
        }
        self.0 = None;
        true
    }
}

impl Gpu {
    /// Makes this go wrong, instead of what was to go wrong before.
    pub fn inject(&mut self, fault: Fault) {
        self.faults = Faults(Some(fault));
    }

    /// Is what was injected still to come?
    pub fn is_fault_to_come(&self) -> bool {
        self.faults.0.is_some()
    }

    /// Loses the device, as a reset of its driver does: everything on it is gone.
    pub fn lose(&self) {
        self.device.destroy();
    }
}
