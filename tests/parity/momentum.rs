crate::parity_tests!("momentum",
    wrong: &[
        ("momentum", "params.momentum * velocity[i] + g", "velocity[i] + g"),
        ("momentum", "params.momentum * velocity[i] + g", "params.momentum * velocity[i]"),
        ("momentum", "norm[1] *", "norm[0] *"),
        ("momentum", "params.weight_decay * w", "0.0 * w"),
        ("momentum", "g + params.momentum * v", "gradient[i] + params.momentum * v"),
        ("momentum", "g + params.momentum * v", "v + params.momentum * v"),
        ("momentum", "params.nesterov == 1u", "params.nesterov == 0u"),
        ("momentum", "w - rate[0] * direction", "w + rate[0] * direction"),
        ("momentum", "w - rate[0] * direction", "w - rate[0] * rate[0] * direction"),
        ("momentum", "if 4u * i < params.len", "if 4u * i + 4u < params.len"),
        ("momentum", "* WORKGROUP_SIZE + lane", "* 32u + lane"),
    ],
    overrun: &[
        ("momentum", "velocity[i] = select(velocity[i], v, inside)", "velocity[i] = v"),
        ("momentum", "weights[i] = select", "weights[i + 1u] = select"),
    ],
);
