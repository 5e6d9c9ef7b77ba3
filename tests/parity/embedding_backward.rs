crate::parity_tests!("embedding_backward",
    wrong: &[
        ("embedding_backward", "row_starts[token + 1u]", "row_starts[token] + 1u"),
        ("embedding_backward", "at = row_starts[token]", "at = row_starts[token] + 1u"),
        ("embedding_backward", "sum = 0.0", "sum = dtable[i]"),
        ("embedding_backward", "sum += dout", "sum = dout"),
        ("embedding_backward", "positions[at] *", "positions[row_starts[token]] *"),
        ("embedding_backward", "at < end", "at + 1u < end"),
        ("embedding_backward", " + column]", "]"),
    ],
    overrun: &[("embedding_backward", "i >= params", "i > params")],
);
