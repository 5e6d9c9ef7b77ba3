crate::parity_tests!("sum_rows",
    wrong: &[
        ("sum_rows", "params.offset + r", "r"),
        ("sum_rows", "r += LANES_A_COLUMN", "r += 2u * LANES_A_COLUMN"),
        ("sum_rows", "r < params.rows", "r + 1u < params.rows"),
        ("sum_rows", "r < params.rows", "r <= params.rows"),
        ("sum_rows", "g = 1u", "g = 2u"),
        ("sum_rows", "g * COLUMNS + lane", "g + lane"),
        ("sum_rows", "params.accumulate != 0u", "true"),
        ("sum_rows", "params.accumulate != 0u", "false"),
    ],
    overrun: &[("sum_rows", "COLUMNS && column <", "COLUMNS && column <=")],
);
