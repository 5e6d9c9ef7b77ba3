crate::parity_tests!("tanh_backward",
    wrong: &[
        ("tanh_backward", "dy[i] * (", "dy[0] * ("),
        ("tanh_backward", "y[i] * y[i]", "y[i]"),
        ("tanh_backward", "1.0 - y", "1.0 + y"),
        ("tanh_backward", "i < params.len", "i + 1u < params.len"),
        ("tanh_backward", "* WORKGROUP_SIZE + lane", "* 32u + lane"),
    ],
    overrun: &[("tanh_backward", "i < params.len", "i <= params.len")],
);
