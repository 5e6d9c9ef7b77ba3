//! Inputs for both devices, guarded outputs, and their comparison.

use super::bounds::tree;
use super::report::OpReport;
use super::subject::Subject;
use crate::device::cpu::CpuTensor;
use crate::device::tokens::TokenIndex;
use crate::device::{Cpu, Purpose};
use crate::error::Error;
use crate::model::Init;
use crate::ops::gpu::softmax_cross_entropy::{BLOCK, LONGEST};
use crate::ops::gpu::sum_rows;

/// What is behind an output, where no op may write.
const GUARD: &[f32] = &[f32::NAN; 67];

/// What is behind an operand that is read and written: a NaN would stay one, whatever is added to
/// it, and a sum that took in 9973 shows too.
const IN_OUT_GUARD: &[f32] = &[9973.0; 67];

/// The most workgroups in a row of a grid, from comparison to comparison: what comes of several rows, and
/// of those that are too many in the last, shows in small cases. Training is checked with grids as wide
/// as they can be.
const WIDEST: [u32; 5] = [1, 3, 2, 4, 5];

/// Bytes that are bound at once of the tensors of [`Harness::cut`]: 4,096 elements.
const CUT: u64 = 16 << 10;

/// Lanes that share a row, or a chunk of a sum, in the kernels: it fixes how the sum is taken.
pub const ROW_LANES: usize = 256;

/// Why cases end before the last of them.
pub enum End {
    /// One failure is enough, and there is one.
    Settled,
    /// The device failed.
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        End::Failed(error)
    }
}

/// What cases come to.
pub type Result<T, E = End> = std::result::Result<T, E>;

/// A tensor on the device that is checked and, exactly, on the reference.
pub struct Twin<O: Subject> {
    pub device: O::Tensor,
    pub exact: CpuTensor<f64>,
    /// Elements that the op may write; the guard follows.
    len: usize,
    guard: &'static [f32],
}

impl<O: Subject> Twin<O> {
    /// The reference's values, without the guard.
    pub fn reference(&self) -> &[f64] {
        &self.exact.0[..self.len]
    }
}

/// Runs the cases of one op by one variant.
pub struct Harness<'a, O> {
    pub device: &'a mut O,
    pub exact: Cpu<f64>,
    /// Is one failure enough that has these words in it?
    pub until: Option<&'static str>,
    /// What the inputs are drawn from.
    pub seed: u64,
    report: OpReport,
    stream: u64,
}

impl<'a, O: Subject> Harness<'a, O> {
    /// Checks `op` by `variant` on `device`.
    pub fn new(device: &'a mut O, op: &str, variant: &str) -> Self {
        device.fold_grids(Some(WIDEST[0]));
        Harness {
            device,
            exact: Cpu::new(),
            until: None,
            seed: 1,
            report: OpReport::new(op, variant),
            stream: 0,
        }
    }

    /// Runs cases whose tensors are larger than a binding may be, and so are worked through in pieces.
    pub fn cut(&mut self, cases: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.device.cut_bindings(Some(CUT));
        let checked = cases(self);
        self.device.cut_bindings(None);
        checked
    }

    pub fn into_report(self) -> OpReport {
        self.report.finish()
    }

    /// Lanes that a sum may be assumed to be shared by, where the kernel has `kernel` of them. One
    /// for a device that does not promise any order: its bound then holds for every order.
    pub fn lanes(&self, kernel: usize) -> usize {
        if O::SUMS_IN_LANES { kernel } else { 1 }
    }

    /// Will the first failure do, whatever it says?
    pub fn ends_with_any_failure(&self) -> bool {
        self.until == Some("")
    }

    /// Roundings in the longest chain of the sum of a row's `n` exponentials.
    pub fn row_chain(&self, n: usize) -> usize {
        if self.report.variant == "softmax_cross_entropy_rows" && n <= LONGEST {
            n.min(BLOCK).div_ceil(4) + n.div_ceil(BLOCK) + 2
        } else {
            tree(n, self.lanes(ROW_LANES))
        }
    }

    /// Roundings in the longest chain of the sum of a column of `n` rows. Each window after the first adds
    /// one; there is room for them where windows have 32 rows or more.
    pub fn column_chain(&self, n: usize) -> usize {
        if self.report.variant == "sum_rows_columns" {
            n.min(sum_rows::BLOCK) + n.div_ceil(sum_rows::BLOCK)
        } else {
            let lanes = self.lanes(sum_rows::LANES_A_COLUMN);
            n.div_ceil(lanes) + lanes
        }
    }

    /// Normally distributed numbers, others at each call.
    pub fn normal(&mut self, len: usize, deviation: f64) -> Vec<f32> {
        self.stream += 1;
        Init::Normal(deviation).values(self.seed, self.stream, len)
    }

    /// [`Harness::normal`] for each of some lengths.
    pub fn normals(&mut self, lengths: &[usize], deviation: f64) -> Vec<Vec<f32>> {
        let normal = |len: &usize| self.normal(*len, deviation);
        lengths.iter().map(normal).collect()
    }

    /// Token ids: every id occurs if there is room, and one in three is id 0.
    pub fn tokens(&mut self, len: usize, vocab: usize) -> Vec<u32> {
        let id = |i: usize| {
            if i % 3 == 1 {
                0
            } else {
                (i * 7919 + i / vocab) % vocab
            }
        };
        (0..len).map(|i| id(i) as u32).collect()
    }

    /// An operand that is only read.
    pub fn input(&mut self, values: &[f32]) -> Result<Twin<O>> {
        self.twin(values, &[])
    }

    /// An output that must be overwritten: NaN so far.
    pub fn output(&mut self, len: usize) -> Result<Twin<O>> {
        self.twin(&vec![f32::NAN; len], GUARD)
    }

    /// An output of `len` elements behind `before`, which must stay as it is.
    pub fn output_after(&mut self, before: &[f32], len: usize) -> Result<Twin<O>> {
        self.twin(&[before, &vec![f32::NAN; len]].concat(), GUARD)
    }

    /// An operand that is read and written.
    pub fn in_out(&mut self, values: &[f32]) -> Result<Twin<O>> {
        self.twin(values, IN_OUT_GUARD)
    }

    /// Operands that are only read: one, or several of a group.
    pub fn inputs(&mut self, values: &[Vec<f32>]) -> Result<Vec<Twin<O>>> {
        match values {
            [values] => Ok(vec![self.input(values)?]),
            _ => self.group(values),
        }
    }

    /// Operands that are read and written: one, or several of a group.
    pub fn in_outs(&mut self, values: &[Vec<f32>]) -> Result<Vec<Twin<O>>> {
        match values {
            [values] => Ok(vec![self.in_out(values)?]),
            _ => self.group(values),
        }
    }

    /// Tensors of a group: no guards, because what is behind one is the next.
    fn group(&mut self, values: &[Vec<f32>]) -> Result<Vec<Twin<O>>> {
        let tensors: Vec<_> = values.iter().map(|v| ("parity", (v.len(), 1))).collect();
        let group = self.device.alloc_group(Purpose::Scratch, &tensors)?;
        let twins = values.iter().zip(group);
        let twins = twins.map(|(values, device)| self.filled(device, values, &[]));
        twins.collect()
    }

    fn twin(&mut self, values: &[f32], guard: &'static [f32]) -> Result<Twin<O>> {
        let len = values.len() + guard.len();
        let device = self.device.alloc(Purpose::Scratch, "parity", len)?;
        self.filled(device, values, guard)
    }

    fn filled(
        &mut self,
        mut device: O::Tensor,
        values: &[f32],
        guard: &'static [f32],
    ) -> Result<Twin<O>> {
        let padded = [values, guard].concat();
        self.device.write(&mut device, 0, &padded)?;
        let exact = CpuTensor(padded.iter().map(|&x| f64::from(x)).collect());
        Ok(Twin {
            device,
            exact,
            len: values.len(),
            guard,
        })
    }

    /// Token ids on both devices.
    pub fn ids(&mut self, tokens: &[u32], vocab: usize) -> Result<(O::Ids, TokenIndex)> {
        let mut device = self.device.alloc_ids("parity", tokens.len(), vocab, true)?;
        self.device.write_ids(&mut device, tokens)?;
        let mut exact = TokenIndex::new(tokens.len(), vocab, true);
        exact.set(tokens)?;
        Ok((device, exact))
    }

    /// The device's values of a tensor, without the guard.
    pub fn result(&mut self, twin: &Twin<O>) -> Result<Vec<f32>> {
        let mut values = self.device.read(&twin.device)?;
        values.truncate(twin.len);
        Ok(values)
    }

    /// Holds each element to the reference, within `tolerance(i)`.
    pub fn compare(
        &mut self,
        case: &str,
        twin: &Twin<O>,
        tolerance: impl Fn(usize) -> f64,
    ) -> Result<()> {
        self.compare_with(case, twin, twin.reference(), tolerance)
    }

    /// Holds the guard to what it was.
    pub fn compare_guard(&mut self, case: &str, twin: &Twin<O>) -> Result<()> {
        let got = self.device.read(&twin.device)?;
        let changed = |(after, before): (&f32, &f32)| after.to_bits() != before.to_bits();
        let guard = got[twin.len..].iter().zip(twin.guard);
        if let Some(at) = guard.clone().position(changed) {
            let at = at + twin.len;
            self.report.fail(format!(
                "{case}: element {at} is behind the output, and was written"
            ));
        }
        Ok(())
    }

    /// Holds each element to `want`, within `tolerance(i)`, and the guard to what it was.
    pub fn compare_with(
        &mut self,
        case: &str,
        twin: &Twin<O>,
        want: &[f64],
        tolerance: impl Fn(usize) -> f64,
    ) -> Result<()> {
        self.report.cases += 1;
        let widest = WIDEST[self.report.cases % WIDEST.len()];
        self.device.fold_grids(Some(widest));
        self.compare_guard(case, twin)?;
        let values = self.result(twin)?;
        for (i, (&got, &want)) in values.iter().zip(want).enumerate() {
            let what = || format!("{case}: element {i}");
            self.report
                .compare(f64::from(got), want, tolerance(i), what);
        }
        let failures = &self.report.failures;
        match self.until {
            Some(words) if failures.iter().any(|f| f.contains(words)) => Err(End::Settled),
            _ => Ok(()),
        }
    }
}

/// The tensors on the device that is checked, as a list that ops take.
pub fn devices<O: Subject>(twins: &[Twin<O>]) -> Vec<&O::Tensor> {
    twins.iter().map(|twin| &twin.device).collect()
}

/// [`devices`], to be written.
pub fn devices_mut<O: Subject>(twins: &mut [Twin<O>]) -> Vec<&mut O::Tensor> {
    twins.iter_mut().map(|twin| &mut twin.device).collect()
}

/// The tensors on the reference, as a list that ops take.
pub fn exacts<O: Subject>(twins: &[Twin<O>]) -> Vec<&CpuTensor<f64>> {
    twins.iter().map(|twin| &twin.exact).collect()
}

/// [`exacts`], to be written.
pub fn exacts_mut<O: Subject>(twins: &mut [Twin<O>]) -> Vec<&mut CpuTensor<f64>> {
    twins.iter_mut().map(|twin| &mut twin.exact).collect()
}

/// |x|, as the magnitude that an error bound is a share of.
pub fn magnitudes(x: &CpuTensor<f64>) -> CpuTensor<f64> {
    CpuTensor(x.0.iter().map(|x| x.abs()).collect())
}

/// f32 values as the reference has them.
pub fn widen(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}
