//! The CPU: the reference at f64, the fallback at f32.

use super::tokens::TokenIndex;
use super::{Device, Element, Purpose, check_range};
use crate::error::{Error, Result};

/// The CPU as a device. Results do not depend on the number of threads.
#[derive(Debug, Clone)]
pub struct Cpu<F> {
    threads: usize,
    /// Scratch space of ops, kept from call to call.
    pub(crate) scratch: Vec<F>,
}

impl<F: Element> Cpu<F> {
    /// Uses all cores.
    pub fn new() -> Self {
        Cpu::with_threads(rayon::current_num_threads())
    }

    /// Uses at most `threads` threads (0 counts as 1).
    pub fn with_threads(threads: usize) -> Self {
        Cpu {
            threads: threads.max(1),
            scratch: Vec::new(),
        }
    }

    /// The number of threads used for large products.
    pub fn threads(&self) -> usize {
        self.threads
    }
}

impl<F: Element> Default for Cpu<F> {
    fn default() -> Self {
        Cpu::new()
    }
}

/// A tensor in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct CpuTensor<F>(pub(crate) Vec<F>);

impl<F> CpuTensor<F> {
    /// The elements.
    pub fn as_slice(&self) -> &[F] {
        &self.0
    }
}

impl<F: Element> Device for Cpu<F> {
    type Elem = F;
    type Tensor = CpuTensor<F>;
    type Ids = TokenIndex;

    fn describe(&self) -> String {
        let s = if self.threads == 1 { "" } else { "s" };
        format!("CPU ({}, {} thread{s})", F::NAME, self.threads)
    }

    fn alloc(&mut self, _: Purpose, label: &str, len: usize) -> Result<CpuTensor<F>> {
        let mut data = Vec::new();
        data.try_reserve_exact(len)
            .map_err(|_| Error::OutOfMemory {
                device: self.describe(),
                label: label.to_owned(),
                bytes: (len as u64).saturating_mul(size_of::<F>() as u64),
            })?;
        data.resize(len, F::zero());
        Ok(CpuTensor(data))
    }

    fn alloc_ids(
        &mut self,
        _: &str,
        count: usize,
        vocab: usize,
        indexed: bool,
    ) -> Result<TokenIndex> {
        Ok(TokenIndex::new(count, vocab, indexed))
    }

    fn len(&self, tensor: &CpuTensor<F>) -> usize {
        tensor.0.len()
    }

    fn write(&mut self, tensor: &mut CpuTensor<F>, offset: usize, data: &[F]) -> Result<()> {
        check_range("write", "tensor", tensor.0.len(), offset, data.len())?;
        tensor.0[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn write_ids(&mut self, ids: &mut TokenIndex, tokens: &[u32]) -> Result<()> {
        ids.set(tokens)
    }

    fn read_into(&mut self, tensor: &CpuTensor<F>, offset: usize, out: &mut [F]) -> Result<()> {
        check_range("read", "tensor", tensor.0.len(), offset, out.len())?;
        out.copy_from_slice(&tensor.0[offset..offset + out.len()]);
        Ok(())
    }

    fn submit(&mut self) -> Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
