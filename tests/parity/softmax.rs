crate::parity_tests!("softmax",
    wrong: &[
        ("softmax", "difference * params.inverse_temperature", "difference"),
        ("softmax", "s = s * weight(m - new_m) + weight", "s = s + weight"),
        ("softmax", "sums[lane + half] * weight(other_m - new_m)", "sums[lane + half]"),
        ("softmax", "LOWEST: f32 = -3.4e38", "LOWEST: f32 = 0.0"),
        ("softmax", "WORKGROUP_SIZE / 2u", "WORKGROUP_SIZE / 4u"),
        ("softmax", "row * params.vocab", "row"),
        ("softmax", "of_row.m) / of_row.s", "of_row.m)"),
    ],
    overrun: &[("softmax", "probs[start + v] =", "probs[start + v + 1u] =")],
);
