use bptt::Result;
use bptt::device::{Device, Gpu, Purpose};
use bptt::model::Init;
use bptt::ops::{Ops, Recurrence};

crate::parity_tests!("rnn",
    wrong: &[
        ("rnn", "k = 0u", "k = 1u"),
        ("rnn", "w0 += size", "w0 += 1u"),
        ("rnn", "stable_tanh(hidden[at] + sums[i])", "stable_tanh(sums[i])"),
        ("rnn", "stable_tanh(hidden[at] + sums[i])", "hidden[at] + sums[i]"),
        ("rnn", "previous = params.first_step *", "previous = 0u *"),
        ("rnn", "(size + TILE - 1u) / TILE", "size / TILE"),
        ("rnn", "row + 3u, last_row", "row + 2u, last_row"),
        ("rnn", "size - 1u", "size - 2u"),
        ("rnn", "a >= 0.625", "a >= 1.0"),
        ("rnn", "* WORKGROUP_SIZE + lane", "* 32u + lane"),
        ("rnn_subgroup", "hidden[at] + sum", "sum"),
        ("rnn_subgroup", "vec4(stable_tanh(z.x)", "vec4(z.x"),
        ("rnn_subgroup", "(step * params.batch + rows)", "rows"),
        ("rnn_subgroup", "(columns + TILE_COLUMNS - 1u) / TILE_COLUMNS", "columns / TILE_COLUMNS"),
        ("rnn_subgroup", "vec4(0u, 1u, 2u, 3u) * BLOCK", "vec4(0u, 1u, 2u, 2u) * BLOCK"),
        ("rnn_subgroup", "vec4s_of_wh(rows + 1u)", "vec4s_of_wh(rows)"),
        ("rnn_subgroup", "wh[at.z]", "wh[at.y]"),
        ("rnn_subgroup", "if OVER_8_ROWS", "if false"),
        ("rnn_subgroup", "if OVER_16_ROWS", "if false"),
        ("rnn_subgroup", "a >= 0.625", "a >= 1.0"),
        ("rnn_subgroup_sequence", "select(1u, across, SEQUENCE)", "1u"),
        ("rnn_subgroup_sequence", "step = params.first_step + i", "step = i"),
        ("rnn_subgroup_sequence", "step = params.first_step + i", "step = params.first_step"),
        ("rnn_subgroup_sequence", "i < params.steps", "i + 1u < params.steps"),
        ("rnn_sequence", "hidden[at] + sum", "sum"),
        ("rnn_sequence", "vec4(stable_tanh(z.x)", "vec4(z.x"),
        ("rnn_sequence", "row_of(params.first_step, row + r)", "row_of(0u, row + r)"),
        ("rnn_sequence", "t = params.first_step + step", "t = step"),
        ("rnn_sequence", "step < params.steps", "step + 1u < params.steps"),
        ("rnn_sequence", "step % 2u", "0u"),
        ("rnn_sequence", "next = ROWS * WORKGROUP_SIZE - previous", "next = previous"),
        ("rnn_sequence", "min(row, params.batch - 1u)", "0u"),
        ("rnn_sequence", "if row < params.batch", "if row <= params.batch"),
        ("rnn_sequence", "k = 0u; k < across", "k = 1u; k < across"),
        ("rnn_sequence", "(k * 4u + 2u) * across", "(k * 4u + 1u) * across"),
        ("rnn_sequence", "sum3 = fma(vec4(x3.w)", "sum3 = fma(vec4(x2.w)"),
        ("rnn_sequence", "a >= 0.625", "a >= 1.0"),
    ],
    overrun: &[
        ("rnn", "j < params.hidden", "j <= params.hidden"),
        ("rnn_subgroup", "if column < params.hidden", "if column <= params.hidden"),
        ("rnn_subgroup", "min(first_row + BLOCK, params.batch)", "first_row + BLOCK"),
        ("rnn_sequence", "hidden[at] = h;", "hidden[at + 1u] = h;"),
        ("rnn_sequence", "across {\n            var", "across + 1u {\n            var"),
    ],
);

/// T, N, H: all that every variant can do, a sequence in one dispatch and in several. The last has more
/// steps than lavapipe's limit of loops lets a dispatch take.
const SIZES: [(usize, usize, usize); 5] = [
    (1, 1, 4),
    (5, 10, 100),
    (64, 32, 256),
    (70, 6, 512),
    (2100, 32, 4),
];

/// The choice of a kernel must not change a result.
#[test]
fn every_variant_gives_the_same_bits() {
    crate::assert_none(differing_variants("rnn", run));
}

/// One rounding more in one of them.
#[test]
fn a_variant_that_differs_in_the_last_bit_is_reported() {
    let Some(mut gpu) = crate::gpu() else { return };
    let (from, to) = ("hidden[at] + sum;", "hidden[at] + sum * 1.0000001;");
    let mutation = ("rnn_sequence", from, to);
    let differing = |gpu: &mut Gpu| differing_variants_of(gpu, "rnn", run);
    let errors = crate::with_mutation(&mut gpu, "rnn", mutation, differing).unwrap();
    assert!(
        errors.iter().any(|e| e.contains("rnn_sequence")),
        "{errors:?}"
    );
}

fn run(gpu: &mut Gpu, size: Recurrence) -> Result<Vec<f32>> {
    let Recurrence {
        time_steps: t,
        batch: n,
        hidden: h,
    } = size;
    let mut hidden = normal(gpu, (t + 1) * n * h, 1.0)?;
    let wh = normal(gpu, h * h, 1.0 / (h as f64).sqrt())?;
    gpu.rnn(&mut hidden, &wh, size)?;
    gpu.read(&hidden)
}

pub fn normal(gpu: &mut Gpu, len: usize, deviation: f64) -> Result<<Gpu as Device>::Tensor> {
    let mut tensor = gpu.alloc(Purpose::Scratch, "test", len)?;
    gpu.write(
        &mut tensor,
        0,
        &Init::Normal(deviation).values(1, len as u64, len),
    )?;
    Ok(tensor)
}

/// The variants of a recurrence whose results differ from those of the first, with the size.
pub fn differing_variants(op: &'static str, run: Run) -> Vec<String> {
    match crate::gpu() {
        Some(mut gpu) => {
            differing_variants_of(&mut gpu, op, run).unwrap_or_else(|e| vec![e.to_string()])
        }
        None => Vec::new(),
    }
}

/// Runs a recurrence on inputs that depend on its size alone.
type Run = fn(&mut Gpu, Recurrence) -> Result<Vec<f32>>;

fn differing_variants_of(gpu: &mut Gpu, op: &'static str, run: Run) -> Result<Vec<String>> {
    let mut differing = Vec::new();
    for (time_steps, batch, hidden) in SIZES {
        let size = Recurrence {
            time_steps,
            batch,
            hidden,
        };
        let bits_by = |gpu: &mut Gpu, variant: &str| {
            gpu.force_variant(op, Some(variant));
            let result = run(gpu, size);
            gpu.force_variant(op, None);
            result.map(|x| x.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        let mut results = Vec::new();
        for variant in gpu.variants_of(op) {
            results.push((variant, bits_by(gpu, variant)?));
        }
        for (variant, bits) in &results[1..] {
            if *bits != results[0].1 {
                let first = results[0].0;
                differing.push(format!("{variant} differs from {first} at {size:?}"));
            }
        }
    }
    Ok(differing)
}
