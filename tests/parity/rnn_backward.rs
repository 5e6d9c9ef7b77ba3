use bptt::Result;
use bptt::device::{Device, Gpu};
use bptt::ops::{Ops, Recurrence};

use crate::rnn::{differing_variants, normal};

crate::parity_tests!("rnn_backward",
    wrong: &[
        ("rnn_backward", "w0 += 1u", "w0 += size"),
        ("rnn_backward", "grad[at] + sums[i]", "sums[i]"),
        ("rnn_backward", "1.0 - h * h", "1.0 - h"),
        ("rnn_backward", "hidden[at + step]", "hidden[at]"),
        ("rnn_backward", "params.first_step + 1u < params.time_steps", "true"),
        ("rnn_backward", "params.first_step + 1u < params.time_steps", "false"),
        ("rnn_backward", "next = (params.first_step + 1u)", "next = params.time_steps"),
        ("rnn_backward", "row + 1u, last_row", "row, last_row"),
        ("rnn_backward", "min(column + 2u, last_column)", "min(column + 1u, last_column)"),
        ("rnn_backward", "* WORKGROUP_SIZE + lane", "* 32u + lane"),
        ("rnn_backward_subgroup", "grad[at] + sum", "sum"),
        ("rnn_backward_subgroup", "vec4(1.0) - h * h", "vec4(1.0) - h"),
        ("rnn_backward_subgroup", "hidden[at + params.batch * params.hidden / 4u]", "hidden[at]"),
        ("rnn_backward_subgroup", "has_next = step + 1u < params.time_steps", "has_next = true"),
        ("rnn_backward_subgroup", "has_next = step + 1u < params.time_steps", "has_next = false"),
        ("rnn_backward_subgroup", "((step + 1u) * params.batch + rows)", "(step * params.batch + rows)"),
        ("rnn_backward_subgroup_sequence", "select(1u, across, SEQUENCE)", "1u"),
        ("rnn_backward_subgroup_sequence", "step = params.first_step - i", "step = params.first_step"),
        ("rnn_backward_subgroup_sequence", "i < params.steps", "i + 1u < params.steps"),
        ("rnn_backward_subgroup", "rows_of_wh(place.y + 4u)", "rows_of_wh(place.y)"),
        ("rnn_backward_subgroup", "transposed(Four(", "(Four("),
        ("rnn_backward_sequence", "grad[at] + sum", "sum"),
        ("rnn_backward_sequence", "vec4(1.0) - h * h", "vec4(1.0) - h"),
        ("rnn_backward_sequence", "hidden[row_of(t + 1u, row)", "hidden[row_of(t, row)"),
        ("rnn_backward_sequence", "params.first_step + 1u == params.time_steps", "true"),
        ("rnn_backward_sequence", "params.first_step + 1u == params.time_steps", "false"),
        ("rnn_backward_sequence", "step > 0u || !is_last", "step > 0u"),
        ("rnn_backward_sequence", "row_of(params.first_step + 1u, row + r)", "row_of(params.first_step, row + r)"),
        ("rnn_backward_sequence", "t = params.first_step - step", "t = params.time_steps - 1u - step"),
        ("rnn_backward_sequence", "step < params.steps", "step + 1u < params.steps"),
        ("rnn_backward_sequence", "step % 2u", "0u"),
        ("rnn_backward_sequence", "next = ROWS * WORKGROUP_SIZE - previous", "next = previous"),
        ("rnn_backward_sequence", "min(row, params.batch - 1u)", "0u"),
        ("rnn_backward_sequence", "if row < params.batch", "if row <= params.batch"),
        ("rnn_backward_sequence", "column * 4u + 2u", "column * 4u + 1u"),
        ("rnn_backward_sequence", "sum3 = fma(vec4(x3.w)", "sum3 = fma(vec4(x2.w)"),
    ],
    overrun: &[
        ("rnn_backward", "grad[at] = (grad[at]", "grad[at + 1u] = (grad[at]"),
        ("rnn_backward_subgroup", "grad[at] = (grad[at]", "grad[at + 1u] = (grad[at]"),
        ("rnn_backward_sequence", "grad[at] = dz;", "grad[at + 1u] = dz;"),
    ],
);

/// The choice of a kernel must not change a result.
#[test]
fn every_variant_gives_the_same_bits() {
    crate::assert_none(differing_variants("rnn_backward", run));
}

fn run(gpu: &mut Gpu, size: Recurrence) -> Result<Vec<f32>> {
    let Recurrence {
        time_steps: t,
        batch: n,
        hidden: h,
    } = size;
    let hidden = normal(gpu, (t + 1) * n * h, 0.5)?;
    let wh = normal(gpu, h * h, 1.0 / (h as f64).sqrt())?;
    let mut grad = normal(gpu, t * n * h, 1.0)?;
    gpu.rnn_backward(&mut grad, &hidden, &wh, size)?;
    gpu.read(&grad)
}
