//! The product on a GPU: its kernels give the same bits, and trials choose among right ones.

mod common;

use bptt::Result;
use bptt::device::{Device, Gpu, Purpose};
use bptt::ops::gpu::variants;
use bptt::ops::{Matrix, Ops, Write};
use common::gpu;

/// The kernels among which a trial chooses.
const TILES: [&str; 3] = ["matmul_32", "matmul_64", "matmul_128"];

/// A product of numbers whose rounding shows the order of the sums, by `variant` or by choice.
fn product(gpu: &mut Gpu, a: Matrix, b: Matrix, variant: Option<&str>) -> Result<Vec<u32>> {
    let (m, n) = (a.shape().0, b.shape().1);
    let c = Matrix::new(m, n).at(3);
    let mut tensor = |len: usize, salt: usize| {
        let number = |i: usize| ((i + salt) * 7919 % 1009) as f32 / 1009.0 - 0.5;
        let values: Vec<f32> = (0..len).map(number).collect();
        let mut tensor = gpu.alloc(Purpose::Scratch, "test", len)?;
        gpu.write(&mut tensor, 0, &values)?;
        Ok(tensor)
    };
    let a_tensor = tensor(a.offset + a.rows * a.cols, 1)?;
    let b_tensor = tensor(b.offset + b.rows * b.cols, 2)?;
    let bias = tensor(n, 3)?;
    let mut c_tensor = tensor(c.offset + m * n, 4)?;
    gpu.force_variant("matmul", variant);
    gpu.matmul(
        (&a_tensor, a),
        (&b_tensor, b),
        Some(&bias),
        (&mut c_tensor, c),
        Write::Accumulate,
    )?;
    gpu.force_variant("matmul", None);
    let result = gpu.read(&c_tensor)?;
    Ok(result.iter().map(|x| x.to_bits()).collect())
}

/// Shapes with and without edges, aligned and not, uncut and cut along k.
fn operands() -> Vec<(Matrix, Matrix)> {
    vec![
        (Matrix::new(1, 7), Matrix::new(7, 5)),
        (Matrix::new(32, 256), Matrix::new(256, 256)),
        (Matrix::new(130, 65).at(1), Matrix::new(65, 131)),
        (Matrix::new(70, 129).t(), Matrix::new(70, 33).at(2)),
        (Matrix::new(129, 40), Matrix::new(257, 40).t()),
        (Matrix::new(700, 100).t(), Matrix::new(700, 100)),
        (Matrix::new(1031, 17).t(), Matrix::new(9, 1031).at(3).t()),
    ]
}

#[test]
fn every_kernel_gives_the_same_bits() -> Result<()> {
    let Some(mut gpu) = gpu() else { return Ok(()) };
    for (a, b) in operands() {
        let first = product(&mut gpu, a, b, Some(TILES[0]))?;
        for kernel in gpu.variants_of("matmul") {
            let other = product(&mut gpu, a, b, Some(kernel))?;
            assert!(first == other, "{a:?} {b:?} by {kernel}");
        }
    }
    Ok(())
}

/// Does what it is given with trials on, and leaves the device as it was.
fn with_trials<T>(gpu: &mut Gpu, work: impl FnOnce(&mut Gpu) -> T) -> T {
    gpu.set_trials(true);
    let result = work(gpu);
    gpu.set_trials(!gpu.is_software());
    result
}

#[test]
fn a_trial_chooses_a_tile_once_for_a_class_and_changes_no_bit() -> Result<()> {
    let Some(mut gpu) = gpu() else { return Ok(()) };
    with_trials(&mut gpu, |gpu| {
        for (a, b) in operands() {
            let chosen = product(gpu, a, b, None)?;
            assert!(chosen == product(gpu, a, b, Some(TILES[0]))?, "{a:?} {b:?}");
        }
        let choices: Vec<_> = gpu.choices().cloned().collect();
        assert_eq!(choices.len(), operands().len());
        assert!(choices.iter().all(|c| TILES.contains(&c.kernel)));
        let timed = |names: Vec<&str>| names == TILES;
        let names = |c: &bptt::device::trials::Choice| c.times.iter().map(|t| t.0).collect();
        assert!(choices.iter().any(|c| timed(names(c))), "{choices:?}");
        // Same classes: no trial.
        product(gpu, Matrix::new(31, 255), Matrix::new(255, 250), None)?;
        assert!(gpu.choices().eq(&choices));
        Ok(())
    })
}

#[test]
fn a_tile_that_is_wrong_or_rounds_otherwise_is_not_chosen() -> Result<()> {
    let Some(mut gpu) = gpu() else { return Ok(()) };
    let source = variants("matmul")[0].source;
    let wrong = source.replace("fourth < 4u", "fourth < 3u");
    // Rows 0 and 1 with a sum that is rounded once more.
    let otherwise = source.replace(
        "left0 = fma(vec4(upper.x), b_left, left0)",
        "left0 = (left0 + vec4(0.1)) + fma(vec4(upper.x), b_left, vec4(-0.1))",
    );
    let (a, b) = (Matrix::new(64, 64), Matrix::new(64, 64));
    with_trials(&mut gpu, |gpu| {
        let right = product(gpu, a, b, Some(TILES[0]))?;
        for defect in [wrong, otherwise] {
            assert!(defect != source);
            gpu.replace_kernel(TILES[1], defect);
            assert!(product(gpu, a, b, None)? == right);
            let choice = gpu.choices().last().cloned().expect("a choice");
            assert!(choice.times.iter().all(|t| t.0 != TILES[1]), "{choice}");
            gpu.replace_kernel(TILES[1], source.to_owned());
        }
        for tile in TILES {
            gpu.replace_kernel(tile, source.replace("fourth < 4u", "fourth < 3u"));
        }
        let error = product(gpu, a, b, None).expect_err("no tile is right");
        assert!(error.to_string().contains("matmul is wrong"), "{error}");
        for tile in TILES {
            gpu.replace_kernel(tile, source.to_owned());
        }
        Ok(())
    })
}

/// Where subgroups have eight lanes, and the device is opened with them, there is a kernel for them.
#[test]
fn subgroups_of_eight_lanes_are_used() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    let info = gpu.info();
    let lanes = [info.subgroup_min_size, info.subgroup_max_size];
    let opened_with_all = *gpu.limits() != wgpu::Limits::defaults();
    let has = |op: &str| {
        gpu.variants_of(op)
            .contains(&format!("{op}_subgroup").as_str())
    };
    for op in ["matmul", "rnn", "rnn_backward"] {
        assert_eq!(
            has(op),
            lanes == [8, 8] && opened_with_all,
            "{op}: {lanes:?}"
        );
    }
    Ok(())
}
