// The sum of a number of each lane of a workgroup, whose size is a power of two, by a tree over workgroup
// memory: the order is fixed, whatever the subgroup size. To be called once, by all lanes: a second sum could
// begin while a lane still reads the first. A kernel's own file sets WORKGROUP_SIZE.

var<workgroup> sums: array<f32, WORKGROUP_SIZE>;

fn workgroup_sum(lane: u32, x: f32) -> f32 {
    sums[lane] = x;
    workgroupBarrier();
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        if lane < half {
            sums[lane] += sums[lane + half];
        }
        workgroupBarrier();
    }
    return sums[0];
}
