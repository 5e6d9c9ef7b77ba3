const KERNEL: &str = "softmax_cross_entropy";

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
    ],
    overrun: &[
        (KERNEL, "logits[start + v] = select", "logits[start + v + 1u] = select"),
        (KERNEL, "losses[params.first_row + row]", "losses[params.first_row + row + params.rows]"),
    ],
);
