crate::parity_tests!("softmax_backward",
    wrong: &[
        ("softmax_backward", "(dprobs[start + v] - dot)", "dprobs[start + v]"),
        ("softmax_backward", "sum += probs[start + v] *", "sum +="),
        ("softmax_backward", "= probs[start + v] * (", "= ("),
        ("softmax_backward", "row * params.vocab", "row"),
        ("softmax_backward", "WORKGROUP_SIZE / 2u", "WORKGROUP_SIZE / 4u"),
    ],
    overrun: &[
        ("softmax_backward", "dlogits[start + v] =", "dlogits[start + v + 1u] ="),
    ],
);
