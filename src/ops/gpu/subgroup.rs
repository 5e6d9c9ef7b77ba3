//! What the kernels of `shaders/shared/subgroup_tile.wgsl` have in common: the size of a tile, and the
//! switches for results of few rows.

use crate::device::kernel::Kernel;

/// Lanes of the subgroup that computes a tile.
pub(super) const LANES: u32 = 8;

/// Rows of a tile, and columns.
pub(super) const ROWS: usize = 32;
const COLUMNS: usize = 64;

/// `kernel`, of tiles that a subgroup computes, with the two switches by which the blocks of a tile that are
/// beyond the last row are left out where there are so few rows.
pub(super) const fn by_subgroups(kernel: Kernel) -> Kernel {
    kernel
        .with_switches(&["OVER_8_ROWS", "OVER_16_ROWS"])
        .for_subgroups_of(LANES)
}

/// The setting of these switches.
pub(super) fn switches(rows: usize) -> [bool; 2] {
    [rows > 8, rows > 16]
}

/// Tiles, and so workgroups, of a result of so many rows and columns.
pub(super) fn tiles(rows: usize, columns: usize) -> usize {
    rows.div_ceil(ROWS) * columns.div_ceil(COLUMNS)
}
