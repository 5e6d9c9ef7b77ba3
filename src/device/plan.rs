//! All memory, summed from the configuration before anything is allocated.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use super::tokens::Segments;
use super::{Device, Element, Purpose};
use crate::error::{Error, Result};

/// Bytes by purpose, and the largest single tensor.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct MemoryPlan {
    /// Bytes of all tensors of a purpose.
    pub bytes: BTreeMap<Purpose, u64>,
    /// Label and bytes of the largest tensor.
    pub largest: (String, u64),
}

impl MemoryPlan {
    /// Bytes of everything.
    pub fn total(&self) -> u64 {
        self.bytes.values().fold(0, |sum, b| sum.saturating_add(*b))
    }

    fn add(&mut self, purpose: Purpose, label: &str, bytes: u64) {
        let sum = self.bytes.entry(purpose).or_default();
        *sum = sum.saturating_add(bytes);
        if bytes > self.largest.1 {
            self.largest = (label.to_owned(), bytes);
        }
    }
}

impl std::fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} MiB", mebibytes(self.total()))?;
        for (i, (purpose, bytes)) in self.bytes.iter().enumerate() {
            let separator = if i == 0 { ": " } else { ", " };
            write!(f, "{separator}{purpose} {:.1}", mebibytes(*bytes))?;
        }
        Ok(())
    }
}

/// Bytes in MiB.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A device that only counts: building a model on it gives the model's [`MemoryPlan`].
#[derive(Debug, Default)]
pub struct Planner<F> {
    plan: MemoryPlan,
    element: PhantomData<F>,
}

impl<F> Planner<F> {
    /// The sizes of everything allocated so far.
    pub fn into_plan(self) -> MemoryPlan {
        self.plan
    }
}

impl<F: Element> Device for Planner<F> {
    type Elem = F;
    type Tensor = usize;
    type Ids = usize;

    fn describe(&self) -> String {
        "memory plan".to_owned()
    }

    fn alloc(&mut self, purpose: Purpose, label: &str, len: usize) -> Result<usize> {
        let bytes = (len as u64).saturating_mul(size_of::<F>() as u64);
        self.plan.add(purpose, label, bytes);
        Ok(len)
    }

    fn alloc_ids(
        &mut self,
        label: &str,
        count: usize,
        vocab: usize,
        indexed: bool,
    ) -> Result<usize> {
        let segments = Segments::most(count, vocab);
        let index = if indexed {
            count + (segments + 1) + (vocab + 1)
        } else {
            0
        };
        self.plan
            .add(Purpose::Tokens, label, 4 * (count + index) as u64);
        Ok(count)
    }

    fn len(&self, tensor: &usize) -> usize {
        *tensor
    }

    fn write(&mut self, _: &mut usize, _: usize, _: &[F]) -> Result<()> {
        Ok(())
    }

    fn write_ids(&mut self, _: &mut usize, _: &[u32]) -> Result<()> {
        Ok(())
    }

    fn read_into(&mut self, _: &usize, _: usize, _: &mut [F]) -> Result<()> {
        Err(Error::Device {
            device: self.describe(),
            message: "a plan holds no values to read".to_owned(),
        })
    }

    fn submit(&mut self) -> Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
