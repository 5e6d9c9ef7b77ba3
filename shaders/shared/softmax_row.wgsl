// By the lanes of a workgroup, a row of logits: its maximum m, and the sum s of weight(a − m), from one pass
// over it (Milakov and Gimelshein 2018, Online normalizer calculation for softmax). A kernel's own file has
// the logits, sets WORKGROUP_SIZE, and says what a difference of two logits weighs.
//
// Lane l takes elements l, l + WORKGROUP_SIZE, …; lanes are combined by a tree over workgroup memory: the
// order is fixed, whatever the subgroup size. To be called once, by all lanes.

const LOWEST: f32 = -3.4e38; // less than any logit

var<workgroup> maxima: array<f32, WORKGROUP_SIZE>;
var<workgroup> sums: array<f32, WORKGROUP_SIZE>;

struct MaximumAndSum {
    m: f32,
    s: f32,
}

fn maximum_and_sum(start: u32, vocab: u32, lane: u32) -> MaximumAndSum {
    var m = LOWEST;
    var s = 0.0;
    for (var v = lane; v < vocab; v += WORKGROUP_SIZE) {
        let a = logits[start + v];
        let new_m = max(m, a);
        s = s * weight(m - new_m) + weight(a - new_m);
        m = new_m;
    }
    maxima[lane] = m;
    sums[lane] = s;
    workgroupBarrier();
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        if lane < half {
            let other_m = maxima[lane + half];
            let new_m = max(m, other_m);
            s = s * weight(m - new_m) + sums[lane + half] * weight(other_m - new_m);
            m = new_m;
            maxima[lane] = m;
            sums[lane] = s;
        }
        workgroupBarrier();
    }
    return MaximumAndSum(maxima[0], sums[0]);
}
