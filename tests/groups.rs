//! Tensors of a group: neighbours in one GPU buffer, which an update works through at once.

mod common;

use bptt::device::{Device, Gpu, GpuSettings, Purpose, adapter};
use bptt::model::{ModelSize, RnnLm};
use bptt::ops::Ops;
use bptt::optimizer::Optimizer;

const SIZE: ModelSize = ModelSize {
    vocab: 65,
    embedding: 32,
    hidden: 48,
    batch: 3,
    time_steps: 5,
    biases: 1,
};

/// Dispatches of one update.
fn dispatches_of_an_update(gpu: &mut Gpu, clip: Option<f32>) -> u64 {
    let model = &mut RnnLm::new(gpu, SIZE, true).unwrap();
    let mut sgd = Optimizer::sgd(gpu, model, clip).unwrap();
    let before = gpu.dispatches();
    sgd.step(gpu, model).unwrap();
    gpu.dispatches() - before
}

/// All parameters after some steps.
fn trained(gpu: &mut Gpu) -> Vec<f32> {
    let mut model = RnnLm::new(gpu, SIZE, true).unwrap();
    model.init(gpu, 1).unwrap();
    let mut sgd = Optimizer::sgd(gpu, &model, None).unwrap();
    sgd.set_rate(gpu, 0.5).unwrap();
    let tokens: Vec<u32> = (0..SIZE.rows() as u32 + 3).map(|i| i * i % 65).collect();
    for _ in 0..5 {
        let (inputs, targets) = (&tokens[..SIZE.rows()], &tokens[3..]);
        model.forward(gpu, inputs, targets).unwrap();
        model.backward(gpu).unwrap();
        sgd.step(gpu, &mut model).unwrap();
    }
    let read = |p: &bptt::model::Parameter<Gpu>| gpu.read(&p.value).unwrap();
    model.parameters().flat_map(read).collect()
}

#[test]
fn an_update_is_one_dispatch_and_clipping_two() {
    let Some(mut gpu) = common::gpu() else { return };
    assert_eq!(dispatches_of_an_update(&mut gpu, None), 1);
    assert_eq!(dispatches_of_an_update(&mut gpu, Some(1.0)), 3);
}

/// Where the parameters do not fit one binding they are in several, and training is the same.
#[test]
fn a_group_beyond_the_limits_is_several_buffers() {
    let Some(mut gpu) = common::gpu() else { return };
    let first = adapter::adapters().swap_remove(0);
    // Wa alone has 48·65 elements.
    let mut settings = GpuSettings::of(&first);
    settings.limits.max_storage_buffer_binding_size = 16_384;
    let mut small = Gpu::open_with(&first, settings).unwrap();
    assert!(dispatches_of_an_update(&mut small, None) > 1);
    assert_eq!(trained(&mut small), trained(&mut gpu));
    let tensors = [("fits", (1, 1)), ("does not", (1, 5000))];
    let error = small.alloc_group(Purpose::Weights, &tensors).unwrap_err();
    assert!(error.to_string().starts_with("does not needs 20000 bytes"));
}

#[test]
fn a_write_stays_in_its_tensor() {
    let Some(mut gpu) = common::gpu() else { return };
    let tensors = [("a", (3, 1)), ("b", (64, 1)), ("c", (1, 1))];
    let mut group = gpu.alloc_group(Purpose::Scratch, &tensors).unwrap();
    for (tensor, value) in group.iter_mut().zip([1.0, 2.0, 3.0]) {
        let values = vec![value; gpu.len(tensor)];
        gpu.write(tensor, 0, &values).unwrap();
    }
    gpu.write(&mut group[1], 63, &[9.0]).unwrap();
    assert!(gpu.write(&mut group[0], 3, &[9.0]).is_err());
    assert_eq!(gpu.read(&group[0]).unwrap(), [1.0; 3]);
    assert_eq!(gpu.read(&group[1]).unwrap()[62..], [2.0, 9.0]);
    assert_eq!(gpu.read(&group[2]).unwrap(), [3.0]);
    // The others live on when one is dropped.
    drop(group.remove(0));
    gpu.alloc(Purpose::Scratch, "another", 1).unwrap();
    assert_eq!(gpu.read(&group[1]).unwrap(), [3.0]);
}

/// wgpu tracks a buffer as a whole: one that is read and written in one dispatch is an error, which
/// names the op, and the device goes on.
#[test]
fn reading_and_writing_one_group_is_reported() {
    let Some(mut gpu) = common::gpu() else { return };
    let tensors = [("x", (5, 1)), ("y", (5, 1))];
    let [x, mut y] = <[_; 2]>::try_from(gpu.alloc_group(Purpose::Scratch, &tensors).unwrap())
        .expect("two tensors");
    gpu.tanh(&x, &mut y).unwrap();
    let error = gpu.finish().unwrap_err().to_string();
    assert!(
        error.contains("tanh: x and y must not be tensors of one group"),
        "{error}"
    );
    let mut apart = gpu.alloc(Purpose::Scratch, "apart", 5).unwrap();
    gpu.tanh(&x, &mut apart).unwrap();
    gpu.finish().unwrap();
    assert_eq!(gpu.read(&apart).unwrap(), [0.0; 5]);
}
