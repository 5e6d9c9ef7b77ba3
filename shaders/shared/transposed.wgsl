// Of the kernels by subgroups, for operands that are read along the other side.

// Columns as rows.
fn transposed(x: Four) -> Four {
    return Four(
        vec4(x.v0.x, x.v1.x, x.v2.x, x.v3.x),
        vec4(x.v0.y, x.v1.y, x.v2.y, x.v3.y),
        vec4(x.v0.z, x.v1.z, x.v2.z, x.v3.z),
        vec4(x.v0.w, x.v1.w, x.v2.w, x.v3.w),
    );
}
