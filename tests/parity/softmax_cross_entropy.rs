const KERNEL: &str = "softmax_cross_entropy";
const BY_ROW: &str = "softmax_cross_entropy_rows";

crate::parity_tests!("softmax_cross_entropy",
    wrong: &[
        (KERNEL, "labels[params.first_row + row]", "labels[row]"),
        (KERNEL, "losses[params.first_row + row]", "losses[row]"),
        (KERNEL, "(logits[start + label] - of_row.m)", "logits[start + label]"),
        // Right in exact arithmetic; the logarithm of a probability that underflowed.
        (
            KERNEL,
            "log(of_row.s) - (logits[start + label] - of_row.m)",
            "-log(exp(logits[start + label] - of_row.m) / of_row.s)",
        ),
        (KERNEL, "s = s * weight(m - new_m) + weight", "s = s + weight"),
        (KERNEL, "sums[lane + half] * weight(other_m - new_m)", "sums[lane + half]"),
        (KERNEL, "LOWEST: f32 = -3.4e38", "LOWEST: f32 = 0.0"),
        (KERNEL, "WORKGROUP_SIZE / 2u", "WORKGROUP_SIZE / 4u"),
        (KERNEL, "params.gradient == 0u", "false"),
        (KERNEL, "params.scale / of_row.s", "1.0 / of_row.s"),
        (KERNEL, "select(p, p - params.scale, v == label)", "p"),
        (KERNEL, "select(p, p", "select(logits[start + v], p"),
        (BY_ROW, "labels[params.first_row + row]", "labels[row]"),
        (BY_ROW, "losses[params.first_row + row]", "losses[row]"),
        (BY_ROW, "[label % 4u] - m)", "[label % 4u])"),
        (BY_ROW, "LOWEST: f32 = -3.4e38", "LOWEST: f32 = 0.0"),
        // What counts are elements of the row before or behind it, or of another place.
        (BY_ROW, ">= vec4(start)", ">= vec4(start / 4u)"),
        (BY_ROW, "max(maxima, before_end(of_row, first, end, LOWEST))", "max(maxima, of_row)"),
        (BY_ROW, "before_end(exp(a - m), v, block_end, 0.0)", "exp(a - m)"),
        (BY_ROW, "low = high", "low = a"),
        (BY_ROW, "start % 4u)", "0u)"),
        (BY_ROW, "min(block + BLOCK, params.vocab)", "min(block + BLOCK - 4u, params.vocab)"),
        (BY_ROW, "sums += block_sums", "sums = block_sums"),
        (BY_ROW, "(start + 3u) / 4u * 4u", "start"),
        (BY_ROW, "max(end / 4u * 4u, first_whole)", "end"),
        (BY_ROW, "params.gradient == 0u", "false"),
        (BY_ROW, "params.scale / s", "1.0 / s"),
        (BY_ROW, "-= params.scale", "-= 0.0"),
    ],
    overrun: &[
        (KERNEL, "logits[start + v] = select", "logits[start + v + 1u] = select"),
        (KERNEL, "losses[params.first_row + row]", "losses[params.first_row + row + params.rows]"),
        (BY_ROW, "place < end;", "place <= end;"),
        (BY_ROW, "losses[params.first_row + row]", "losses[params.first_row + row + params.rows]"),
    ],
);
