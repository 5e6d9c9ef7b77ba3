crate::parity_tests!("cross_entropy",
    wrong: &[
        ("cross_entropy", "-log(p)", "log(p)"),
        ("cross_entropy", "(f32(params.rows) * p)", "p"),
        ("cross_entropy", "max(probs[i], SMALLEST)", "probs[i]"),
        ("cross_entropy", "== labels[row]", "== labels[0]"),
        ("cross_entropy", "losses[row] =", "losses[0] ="),
        ("cross_entropy", "gradient = 0.0", "gradient = probs[i]"),
        ("cross_entropy", "* WORKGROUP_SIZE + lane", "* 32u + lane"),
    ],
    overrun: &[
        ("cross_entropy", "i >= params.rows", "i > params.rows"),
        ("cross_entropy", "losses[row] =", "losses[row + 1u] ="),
    ],
);
