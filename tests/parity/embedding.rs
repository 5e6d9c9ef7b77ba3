crate::parity_tests!("embedding",
    wrong: &[
        ("embedding", "ids[i / params.dim] *", "ids[i % params.dim] *"),
        ("embedding", "ids[i / params.dim] *", "ids[0] *"),
        ("embedding", " + i % params.dim", ""),
        ("embedding", "if i < params", "if i + 1u < params"),
        ("embedding", "params.out_offset + i", "i"),
        ("embedding", "* WORKGROUP_SIZE + lane", "* 32u + lane"),
    ],
    overrun: &[("embedding", "if i < params", "if i <= params")],
);
