//! A kernel: one WGSL file, its parameters and its bindings, as the host states them.

/// How a kernel uses a storage binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
}

/// A field of a parameter struct: name, WGSL type, offset in bytes.
pub type Field = (&'static str, &'static str, usize);

/// A kernel's parameters: a struct of u32 and f32 scalars, bound as uniform at binding 0.
pub trait Params: bytemuck::Pod {
    /// The fields in order, for comparison with the shader.
    const FIELDS: &'static [Field];
}

/// Declares a parameter struct with its list of fields.
macro_rules! params {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ident,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct $name { $($(#[$doc])* pub $field: $type,)* }

        impl $crate::device::kernel::Params for $name {
            const FIELDS: &'static [$crate::device::kernel::Field] = &[
                $((stringify!($field), stringify!($type), std::mem::offset_of!($name, $field)),)*
            ];
        }
    };
}
pub(crate) use params;

/// The text of a kernel: its file in `shaders`, and behind it what of `shaders/shared` it uses.
macro_rules! wgsl {
    ($file:literal $(, $shared:literal)*) => {
        concat!(
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $file, ".wgsl")),
            $("\n", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/shared/", $shared, ".wgsl")),)*
        )
    };
}
pub(crate) use wgsl;

/// A WGSL file and what the host knows of it.
#[derive(Debug)]
pub struct Kernel {
    /// The file's name without `.wgsl`, unless several kernels are made of one file.
    pub name: &'static str,
    /// The file's name without `.wgsl`.
    pub file: &'static str,
    /// The file, and what it shares with others behind it.
    pub source: &'static str,
    /// The parameter struct's fields; empty for a kernel without.
    pub fields: &'static [Field],
    /// The storage bindings from binding 1 on: name and access.
    pub bindings: &'static [(&'static str, Access)],
    /// Pipeline-overridable constants that the host sets.
    pub overrides: &'static [(&'static str, f64)],
    /// Pipeline-overridable booleans that a dispatch sets: bit i of its `switches` is the i-th.
    pub switches: &'static [&'static str],
    /// Lanes that every subgroup must have, of a kernel that uses subgroups.
    pub subgroup: Option<u32>,
    /// Is it for adapters that compute on the CPU alone?
    pub for_software: bool,
}

impl Kernel {
    /// A kernel with parameters `P`, named like its file.
    pub const fn new<P: Params>(
        file: &'static str,
        source: &'static str,
        bindings: &'static [(&'static str, Access)],
        overrides: &'static [(&'static str, f64)],
    ) -> Self {
        Kernel {
            name: file,
            file,
            source,
            fields: P::FIELDS,
            bindings,
            overrides,
            switches: &[],
            subgroup: None,
            for_software: false,
        }
    }

    /// The same by another name: one of the kernels that a file is compiled to, which differ in
    /// their overrides.
    pub const fn named(self, name: &'static str) -> Self {
        Kernel { name, ..self }
    }

    /// The same with switches: each setting of them is compiled on its own, so that what is
    /// switched off costs nothing. (On lavapipe both sides of an `if` are executed.)
    pub const fn with_switches(self, switches: &'static [&'static str]) -> Self {
        Kernel { switches, ..self }
    }

    /// The same for devices all of whose subgroups have so many lanes.
    pub const fn for_subgroups_of(self, lanes: u32) -> Self {
        Kernel {
            subgroup: Some(lanes),
            ..self
        }
    }

    /// The same for adapters that compute on the CPU alone: it asks for more than every driver keeps.
    pub const fn for_software(self) -> Self {
        Kernel {
            for_software: true,
            ..self
        }
    }

    /// The setting in which the kernel's switches are as in `on`, whose first are theirs.
    pub fn setting(&self, on: &[bool]) -> u32 {
        let switches = self.switches.iter().zip(on).enumerate();
        switches.map(|(i, (_, on))| u32::from(*on) << i).sum()
    }

    /// All overridable constants for a setting of the switches.
    pub fn constants(&self, switches: u32) -> Vec<(&'static str, f64)> {
        let switched = self.switches.iter().enumerate();
        let switched = switched.map(|(i, name)| (*name, f64::from(switches >> i & 1)));
        self.overrides.iter().copied().chain(switched).collect()
    }
}

/// The field of the parameters, the last, of a kernel whose dispatches may be cut: the number of the
/// first workgroup that a part takes. [`crate::device::Gpu`] sets it.
pub const FIRST_WORKGROUP: &str = "first_workgroup";

/// The grid for a number of workgroups, at most `widest` in a row, that a kernel numbers as
/// `workgroup_id.x + workgroup_id.y * num_workgroups.x`. It may hold a few more than asked for;
/// kernels return at once in those. None if it would have more than `limit` rows.
pub fn grid(workgroups: usize, widest: u32, limit: u32) -> Option<[u32; 2]> {
    let widest = widest.clamp(1, limit.max(1)) as usize;
    let rows = workgroups.div_ceil(widest).max(1);
    let columns = workgroups.div_ceil(rows);
    let within = |n: usize| u32::try_from(n).ok().filter(|n| *n <= limit);
    Some([within(columns)?, within(rows)?])
}

/// The largest number of workgroups up to `workgroups` whose grid, at most `widest` in a row, holds no
/// more than that: at least 1.
pub fn exact(workgroups: usize, widest: u32) -> usize {
    let limit = widest.max(1) as usize;
    match workgroups {
        0 => 1,
        few if few <= limit => few,
        many => many / limit * limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_covers_all_workgroups_within_the_limit() {
        for limit in [65_535, 300_000] {
            for workgroups in [1usize, 65_535, 65_536, 109_375, 10_000_019, 4_000_000_000] {
                let [x, y] = grid(workgroups, limit, limit).unwrap();
                assert!(x <= limit && y <= limit);
                let covered = x as usize * y as usize;
                assert!(covered >= workgroups, "{workgroups}: {x}x{y}");
                assert!(covered - workgroups < y as usize);
            }
            assert_eq!(grid(0, limit, limit).unwrap()[0], 0);
        }
        assert_eq!(grid(16, 4, 4), Some([4, 4]));
        assert_eq!(grid(17, 4, 4), None);
        assert_eq!(grid(usize::MAX, u32::MAX, u32::MAX), None);
    }

    #[test]
    fn a_part_s_grid_holds_no_more_than_the_part() {
        for workgroups in [0, 1, 65_535, 65_536, 70_001, 200_000] {
            let part = exact(workgroups, 65_535);
            let [x, y] = grid(part, 65_535, 65_535).unwrap();
            assert_eq!(x as usize * y as usize, part);
            assert!(part >= 1 && part <= workgroups.max(1));
        }
    }
}
