crate::parity_tests!("tanh",
    wrong: &[
        ("tanh", "a >= 0.625", "a >= 1.0"),
        ("tanh", "a >= 0.625", "true"),
        ("tanh", "1.33314422036e-1", "1.33e-1"),
        ("tanh", "15.0", "5.0"),
        ("tanh", "sign(x) *", "1.0 *"),
        ("tanh", "* WORKGROUP_SIZE + lane", "* 32u + lane"),
    ],
    overrun: &[("tanh", "i < params.len", "i <= params.len")],
);
