crate::parity_tests!("sgd",
    wrong: &[
        ("sgd", "w - factor", "w + factor"),
        ("sgd", "rate[0] * norm", "rate[0] + norm"),
        ("sgd", "* norm[1]", "* norm[0]"),
        ("sgd", "if 4u * i < params.len", "if 4u * i + 4u < params.len"),
        ("sgd", "select(w, w - factor * gradient[i], inside)", "select(w - factor * gradient[i], w, inside)"),
        ("sgd", "* WORKGROUP_SIZE + lane", "* 32u + lane"),
    ],
    overrun: &[("sgd", "weights[i] = select", "weights[i + 1u] = select")],
);
