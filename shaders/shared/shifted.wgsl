// For rows that do not begin at a multiple of four elements.

// Elements shift … shift + 3 of the eight in low and high; shift is 0 to 3.
fn shifted(low: vec4<f32>, high: vec4<f32>, shift: u32) -> vec4<f32> {
    let odd = (shift & 1u) != 0u;
    let first = select(low, vec4(low.y, low.z, low.w, high.x), odd);
    let last = select(high.xy, high.yz, odd);
    return select(first, vec4(first.z, first.w, last.x, last.y), shift >= 2u);
}
