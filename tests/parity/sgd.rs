crate::parity_tests!("sgd",
    wrong: &[
        ("sgd", "weights[i] -=", "weights[i] +="),
        ("sgd", "weights[i] -=", "weights[i] = -"),
        ("sgd", "rate[0] * norm", "rate[0] + norm"),
        ("sgd", "norm[1] *", "norm[0] *"),
        ("sgd", "i < params.len", "i + 1u < params.len"),
        ("sgd", "workgroup.y * workgroups.x", "workgroup.y"),
    ],
    overrun: &[("sgd", "weights[i] -=", "weights[i + 1u] = weights[i] -")],
);
