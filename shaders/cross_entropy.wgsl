// losses[r] = −ln p[r, y_r], dprobs[r, v] = −[v = y_r] / (rows · p[r, y_r]).
//
// probs and dprobs are [rows, vocab], labels and losses [rows]. p is taken as at least the
// smallest normal f32.
//
// Work: one lane an element of dprobs; the label's lane writes the loss.

struct Params {
    rows: u32,
    vocab: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> probs: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;
@group(0) @binding(4) var<storage, read_write> dprobs: array<f32>;

override WORKGROUP_SIZE: u32 = 64u;
const SMALLEST: f32 = 1.17549435e-38;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane;
    if i >= params.rows * params.vocab {
        return;
    }
    let row = i / params.vocab;
    var gradient = 0.0;
    if i % params.vocab == labels[row] {
        let p = max(probs[i], SMALLEST);
        losses[row] = -log(p);
        gradient = -1.0 / (f32(params.rows) * p);
    }
    dprobs[i] = gradient;
}
