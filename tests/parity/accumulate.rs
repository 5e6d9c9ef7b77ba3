crate::parity_tests!("accumulate",
    wrong: &[
        ("accumulate", "params.accumulate == 1u", "params.accumulate == 0u"),
        ("accumulate", "params.accumulate == 1u", "true"),
        ("accumulate", "before + params.scale", "before - params.scale"),
        ("accumulate", "params.scale * gradient[i]", "gradient[i] + 0.0 * params.scale"),
        ("accumulate", "if 4u * i < params.len", "if 4u * i + 4u < params.len"),
        ("accumulate", "* WORKGROUP_SIZE + lane", "* 32u + lane"),
    ],
    overrun: &[("accumulate", "sum[i] = select(sum[i], before + params.scale * gradient[i], inside)",
        "sum[i] = before + params.scale * gradient[i]")],
);
