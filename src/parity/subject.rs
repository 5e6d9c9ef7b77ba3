//! What parity can be checked of: a GPU, kernel by kernel, or the CPU path at f32.

use crate::device::stopwatch::Stopwatch;
use crate::device::{Cpu, Gpu};

/// A device whose results are held to the f64 reference.
pub trait Subject: Stopwatch<Elem = f32> {
    /// Are sums shared by as many lanes as the kernels state? Bounds are tighter then.
    const SUMS_IN_LANES: bool;

    /// The names of the ways that `op` can be done on this device; at least one.
    fn variants(&self, op: &str) -> Vec<&'static str>;

    /// Does `op` by `variant` from now on; [`None`] lets it choose again.
    fn force(&mut self, op: &'static str, variant: Option<&'static str>);

    /// Lets grids have at most so many workgroups in a row, where there are any; [`None`] lets them be
    /// as wide as they can.
    fn fold_grids(&mut self, widest: Option<u32>);

    /// Lets tensors that are allocated from now on be bound by at most so many bytes at once, where
    /// they are bound; [`None`] lets them be bound as a whole if they can.
    fn cut_bindings(&mut self, bytes: Option<u64>);

    /// Adapter, backend and driver.
    fn names(&self) -> [String; 3];
}

impl Subject for Gpu {
    const SUMS_IN_LANES: bool = true;

    fn variants(&self, op: &str) -> Vec<&'static str> {
        self.variants_of(op)
    }

    fn force(&mut self, op: &'static str, variant: Option<&'static str>) {
        self.force_variant(op, variant);
    }

    fn fold_grids(&mut self, widest: Option<u32>) {
        Gpu::fold_grids(self, widest);
    }

    fn cut_bindings(&mut self, bytes: Option<u64>) {
        Gpu::cut_bindings(self, bytes);
    }

    fn names(&self) -> [String; 3] {
        let info = self.info();
        let driver = format!("{} {}", info.driver, info.driver_info);
        [info.name.clone(), info.backend.to_string(), driver]
    }
}

impl Subject for Cpu<f32> {
    const SUMS_IN_LANES: bool = false;

    fn variants(&self, _: &str) -> Vec<&'static str> {
        vec!["cpu f32"]
    }

    fn force(&mut self, _: &'static str, _: Option<&'static str>) {}

    fn fold_grids(&mut self, _: Option<u32>) {}

    fn cut_bindings(&mut self, _: Option<u64>) {}

    fn names(&self) -> [String; 3] {
        use crate::device::Device;
        [self.describe(), "none".to_owned(), "none".to_owned()]
    }
}
