const KERNEL: &str = "softmax_cross_entropy";
const BY_ROW: &str = "softmax_cross_entropy_rows";

crate::parity_tests!("softmax_cross_entropy",
    wrong: &[
        (KERNEL, "labels[params.first_row + row]", "labels[row]"),
        (KERNEL, "losses[params.first_row + row]", "losses[row]"),
        (KERNEL, "(logits[start + label] - m)", "logits[start + label]"),
        // Right in exact arithmetic; the logarithm of a probability that underflowed.
        (
            KERNEL,
            "log(s) - (logits[start + label] - m)",
            "-log(exp(logits[start + label] - m) / s)",
        ),
        (KERNEL, "s = s * exp(m - new_m) + exp", "s = s + exp"),
        (KERNEL, "sums[lane + half] * exp(other_m - new_m)", "sums[lane + half]"),
        (KERNEL, "LOWEST: f32 = -3.4e38", "LOWEST: f32 = 0.0"),
        (KERNEL, "WORKGROUP_SIZE / 2u", "WORKGROUP_SIZE / 4u"),
        (KERNEL, "params.gradient == 0u", "false"),
        (KERNEL, "params.scale / s", "1.0 / s"),
        (KERNEL, "select(p, p - params.scale, v == label)", "p"),
        (KERNEL, "select(p, p", "select(logits[start + v], p"),
        (BY_ROW, "labels[params.first_row + row]", "labels[row]"),
        (BY_ROW, "losses[params.first_row + row]", "losses[row]"),
        (BY_ROW, "log(s) - target_distance", "log(s)"),
        (BY_ROW, "LOWEST: f32 = -3.4e38", "LOWEST: f32 = 0.0"),
        (BY_ROW, "min(block + BLOCK, end)", "min(block + BLOCK - 1u, end)"),
        (BY_ROW, "params.gradient != 0u", "true"),
        (BY_ROW, "params.gradient == 0u", "false"),
        (BY_ROW, "params.scale / s", "1.0 / s"),
        (BY_ROW, "logits[label] -= params.scale", "logits[label] -= 0.0"),
    ],
    overrun: &[
        (KERNEL, "logits[start + v] = select", "logits[start + v + 1u] = select"),
        (KERNEL, "losses[params.first_row + row]", "losses[params.first_row + row + params.rows]"),
        (BY_ROW, "logits[i] *= factor", "logits[i + 1u] = logits[i] * factor"),
        (BY_ROW, "losses[params.first_row + row]", "losses[params.first_row + row + params.rows]"),
    ],
);
