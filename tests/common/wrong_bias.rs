//! A defect that makes every bias gradient wrong, whatever the adapter.

use bptt::device::Gpu;

/// The kernel that sums rows on this device, a text of its source, and what takes its place: every other row
/// is left out, or every other eight rows.
pub fn wrong_bias(gpu: &Gpu) -> (&'static str, &'static str, &'static str) {
    match gpu.is_software() {
        true => ("sum_rows_columns", "row++", "row += 2u"),
        false => (
            "sum_rows",
            "r += LANES_A_COLUMN",
            "r += 2u * LANES_A_COLUMN",
        ),
    }
}
