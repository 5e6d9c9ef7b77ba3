crate::parity_tests!("copy_within",
    wrong: &[
        ("copy_within", "i < params.len", "i + 1u < params.len"),
        ("copy_within", "data[params.source + i]", "data[params.source + i + 1u]"),
        ("copy_within", "data[params.source + i]", "data[i]"),
        ("copy_within", "data[params.destination + i] =", "data[i] ="),
        ("copy_within", "* WORKGROUP_SIZE + lane", "* 32u + lane"),
        ("copy_within", "workgroup.y * workgroups.x", "workgroup.y"),
    ],
    overrun: &[("copy_within", "i < params.len", "i <= params.len")],
);
