crate::parity_tests!("mean_loss",
    wrong: &[
        ("mean_loss", " / f32(params.rows)", ""),
        ("mean_loss", "sum += losses[r]", "sum = losses[r]"),
        ("mean_loss", "r < params.rows", "r + 1u < params.rows"),
        ("mean_loss", "WORKGROUP_SIZE / 2u", "WORKGROUP_SIZE / 4u"),
        ("mean_loss", "loss[0] = mean;", "loss[0] += mean;"),
        ("mean_loss", "loss[1] += mean", "loss[1] = mean"),
    ],
    overrun: &[("mean_loss", "loss[1] += mean", "loss[2] = mean")],
);
